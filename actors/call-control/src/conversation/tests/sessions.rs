//! One session takes the place of another, in this process or in the next one, as timelines.

use super::*;

/// What a new session is told, in order: `(speaker, text)`.
fn recalled(requests: &[Request]) -> Vec<(Speaker, &str)> {
    let told = requests.iter().filter_map(|request| match request {
        Request::Recall { speaker, text } => Some((*speaker, text.as_str())),
        _ => None,
    });
    told.collect()
}

impl Timeline {
    /// The session is lost, and another one is ready.
    fn reconnects(&mut self, now: Millis) -> Vec<Request> {
        self.at(now, Input::ServiceLost { fatal: false, cause: "closed", wait: None });
        assert!(self.take().contains(&Effect::Connect { after: 0 }), "at once");
        self.service(now + 200, r#"{"type":"session.created","session":{}}"#);
        self.service(now + 300, r#"{"type":"session.updated","session":{}}"#);
        let done = self.take();
        let gate = done.iter().position(|effect| *effect == Effect::OpenGate).expect("the gate opens");
        let last_recall =
            done.iter().rposition(|effect| matches!(effect, Effect::Ask(Request::Recall { .. })));
        assert!(last_recall < Some(gate), "the caller is heard when the session knows what was said");
        self.done = done;
        self.requests()
    }
}

#[test]
fn a_lost_session_is_replaced_and_told_what_was_heard() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1");
    call.service(
        4_100,
        r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"Hi."}"#,
    );
    call.says(4_200, "r2", "a2", 10, "one two three four");
    call.at(4_800, Input::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 600 }));
    call.caller_starts(4_900).caller_stops(5_500, "u2");
    let requests = call.reconnects(5_600);
    let expected = [(Speaker::Agent, "Hello there."), (Speaker::Caller, "Hi."), (Speaker::Agent, "one")];
    assert_eq!(recalled(&requests), expected);
    assert!(requests.contains(&Request::Note { text: GO_ON.into() }));
    assert_eq!(requests.last(), Some(&Request::Respond { number: 2 }), "the question is answered");
    assert_eq!(call.conversation.summary().reconnects, 1);
}

#[test]
fn a_session_lost_in_mid_answer_leaves_the_ear_its_audio_and_the_agent_goes_on() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
    for _ in 0..5 {
        call.delta(4_200, "r2", "a2");
    }
    call.take();
    call.at(4_500, Input::ServiceLost { fatal: false, cause: "closed", wait: None });
    let done = call.take();
    assert!(!done.contains(&Effect::Clear));
    assert!(done.contains(&Effect::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 1_000 })), "{done:?}");
    call.service(4_700, r#"{"type":"session.created","session":{}}"#);
    call.service(4_800, r#"{"type":"session.updated","session":{}}"#);
    assert_eq!(call.requests().last(), Some(&Request::Respond { number: 2 }));
    call.caller_starts(4_900);
    assert!(
        !call.requests().iter().any(|request| matches!(request, Request::Truncate { .. })),
        "it is not known there"
    );
}

#[test]
fn a_session_lost_while_nobody_speaks_is_replaced_in_silence() {
    let mut call = Timeline::greeted();
    let requests = call.reconnects(9_000);
    assert_eq!(recalled(&requests), [(Speaker::Agent, "Hello there.")]);
    assert!(
        !requests.iter().any(|request| matches!(request, Request::Respond { .. } | Request::Greet { .. }))
    );
}

impl Timeline {
    /// A session that was lost while nobody spoke has a successor after so long; its requests.
    fn is_without_a_session_for(away: Millis) -> (Self, Vec<Request>) {
        let mut call = Self::greeted();
        call.at(9_000, Input::ServiceLost { fatal: false, cause: "closed", wait: None });
        call.service(9_000 + away, r#"{"type":"session.created","session":{}}"#);
        call.service(9_000 + away, r#"{"type":"session.updated","session":{}}"#);
        let requests = call.requests();
        (call, requests)
    }

    fn responses_asked_for(&mut self) -> usize {
        let asked = |request: &&Request| matches!(request, Request::Respond { .. });
        self.requests().iter().filter(asked).count()
    }
}

#[test]
fn after_an_outage_in_which_words_of_the_caller_may_be_lost_the_agent_speaks_first() {
    let (mut call, requests) = Timeline::is_without_a_session_for(RING_MS);
    assert!(requests.contains(&Request::Note { text: GO_ON.into() }));
    assert_eq!(call.at(20_000, Input::Tick).responses_asked_for(), 0, "all their words are kept");

    let (mut call, _) = Timeline::is_without_a_session_for(6_000);
    let due = call.conversation.deadline().expect("soon");
    assert_eq!(due, 15_500);
    assert_eq!(call.at(due - 1, Input::Tick).responses_asked_for(), 0, "they may have asked again");
    assert_eq!(call.at(due, Input::Tick).responses_asked_for(), 1);
}

#[test]
fn words_that_were_kept_over_an_outage_are_answered_once() {
    let (mut call, _) = Timeline::is_without_a_session_for(6_000);
    call.caller_starts(15_100).at(15_500, Input::Tick).caller_stops(15_800, "u1");
    call.at(16_000, Input::Tick).says(16_200, "r2", "a2", 10, "Yes.");
    assert_eq!(call.at(30_000, Input::Tick).responses_asked_for(), 0, "the service answers by itself");
}

#[test]
fn a_greeting_that_was_not_begun_is_given_by_the_next_session() {
    let mut call = Timeline::ready();
    let requests = call.reconnects(100);
    assert_eq!(requests, [Request::Configure, Request::Greet { number: 2 }]);
}

#[test]
fn a_service_that_stalls_is_given_up_and_replaced() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
    call.take();
    call.at(6_010, Input::Tick);
    assert_eq!(call.take(), [Effect::Ping]);
    assert_eq!(call.conversation.deadline(), Some(11_010));
    call.at(11_010, Input::Tick);
    let done = call.take();
    assert!(done.contains(&Effect::Disconnect) && done.contains(&Effect::Connect { after: 0 }), "{done:?}");
}

#[test]
fn an_old_session_is_replaced_between_two_turns() {
    let mut call = Timeline::greeted();
    let old = 20 + 55 * 60_000;
    call.at(old - 2_000, Input::Pong);
    call.caller_starts(old - 1_000);
    call.at(old, Input::Tick);
    assert_eq!(call.take(), [], "not while the caller speaks");
    call.caller_stops(old + 100, "u1").says(old + 200, "r2", "a2", 1, "Yes.");
    call.at(old + 500, Input::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 200 }));
    call.take();
    call.at(old + 501, Input::Tick);
    assert!(call.take().contains(&Effect::Disconnect));
}

fn past(said: &[(u32, Speaker, &str)], is_whole: bool) -> Past {
    let turn = |(ordinal, speaker, text): &(u32, Speaker, &str)| Said {
        ordinal: *ordinal,
        speaker: *speaker,
        text: (*text).to_owned(),
    };
    Past { epoch: 1, said: said.iter().map(turn).collect(), is_whole }
}

#[test]
fn a_call_that_another_process_began_goes_on_with_its_history_and_is_not_greeted_again() {
    let mut done = vec![];
    let before = past(&[(1, Speaker::Agent, "Hello."), (2, Speaker::Caller, "What time?")], true);
    let conversation = Conversation::resume(Rules::default(), &before, 0, &mut done);
    let mut call = Timeline { conversation, done: vec![] };
    call.service(10, r#"{"type":"session.created","session":{}}"#);
    call.service(20, r#"{"type":"session.updated","session":{}}"#);
    let requests = call.requests();
    assert_eq!(recalled(&requests), [(Speaker::Agent, "Hello."), (Speaker::Caller, "What time?")]);
    assert_eq!(requests[3..], [Request::Note { text: GO_ON.into() }, Request::Respond { number: 1 }]);
    call.at(30, Input::StreamOpened).says(40, "r1", "a1", 1, "Nine.");
    assert_eq!(call.turns().first().map(|turn| turn.0), Some(3), "ordinals go on");
}

#[test]
fn a_call_whose_history_nobody_can_give_is_asked_to_repeat() {
    let mut done = vec![];
    let conversation = Conversation::resume(Rules::default(), &past(&[], false), 0, &mut done);
    let mut call = Timeline { conversation, done: vec![] };
    call.service(10, r#"{"type":"session.created","session":{}}"#);
    call.service(20, r#"{"type":"session.updated","session":{}}"#);
    let requests = call.requests();
    assert_eq!(requests[1..], [Request::Note { text: START_OVER.into() }, Request::Respond { number: 1 }]);
}

#[test]
fn a_caller_of_another_process_who_does_not_come_back_was_lost_with_it() {
    for input in [Input::Unclaimed, Input::CallOver] {
        let (mut done, said) = (vec![], [(1, Speaker::Agent, "Hello.")]);
        let conversation = Conversation::resume(Rules::default(), &past(&said, true), 0, &mut done);
        let mut call = Timeline { conversation, done: vec![] };
        call.at(10, input);
        let ends = call.take();
        let lost = crate::conversation::end::CallEnd::new(Outcome::Failed, Reason::ProcessLost);
        assert!(matches!(ends[..], [Effect::End { end, .. }] if end == lost), "{ends:?}");
    }
}

#[test]
fn what_is_left_of_a_history_is_told_and_its_ordinals_are_not_used_again() {
    let mut done = vec![];
    let left = past(&[(4, Speaker::Caller, "On Friday.")], false);
    let conversation = Conversation::resume(Rules::default(), &left, 0, &mut done);
    let mut call = Timeline { conversation, done: vec![] };
    call.service(10, r#"{"type":"session.created","session":{}}"#);
    call.service(20, r#"{"type":"session.updated","session":{}}"#);
    let requests = call.requests();
    assert_eq!(recalled(&requests), [(Speaker::Caller, "On Friday.")]);
    assert_eq!(requests[2..], [Request::Note { text: START_OVER.into() }, Request::Respond { number: 1 }]);
    call.at(30, Input::StreamOpened).says(40, "r1", "a1", 1, "Sorry?");
    assert_eq!(call.turns().first().map(|turn| turn.0), Some(10_001));
}
