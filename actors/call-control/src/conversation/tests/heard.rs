//! What the caller heard of the agent, and what the service is told of it, as timelines.

use super::*;

fn delete(item: &str) -> Request {
    Request::Delete { item_id: item.into() }
}

fn mark(ordinal: u32, sent_ms: u32) -> Input<'static> {
    Input::Mark(Mark { generation: 0, ordinal, sent_ms })
}

impl Timeline {
    /// The caller has said something, and the service answers with `r2`.
    fn answering() -> Self {
        let mut call = Self::greeted();
        call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
        call
    }

    fn done_with(&mut self, now: Millis, response: &str, status: &str, items: &[&str]) -> &mut Self {
        let output: Vec<_> = items
            .iter()
            .map(|id| json!({"id": id, "type": "message", "content": [{"transcript": "words"}]}))
            .collect();
        let response = json!({"id": response, "status": status, "output": output});
        self.service(now, &json!({"type": "response.done", "response": response}).to_string())
    }
}

#[test]
fn an_item_of_which_nothing_was_heard_is_deleted_when_its_response_is_final() {
    let mut call = Timeline::answering();
    call.delta(4_100, "r2", "a2").delta(4_100, "r2", "a2").take();
    call.caller_starts(4_150);
    assert_eq!(call.requests(), [cancel("r2"), truncate("a2", 50)]);
    call.delta(4_160, "r2", "b2");
    assert_eq!(call.requests(), []);
    call.done_with(4_200, "r2", "cancelled", &["a2", "b2", "c2"]);
    assert_eq!(call.requests(), [delete("b2"), delete("c2")]);
    call.done_with(4_210, "r2", "cancelled", &["a2", "b2", "c2"]);
    call.delta(4_220, "r2", "b2").delta(4_230, "r2", "d2").delta(4_240, "r2", "d2");
    assert_eq!(call.requests(), [delete("d2")], "it came after its response was final");
}

#[test]
fn an_item_that_was_sent_behind_another_and_not_heard_is_deleted() {
    let mut call = Timeline::answering();
    for item in ["a2", "a2", "a2", "b2"] {
        call.delta(4_100, "r2", item);
    }
    call.take();
    call.caller_starts(4_200);
    assert_eq!(call.requests(), [cancel("r2"), truncate("a2", 100)]);
    call.done_with(4_300, "r2", "cancelled", &["a2"]);
    assert_eq!(call.requests(), [delete("b2")], "the service need not name it");

    let mut call = Timeline::answering();
    for item in ["a2", "a2", "a2", "b2"] {
        call.delta(4_100, "r2", item);
    }
    call.done_with(4_150, "r2", "completed", &["a2", "b2"]).take();
    call.caller_starts(4_200);
    assert_eq!(call.requests(), [truncate("a2", 100), delete("b2")]);
}

#[test]
fn what_was_heard_of_a_finished_response_is_never_deleted() {
    let mut call = Timeline::answering();
    call.delta(4_100, "r2", "a2").done_with(4_150, "r2", "completed", &["a2"]);
    call.at(4_320, mark(3, 200)).done_with(4_400, "r2", "completed", &["a2"]);
    assert_eq!(call.requests(), []);
}

#[test]
fn a_turn_whose_end_is_told_late_was_heard_to_its_end_before_the_next() {
    let mut call = Timeline::answering();
    for _ in 0..5 {
        call.delta(4_100, "r2", "a2");
    }
    call.delta(4_100, "r2", "b2");
    call.service(4_110, r#"{"type":"response.output_audio.done","response_id":"r2","item_id":"a2"}"#);
    call.delta(4_120, "r2", "b2").done_with(4_150, "r2", "completed", &["a2", "b2"]);
    for ms in [200, 400, 600, 800, 1_000] {
        call.at(4_100 + u64::from(ms), mark(3, ms));
    }
    call.at(5_300, mark(4, 200)).at(5_500, mark(4, 400));
    let heard: Vec<_> =
        call.turns().into_iter().filter_map(|(ordinal, _, ms, cut)| Some((ordinal, ms?, cut))).collect();
    assert_eq!(heard, [(3, 1_000, false), (4, 400, false)]);
}

#[test]
fn the_agent_does_not_speak_for_ever_where_its_last_mark_is_lost() {
    let mut call = Timeline::answering();
    call.delta(4_100, "r2", "a2").done_with(4_150, "r2", "completed", &["a2"]);
    assert_eq!(call.conversation.summary().speaking, Speaking::Agent);
    while call.conversation.summary().speaking == Speaking::Agent {
        let due = call.conversation.deadline().unwrap();
        assert!(due < 10_000, "the last mark is not waited for so long");
        call.at(due, Input::Tick).at(due, Input::Pong);
    }
    assert_eq!(call.turns().last().map(|turn| (turn.0, turn.2, turn.3)), Some((3, Some(200), false)));
}

#[test]
fn a_session_in_another_format_is_an_event_and_a_person_instead_of_noise() {
    let mut call = Timeline::admitted();
    call.service(10, r#"{"type":"session.created","session":{}}"#);
    let format = json!({"type": "audio/pcm", "rate": 24_000});
    let updated = json!({"type": "session.updated", "session": {"audio": {"output": {"format": format}}}});
    call.service(20, &updated.to_string());
    let noted = |effect: &Effect| matches!(effect, Effect::WriteEvent { kind: "session-differs", .. });
    assert!(call.done.iter().any(noted) && !call.done.contains(&Effect::OpenGate));
    let refused = CallEnd::new(Outcome::Failed, Reason::RealtimeRefused);
    assert_eq!(call.end(), Some((refused, NextStep::Human)));
}

fn transcript(item: &str, text: &str) -> String {
    let kind = "conversation.item.input_audio_transcription.completed";
    json!({"type": kind, "item_id": item, "transcript": text}).to_string()
}

/// 400 ms of the greeting are heard before the caller seems to speak.
fn greeting_cut() -> Timeline {
    let mut call = Timeline::ready();
    call.at(1_000, Input::StreamOpened).says(1_000, "r1", "a1", 10, "Hello. This call is recorded.");
    call.at(1_400, mark(1, 400)).caller_starts(1_400).caller_stops(2_000, "u1").take();
    call
}

#[test]
fn a_greeting_cut_off_by_a_noise_is_said_again() {
    let mut call = greeting_cut();
    call.created(2_010, "r2").delta(2_100, "r2", "a2").take();
    call.service(2_150, &transcript("u1", " "));
    let done = call.take();
    assert!(done.contains(&Effect::Clear) && done.contains(&Effect::Ask(cancel("r2"))), "{done:?}");
    call.response_done(2_200, "r2", "cancelled", "a2", "Pardon?");
    assert!(call.requests().contains(&Request::Greet { number: 2 }));

    let mut call = greeting_cut();
    call.service(2_005, &transcript("u1", "")).created(2_010, "r2");
    assert_eq!(call.requests(), [cancel("r2")], "the noise is not answered");
    call.response_done(2_200, "r2", "cancelled", "a2", "");
    assert_eq!(call.requests(), [Request::Greet { number: 2 }]);
}

#[test]
fn a_greeting_cut_off_by_words_or_heard_whole_is_not_said_again() {
    let mut call = greeting_cut();
    call.created(2_010, "r2").service(2_150, &transcript("u1", "Hi"));
    call.response_done(2_200, "r2", "completed", "a2", "");
    assert_eq!(call.requests(), []);

    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
    call.service(4_100, &transcript("u1", ""));
    assert_eq!(call.requests(), []);
}
