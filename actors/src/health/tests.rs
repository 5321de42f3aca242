//! Tests of the health.

use super::Outcome::{Answered, Connected, Failed, NotConnected, Refused};
use super::*;

fn well() -> Known {
    Known {
        is_ending: false,
        database: Database::Healthy,
        oldest_seconds: 0,
        aside: 0,
        refuses_webhooks: false,
        realtime: vec![],
        is_full: false,
        agent_is_stale: false,
        redis_is_away: false,
        certificate_is_stale: false,
        certificate_is_ending: false,
        bypasses_validation: false,
        api_is_open: false,
        has_no_users: false,
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
        refuses_webhooks: true,
        is_full: true,
        agent_is_stale: true,
        redis_is_away: true,
        certificate_is_stale: true,
        certificate_is_ending: true,
        bypasses_validation: true,
        api_is_open: true,
        has_no_users: true,
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
    let news = ["voice", "voice", "model"].map(|parameter| log.is_news("invalid_value", parameter, ""));
    assert_eq!(news, [true, false, true]);
    log.note(Answered);
    let news = ["nova", "", "nova", "vega"].map(|value| log.is_news("invalid_value", "voice", value));
    assert_eq!(news, [true, false, false, true]);
}

/// The lines that `work` logs.
fn logged(work: impl FnOnce()) -> Vec<String> {
    let log = Lines::default();
    let lines = log.clone();
    tracing::subscriber::with_default(lines, work);
    log.0.lock().unwrap().clone()
}

/// Level and fields of each event.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line += &format!(" {field}={value:?}");
        });
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn an_outage_is_a_line_at_its_begin_and_one_at_its_end_with_counts() {
    let lines = logged(|| {
        let log = RealtimeLog::default();
        for _ in 0..4 {
            (0..4).for_each(|_| log.note_unconnected(&ConnectError::Failed("refused".to_owned())));
            log.note_handed_over();
        }
        log.note(Connected);
        log.note(Answered);
        log.note(Answered);
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("code=\"connect-failed\""), "{lines:?}");
    assert!(lines[1].contains("failures=16 calls_handed_over=4"), "{lines:?}");
}

#[test]
fn a_service_that_is_silent_is_news_when_the_first_call_is_handed_over() {
    let lines = logged(|| {
        let log = RealtimeLog::default();
        (0..3).for_each(|_| log.note_handed_over());
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn what_a_trial_was_refused_stays_so_until_the_service_answers() {
    let fault = Fault {
        code: "invalid_value".to_owned(),
        parameter: "session.audio.output.voice".to_owned(),
        value: "nova".to_owned(),
        ..Fault::default()
    };
    let log = RealtimeLog::default();
    log.explain(vec![("voice", "agent.toml:4".to_owned())]);
    let lines = logged(|| (0..2).for_each(|_| log.note_refused(&fault)));
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in
        ["WARN", "parameter=\"session.audio.output.voice\"", "value=\"nova\"", "setting=\"agent.toml:4\""]
    {
        assert!(lines[0].contains(part), "{lines:?}");
    }
    let later = log.recent_at(Instant::now() + WINDOW);
    assert_eq!(realtime_fault(&later), Some("realtime-refused"));
    assert_eq!(log.refused().map(|refusal| refusal.setting), Some("agent.toml:4".to_owned()));
    log.note(Answered);
    assert_eq!((log.refused(), realtime_fault(&log.recent())), (None, None));
}

#[test]
fn a_refused_voice_is_named_with_the_line_of_the_agent_file() {
    let error = ServiceError {
        code: Some("invalid_value".to_owned()),
        param: Some("session.audio.output.voice".to_owned()),
        ..ServiceError::default()
    };
    let lines = logged(|| {
        let log = RealtimeLog::default();
        log.explain(vec![("key", "OPENAI_API_KEY".to_owned()), ("voice", "agent.toml:4".to_owned())]);
        log.note_error(&error, true);
        log.note_unconnected(&ConnectError::Refused { status: 401 });
        log.note_unconnected(&ConnectError::TimedOut);
    });
    let settings = lines.iter().map(|line| line.split("setting=").nth(1).unwrap_or_default());
    let expected = ["\"agent.toml:4\"", "\"OPENAI_API_KEY\"", "\"\""];
    assert!(settings.zip(expected).all(|(told, expected)| told.starts_with(expected)), "{lines:?}");
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_used_up_quota_is_named_with_its_code_parameter_and_text() {
    let error = ServiceError {
        code: Some("insufficient_quota".to_owned()),
        param: Some("session".to_owned()),
        message: Some("You exceeded your current quota".to_owned()),
        ..ServiceError::default()
    };
    let lines = logged(|| {
        let log = RealtimeLog::default();
        (0..3).for_each(|_| log.note_error(&error, error.is_fatal()));
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in ["WARN", "insufficient_quota", "parameter=\"session\"", "exceeded your current quota"] {
        assert!(lines[0].contains(part), "{lines:?}");
    }
}
