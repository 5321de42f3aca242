//! How the process is, from what it knows: one answer for `/healthz`, the page and the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::realtime::events::ServiceError;
use crate::wire::realtime::socket::ConnectError;

pub use self::explain::{Explanation, News, explain, news};
pub use self::fault::{Fault, Refusal};

mod explain;
mod fault;

/// Records may wait so long before it is a fault; a batch is written within a second.
const MAX_WAIT_SECONDS: i64 = 10;
/// How long an outcome of the Realtime service counts.
const WINDOW: Duration = Duration::from_secs(300);
/// More are not kept; the oldest gives way.
const MAX_OUTCOMES: usize = 64;
/// One failed attempt in a row is bad luck; so many are a fault.
const FAILURES: usize = 2;
/// Of a text that the service sends.
const MAX_TEXT: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Healthy,
    /// It answers, and takes no writes.
    ReadOnly,
    Unavailable,
}

impl Database {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::ReadOnly => "readOnly",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What came of a request to the Realtime service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Connected,
    NotConnected,
    /// A response was made.
    Answered,
    /// A response failed, and may succeed when asked for again.
    Failed,
    /// The service will say no again: key, quota, voice or model.
    Refused,
}

/// What the process knows.
#[derive(Debug, Clone)]
pub struct Known {
    pub is_ending: bool,
    pub database: Database,
    /// For how long the oldest record has been waiting for the database.
    pub oldest_seconds: i64,
    /// Records that the database refuses.
    pub aside: usize,
    /// Of the last minutes, the oldest first.
    pub realtime: Vec<Outcome>,
    /// The database refuses to process Twilio's status callbacks here.
    pub refuses_webhooks: bool,
    /// No slot is free.
    pub is_full: bool,
    /// The agent file is not what new calls have: it is faulty, or refused, or could not be tried.
    pub agent_is_stale: bool,
    /// Instances share limits, and this one counts alone.
    pub redis_is_away: bool,
    /// The certificate in the files is not the one that is shown: it is faulty.
    pub certificate_is_stale: bool,
    /// The certificate that is shown has ended or ends soon.
    pub certificate_is_ending: bool,
    pub bypasses_validation: bool,
    pub api_is_open: bool,
    /// Logins are required, and nobody can log in.
    pub has_no_users: bool,
}

/// Every cause there is.
pub const CAUSES: [&str; 6] = [
    "database-read-only",
    "database-unavailable",
    "records-wait",
    "realtime-refused",
    "realtime-unreachable",
    "realtime-responses-fail",
];
/// Every warning there is.
pub const WARNINGS: [&str; 10] = [
    "records-set-aside",
    "webhooks-refused",
    "full-house",
    "agent-file-not-used",
    "redis-away",
    "certificate-not-used",
    "certificate-ends-soon",
    "twilio-validation-bypassed",
    "api-auth-off",
    "no-users",
];

/// How the process is. Causes and warnings are names, not texts: whoever asks may see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// `healthy`, `degraded` or `draining`.
    pub status: &'static str,
    pub database: Database,
    pub realtime_fails: bool,
    /// Why it is not healthy.
    pub causes: Vec<&'static str>,
    /// What someone should look at although calls are answered and written down.
    pub warnings: Vec<&'static str>,
}

/// "Healthy" means that the agent answers calls and records reach the database.
pub fn assess(known: &Known) -> State {
    let realtime = realtime_fault(&known.realtime);
    let database = match known.database {
        Database::Healthy => None,
        Database::ReadOnly => Some("database-read-only"),
        Database::Unavailable => Some("database-unavailable"),
    };
    let late = (known.oldest_seconds >= MAX_WAIT_SECONDS).then_some("records-wait");
    let causes: Vec<_> = [database, late, realtime].into_iter().flatten().collect();
    let status = match (known.is_ending, causes.is_empty()) {
        (true, _) => "draining",
        (false, true) => "healthy",
        (false, false) => "degraded",
    };
    let warnings = [
        (known.aside > 0, "records-set-aside"),
        (known.refuses_webhooks, "webhooks-refused"),
        (known.is_full, "full-house"),
        (known.agent_is_stale, "agent-file-not-used"),
        (known.redis_is_away, "redis-away"),
        (known.certificate_is_stale, "certificate-not-used"),
        (known.certificate_is_ending, "certificate-ends-soon"),
        (known.bypasses_validation, "twilio-validation-bypassed"),
        (known.api_is_open, "api-auth-off"),
        (known.has_no_users, "no-users"),
    ];
    State {
        status,
        database: known.database,
        realtime_fails: realtime.is_some(),
        causes,
        warnings: warnings.into_iter().filter_map(|(is_so, name)| is_so.then_some(name)).collect(),
    }
}

/// A socket that opens says nothing about the responses that follow: only an answer clears those that failed.
fn realtime_fault(outcomes: &[Outcome]) -> Option<&'static str> {
    let since = |cleared_by: &[Outcome]| {
        let last = outcomes.iter().rposition(|outcome| cleared_by.contains(outcome));
        outcomes.get(last.map_or(0, |last| last + 1)..).unwrap_or_default()
    };
    let count = |outcomes: &[Outcome], which| outcomes.iter().filter(|outcome| **outcome == which).count();
    let unanswered = since(&[Outcome::Answered]);
    let unconnected = since(&[Outcome::Answered, Outcome::Connected]);
    if count(unanswered, Outcome::Refused) > 0 {
        return Some("realtime-refused");
    }
    if count(unconnected, Outcome::NotConnected) >= FAILURES {
        return Some("realtime-unreachable");
    }
    (count(unanswered, Outcome::Failed) >= FAILURES).then_some("realtime-responses-fail")
}

/// What came of the last requests to the Realtime service; a clone writes into the same list.
#[derive(Clone, Default)]
pub struct RealtimeLog(Arc<Mutex<Outcomes>>);

#[derive(Default)]
struct Outcomes {
    last: VecDeque<(Instant, Outcome)>,
    /// Code, parameter and value of the fault that was logged last; none since an answer.
    told: Option<(String, String, String)>,
    /// Failures since then.
    failures: u64,
    /// Calls that were given to a person since then.
    handed_over: u64,
    /// Where what the service is told comes from.
    places: Vec<(&'static str, String)>,
    /// Why the agent that answers was refused when it was tried; none since an answer. Unlike the rest it
    /// does not age.
    refused: Option<Refusal>,
}

impl RealtimeLog {
    pub fn note(&self, outcome: Outcome) {
        self.note_at(outcome, Instant::now());
    }

    fn note_at(&self, outcome: Outcome, now: Instant) {
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if outcomes.last.len() >= MAX_OUTCOMES {
            outcomes.last.pop_front();
        }
        outcomes.last.push_back((now, outcome));
        if outcome != Outcome::Answered {
            return;
        }
        outcomes.refused = None;
        if outcomes.told.take().is_some() {
            let failures = std::mem::take(&mut outcomes.failures);
            let handed_over = std::mem::take(&mut outcomes.handed_over);
            tracing::warn!(failures, calls_handed_over = handed_over, "the Realtime service answers again");
        }
    }

    /// The service said no; what it said is logged when it is not what it said last. `is_final`: it will say
    /// so again.
    pub fn note_error(&self, error: &ServiceError, is_final: bool) {
        let outcome = if is_final { Outcome::Refused } else { Outcome::Failed };
        self.fault(outcome, &Fault::of(error));
    }

    /// A session of our own came to nothing, and may succeed when it is tried again.
    pub fn note_failed(&self, fault: &Fault) {
        self.fault(Outcome::Failed, fault);
    }

    /// The agent that answers was tried, and the service refuses it: so it is until it answers.
    pub fn note_refused(&self, fault: &Fault) {
        self.fault(Outcome::Refused, fault);
        let Fault { code, parameter, value, .. } = fault;
        let mut outcomes = self.lock();
        let refusal = Refusal {
            code: short(code),
            parameter: short(parameter),
            value: short(value),
            setting: fault.place_in(&outcomes.places),
        };
        outcomes.refused = Some(refusal);
    }

    /// What the service refuses of the agent that answers, as its trial has shown.
    pub fn refused(&self) -> Option<Refusal> {
        self.lock().refused.clone()
    }

    /// Has faults named with the setting that they are about: `key`, `model`, `voice`, `instructions` or
    /// `language`, and the place of each.
    pub fn explain(&self, places: Vec<(&'static str, String)>) {
        self.lock().places = places;
    }

    /// There is no socket: logged once, however many calls try.
    pub fn note_unconnected(&self, error: &ConnectError) {
        let is_refused = matches!(error, ConnectError::Refused { .. });
        let outcome = if is_refused { Outcome::Refused } else { Outcome::NotConnected };
        self.fault(outcome, &Fault::of_connect(error));
    }

    /// A call was given to a person because the agent could not be had. Where nothing was heard of the
    /// service that says why, this is the news.
    pub fn note_handed_over(&self) {
        let mut outcomes = self.lock();
        outcomes.handed_over += 1;
        if outcomes.told.is_none() {
            outcomes.told = Some(("no-answer".to_owned(), String::new(), String::new()));
            drop(outcomes);
            tracing::warn!("the Realtime service does not answer: a call is given to a person");
        }
    }

    fn fault(&self, outcome: Outcome, fault: &Fault) {
        self.note(outcome);
        let Fault { code, parameter, value, text } = fault;
        if self.is_news(code, parameter, value) {
            let setting = fault.place_in(&self.lock().places);
            tracing::warn!(
                code = short(code),
                parameter = short(parameter),
                value = short(value),
                text = short(text),
                setting,
                "the Realtime service fails: calls may be given to a person until it answers"
            );
        }
    }

    /// Whether it is not what was said last. One without a value is the same as one with it.
    fn is_news(&self, code: &str, parameter: &str, value: &str) -> bool {
        let mut outcomes = self.lock();
        outcomes.failures += 1;
        let is_same = outcomes.told.as_ref().is_some_and(|(last_code, last_parameter, last_value)| {
            let is_value = value.is_empty() || last_value.is_empty() || value == last_value;
            code == last_code && parameter == last_parameter && is_value
        });
        if !is_same {
            outcomes.told = Some((code.to_owned(), parameter.to_owned(), value.to_owned()));
        }
        !is_same
    }

    fn lock(&self) -> MutexGuard<'_, Outcomes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the last minutes, the oldest first.
    pub fn recent(&self) -> Vec<Outcome> {
        self.recent_at(Instant::now())
    }

    fn recent_at(&self, now: Instant) -> Vec<Outcome> {
        let outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < WINDOW;
        let recent = outcomes.last.iter().filter(|(at, _)| is_recent(at)).map(|(_, outcome)| *outcome);
        outcomes.refused.as_ref().map(|_| Outcome::Refused).into_iter().chain(recent).collect()
    }
}

/// As much of a text of the service as is told.
pub fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests;
