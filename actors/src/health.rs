//! How the process is, from what it knows: one answer for `/healthz`, the page and the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::realtime::events::ServiceError;

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
    /// No slot is free.
    pub is_full: bool,
    pub bypasses_validation: bool,
    pub api_is_open: bool,
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
pub const WARNINGS: [&str; 4] =
    ["records-set-aside", "full-house", "twilio-validation-bypassed", "api-auth-off"];

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
        (known.is_full, "full-house"),
        (known.bypasses_validation, "twilio-validation-bypassed"),
        (known.api_is_open, "api-auth-off"),
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
    /// Code and parameter of the fault that was logged last; none since an answer.
    told: Option<(String, String)>,
    /// Failures since then.
    failures: u64,
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
        if outcome == Outcome::Answered && outcomes.told.take().is_some() {
            let failures = std::mem::take(&mut outcomes.failures);
            tracing::info!(failures, "the Realtime service answers again");
        }
    }

    /// The service said no; what it said is logged when it is not what it said last.
    pub fn note_error(&self, error: &ServiceError) {
        self.note(if error.is_fatal() { Outcome::Refused } else { Outcome::Failed });
        if self.is_news(error) {
            let short = |text: &Option<String>| {
                text.as_deref().unwrap_or_default().chars().take(MAX_TEXT).collect::<String>()
            };
            tracing::warn!(
                code = short(&error.code),
                parameter = short(&error.param),
                text = short(&error.message),
                "the Realtime service refuses"
            );
        }
    }

    fn is_news(&self, error: &ServiceError) -> bool {
        let name = (error.code().to_owned(), error.param.clone().unwrap_or_default());
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.failures += 1;
        outcomes.told.replace(name.clone()) != Some(name)
    }

    /// Those of the last minutes, the oldest first.
    pub fn recent(&self) -> Vec<Outcome> {
        self.recent_at(Instant::now())
    }

    fn recent_at(&self, now: Instant) -> Vec<Outcome> {
        let outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < WINDOW;
        outcomes.last.iter().filter(|(at, _)| is_recent(at)).map(|(_, outcome)| *outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Answered, Connected, Failed, NotConnected, Refused};
    use super::*;

    fn well() -> Known {
        Known {
            is_ending: false,
            database: Database::Healthy,
            oldest_seconds: 0,
            aside: 0,
            realtime: vec![],
            is_full: false,
            bypasses_validation: false,
            api_is_open: false,
        }
    }

    fn causes(known: Known) -> (&'static str, Vec<&'static str>) {
        let state = assess(&known);
        (state.status, state.causes)
    }

    #[test]
    fn a_process_is_healthy_only_while_records_reach_the_database() {
        assert_eq!(causes(well()), ("healthy", vec![]));
        assert_eq!(causes(Known { oldest_seconds: 9, ..well() }), ("healthy", vec![]));
        assert_eq!(causes(Known { oldest_seconds: 38, ..well() }), ("degraded", vec!["records-wait"]));
        for (database, cause) in
            [(Database::ReadOnly, "database-read-only"), (Database::Unavailable, "database-unavailable")]
        {
            assert_eq!(causes(Known { database, ..well() }), ("degraded", vec![cause]));
            assert_eq!(causes(Known { database, is_ending: true, ..well() }), ("draining", vec![cause]));
        }
    }

    #[test]
    fn a_process_is_healthy_only_while_the_agent_answers() {
        for (realtime, cause) in [
            (vec![Connected, Answered, NotConnected, NotConnected], Some("realtime-unreachable")),
            (vec![Answered, NotConnected], None),
            (vec![NotConnected, NotConnected, Connected], None),
            (vec![Refused, Connected], Some("realtime-refused")),
            (vec![Refused, Connected, Answered], None),
            (vec![Failed, Connected, Failed], Some("realtime-responses-fail")),
            (vec![Failed, Answered, Failed], None),
        ] {
            let state = assess(&Known { realtime: realtime.clone(), ..well() });
            assert_eq!(state.causes, Vec::from_iter(cause), "{realtime:?}");
            assert_eq!(state.realtime_fails, cause.is_some(), "{realtime:?}");
            assert!(state.causes.iter().all(|cause| CAUSES.contains(cause)), "{realtime:?}");
        }
    }

    #[test]
    fn what_stops_no_call_is_a_warning() {
        let state = assess(&Known {
            aside: 1,
            is_full: true,
            bypasses_validation: true,
            api_is_open: true,
            ..well()
        });
        assert_eq!((state.status, state.warnings), ("healthy", WARNINGS.to_vec()));
    }

    #[test]
    fn outcomes_are_bounded_in_number_and_in_age() {
        let (log, start) = (RealtimeLog::default(), Instant::now());
        (0..2 * MAX_OUTCOMES).for_each(|_| log.note_at(Refused, start));
        assert_eq!(log.recent_at(start).len(), MAX_OUTCOMES);
        assert_eq!(log.recent_at(start + WINDOW), []);
    }

    #[test]
    fn what_the_service_refuses_is_news_once_until_it_changes_or_an_answer_comes() {
        let log = RealtimeLog::default();
        let error = |param: &str| ServiceError {
            code: Some("invalid_value".to_owned()),
            param: Some(param.to_owned()),
            ..ServiceError::default()
        };
        let news = [error("voice"), error("voice"), error("model")].map(|error| log.is_news(&error));
        assert_eq!(news, [true, false, true]);
        log.note(Answered);
        assert!(log.is_news(&error("model")));
    }
}
