//! Conversations as timelines: what comes in at which moment, and what is done about it.

use super::*;
use crate::conversation::end::CallEnd;
use crate::conversation::history::Said;
use crate::conversation::retry_after::retry_after;
use crate::conversation::speaker::Speaker;
use crate::realtime::usage::Usage;
use crate::realtime::{RING_MS, events};
use crate::twilio::frames::{Mark, payload_bytes};

mod failures;
mod heard;
mod phrases;
mod sessions;
mod tools;
mod waiting;

/// A conversation under test, and everything it has done.
struct Timeline {
    conversation: Conversation,
    done: Vec<Effect>,
}

impl Timeline {
    fn admitted() -> Self {
        let mut done = vec![];
        let conversation = Conversation::begin(Rules::default(), 0, &mut done);
        assert_eq!(done, [Effect::Connect { after: 0 }]);
        done.clear();
        Self { conversation, done }
    }

    /// The session is ready, and the greeting asked for.
    fn ready() -> Self {
        let mut call = Self::admitted();
        call.service(10, r#"{"type":"session.created","session":{}}"#);
        call.service(20, r#"{"type":"session.updated","session":{}}"#);
        assert_eq!(
            call.take(),
            [Effect::Ask(Request::Configure), Effect::OpenGate, Effect::Ask(Request::Greet { number: 1 })]
        );
        call
    }

    /// The caller has heard the greeting, turn 1.
    fn greeted() -> Self {
        let mut call = Self::ready();
        call.at(1_000, Input::StreamOpened);
        call.says(1_000, "r1", "a1", 5, "Hello there.");
        call.at(2_000, Input::Mark(Mark { generation: 0, ordinal: 1, sent_ms: 1_000 }));
        call.take();
        call
    }

    fn at(&mut self, now: Millis, input: Input<'_>) -> &mut Self {
        self.conversation.step(&input, now, &mut self.done);
        self
    }

    fn service(&mut self, now: Millis, event: &str) -> &mut Self {
        let message = Bytes::copy_from_slice(event.as_bytes());
        let event = events::parse(&message).unwrap();
        self.at(now, Input::Service(event))
    }

    fn created(&mut self, now: Millis, response: &str) -> &mut Self {
        self.service(now, &format!(r#"{{"type":"response.created","response":{{"id":"{response}"}}}}"#))
    }

    /// 200 ms of the agent's voice.
    fn delta(&mut self, now: Millis, response: &str, item: &str) -> &mut Self {
        let audio = "/".repeat(1600 / 3 * 4 + 4);
        let audio = &audio[..audio.len() - 2]; // 1600 bytes: two thirds of the last group
        self.service(
            now,
            &format!(
                r#"{{"type":"response.output_audio.delta","response_id":"{response}","item_id":"{item}","content_index":0,"delta":"{audio}=="}}"#
            ),
        )
    }

    fn response_done(
        &mut self,
        now: Millis,
        response: &str,
        status: &str,
        item: &str,
        text: &str,
    ) -> &mut Self {
        self.service(
            now,
            &format!(
                r#"{{"type":"response.done","response":{{"id":"{response}","status":"{status}","output":[{{"id":"{item}","type":"message","content":[{{"transcript":"{text}"}}]}}],"usage":{{"input_tokens":10,"output_tokens":5}}}}}}"#
            ),
        )
    }

    /// A whole response of `deltas` times 200 ms, made at once.
    fn says(&mut self, now: Millis, response: &str, item: &str, deltas: u32, text: &str) -> &mut Self {
        self.created(now, response);
        for _ in 0..deltas {
            self.delta(now, response, item);
        }
        self.service(
            now,
            &format!(
                r#"{{"type":"response.output_audio.done","response_id":"{response}","item_id":"{item}"}}"#
            ),
        );
        self.response_done(now, response, "completed", item, text)
    }

    fn caller_starts(&mut self, now: Millis) -> &mut Self {
        self.service(now, r#"{"type":"input_audio_buffer.speech_started","audio_start_ms":0,"item_id":"u"}"#)
    }

    fn caller_stops(&mut self, now: Millis, item: &str) -> &mut Self {
        self.service(now, r#"{"type":"input_audio_buffer.speech_stopped","audio_end_ms":0,"item_id":"u"}"#);
        self.service(now, &format!(r#"{{"type":"input_audio_buffer.committed","item_id":"{item}"}}"#))
    }

    fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.done)
    }

    fn requests(&mut self) -> Vec<Request> {
        let requests = self.take().into_iter().filter_map(|effect| match effect {
            Effect::Ask(request) => Some(request),
            _ => None,
        });
        requests.collect()
    }

    /// `(ordinal, text, heard_ms, cut_off)` of each turn as it stands at last.
    fn turns(&mut self) -> Vec<(u32, String, Option<u32>, bool)> {
        let mut turns = std::collections::BTreeMap::new();
        for effect in self.take() {
            if let Effect::WriteTurn(turn) = effect {
                turns.insert(turn.ordinal, (turn.ordinal, turn.text, turn.heard_ms, turn.cut_off));
            }
        }
        turns.into_values().collect()
    }

    fn end(&mut self) -> Option<(CallEnd, NextStep)> {
        self.take().into_iter().find_map(|effect| match effect {
            Effect::End { end, next, .. } => Some((end, next)),
            _ => None,
        })
    }
}

fn cancel(id: &str) -> Request {
    Request::Cancel { response_id: Some(id.into()) }
}

fn truncate(item: &str, audio_end_ms: u32) -> Request {
    Request::Truncate { item_id: item.into(), content_index: 0, audio_end_ms }
}

#[test]
fn the_greeting_waits_for_the_caller_and_is_given_once() {
    let mut call = Timeline::ready();
    call.says(100, "r1", "a1", 2, "Hello.");
    assert!(!call.take().iter().any(|effect| matches!(effect, Effect::Play(_) | Effect::Mark(_))));
    call.at(900, Input::StreamOpened);
    let played = call.take();
    assert_eq!(played.iter().filter(|effect| matches!(effect, Effect::Play(_))).count(), 2);
    assert!(played.contains(&Effect::Mark(Mark { generation: 0, ordinal: 1, sent_ms: 400 })));
    call.service(1_000, r#"{"type":"session.updated","session":{}}"#);
    assert_eq!(call.requests(), []);
    assert_eq!(call.conversation.summary().first_audio_ms, Some(0));
}

#[test]
fn barge_in_clears_cancels_and_truncates_at_what_was_heard() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
    for _ in 0..10 {
        call.delta(4_200, "r2", "a2");
    }
    call.at(4_800, Input::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 600 }));
    call.take();
    call.caller_starts(4_850);
    let done = call.take();
    assert_eq!(done[0], Effect::Clear, "the ear first");
    assert_eq!(done[1], Effect::Ask(cancel("r2")));
    assert!(done.contains(&Effect::Ask(truncate("a2", 650))));
    call.delta(4_900, "r2", "a2");
    assert_eq!(call.take(), [], "late audio is dropped");
    assert_eq!(call.conversation.summary().barge_ins, 1);
}

#[test]
fn barge_in_works_after_the_response_is_done() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").says(4_200, "r2", "a2", 10, "one two three four");
    call.take();
    call.caller_starts(5_200);
    let done = call.take();
    assert_eq!(done[0], Effect::Clear);
    assert!(done.contains(&Effect::Ask(truncate("a2", 200))), "not beyond the first mark: {done:?}");
    assert!(!done.iter().any(|effect| matches!(effect, Effect::Ask(Request::Cancel { .. }))));
}

#[test]
fn a_caller_who_speaks_after_the_agent_interrupts_nothing() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000);
    assert_eq!(call.take(), []);
    assert_eq!(call.conversation.summary().speaking, Speaking::Caller);
}

#[test]
fn short_sounds_do_not_interrupt_when_a_minimum_is_set() {
    let mut call = Timeline::greeted();
    call.conversation.rules.barge_in_min_ms = 300;
    call.caller_starts(3_000).caller_stops(3_100, "u1").says(3_200, "r2", "a2", 10, "text");
    call.take();
    call.caller_starts(4_000);
    assert_eq!((call.take(), call.conversation.deadline()), (vec![], Some(4_300)));
    call.caller_stops(4_100, "u2");
    call.at(4_300, Input::Tick);
    assert!(!call.take().contains(&Effect::Clear));
    call.caller_starts(4_500).at(4_800, Input::Tick);
    assert!(call.take().contains(&Effect::Clear));
}

#[test]
fn the_log_reads_in_the_order_of_speaking_and_ends_where_the_hearing_did() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1");
    call.says(4_200, "r2", "a2", 10, "one two three four");
    call.caller_starts(5_200).caller_stops(6_000, "u2");
    call.service(
        6_100,
        r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"u2","transcript":"Stop."}"#,
    );
    call.service(
        6_200,
        r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"Hi."}"#,
    );
    let turns = call.turns();
    assert_eq!(
        turns,
        [(2, "Hi.".into(), None, false), (3, "".into(), Some(200), true), (4, "Stop.".into(), None, false)]
    );
}

#[test]
fn a_function_call_is_answered_once_and_then_the_agent_goes_on() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
    let item = r#"{"id":"f1","type":"function_call","status":"completed","call_id":"c1","name":"lookup","arguments":"{}"}"#;
    call.service(
        4_100,
        &format!(r#"{{"type":"response.output_item.done","response_id":"r2","item":{item}}}"#),
    );
    let requests = call.requests();
    assert!(matches!(&requests[..], [Request::FunctionOutput { call_id, .. }] if call_id == "c1"));
    call.service(
        4_110,
        &format!(
            r#"{{"type":"response.done","response":{{"id":"r2","status":"completed","output":[{item}]}}}}"#
        ),
    );
    assert_eq!(call.requests(), [Request::Respond { number: 2 }]);
}

#[test]
fn no_tick_is_asked_for_while_what_is_wanted_waits_for_the_caller() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").caller_starts(4_100);
    call.at(9_000, Input::Tick);
    assert_eq!(call.requests(), []);
    assert!(call.conversation.deadline() > Some(9_000));
    call.caller_stops(9_500, "u2");
    call.at(9_500, Input::Pong);
    assert_eq!(call.requests(), []);
}

/// An answer is as late as the caller hears it, not as the service does, which waits to be sure that they are
/// silent.
#[test]
fn an_answer_is_timed_from_the_callers_last_word() {
    let mut call = Timeline::greeted();
    let timed = |call: &Timeline| {
        let summary = call.conversation.summary();
        (summary.answers, summary.last_turn_ms)
    };
    call.caller_starts(3_000).caller_stops(4_500, "u1").says(4_800, "r2", "a2", 1, "Yes?");
    assert_eq!(timed(&call), (1, Some(800)));
    call.caller_starts(6_000).caller_stops(7_500, "u2").created(7_600, "r3");
    call.caller_starts(7_700); // before the answer
    call.response_done(7_750, "r3", "cancelled", "a3", "");
    call.caller_stops(9_500, "u3").says(9_600, "r4", "a4", 1, "Yes?");
    assert_eq!(timed(&call), (2, Some(600)));
    call.caller_starts(11_000).caller_stops(12_500, "u4").created(12_600, "r5");
    call.response_done(12_700, "r5", "completed", "a5", ""); // without a sound, so another one is asked for
    call.says(20_000, "r6", "a6", 1, "I am sorry?");
    assert_eq!(timed(&call), (3, Some(8_000)), "as late as the caller hears one");
}

#[test]
fn an_unreachable_service_is_tried_for_eight_silent_seconds_and_then_a_person_takes_over() {
    let mut call = Timeline::admitted();
    for attempt in 0..10 {
        call.at(1_000 + 800 * attempt, Input::ServiceLost { fatal: false, cause: "refused", wait: None });
        assert!(matches!(call.take()[..], [_, Effect::Connect { after: 1.. }]));
    }
    call.at(9_000, Input::ServiceLost { fatal: false, cause: "refused", wait: None });
    let unavailable = CallEnd::new(Outcome::Failed, Reason::RealtimeUnavailable);
    assert_eq!(call.end(), Some((unavailable, NextStep::Human)));
}

#[test]
fn a_session_that_is_never_configured_counts_as_lost() {
    let mut call = Timeline::admitted();
    assert_eq!(call.conversation.deadline(), Some(10_000));
    call.at(10_000, Input::Tick);
    assert!(call.take().iter().any(|effect| matches!(effect, Effect::Connect { .. })));
}

#[test]
fn what_a_lost_stream_cut_off_is_said_again_when_the_caller_is_back() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2").delta(4_200, "r2", "a2");
    call.take();
    call.at(4_300, Input::StreamLost);
    assert_eq!(call.requests(), [cancel("r2"), truncate("a2", 100)]);
    call.delta(4_310, "r2", "a2").response_done(4_400, "r2", "cancelled", "a2", "one two");
    assert_eq!(call.requests(), [Request::Respond { number: 2 }]);
    call.says(4_600, "r3", "a3", 2, "one two");
    call.take();
    call.at(6_000, Input::StreamOpened);
    let played = call.take().into_iter().filter(|effect| matches!(effect, Effect::Play(_))).count();
    assert_eq!(played, 2, "nothing of what was given up");
}

#[test]
fn what_waits_for_a_lost_caller_is_given_up_when_the_caller_had_begun_to_speak() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").at(4_100, Input::StreamLost);
    call.says(4_200, "r2", "a2", 5, "one two").take();
    call.caller_starts(4_300);
    assert_eq!(call.requests(), [Request::Delete { item_id: "a2".into() }]);
    call.at(6_000, Input::StreamOpened);
    assert!(!call.take().iter().any(|effect| matches!(effect, Effect::Play(_))));
}

#[test]
fn a_session_that_was_given_up_does_not_become_ready() {
    let mut call = Timeline::admitted();
    call.service(10, r#"{"type":"session.created","session":{}}"#).at(10_000, Input::Tick).take();
    call.service(10_100, r#"{"type":"session.updated","session":{}}"#);
    assert_eq!(call.take(), []);
    call.service(10_500, r#"{"type":"session.created","session":{}}"#);
    call.service(10_600, r#"{"type":"session.updated","session":{}}"#);
    assert!(call.take().contains(&Effect::OpenGate));
}

#[test]
fn a_call_ends_once_with_the_turn_cut_at_what_was_heard() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").says(4_200, "r2", "a2", 10, "one two three four");
    call.take();
    call.at(4_800, Input::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 600 }));
    call.at(5_000, Input::StreamStopped).at(5_001, Input::CallOver);
    let ends = call.done.iter().filter(|effect| matches!(effect, Effect::End { .. })).count();
    assert_eq!(ends, 1);
    let Some(Effect::End { end, next, result }) = call.done.last().cloned() else { panic!() };
    assert_eq!((end, next), (CallEnd::new(Outcome::Completed, Reason::CallerHungUp), NextStep::HangUp));
    assert_eq!(result.usage.input_tokens, 20, "summed over both responses");
    assert_eq!(call.turns(), [(2, "".into(), None, false), (3, "one two".into(), Some(800), true)]);
}

#[test]
fn what_transcribing_the_caller_used_is_summed_over_all_transcripts_and_both_kinds() {
    let mut call = Timeline::greeted();
    for (item, usage) in [
        ("u1", r#"{"type":"tokens","total_tokens":1100000,"input_tokens":1000000,"output_tokens":100000}"#),
        ("u2", r#"{"type":"duration","seconds":600}"#),
    ] {
        call.caller_starts(3_000).caller_stops(4_000, item);
        call.service(4_100, &format!(
            r#"{{"type":"conversation.item.input_audio_transcription.completed","item_id":"{item}","transcript":"hi","usage":{usage}}}"#
        ));
    }
    call.at(5_000, Input::CallOver);
    let Some(Effect::End { result, .. }) = call.done.last().cloned() else { panic!() };
    let used = result.usage.transcription;
    assert_eq!((used.audio_tokens, used.output_tokens, used.milliseconds), (1_000_000, 100_000, 600_000));
    let without = Usage { transcription: Default::default(), ..result.usage };
    let cost = |usage: Usage| usage.cost_usd("gpt-realtime-2.1").unwrap();
    assert!((cost(result.usage) - cost(without) - 7.545).abs() < 1e-9, "{}", cost(result.usage));
}

#[test]
fn nobody_on_the_line_is_an_abandoned_call() {
    let mut call = Timeline::ready();
    call.at(15_000, Input::Unclaimed);
    let abandoned = CallEnd::new(Outcome::Abandoned, Reason::Unclaimed);
    assert_eq!(call.end(), Some((abandoned, NextStep::HangUp)));
}

#[test]
fn a_greeting_of_more_than_thirty_seconds_is_ended_not_the_call() {
    let mut call = Timeline::ready();
    call.created(30, "r1");
    for _ in 0..151 {
        call.delta(40, "r1", "a1");
    }
    assert_eq!(call.requests(), [cancel("r1")]);
    assert_eq!(call.end(), None);
}

#[test]
fn what_was_made_but_never_sent_was_not_heard() {
    let mut call = Timeline::ready();
    call.created(30, "r1");
    for _ in 0..160 {
        call.delta(40, "r1", "a1");
    }
    call.response_done(50, "r1", "cancelled", "a1", "one two three four")
        .at(1_000, Input::StreamOpened)
        .take();
    call.at(31_000, Input::Mark(Mark { generation: 0, ordinal: 1, sent_ms: 30_000 }));
    assert!(call.done.contains(&Effect::Ask(truncate("a1", 30_000))));
    assert_eq!(call.turns(), [(1, "one two three".into(), Some(30_000), true)]);
}

#[test]
fn audio_of_an_item_that_was_overtaken_is_taken_back_and_not_played_behind_another() {
    let mut call = Timeline::ready();
    call.at(1_000, Input::StreamOpened).created(1_000, "r1").take();
    call.delta(1_010, "r1", "a1").delta(1_020, "r1", "b1").delta(1_030, "r1", "a1").delta(1_040, "r1", "b1");
    let played = call.take().iter().filter(|effect| matches!(effect, Effect::Play(_))).count();
    assert_eq!(played, 3);
    call.at(1_400, Input::Mark(Mark { generation: 0, ordinal: 2, sent_ms: 200 }));
    assert!(call.done.contains(&Effect::Ask(truncate("a1", 200))), "{:?}", call.done);
}

#[test]
fn the_time_to_try_again_is_read_from_the_message() {
    assert_eq!(retry_after("Rate limit reached. Please try again in 3.2s."), Some(3_200));
    assert_eq!(retry_after("Please try again in 320ms."), Some(320));
    assert_eq!(retry_after("Please try again in 3s. Or not."), Some(3_000));
    assert_eq!(retry_after("no idea"), None);
}

#[test]
fn the_callers_last_words_and_the_cost_of_a_response_are_written_after_the_end() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2");
    call.at(4_050, Input::StreamStopped);
    assert!(call.conversation.awaits_afterword());
    call.take();
    call.service(
        4_400,
        r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"Thank you."}"#,
    );
    let Effect::WriteTurn(turn) = &call.take()[0] else { panic!("no turn") };
    assert_eq!((turn.ordinal, turn.text.as_str()), (2, "Thank you."));
    call.service(
        4_450,
        r#"{"type":"response.done","response":{"id":"r2","status":"cancelled","output":[],"usage":{"input_tokens":4000,"output_tokens":1000,"total_tokens":5000}}}"#,
    );
    assert!(!call.conversation.awaits_afterword());
    assert_ne!(call.conversation.summary().usage, Usage::default());
    call.service(5_000, r#"{"type":"input_audio_buffer.speech_started"}"#);
    assert_eq!(call.take(), []);
}
