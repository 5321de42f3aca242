//! A way to notify a person, with a queue of the notices that are still to be sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use call_control::alerts::Severity;
use call_control::backoff::Backoff;
use chrono::Utc;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::board::Board;
use super::metrics::{Metrics, Outcome};
use super::way::{Kind, Notice, SendError, Way};
use crate::db::AlertLog;

/// More notices do not wait: the oldest that is not critical gives way.
const MOST_WAITING: usize = 32;
const CRITICAL: Kind = Kind::Bad(Severity::Critical);
/// A notice is tried this often.
const ATTEMPTS: u32 = 4;
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));

/// Who asks whether a notice is ours to tell, and for how long it is told then: by another instance, and by
/// this one.
pub(super) struct Claims {
    pub(super) log: AlertLog,
    pub(super) window: Duration,
    pub(super) own_window: Duration,
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

    /// Takes a notice. Of too many, the oldest that is not critical, else the oldest, is counted and handed
    /// back: it is not told.
    pub(super) fn push(&self, notice: Notice, metrics: &Metrics) -> Option<Notice> {
        let mut waiting = self.waiting.borrow_mut();
        let mut dropped = None;
        if waiting.len() >= MOST_WAITING {
            let index = waiting.iter().position(|notice| notice.kind != CRITICAL).unwrap_or(0);
            dropped = waiting.remove(index);
        }
        if let Some(oldest) = &dropped {
            metrics.noticed(self.way.name(), Outcome::Dropped);
            tracing::error!(
                way = self.way.name(),
                rule = oldest.rule,
                "too many notices wait: one is dropped"
            );
        }
        waiting.push_back(notice);
        self.more.notify_one();
        dropped
    }

    /// The first of the rule of the first that is critical, else the first: those of a rule keep their order.
    fn next(&self) -> Option<Notice> {
        let mut waiting = self.waiting.borrow_mut();
        let critical = waiting.iter().find(|notice| notice.kind == CRITICAL);
        let index = critical.and_then(|critical| waiting.iter().position(|one| one.rule == critical.rule));
        waiting.remove(index.unwrap_or(0))
    }

    /// Tells what waits, for ever. `untold` hears of each notice that reached nobody.
    pub(super) async fn work(
        &self,
        claims: &Claims,
        board: &Board,
        metrics: &Metrics,
        untold: impl Fn(&Notice),
    ) {
        loop {
            let Some(notice) = self.next() else {
                self.more.notified().await;
                continue;
            };
            let is_ours = match notice.kind {
                Kind::Cleared => ends(&notice, claims, board).await,
                _ => self.claim(&notice, claims).await,
            };
            let outcome = if is_ours { self.tell(&notice).await } else { Outcome::Elsewhere };
            metrics.noticed(self.way.name(), outcome);
            match outcome {
                Outcome::Sent => board.was_told(&notice.id, Utc::now()),
                Outcome::Elsewhere if notice.kind != Kind::Cleared => board.was_told_elsewhere(&notice.id),
                Outcome::Elsewhere => {}
                Outcome::Refused | Outcome::Failed | Outcome::Dropped => {
                    untold(&notice);
                    self.unclaim(&notice, claims).await;
                }
            }
        }
    }

    /// The kind by which a notice is claimed for this way.
    fn kind(&self, notice: &Notice) -> Option<String> {
        Some(format!("{}:{}", notice.kind.claim()?, self.way.name()))
    }

    /// Whether a notice is this instance's to tell. A database that does not answer is no reason to be
    /// silent.
    async fn claim(&self, notice: &Notice, claims: &Claims) -> bool {
        let Some(kind) = self.kind(notice) else { return true };
        let (rule, way) = (&notice.rule, self.way.name());
        let Claims { log, window, own_window } = claims;
        let claimed = log.claim(rule, &kind, &notice.instance, *window, *own_window).await;
        let is_ours = claimed.unwrap_or(true);
        if !is_ours {
            tracing::info!(way, rule, "another instance has told of this alert");
        }
        is_ours
    }

    /// Lets another instance, or the next attempt, tell it. Best effort.
    async fn unclaim(&self, notice: &Notice, claims: &Claims) {
        let Some(kind) = self.kind(notice) else { return };
        if let Err(error) = claims.log.unclaim(&notice.rule, &kind, &notice.instance).await {
            tracing::debug!(%error, rule = notice.rule, "a notice could not be given back");
        }
    }

    async fn tell(&self, notice: &Notice) -> Outcome {
        let (way, rule) = (self.way.name(), &notice.rule);
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

/// Whether the end of an alert is to be told: a person knows of it, and it goes on nowhere else. Without the
/// database's answer it is told.
async fn ends(notice: &Notice, claims: &Claims, board: &Board) -> bool {
    let Some(row) = board.known(&notice.id) else { return false };
    !claims.log.goes_on_elsewhere(&row).await.unwrap_or(false)
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
            let dropped = channel.push(Notice { id: number.to_string(), ..notice }, &metrics);
            assert_eq!(dropped.is_some(), number == MOST_WAITING);
        }
        let first = channel.next().unwrap();
        assert_eq!(first.id, "1");
        assert_eq!(channel.waiting.borrow().len(), MOST_WAITING - 1);
    }

    #[test]
    fn a_critical_notice_is_told_first_and_gives_way_last() {
        let way = Way::Webhook { url: Secret::new("http://127.0.0.1:1".to_owned()), format: Format::Slack };
        let (channel, metrics) = (Channel::new(way), Metrics::build().unwrap());
        let notice = |id: &str, kind| {
            let (id, rule) = (id.to_owned(), id.to_owned());
            Notice { id, rule, kind, ..Notice::test("a", Utc::now()) }
        };
        channel.push(notice("critical", CRITICAL), &metrics);
        for number in 1..=MOST_WAITING {
            channel.push(notice(&number.to_string(), Kind::Cleared), &metrics);
        }
        channel.push(notice("worse", CRITICAL), &metrics);
        let order: Vec<_> = std::iter::from_fn(|| channel.next()).map(|notice| notice.id).collect();
        assert_eq!(order.len(), MOST_WAITING);
        assert_eq!(order[..3], ["critical", "worse", "3"]);
    }
}
