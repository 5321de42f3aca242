use super::*;

/// A response is heard and ends.
fn heard(responses: &mut Responses, id: &str) {
    assert!(responses.audio(id, 0));
    assert_eq!(responses.done(id, false, 0, 0), Ended::Well);
}

#[test]
fn a_second_response_waits_for_the_first() {
    let mut responses = Responses::default();
    responses.greet();
    assert_eq!(responses.ask(false, 0), Some(Ask { number: 1, greeting: true }));
    responses.output_sent();
    responses.want();
    assert_eq!(responses.ask(false, 0), None, "requested");
    responses.created("r1", None, false, 0);
    assert_eq!(responses.ask(false, 0), None, "active");
    heard(&mut responses, "r1");
    assert_eq!(responses.ask(false, 0), Some(Ask { number: 2, greeting: false }));
}

#[test]
fn the_services_own_answer_makes_ours_needless_if_it_knew_the_output() {
    let mut responses = Responses::default();
    responses.utterance_committed(0);
    responses.output_sent();
    responses.want();
    responses.output_seen();
    responses.created("r1", None, false, 0);
    heard(&mut responses, "r1");
    assert_eq!(responses.ask(false, 10), None);

    responses.utterance_committed(20);
    responses.output_sent();
    responses.want();
    responses.created("r2", None, false, 0);
    responses.output_seen();
    heard(&mut responses, "r2");
    assert!(responses.ask(false, 30).is_some(), "the answer was made before the output came");
}

#[test]
fn an_answer_that_does_not_come_is_asked_for() {
    let mut responses = Responses::default();
    responses.utterance_committed(1_000);
    assert_eq!(responses.ask(false, 1_100), None);
    assert_eq!(responses.deadline(false), Some(6_000));
    assert!(responses.ask(false, 6_000).is_some());
}

#[test]
fn an_utterance_that_ends_while_a_response_is_active_is_answered_after_it() {
    let mut responses = Responses::default();
    responses.utterance_committed(0);
    responses.created("r1", None, false, 0);
    responses.utterance_committed(100);
    assert_eq!(responses.ask(false, 100), None);
    heard(&mut responses, "r1");
    assert!(responses.ask(false, 200).is_some());
}

#[test]
fn what_begins_while_the_caller_speaks_is_cancelled() {
    let mut responses = Responses::default();
    responses.utterance_committed(0);
    assert_eq!(responses.created("r1", None, true, 0), Some(Cancel(Some("r1".into()))));
    assert!(!responses.audio("r1", 0));
}

#[test]
fn a_request_can_be_cancelled_before_it_has_a_name() {
    let mut responses = Responses::default();
    responses.greet();
    responses.ask(false, 0);
    assert_eq!(responses.cancel(0), Some(Cancel(None)));
    assert_eq!(responses.cancel(0), None);
    assert_eq!(
        responses.created("r1", None, false, 0),
        Some(Cancel(Some("r1".into()))),
        "now that it has one"
    );
    assert!(!responses.audio("r1", 0));
}

#[test]
fn a_refusal_because_of_an_active_response_asks_again_later() {
    let mut responses = Responses::default();
    responses.greet();
    responses.ask(false, 0);
    responses.refused(None, 0);
    assert_eq!(responses.ask(false, 249), None);
    assert_eq!(responses.ask(false, 250), Some(Ask { number: 2, greeting: true }), "still the greeting");
    responses.created("r1", None, false, 0);
    responses.refused(None, 250);
    assert_eq!(responses.ask(false, 250), None);
    heard(&mut responses, "r1");
    assert!(responses.ask(false, 250).is_some());
}

#[test]
fn refusals_in_a_row_are_followed_by_doubling_pauses_and_then_given_up() {
    let mut responses = Responses::default();
    responses.want();
    let (mut now, mut asked_at) = (0, vec![]);
    loop {
        assert!(responses.ask(false, now).is_some());
        asked_at.push(now);
        if responses.refused(None, now) == AfterFailure::GiveUp {
            break;
        }
        now = responses.deadline(false).unwrap();
    }
    assert_eq!(asked_at, [0, 250, 750, 1_750, 3_750, 7_750]);
}

#[test]
fn the_late_failure_of_an_earlier_response_does_not_silence_the_active_one() {
    let mut responses = Responses::default();
    responses.created("r1", None, false, 0);
    responses.created("r2", None, false, 0);
    assert_eq!(responses.failed("r1", 1_000, 0), AfterFailure::Retry);
    assert!(responses.audio("r2", 0));
    heard(&mut responses, "r2");
    assert_eq!(responses.ask(false, 5_000), None, "nothing is owed");
}

#[test]
fn a_cancelled_response_that_never_ends_counts_as_ended_after_three_seconds() {
    let mut responses = Responses::default();
    responses.utterance_committed(0);
    responses.created("r1", None, false, 0);
    responses.cancel(0);
    responses.utterance_committed(100);
    assert_eq!(responses.ask(false, 100), None);
    assert_eq!(responses.deadline(false), Some(3_000));
    assert_eq!(responses.ask(false, 2_999), None);
    assert!(responses.ask(false, 3_000).is_some());
}

#[test]
fn what_waits_for_the_caller_to_finish_waits_for_no_moment() {
    let mut responses = Responses::default();
    responses.greet();
    assert_eq!(responses.deadline(true), None);
    assert_eq!(responses.deadline(false), Some(0));
}

#[test]
fn a_response_that_has_begun_gets_more_time_to_its_first_sound_than_one_that_has_not() {
    let mut responses = Responses::default();
    responses.greet();
    assert!(!responses.is_stuck(100_000), "nothing was asked for");
    responses.ask(false, 0);
    assert!(!responses.is_stuck(7_999) && responses.is_stuck(8_000));
    responses.created("r1", Some(1), false, 7_000);
    assert!(!responses.is_stuck(21_999) && responses.is_stuck(22_000));
    assert!(responses.audio("r1", 17_000));
    assert_eq!((responses.is_stuck(24_999), responses.deadline(false)), (false, Some(25_000)));
    responses.done("r1", false, 0, 0);
    assert!(!responses.is_stuck(100_000));
}

#[test]
fn only_an_event_that_names_a_response_is_progress_of_it() {
    let mut responses = Responses::default();
    responses.created("r1", None, false, 0);
    responses.progress("r0", 10_000);
    assert!(responses.is_stuck(15_000));
    responses.progress("r1", 10_000);
    assert!(!responses.is_stuck(24_999) && responses.is_stuck(25_000));
}

#[test]
fn responses_that_end_without_a_sound_are_asked_for_again_twice() {
    let mut responses = Responses::default();
    responses.utterance_committed(0);
    for (round, expected) in [
        Ended::Silent(AfterFailure::Retry),
        Ended::Silent(AfterFailure::Retry),
        Ended::Silent(AfterFailure::GiveUp),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("r{round}");
        responses.created(&id, None, false, 0);
        assert_eq!(responses.done(&id, false, 1_000, 0), expected);
        let _ = responses.ask(false, 1_000);
    }
    let mut responses = Responses::default();
    responses.created("r1", None, false, 0);
    assert_eq!(responses.done("r1", true, 1_000, 0), Ended::Well, "it calls a function");
    responses.created("r2", None, true, 0);
    assert_eq!(responses.done("r2", false, 1_000, 0), Ended::Well, "it was cancelled");
}

#[test]
fn an_agent_that_calls_functions_and_never_speaks_is_given_up() {
    let mut responses = Responses::default();
    let ends = |round: u32, responses: &mut Responses| {
        responses.created(&format!("r{round}"), None, false, 0);
        responses.done(&format!("r{round}"), true, 0, 0)
    };
    assert!((0..MAX_CALLING).all(|round| ends(round, &mut responses) == Ended::Well));
    assert_eq!(ends(99, &mut responses), Ended::Silent(AfterFailure::GiveUp));
}

#[test]
fn a_response_is_known_by_the_number_that_we_gave_it() {
    let mut responses = Responses::default();
    responses.greet();
    responses.ask(false, 0);
    responses.cancel(0);
    responses.utterance_committed(100);
    assert_eq!(
        responses.created("own", None, false, 200),
        Some(Cancel(Some("own".into()))),
        "the greeting is due"
    );
    assert_eq!(
        responses.created("r1", Some(1), false, 300),
        Some(Cancel(Some("r1".into()))),
        "it was given up"
    );
    assert!(!responses.audio("own", 300) && !responses.audio("r1", 300));
    responses.done("own", false, 0, 400);
    assert_eq!(
        responses.ask(false, 400),
        Some(Ask { number: 2, greeting: true }),
        "never heard, so still due"
    );
}

#[test]
fn a_greeting_that_begins_after_its_cancel_is_cancelled_again_by_its_id_and_stays_due() {
    let mut responses = Responses::default();
    responses.greet();
    responses.ask(false, 0);
    assert_eq!(responses.cancel(10), Some(Cancel(None)));
    assert_eq!(responses.created("r1", Some(1), true, 50), Some(Cancel(Some("r1".into()))));
    responses.utterance_committed(900);
    responses.done("r1", false, 0, 950);
    assert_eq!(responses.ask(false, 950), Some(Ask { number: 2, greeting: true }));
}

#[test]
fn a_response_whose_beginning_was_not_told_is_heard_all_the_same() {
    let mut responses = Responses::default();
    responses.utterance_committed(0);
    assert!(responses.audio("r1", 500));
    assert_eq!(responses.done("r1", false, 0, 900), Ended::Well);
    assert!(!responses.audio("r1", 1_000), "it has ended");
    responses.created("r1", None, false, 1_000);
    assert_eq!(responses.deadline(false), None, "and is told twice");
}

#[test]
fn another_utterance_does_not_prolong_the_wait_for_an_answer() {
    let mut responses = Responses::default();
    responses.utterance_committed(0);
    responses.utterance_committed(3_000);
    assert!(responses.ask(false, 5_000).is_some());
}

#[test]
fn requests_of_which_nothing_is_heard_come_at_growing_intervals() {
    let mut responses = Responses::default();
    let mut now = 0;
    let mut asked_at = vec![];
    for round in 0..8 {
        responses.want();
        now = now.max(responses.deadline(false).unwrap());
        assert!(responses.ask(false, now).is_some());
        asked_at.push(now);
        responses.created(&format!("r{round}"), None, false, now);
        responses.cancel(now);
        responses.done(&format!("r{round}"), false, 0, now);
    }
    assert_eq!(asked_at, [0, 0, 0, 500, 1_500, 3_500, 7_500, 11_500]);
}

#[test]
fn a_failed_response_is_retried_a_few_times_and_not_too_soon() {
    let mut responses = Responses::default();
    responses.greet();
    for attempt in 1..=4u64 {
        let ask = responses.ask(false, 10_000 * attempt).unwrap();
        assert!(ask.greeting);
        responses.created(&format!("r{attempt}"), None, false, 0);
        let after = responses.failed(&format!("r{attempt}"), 3_000, 10_000 * attempt);
        assert_eq!(after == AfterFailure::GiveUp, attempt == 4);
        assert_eq!(responses.ask(false, 10_000 * attempt + 2_999), None);
    }
}

#[test]
fn what_was_under_way_when_the_agent_was_given_up_for_calling_functions_still_ends() {
    let mut responses = Responses::default();
    for round in 0..=MAX_CALLING + 2 {
        let id = format!("r{round}");
        responses.created(&id, None, false, 0);
        let gives_up = responses.done(&id, true, 0, 0) != Ended::Well;
        assert_eq!(gives_up, round >= MAX_CALLING, "round {round}");
        responses.check();
    }
}
