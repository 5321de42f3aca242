//! A way to notify a person, with a queue of the notices that are still to be sent.
//!
//! A webhook gets each notice by itself. A number gets few text messages: all notices in the queue are one
//! text when the [next one may go](Pace). A text that may have been sent is looked up before it is sent once
//! more, and later notices of its alerts wait for that.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use call_control::Millis;
use call_control::alerts::digest::{self, Is, Item, Pace};
use call_control::alerts::{RULES, Severity, is_local, position};
use call_control::backoff::Backoff;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
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
    waiting: RefCell<VecDeque<Waiting>>,
    more: Notify,
    began: Instant,
    pause: Duration,
    pace: Cell<Pace>,
}

/// A notice in the queue.
#[derive(Debug, Clone)]
struct Waiting {
    notice: Notice,
    /// The text with it that may have been sent. Then it is claimed.
    doubt: Option<Rc<Doubt>>,
    /// It is the end of an alert whose beginning waited with it.
    is_whole: bool,
}

/// A text that may have been sent.
#[derive(Debug)]
struct Doubt {
    text: String,
    since: DateTime<Utc>,
    /// It is looked up, and sent once more, at this time.
    due: Millis,
}

impl Channel {
    /// `pause`: a number gets one text message within this time.
    pub(super) fn new(way: Way, pause: Duration) -> Self {
        Self {
            way,
            waiting: RefCell::default(),
            more: Notify::new(),
            began: Instant::now(),
            pause,
            pace: Cell::new(Pace::new(pause.as_millis() as Millis)),
        }
    }

    /// Takes a notice. Of too many, the oldest that is not critical, else the oldest, is counted and handed
    /// back: it is not told.
    pub(super) fn push(&self, notice: Notice, metrics: &Metrics) -> Option<Notice> {
        let mut waiting = self.waiting.borrow_mut();
        let mut dropped = None;
        if waiting.len() >= MOST_WAITING {
            let index = waiting.iter().position(|one| one.notice.kind != CRITICAL).unwrap_or(0);
            dropped = waiting.remove(index).map(|one| one.notice);
        }
        if let Some(oldest) = &dropped {
            metrics.noticed(self.way.name(), Outcome::Dropped);
            tracing::error!(
                way = self.way.name(),
                rule = oldest.rule,
                "too many notices wait: one is dropped"
            );
        }
        waiting.push_back(Waiting { notice, doubt: None, is_whole: false });
        self.more.notify_one();
        dropped
    }

    /// The first of the rule of the first that is critical, else the first: those of a rule keep their order.
    fn next(&self) -> Option<Waiting> {
        let mut waiting = self.waiting.borrow_mut();
        let critical = waiting.iter().find(|one| one.notice.kind == CRITICAL);
        let index = critical
            .and_then(|critical| waiting.iter().position(|one| one.notice.rule == critical.notice.rule));
        waiting.remove(index.unwrap_or(0))
    }

    /// The time until a notice of the queue may be told. None: the queue is empty.
    fn wait(&self) -> Option<Duration> {
        let waiting = self.waiting.borrow();
        if waiting.is_empty() {
            return None;
        }
        if matches!(self.way, Way::Webhook { .. }) {
            return Some(Duration::ZERO);
        }
        let due = waiting.iter().map(|one| {
            let due = self.pace.get().due(one.notice.kind == CRITICAL);
            due.max(doubtful_until(&waiting, &one.notice.rule))
        });
        Some(Duration::from_millis(due.min().unwrap_or_default().saturating_sub(self.now())))
    }

    /// What waits, without the notices of alerts of which a text is to be looked up later.
    fn take(&self) -> Vec<Waiting> {
        let (mut waiting, now) = (self.waiting.borrow_mut(), self.now());
        let until: Vec<_> = waiting.iter().map(|one| doubtful_until(&waiting, &one.notice.rule)).collect();
        let mut until = until.into_iter();
        let (later, batch): (Vec<_>, Vec<_>) =
            waiting.drain(..).partition(|_| until.next().is_some_and(|until| until > now));
        waiting.extend(later);
        batch
    }

    fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis
    }

    /// Waits for notices that may be told now: one for a webhook, all that wait for a text message.
    async fn batch(&self) -> Vec<Waiting> {
        loop {
            match self.wait() {
                None => self.more.notified().await,
                Some(Duration::ZERO) if matches!(self.way, Way::Webhook { .. }) => {
                    return self.next().into_iter().collect();
                }
                Some(Duration::ZERO) => return self.take(),
                Some(wait) => tokio::select! {
                    () = sleep(wait) => {}
                    () = self.more.notified() => {}
                },
            }
        }
    }

    /// Tells what waits, for ever. `became` hears what became of each notice, except of those that another
    /// instance tells and that are no ends.
    pub(super) async fn work(
        &self,
        claims: &Claims,
        board: &Board,
        metrics: &Metrics,
        became: impl Fn(&Notice, Outcome),
    ) {
        loop {
            let batch = self.batch().await;
            let batch = self.without_told(batch, |notice| {
                metrics.noticed(self.way.name(), Outcome::Sent);
                became(notice, Outcome::Sent);
            });
            let batch = batch.await;
            let (batch, others) = self.ours(newest(batch), claims, board).await;
            for Waiting { notice, .. } in others {
                let is_end = notice.kind == Kind::Cleared;
                if !is_end || board.known(&notice.id).is_some() {
                    metrics.noticed(self.way.name(), Outcome::Elsewhere);
                }
                if is_end {
                    became(&notice, Outcome::Elsewhere);
                } else {
                    board.was_told_elsewhere(&notice.id);
                }
            }
            let Some(message) = message(&batch) else { continue };
            let since = Utc::now();
            let outcome = tell(&self.way, &message, batch.len()).await;
            if matches!(outcome, Outcome::Sent | Outcome::Unknown) {
                let mut pace = self.pace.get();
                pace.sent(batch.iter().any(|one| one.notice.kind == CRITICAL), self.now());
                self.pace.set(pace);
            }
            let batch =
                if outcome == Outcome::Unknown { self.put_back(batch, message.text, since) } else { batch };
            for Waiting { notice, .. } in &batch {
                metrics.noticed(self.way.name(), outcome);
                became(notice, outcome);
            }
            match outcome {
                Outcome::Sent => self.release(&batch, claims).await,
                Outcome::Unknown => {}
                _ => drop(join_all(batch.iter().map(|one| self.unclaim(&one.notice, claims))).await),
            }
        }
    }

    /// The notices without those of texts that were sent, as a look-up shows.
    async fn without_told(&self, batch: Vec<Waiting>, was_sent_after_all: impl Fn(&Notice)) -> Vec<Waiting> {
        let mut texts: Vec<Rc<Doubt>> = Vec::new();
        for doubt in batch.iter().filter_map(|one| one.doubt.as_ref()) {
            if !texts.iter().any(|known| Rc::ptr_eq(known, doubt)) {
                texts.push(Rc::clone(doubt));
            }
        }
        let mut sent = Vec::new();
        for doubt in texts {
            if self.way.has_sent(&doubt.text, doubt.since).await {
                sent.push(doubt);
            }
        }
        let was_sent = |one: &Waiting| {
            one.doubt.as_ref().is_some_and(|doubt| sent.iter().any(|sent| Rc::ptr_eq(sent, doubt)))
        };
        let (told, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(was_sent);
        for Waiting { notice, .. } in told {
            tracing::info!(way = self.way.name(), rule = notice.rule, "a notice was sent after all");
            was_sent_after_all(&notice);
        }
        batch
    }

    /// Keeps the notices of a text that may have been sent for one more try. Those that had it are handed
    /// back.
    fn put_back(&self, batch: Vec<Waiting>, text: String, since: DateTime<Utc>) -> Vec<Waiting> {
        let longer = self.pause + self.pause.mul_f64(rand::random::<f64>() / 2.0);
        let due = self.now() + longer.as_millis() as Millis;
        let doubt = Some(Rc::new(Doubt { text, since, due }));
        let (known, new): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.doubt.is_some());
        let mut waiting = self.waiting.borrow_mut();
        new.into_iter().rev().for_each(|one| waiting.push_front(Waiting { doubt: doubt.clone(), ..one }));
        known
    }

    /// The notices that are this instance's to tell, and the others.
    async fn ours(
        &self,
        batch: Vec<Waiting>,
        claims: &Claims,
        board: &Board,
    ) -> (Vec<Waiting>, Vec<Waiting>) {
        let batch: Vec<_> = batch.into_iter().filter(|one| is_wanted(&one.notice, board)).collect();
        let mut is_ours =
            join_all(batch.iter().map(|one| self.is_ours(one, claims, board))).await.into_iter();
        batch.into_iter().partition(|_| is_ours.next().unwrap_or(true))
    }

    async fn is_ours(&self, one: &Waiting, claims: &Claims, board: &Board) -> bool {
        match one.notice.kind {
            _ if one.doubt.is_some() => true,
            Kind::Cleared => one.is_whole || ends(&one.notice, claims, board).await,
            _ => self.claim(&one.notice, claims).await,
        }
    }

    /// The kind by which a notice is claimed for this way. Alerts about one process are claimed for it alone.
    fn kind(&self, kind: Kind, notice: &Notice) -> Option<String> {
        let kind = format!("{}:{}", kind.claim()?, self.way.name());
        Some(if is_local(&notice.rule) { format!("{kind}@{}", notice.instance) } else { kind })
    }

    /// Whether a notice is this instance's to tell. A database that does not answer is no reason to be
    /// silent.
    async fn claim(&self, notice: &Notice, claims: &Claims) -> bool {
        let Some(kind) = self.kind(notice.kind, notice) else { return true };
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
        let Some(kind) = self.kind(notice.kind, notice) else { return };
        if let Err(error) = claims.log.unclaim(&notice.rule, &kind, &notice.instance).await {
            tracing::debug!(%error, rule = notice.rule, "a notice could not be given back");
        }
    }

    /// A person was told that these alerts are over: whichever instance finds one critical again tells it.
    /// Best effort.
    async fn release(&self, batch: &[Waiting], claims: &Claims) {
        let ends = batch.iter().map(|one| &one.notice).filter(|notice| notice.kind == Kind::Cleared);
        let claimed = ends.filter_map(|notice| Some((notice, self.kind(CRITICAL, notice)?)));
        let released = claimed.map(async |(notice, kind)| {
            if let Err(error) = claims.log.release(&notice.rule, &kind).await {
                tracing::debug!(%error, rule = notice.rule, "a claim could not be released");
            }
        });
        join_all(released).await;
    }
}

/// Sends a notice, with several attempts. `alerts`: of so many it tells.
pub(super) async fn tell(by: &Way, notice: &Notice, alerts: usize) -> Outcome {
    let (way, rule) = (by.name(), &notice.rule);
    for attempt in 0..ATTEMPTS {
        match by.send(notice).await {
            Ok(()) => {
                tracing::info!(way, rule, alerts, "a notice was sent");
                return Outcome::Sent;
            }
            Err(SendError::Refused(cause)) => {
                tracing::error!(way, rule, cause, "a notice was refused: try `switchboard ops test-alert`");
                return Outcome::Refused;
            }
            Err(SendError::Unknown(cause)) => {
                tracing::warn!(way, rule, cause, "a notice may have been sent: it is looked up later");
                return Outcome::Unknown;
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

/// That an alert goes on is told until somebody has acknowledged it.
fn is_wanted(notice: &Notice, board: &Board) -> bool {
    !(notice.is_repeat && board.is_acknowledged(&notice.id))
}

/// When the last text with a notice of this rule that may have been sent is looked up; 0 if there is none.
fn doubtful_until(waiting: &VecDeque<Waiting>, rule: &str) -> Millis {
    let doubts = waiting.iter().filter(|one| one.notice.rule == rule).filter_map(|one| one.doubt.as_ref());
    doubts.map(|doubt| doubt.due).max().unwrap_or(0)
}

/// Of each rule the newest notice, in the order of the rules' first ones.
fn newest(batch: Vec<Waiting>) -> Vec<Waiting> {
    let mut newest: Vec<Waiting> = Vec::with_capacity(batch.len());
    for one in batch {
        let Some(earlier) = newest.iter_mut().find(|earlier| earlier.notice.rule == one.notice.rule) else {
            newest.push(one);
            continue;
        };
        let is_whole = earlier.notice.id == one.notice.id && earlier.notice.kind != Kind::Cleared;
        let is_same = one.notice.kind == earlier.notice.kind;
        let doubt = one.doubt.or(earlier.doubt.take()).filter(|_| is_same);
        *earlier = Waiting { notice: one.notice, doubt, is_whole };
    }
    newest
}

/// A notice as one of several.
fn item(notice: &Notice) -> Option<Item<'_>> {
    let is = match notice.kind {
        Kind::Bad(severity) => Is::Bad(severity),
        _ => Is::Over,
    };
    Some(Item { rule: &RULES[position(&notice.rule)?], id: &notice.id, is })
}

/// One notice as it is, or several as one.
fn message(batch: &[Waiting]) -> Option<Notice> {
    let first = &batch.first()?.notice;
    if batch.len() == 1 {
        return Some(first.clone());
    }
    let items: Vec<_> = batch.iter().filter_map(|one| item(&one.notice)).collect();
    let text = digest::summary(&items, &first.instance);
    let worst = digest::worst(&items).map_or(first.rule.as_str(), |worst| items[worst].rule.name);
    Some(Notice { rule: worst.to_owned(), text, ..first.clone() })
}

/// Whether the end of an alert is to be told: a person knows of it, and it goes on nowhere else. Without the
/// database's answer it is told.
async fn ends(notice: &Notice, claims: &Claims, board: &Board) -> bool {
    let Some(row) = board.known(&notice.id) else { return false };
    is_local(&notice.rule) || !claims.log.goes_on_elsewhere(&row).await.unwrap_or(false)
}

#[cfg(test)]
mod tests;
