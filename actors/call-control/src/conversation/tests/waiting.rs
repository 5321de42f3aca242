//! What becomes of a caller who waits, as timelines.

use super::*;

#[test]
fn a_service_that_is_slow_to_its_first_sound_is_waited_for_and_bridged() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_100, "r2");
    for now in (4_200..14_100).step_by(100) {
        call.at(now, Input::Pong).at(now, Input::Tick);
    }
    let done = call.take();
    assert!(!done.iter().any(|effect| matches!(effect, Effect::Connect { .. })), "{done:?}");
    call.delta(14_100, "r2", "a2");
    assert!(call.take().iter().any(|effect| matches!(effect, Effect::Play(_))));
}

#[test]
fn a_caller_who_gets_no_answer_for_half_a_minute_gets_a_person() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1");
    let ended = (4_100..60_000).step_by(100).find_map(|now| {
        call.service(now, r#"{"type":"response.output_audio_transcript.delta","response_id":"r2","item_id":"a2","delta":"er"}"#);
        call.created(now, "r2").at(now, Input::Tick);
        call.end().map(|end| (now, end))
    });
    let unavailable = CallEnd::new(Outcome::Failed, Reason::RealtimeUnavailable);
    assert_eq!(ended, Some((34_000, (unavailable, NextStep::Human))));
}

#[test]
fn a_wait_that_is_too_long_for_a_caller_means_a_person_now() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
    call.service(
        4_500,
        r#"{"type":"response.done","response":{"id":"r2","status":"failed","status_details":{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached. Please try again in 6m0s."}}}}"#,
    );
    let unavailable = CallEnd::new(Outcome::Failed, Reason::RealtimeUnavailable);
    assert_eq!(call.end(), Some((unavailable, NextStep::Human)));
}

#[test]
fn a_service_that_does_not_hear_the_caller_is_replaced_and_then_a_person_takes_over() {
    let mut call = Timeline::greeted();
    let mut replaced_at = vec![];
    let ended = (4_000..60_000).step_by(500).find_map(|now| {
        call.at(now, Input::CallerLoud).at(now, Input::Pong).at(now, Input::Tick);
        let done = call.take();
        if done.iter().any(|effect| matches!(effect, Effect::Connect { .. })) {
            replaced_at.push(now);
            call.service(now, r#"{"type":"session.created","session":{}}"#);
            call.service(now, r#"{"type":"session.updated","session":{}}"#);
            call.created(now, "r2");
        }
        done.iter().find_map(|effect| match effect {
            Effect::End { end, next, .. } => Some((now, *end, *next)),
            _ => None,
        })
    });
    let unavailable = CallEnd::new(Outcome::Failed, Reason::RealtimeUnavailable);
    assert_eq!((replaced_at, ended), (vec![14_000], Some((24_500, unavailable, NextStep::Human))));
}

#[test]
fn an_utterance_whose_end_is_never_told_ends_and_is_answered() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000);
    let answered = (3_500..60_000).step_by(500).find(|now| {
        call.at(*now, Input::Pong).at(*now, Input::Tick);
        call.requests().iter().any(|request| matches!(request, Request::Respond { .. }))
    });
    assert_eq!(answered, Some(33_000), "half a minute after the last sign of their voice");
}
