//! What the service refuses and fails to do, and what a call makes of it, as timelines.

use super::*;

#[test]
fn errors_are_fatal_if_they_end_the_agents_part() {
    let quota = r#"{"code":"insufficient_quota"}"#;
    for (event, expected) in [
        (r#"{"type":"error","error":{"code":"x","event_id":"truncate-a1"}}"#, (1, 0)),
        (r#"{"type":"error","error":{"code":"x","event_id":"configure"}}"#, (0, 1)),
        (r#"{"type":"error","error":{"code":"insufficient_quota"}}"#, (0, 1)),
        (
            &format!(
                r#"{{"type":"response.done","response":{{"id":"r1","status":"failed","status_details":{{"error":{quota}}}}}}}"#
            ),
            (0, 1),
        ),
    ] {
        let mut call = Timeline::admitted();
        call.service(10, r#"{"type":"session.created","session":{}}"#).created(10, "r1").service(20, event);
        let Errors { benign, fatal } = call.conversation.summary().errors;
        assert_eq!((benign, fatal), expected, "{event}");
        assert_eq!(call.end().is_some(), fatal == 1, "{event}");
    }
}

#[test]
fn benign_errors_end_nothing() {
    let mut call = Timeline::greeted();
    for code in ["response_cancel_not_active", "input_audio_buffer_commit_empty", "something_new"] {
        call.service(3_000, &format!(r#"{{"type":"error","error":{{"type":"x","code":"{code}"}}}}"#));
    }
    call.service(3_000, r#"{"type":"error","error":{"type":"server_error","code":null}}"#);
    assert_eq!(call.end(), None);
}

#[test]
fn an_answer_the_service_could_not_begin_is_asked_for_when_the_active_one_is_done() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
    call.service(
        4_500,
        r#"{"type":"error","error":{"code":"conversation_already_has_active_response","event_id":null}}"#,
    );
    assert_eq!(call.requests(), []);
    call.response_done(5_000, "r2", "cancelled", "a2", "");
    assert_eq!(call.requests(), [Request::Respond { number: 2 }]);
}

#[test]
fn a_bad_key_or_no_quota_ends_the_call_and_never_loops() {
    let refused = (CallEnd::new(Outcome::Failed, Reason::RealtimeRefused), NextStep::Human);
    let mut call = Timeline::admitted();
    call.service(10, r#"{"type":"error","error":{"code":"invalid_api_key"}}"#);
    assert_eq!(call.end(), Some(refused));
    call.at(20, Input::ServiceLost { fatal: false, cause: "closed", wait: None });
    assert_eq!(call.take(), [], "no effect after the end");

    let mut call = Timeline::ready();
    call.created(30, "r1").service(
        40,
        r#"{"type":"response.done","response":{"id":"r1","status":"failed","status_details":{"error":{"code":"insufficient_quota"}}}}"#,
    );
    assert_eq!(call.end(), Some(refused));
}

#[test]
fn a_failed_response_is_asked_for_again_when_the_service_says_so() {
    let mut call = Timeline::ready();
    call.created(30, "r1").service(
        1_000,
        r#"{"type":"response.done","response":{"id":"r1","status":"failed","status_details":{"error":{"code":"rate_limit_exceeded","message":"Please try again in 3.2s."}}}}"#,
    );
    call.at(4_199, Input::Tick);
    assert_eq!(call.requests(), []);
    call.at(4_200, Input::Tick);
    assert_eq!(call.requests(), [Request::Greet { number: 2 }]);
}

#[test]
fn a_response_that_could_not_begin_is_asked_for_again_and_not_for_ever() {
    let mut call = Timeline::ready();
    for (attempt, now) in (1u32..4).zip([1_000, 5_000, 9_000]) {
        call.service(
            now,
            &format!(
                r#"{{"type":"error","error":{{"type":"server_error","event_id":"respond-{attempt}"}}}}"#
            ),
        );
        assert_eq!((call.requests(), call.conversation.deadline()), (vec![], Some(now + 1_000)));
        call.at(now + 1_000, Input::Tick);
        assert_eq!(call.requests(), [Request::Greet { number: attempt + 1 }]);
    }
    call.service(12_000, r#"{"type":"error","error":{"type":"server_error","event_id":"respond-4"}}"#);
    let unavailable = CallEnd::new(Outcome::Failed, Reason::RealtimeUnavailable);
    assert_eq!(call.end(), Some((unavailable, NextStep::Human)));
}

/// The kinds of the events that were to be written.
fn events(effects: Vec<Effect>) -> Vec<&'static str> {
    let kinds = effects.into_iter().filter_map(|effect| match effect {
        Effect::WriteEvent { kind, .. } => Some(kind),
        _ => None,
    });
    kinds.collect()
}

#[test]
fn a_service_that_says_again_and_again_that_a_response_is_active_is_noted_once() {
    let mut call = Timeline::ready();
    let (mut noted, mut asked, mut refused) = (vec![], 1, 0);
    for now in (1_000..5_000).step_by(50) {
        if refused < asked {
            call.service(
                now,
                &format!(
                    r#"{{"type":"error","error":{{"code":"conversation_already_has_active_response","event_id":"respond-{asked}"}}}}"#
                ),
            );
            refused = asked;
        }
        call.at(now, Input::Tick);
        let done = call.take();
        asked += u32::from(done.iter().any(|effect| matches!(effect, Effect::Ask(Request::Greet { .. }))));
        noted.extend(events(done));
    }
    assert!(asked > 3, "it is asked again {asked} times");
    assert_eq!(noted, ["realtime-error"]);
}

#[test]
fn a_response_without_a_sound_is_noted_and_asked_for_again() {
    let mut call = Timeline::ready();
    call.created(30, "r1").service(
        1_000,
        r#"{"type":"response.done","response":{"id":"r1","status":"completed","output":[]}}"#,
    );
    let now = call.conversation.deadline().unwrap();
    call.at(now, Input::Tick);
    let done = call.take();
    assert!(done.contains(&Effect::Ask(Request::Greet { number: 2 })), "{done:?}");
    assert_eq!(events(done), ["response-without-sound"]);
}

#[test]
fn an_operator_gives_a_caller_to_a_person_and_not_one_whose_stream_is_not_open() {
    let mut call = Timeline::greeted();
    call.at(3_000, Input::ToPerson);
    let ends = call.take();
    let given = CallEnd::new(Outcome::Completed, Reason::Operator);
    assert!(
        matches!(ends.last(), Some(Effect::End { end, next: NextStep::Human, .. }) if *end == given),
        "{ends:?}"
    );
    let mut call = Timeline::ready();
    call.at(3_000, Input::ToPerson);
    assert_eq!(call.take(), [], "the caller has not come yet");
}
