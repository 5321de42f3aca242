//! Urgent callers: the person on duty is told at once, whether or not the database is there.
//!
//! A call raises the notice by its record: [`UrgentCalls`] takes the caller into a queue of 64, and the
//! AlertActor tells whoever is on duty by every way, in parallel. A text that fails is tried again with
//! growing pauses. The notice is repeated until somebody has marked the item of the inbox as done. Which
//! instance repeats it, they agree on in the database; without its answer within 700 ms it is told.
//!
//! What does not fit into the queue is counted as dropped; its item of the inbox is found in the database.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use call_control::Millis;
use call_control::alerts::Severity;
use call_control::alerts::urgent::{LONGEST, REPEAT, Told, Urgent, text, text_without_numbers};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::channel::{Channel, tell};
use super::metrics::Outcome;
use super::{Desk, Kind, Notice, Way};
use crate::call::Ledger;
use crate::db::Records;
use crate::db::record::{InboxItem, InboxKind, NextStep, Record};
use crate::wire::twilio::sid::CallSid;

/// So many callers wait for the AlertActor.
const MOST_WAITING: usize = 64;
/// The word by which instances agree, and by which an incident is known.
pub(super) const RULE: &str = "urgent-call";
/// Nobody is told later than this for want of the database's answer.
const CLAIM_DEADLINE: Duration = Duration::from_millis(700);
/// What was told is not told again for this part of the pause.
const CLAIMED_FOR: f64 = 14.0 / 15.0;
/// So many intervals after a mark it is known here.
const LOOKED_EVERY: u32 = 3;

/// Takes the urgent callers of this process to the AlertActor. A cheap clone.
#[derive(Clone, Default)]
pub struct UrgentCalls(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Urgent>>,
    more: Notify,
}

impl UrgentCalls {
    /// The person on duty is to be told of this caller now. Never waits. False: too many wait.
    pub fn raise(&self, urgent: Urgent) -> bool {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST_WAITING {
            return false;
        }
        waiting.push_back(urgent);
        self.0.more.notify_one();
        true
    }

    fn take(&self) -> VecDeque<Urgent> {
        std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What calls write, and the person on duty is told of what is urgent.
pub struct UrgentLedger {
    pub records: Records,
    pub urgent: UrgentCalls,
}

impl UrgentLedger {
    fn raise(&self, item: &InboxItem) {
        let InboxItem { call_sid, at, dedupe_key, from, .. } = item.clone();
        tracing::warn!(call.sid = %call_sid, "a call is urgent");
        if !self.urgent.raise(Urgent { call_sid, dedupe_key, from, at }) {
            tracing::error!(call.sid = %call_sid, "too many urgent calls wait: this one is told from the inbox");
        }
    }
}

impl Ledger for UrgentLedger {
    fn record(&self, record: Record) {
        if let Record::Inbox(item) = &record
            && item.kind == InboxKind::Urgent
        {
            self.raise(item);
        }
        self.records.record(record);
    }

    fn decide(
        &self,
        call_sid: CallSid,
        epoch: u32,
        next: NextStep,
    ) -> futures_util::future::BoxFuture<'static, ()> {
        Ledger::decide(&self.records, call_sid, epoch, next)
    }
}

impl Desk {
    /// Tells of urgent callers, for ever.
    pub(super) async fn tell_urgent(&self) {
        let mut telling = FuturesUnordered::new();
        self.waiting.borrow_mut().nothing_is_out(); // also after a panic
        loop {
            self.take_in();
            let due = self.waiting.borrow_mut().take_due(self.now());
            if !due.is_empty() {
                telling.push(self.tell_callers(due));
            }
            let pause = self.until_due();
            tokio::select! {
                () = self.urgent.0.more.notified() => {}
                Some(()) = telling.next(), if !telling.is_empty() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Takes over the callers of this process.
    fn take_in(&self) {
        for urgent in self.urgent.take() {
            let ago = self.ago(urgent.at);
            self.waiting.borrow_mut().raise(urgent, ago, self.now());
        }
        self.metrics.urgent_open.set(self.waiting.borrow().len() as i64);
    }

    fn ago(&self, at: DateTime<Utc>) -> Millis {
        self.scaled((Utc::now() - at).to_std().unwrap_or_default())
    }

    fn until_due(&self) -> Duration {
        let due = self.waiting.borrow().next_due();
        let pause = due.map_or(REPEAT, |due| due.saturating_sub(self.now()).clamp(1, REPEAT));
        self.unscaled(pause)
    }

    /// Tells those that are this instance's to tell, in one text, by every way.
    async fn tell_callers(&self, due: Vec<(Urgent, bool)>) {
        let claims = join_all(due.iter().map(|(urgent, _)| self.claim_urgent(urgent))).await;
        let mut ours = Vec::with_capacity(due.len());
        for (one, claim) in due.into_iter().zip(claims) {
            match claim {
                Some(false) => self.waiting.borrow_mut().told_elsewhere(&one.0, self.now()),
                claim => ours.push((one, claim.is_some())),
            }
        }
        if ours.is_empty() {
            return;
        }
        let callers: Vec<_> = ours.iter().map(|(one, _)| one.clone()).collect();
        let told = join_all(self.channels.iter().map(|channel| self.tell_by(&channel.way, &callers))).await;
        let has_reached = self.has_reached(&told);
        for ((urgent, _), is_claimed) in &ours {
            let told = match (has_reached, is_claimed) {
                (true, true) => Told::Shared,
                (true, false) => Told::Alone,
                (false, _) => Told::Perhaps,
            };
            if !has_reached && *is_claimed {
                self.unclaim_urgent(urgent).await;
            }
            self.waiting.borrow_mut().told(urgent, told, self.now());
        }
    }

    /// Whether a person can know of it, by the outcomes of all ways: where there is a number, by its text.
    fn has_reached(&self, told: &[Outcome]) -> bool {
        let by_text = |(channel, outcome): (&Channel, &Outcome)| {
            matches!(channel.way, Way::Sms { .. }).then_some(*outcome)
        };
        let text = self.channels.iter().zip(told).find_map(by_text);
        // A number that is refused would be refused again.
        let may_know = text.is_none_or(|text| matches!(text, Outcome::Sent | Outcome::Refused));
        may_know && told.contains(&Outcome::Sent)
    }

    async fn tell_by(&self, way: &Way, callers: &[(Urgent, bool)]) -> Outcome {
        let page = self.settings.page.as_deref().unwrap_or("the inbox");
        let kind = Kind::Bad(Severity::Critical);
        if way.has_incidents() {
            // One for each caller: one that somebody has acknowledged pages nobody again.
            let each = callers.chunks(1).map(async |caller| {
                let notice = self.urgent_notice(kind, text_without_numbers(caller, page), &caller[0].0);
                tell(way, &notice, 1).await
            });
            let told = join_all(each).await;
            told.iter().for_each(|outcome| self.metrics.noticed(way.name(), *outcome));
            let failed = told.iter().find(|outcome| **outcome != Outcome::Sent);
            return failed.copied().unwrap_or(Outcome::Sent);
        }
        let text = match way {
            Way::Sms { .. } => text(callers, page),
            Way::Webhook { .. } => text_without_numbers(callers, page),
        };
        let outcome = tell(way, &self.urgent_notice(kind, text, &callers[0].0), callers.len()).await;
        self.metrics.noticed(way.name(), outcome);
        outcome
    }

    fn urgent_notice(&self, kind: Kind, text: String, urgent: &Urgent) -> Notice {
        Notice {
            id: name(urgent),
            rule: RULE.to_owned(),
            kind,
            is_repeat: false,
            text,
            value: None,
            instance: self.instance.clone(),
            at: Utc::now(),
        }
    }

    /// Whether it is this instance's to tell. None: the database does not say.
    async fn claim_urgent(&self, urgent: &Urgent) -> Option<bool> {
        let window = self.unscaled(REPEAT).mul_f64(CLAIMED_FOR);
        let name = name(urgent);
        // Our own claim holds us back from nothing: after a panic nobody knows whether it was told.
        let claim = self.claims.log.claim(RULE, &name, &self.instance, window, Duration::ZERO);
        timeout(CLAIM_DEADLINE, claim).await.ok()?.ok()
    }

    /// Lets another instance, or the next attempt, tell it. Best effort.
    async fn unclaim_urgent(&self, urgent: &Urgent) {
        if let Err(error) = self.claims.log.unclaim(RULE, &name(urgent), &self.instance).await {
            tracing::debug!(%error, call.sid = %urgent.call_sid, "an urgent notice could not be given back");
        }
    }

    /// Looks now and then which urgent items are open in the inbox, for ever.
    pub(super) async fn look_for_urgent(&self) {
        loop {
            sleep(self.settings.interval * LOOKED_EVERY).await;
            let since = Utc::now() - TimeDelta::from_std(self.unscaled(LONGEST)).unwrap_or_default();
            let Ok(found) = self.claims.log.urgent_since(since).await else { continue };
            // Told while the database was away: from now on the others know.
            let unshared = self.waiting.borrow().unshared();
            for urgent in unshared {
                if self.claim_urgent(&urgent).await.is_some() {
                    self.waiting.borrow_mut().shared(&urgent);
                }
            }
            self.compare(found).await;
        }
    }

    async fn compare(&self, found: Vec<(Urgent, bool)>) {
        let mut done = vec![];
        for (urgent, is_done) in found {
            let ago = self.ago(urgent.at);
            let mut waiting = self.waiting.borrow_mut();
            if is_done {
                done.extend(waiting.done(&urgent).then_some(urgent));
            } else {
                waiting.found(urgent, ago, self.now());
            }
        }
        self.metrics.urgent_open.set(self.waiting.borrow().len() as i64);
        self.urgent.0.more.notify_one();
        for urgent in done {
            self.resolve_urgent(&urgent).await;
        }
    }

    /// Ends the caller's incident, where a way has incidents. Best effort.
    async fn resolve_urgent(&self, urgent: &Urgent) {
        let notice = self.urgent_notice(Kind::Cleared, String::new(), urgent);
        for channel in self.channels.iter().filter(|channel| channel.way.has_incidents()) {
            let _ = tell(&channel.way, &notice, 1).await;
        }
    }
}

fn name(urgent: &Urgent) -> String {
    format!("{} {}", urgent.call_sid, urgent.dedupe_key)
}
