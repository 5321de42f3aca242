//! Timelines of silence: what the caller hears while the service is away or late, and before a person takes
//! over.

use super::*;
use crate::conversation::phrases::{Phrase, Phrases, Recording};

/// One phrase of each kind.
fn phrases() -> Phrases {
    let mut phrases = Phrases::default();
    for (phrase, ms) in [(Phrase::Moment, 900), (Phrase::StillHere, 1_300), (Phrase::Transfer, 1_900)] {
        phrases.add(phrase, Recording::new(&vec![0xFF; ms * 8]));
    }
    phrases
}

impl Timeline {
    /// As [`greeted`](Self::greeted), with phrases at hand.
    fn greeted_with_phrases() -> Self {
        let mut call = Self::greeted();
        call.conversation.rules.phrases = phrases().into();
        call
    }

    /// Milliseconds of audio sent, and the phrases in it.
    fn heard(&mut self) -> (u64, Vec<String>) {
        let (mut ms, mut phrases) = (0, vec![]);
        for effect in self.take() {
            match effect {
                Effect::Play(payload) => ms += payload_bytes(&payload) / 8,
                Effect::WriteEvent { kind: "filler" | "goodbye", data } => {
                    phrases.push(data["phrase"].as_str().unwrap().to_owned());
                }
                _ => {}
            }
        }
        (ms, phrases)
    }

    /// Nothing but time passes until then.
    fn waits(&mut self, until: Millis) -> &mut Self {
        while let Some(due) = self.conversation.deadline().filter(|due| *due <= until) {
            self.at(due, Input::Tick);
        }
        self
    }

    /// The phrase that was sent last, the `number`th of the call from 1, is heard to its end.
    fn hears_phrase(&mut self, now: Millis, number: u32, ms: u32) -> &mut Self {
        let sent = self.conversation.playback.unheard_ms();
        assert_eq!(sent, u64::from(ms));
        let ordinal = (1 << 31) + number;
        let generation = self.generation();
        self.at(now, Input::Mark(Mark { generation, ordinal, sent_ms: ms }))
    }

    fn generation(&self) -> u32 {
        let marks = self.done.iter().rev();
        let mark = marks.filter_map(|effect| if let Effect::Mark(mark) = effect { Some(mark) } else { None });
        mark.map(|mark| mark.generation).next().expect("a mark was sent")
    }
}

#[test]
fn a_question_that_is_not_answered_in_two_seconds_is_bridged_with_a_filler() {
    let mut call = Timeline::greeted_with_phrases();
    call.caller_starts(3_000).caller_stops(4_000, "u1").waits(5_999);
    assert_eq!(call.heard(), (0, vec![]));
    call.waits(6_000);
    assert_eq!(call.conversation.summary().turns, 2, "a filler is no turn");
    assert_eq!(call.heard(), (900, vec!["moment".into()]));
    call.says(6_200, "r2", "a2", 1, "Yes.");
    assert_eq!(call.heard().0, 200, "the answer follows the filler");
    assert_eq!(call.conversation.summary().answers, 1, "and is the answer");
}

#[test]
fn a_lost_session_is_bridged_by_fillers_that_take_turns_until_it_is_back() {
    let mut call = Timeline::greeted_with_phrases();
    call.at(3_000, Input::ServiceLost { fatal: false, cause: "closed", wait: None }).waits(5_000);
    call.hears_phrase(5_950, 1, 900);
    assert_eq!(call.heard(), (900, vec!["moment".into()]));
    call.waits(8_450).hears_phrase(9_800, 2, 1_300);
    assert_eq!(call.heard(), (1_300, vec!["still_here".into()]));
    call.service(9_900, r#"{"type":"session.created","session":{}}"#);
    call.service(9_950, r#"{"type":"session.updated","session":{}}"#);
    call.take();
    call.waits(10_450);
    assert_eq!(
        call.take(),
        [Effect::Ask(Request::Respond { number: 2 })],
        "who was asked to wait gets a word"
    );
    call.says(10_600, "r2", "a2", 1, "So.").waits(14_000);
    assert_eq!(call.heard(), (200, vec![]), "nobody is owed anything any more");
}

#[test]
fn a_failed_response_that_waits_for_its_retry_is_bridged() {
    let mut call = Timeline::greeted_with_phrases();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_010, "r2").service(
        4_500,
        r#"{"type":"response.done","response":{"id":"r2","status":"failed","status_details":{"error":{"code":"rate_limit_exceeded","message":"Please try again in 9s."}}}}"#,
    );
    call.waits(6_000);
    assert_eq!(call.heard().1, ["moment"]);
}

#[test]
fn a_filler_is_never_heard_over_the_agent_nor_while_the_caller_speaks_nor_by_nobody() {
    let mut call = Timeline::greeted_with_phrases();
    call.caller_starts(3_000).caller_stops(4_000, "u1").created(4_100, "r2").delta(4_200, "r2", "a2");
    call.take();
    call.waits(8_000);
    assert_eq!(call.heard().1, [""; 0], "an answer has begun");

    let mut call = Timeline::greeted_with_phrases();
    call.caller_starts(3_000).caller_stops(4_000, "u1").caller_starts(5_000).waits(6_900);
    assert_eq!(call.heard().1, [""; 0], "the caller goes on");

    let mut call = Timeline::ready();
    call.conversation.rules.phrases = phrases().into();
    call.waits(7_000);
    assert_eq!(call.heard().1, [""; 0], "the caller is not on the line yet");
    call.at(7_100, Input::StreamOpened).waits(9_100);
    assert_eq!(call.heard().1, ["moment"], "the greeting is late");
}

#[test]
fn a_caller_who_speaks_cuts_a_filler_off_and_the_service_is_told_nothing_of_it() {
    let mut call = Timeline::greeted_with_phrases();
    call.caller_starts(3_000).caller_stops(4_000, "u1").waits(6_000).take();
    call.caller_starts(6_300);
    assert_eq!(call.take(), [Effect::Clear]);
    call.caller_stops(7_000, "u2").waits(9_000);
    assert_eq!(call.heard().1, ["still_here"]);
}

#[test]
fn without_phrases_a_silence_is_a_silence_and_no_tick_is_asked_for() {
    let mut call = Timeline::greeted();
    call.caller_starts(3_000).caller_stops(4_000, "u1").take();
    assert!(call.conversation.deadline() >= Some(6_000), "the link's, not a filler's");
    call.waits(6_500);
    assert!(!call.take().iter().any(|effect| matches!(effect, Effect::Play(_))));
}

#[test]
fn before_a_person_takes_over_the_agent_says_so_and_is_heard() {
    let mut call = Timeline::greeted_with_phrases();
    call.at(3_000, Input::ServiceLost { fatal: true, cause: "401", wait: None });
    assert!(call.done.contains(&Effect::Disconnect));
    assert_eq!(call.conversation.deadline(), Some(7_000));
    assert_eq!(call.conversation.summary().state, CallState::Ending);
    call.hears_phrase(4_950, 1, 1_900);
    let (refused, end) = (CallEnd::new(Outcome::Failed, Reason::RealtimeRefused), call.done.last());
    assert!(
        matches!(end, Some(Effect::End { end, next: NextStep::Human, .. }) if *end == refused),
        "{end:?}"
    );
    assert_eq!(call.heard(), (1_900, vec!["transfer".into()]));
}

#[test]
fn last_words_that_are_not_heard_keep_nobody_waiting() {
    let refused = CallEnd::new(Outcome::Failed, Reason::RealtimeRefused);
    let mut call = Timeline::greeted_with_phrases();
    call.at(3_000, Input::ServiceLost { fatal: true, cause: "401", wait: None }).waits(6_999);
    assert_eq!(call.conversation.summary().state, CallState::Ending);
    assert_eq!(call.end(), None);
    call.waits(7_000);
    assert_eq!(call.end(), Some((refused, NextStep::Human)));

    let mut call = Timeline::greeted_with_phrases();
    call.at(3_000, Input::ServiceLost { fatal: true, cause: "401", wait: None })
        .at(3_500, Input::StreamStopped);
    assert_eq!(call.end(), Some((refused, NextStep::HangUp)), "the caller has hung up");

    let mut call = Timeline::greeted_with_phrases();
    call.at(3_000, Input::StreamLost).at(3_100, Input::ServiceLost { fatal: true, cause: "401", wait: None });
    assert_eq!(call.end(), Some((refused, NextStep::Human)), "nobody is there to hear them");
}
