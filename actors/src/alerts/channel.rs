//! One way to tell a person, and what waits to be told by it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use call_control::backoff::Backoff;
use chrono::Utc;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::board::Board;
use super::metrics::{Metrics, Outcome};
use super::way::{Notice, SendError, Way};
use crate::db::AlertLog;

/// More notices do not wait: the oldest gives way.
const MOST_WAITING: usize = 32;
/// A notice is tried this often.
const ATTEMPTS: u32 = 4;
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));

/// Who asks whether a notice is ours to tell, and for how long it is told then.
pub(super) struct Claims {
    pub(super) log: AlertLog,
    pub(super) window: Duration,
}

pub(super) struct Channel {
    pub(super) way: Way,
    waiting: RefCell<VecDeque<Notice>>,
    more: Notify,
}

impl Channel {
    pub(super) fn new(way: Way) -> Self {
        Self { way, waiting: RefCell::default(), more: Notify::new() }
    }

    /// Takes a notice; of too many, the oldest is counted and not told.
    pub(super) fn push(&self, notice: Notice, metrics: &Metrics) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MOST_WAITING
            && let Some(oldest) = waiting.pop_front()
        {
            metrics.noticed(self.way.name(), Outcome::Dropped);
            tracing::error!(
                way = self.way.name(),
                rule = oldest.rule,
                "too many notices wait: one is dropped"
            );
        }
        waiting.push_back(notice);
        self.more.notify_one();
    }

    fn next(&self) -> Option<Notice> {
        self.waiting.borrow_mut().pop_front()
    }

    /// Tells what waits, for ever.
    pub(super) async fn work(&self, claims: &Claims, board: &Board, metrics: &Metrics) {
        loop {
            let Some(notice) = self.next() else {
                self.more.notified().await;
                continue;
            };
            let outcome = self.tell(&notice, claims).await;
            metrics.noticed(self.way.name(), outcome);
            if outcome == Outcome::Sent {
                board.was_told(&notice.id, Utc::now());
            }
        }
    }

    async fn tell(&self, notice: &Notice, claims: &Claims) -> Outcome {
        let (way, rule) = (self.way.name(), &notice.rule);
        if let Some(word) = notice.kind.claim() {
            let kind = format!("{word}:{way}");
            // A database that does not answer is no reason to be silent.
            if let Ok(false) = claims.log.claim(rule, &kind, &notice.instance, claims.window).await {
                tracing::info!(way, rule, "another instance has told of this alert");
                return Outcome::Elsewhere;
            }
        }
        for attempt in 0..ATTEMPTS {
            match self.way.send(notice).await {
                Ok(()) => {
                    tracing::info!(way, rule, "a notice was sent");
                    return Outcome::Sent;
                }
                Err(SendError::Refused(cause)) => {
                    tracing::error!(
                        way,
                        rule,
                        cause,
                        "a notice was refused: try `switchboard ops test-alert`"
                    );
                    return Outcome::Refused;
                }
                Err(SendError::Failed(cause)) if attempt + 1 == ATTEMPTS => {
                    tracing::error!(way, rule, cause, "a notice could not be sent: it is given up");
                }
                Err(SendError::Failed(cause)) => {
                    tracing::warn!(way, rule, cause, "a notice could not be sent: it is tried again");
                    sleep(BACKOFF.pause_after(attempt, rand::random())).await;
                }
            }
        }
        Outcome::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::super::way::Format;
    use super::*;
    use crate::metrics::MetricSet as _;
    use crate::secret::Secret;

    #[test]
    fn the_oldest_notice_gives_way_when_too_many_wait() {
        let way = Way::Webhook { url: Secret::new("http://127.0.0.1:1".to_owned()), format: Format::Slack };
        let (channel, metrics) = (Channel::new(way), Metrics::build().unwrap());
        for number in 0..=MOST_WAITING {
            let notice = Notice::test("a", Utc::now());
            channel.push(Notice { id: number.to_string(), ..notice }, &metrics);
        }
        let first = channel.next().unwrap();
        assert_eq!(first.id, "1");
        assert_eq!(channel.waiting.borrow().len(), MOST_WAITING - 1);
    }
}
