//! Whole simulations: scripted callers, and what is reported of them.

use super::*;

#[actix_rt::test]
async fn a_bridge_that_is_away_leads_to_the_fallback() {
    let options = Options {
        url: Url::parse("http://127.0.0.1:1").unwrap(),
        calls: 1,
        seconds: 5 * SECOND,
        ramp: Duration::ZERO,
        quiet: true,
        ..Options::default()
    };
    let outcome = simulate(options).await.unwrap();
    let calls = &outcome.report.calls;
    assert_eq!((calls.asked, calls.failed, calls.fallback), (1, 1, 1));
    assert!(outcome.calls[0].events.iter().any(|(_, event)| *event == Event::Fallback(11205)));
    assert_eq!(outcome.calls[0].ear.heard(), [Heard::Said("We are sorry. Please call again.".into())]);
    assert_eq!(
        outcome.violations.iter().map(|violation| violation.kind.as_str()).collect::<Vec<_>>(),
        ["15003"]
    );
}

#[actix_rt::test]
async fn a_caller_who_is_told_that_all_lines_are_taken_is_refused() {
    let bridge = Bridge::answering("<Response><Say>All busy</Say><Hangup/></Response>", "text/xml").await;
    let outcome = simulate(Options { seconds: 5 * SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!((outcome.report.calls.refused, outcome.report.violations), (1, 0));
    let bridge = Bridge::answering("<Response><Reject reason=\"busy\"/></Response>", "text/xml").await;
    let outcome = simulate(Options { seconds: 5 * SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!(outcome.report.calls.refused, 1);
    assert_eq!(bridge.asked("/api/voice/call-status")[0].get("CallStatus"), "busy");
}

#[actix_rt::test]
async fn several_scripted_callers_talk_interrupt_and_are_all_fine() {
    let bridge = Bridge::start(Manner::Proper).await;
    let json = tempfile::NamedTempFile::new().unwrap();
    let options = Options { calls: 3, seconds: 8 * SECOND, ramp: SECOND / 2, ..bridge.options() };
    let outcome = simulate(Options { json: Some(json.path().into()), ..options }).await.unwrap();
    assert!(outcome.is_fine(), "{}", table::Table(&outcome));
    assert_eq!(outcome.report.calls.completed, 3);
    assert!(outcome.report.added_latency_ms.down.p99.is_some_and(|ms| ms < 100.0));
    assert!(outcome.report.barge_in_ms.p50.is_some_and(|ms| ms < 200.0), "{:?}", outcome.report.barge_in_ms);
    assert!(outcome.report.first_audio_ms.p50.is_some());
    assert_eq!(
        (outcome.report.cpu_seconds_per_call_minute, outcome.report.memory_kib_per_call),
        (None, None)
    );
    for call in &outcome.calls {
        let frames = f64::from(call.frames_sent);
        assert!((frames - call.length.as_secs_f64() * 50.0).abs() < 25.0, "{frames} in {:?}", call.length);
    }
}

#[actix_rt::test]
async fn a_lost_frame_of_the_agent_is_seen() {
    let bridge = Bridge::start(Manner::Loses).await;
    let outcome = simulate(Options { seconds: 2 * SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!(outcome.report.frames.as_ref().unwrap().lost, 1);
    assert!(!outcome.is_fine());
}

#[actix_rt::test]
async fn a_call_without_a_greeting_fails() {
    let bridge = Bridge::start(Manner::Mute).await;
    let outcome = simulate(Options { seconds: 12 * SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!(outcome.calls[0].verdict, Verdict::Failed("the agent was not heard within 10s".into()));
    assert!(outcome.calls[0].silence_ms >= 10_000);
    let outcome = simulate(Options { seconds: SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!(outcome.calls[0].verdict, Verdict::Failed("the agent was never heard".into()));
}

#[actix_rt::test]
async fn a_call_that_a_person_took_is_told_apart_and_counts_where_that_is_said() {
    let bridge = Bridge::start(Manner::HandsOver).await;
    for person_counts in [false, true] {
        let options = Options { seconds: 20 * SECOND, person_counts, ..bridge.options() };
        let outcome = simulate(options).await.unwrap();
        assert_eq!(outcome.calls[0].verdict, Verdict::WithPerson, "{}", table::Table(&outcome));
        assert_eq!(outcome.report.calls.with_person, 1);
        assert_eq!(outcome.is_fine(), person_counts, "{}", table::Table(&outcome));
    }
    let nobody =
        Options { seconds: 20 * SECOND, person: Person::Busy, person_counts: true, ..bridge.options() };
    let outcome = simulate(nobody).await.unwrap();
    assert!(!outcome.is_fine(), "{}", table::Table(&outcome));
}

#[actix_rt::test]
async fn callers_can_be_told_how_long_a_silence_they_bear() {
    let bridge = Bridge::start(Manner::Mute).await;
    let options = Options { seconds: 12 * SECOND, patience: SECOND, ..bridge.options() };
    let outcome = simulate(options).await.unwrap();
    assert_eq!(outcome.calls[0].verdict, Verdict::Failed("the agent was not heard within 1s".into()));
}

#[actix_rt::test]
async fn whoever_hangs_up_without_an_answer_has_waited_for_one_all_the_same() {
    let bridge = Bridge::start(Manner::Greets).await;
    let outcome = simulate(Options { seconds: 10 * SECOND, ..bridge.options() }).await.unwrap();
    let call = &outcome.calls[0];
    assert_eq!(call.verdict, Verdict::Completed);
    assert!(matches!(call.answers[..], [waited] if waited > 2 * SECOND), "{:?}", call.answers);
    assert!(outcome.report.turn_ms.p50.is_some_and(|ms| ms > 2_000.0));
}

#[actix_rt::test]
async fn a_scripted_caller_who_is_put_off_waits_on_until_there_is_silence_for_ten_seconds() {
    let (patient, left) =
        join(Bridge::start(Manner::PutsOff(3)), Bridge::start(Manner::PutsOffForEver)).await;
    let options = |bridge: &Bridge| Options { seconds: 14 * SECOND, ..bridge.options() };
    let (patient, left) = join(simulate(options(&patient)), simulate(options(&left))).await;

    let patient = patient.unwrap();
    assert_eq!(patient.report.calls.completed, 1, "{}", table::Table(&patient));
    let call = &patient.calls[0];
    assert!(
        call.first_audio > Some(11 * SECOND),
        "more than any silence that is borne: {:?}",
        call.first_audio
    );
    assert!(call.silence_ms < 10_000, "{} ms", call.silence_ms);

    let left = left.unwrap();
    assert_eq!(left.calls[0].verdict, Verdict::Failed("the agent was not heard within 10s".into()));
    let waited = left.calls[0].length;
    assert!(waited > 10 * SECOND + SECOND / 2, "silence begins where the phrase ends: {waited:?}");
}

#[actix_rt::test]
async fn callers_who_are_together_hang_up_together_and_only_that_time_is_measured() {
    let bridge = Bridge::start(Manner::Proper).await;
    let options =
        Options { calls: 4, seconds: 3 * SECOND, ramp: 2 * SECOND, together: true, ..bridge.options() };
    let outcome = simulate(options).await.unwrap();
    assert!(outcome.is_fine(), "{}", table::Table(&outcome));
    let (first, last) = (&outcome.calls[0], &outcome.calls[3]);
    assert!(first.length > last.length + SECOND, "{:?}, {:?}", first.length, last.length);
    assert!(last.length > 3 * SECOND, "{:?}", last.length);
    for call in &outcome.calls {
        assert!((100..=152).contains(&call.counted.len()), "{:?} of {}", call.counted, call.frames_sent);
    }
    assert!(first.counted.start > 80, "{:?}", first.counted);
    assert!(outcome.report.own_cores.is_some_and(|cores| cores > 0.0));
}

#[actix_rt::test]
async fn when_the_observer_has_seen_enough_all_hang_up_and_nobody_rings_any_more() {
    let bridge = Bridge::start(Manner::Proper).await;
    let options = Options { calls: 10, seconds: 60 * SECOND, ramp: 20 * SECOND, ..bridge.options() };
    let observer =
        |glance: Glance| if glance.live >= 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let run = simulate_observed(Options { together: true, ..options }, observer);
    let outcome = timeout(10 * SECOND, run).await.expect("nobody waits for the others").unwrap();
    let calls = &outcome.report.calls;
    assert!((1..=3).contains(&calls.asked) && calls.completed == calls.asked, "{calls:?}");
}

#[test]
fn the_auth_token_is_not_printed() {
    let options = Options { auth_token: Some(Secret::new(TOKEN.to_owned())), ..Options::default() };
    assert!(!format!("{options:?}").contains(TOKEN));
}
