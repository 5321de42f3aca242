//! What must hold of a conversation after each step. In debug builds every step is checked.

use std::collections::BTreeMap;

use super::{Conversation, Effect, HELD_MS, Held, MAX_FRUITLESS, Stream, UNHEARD_MS};
use crate::conversation::playback::Playback;
use crate::conversation::speaker::Speaker;
use crate::conversation::tools::{MAX_KNOWN, MAX_RUNNING};
use crate::conversation::turns::TurnUpdate;
use crate::realtime::requests::Request;
use crate::twilio::frames::payload_bytes;

/// What was written of the turns so far: by ordinal who spoke, and how much was heard. Empty in release
/// builds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Written(BTreeMap<u32, (Speaker, Option<u32>)>);

impl Written {
    /// Panics where one of these does not hold:
    /// - A turn keeps its speaker.
    /// - What was heard of a turn is never told as less.
    /// - Only the agent's turns are heard or cut off, and one that is cut off has a place where it is.
    fn learn(&mut self, turn: &TurnUpdate) {
        let TurnUpdate { ordinal, speaker, heard_ms, cut_off, .. } = *turn;
        assert!(heard_ms.is_some() || !cut_off, "turn {ordinal} is cut off nowhere");
        assert!(speaker == Speaker::Agent || heard_ms.is_none(), "the caller's turn {ordinal} is heard");
        if let Some((before, heard_before)) = self.0.insert(ordinal, (speaker, heard_ms)) {
            assert_eq!(before, speaker, "turn {ordinal} has changed its speaker");
            assert!(
                heard_before <= heard_ms,
                "of turn {ordinal} {heard_before:?} ms were heard: {heard_ms:?}"
            );
        }
    }
}

impl Conversation {
    /// Judges a step by its effects and by what it left behind.
    pub(super) fn check(&mut self, had_ended: bool, effects: &[Effect]) {
        self.turns.check();
        self.responses.check();
        self.playback.check();
        self.check_effects(had_ended, effects);
        self.check_audio();
        self.check_waiting();
    }

    /// Panics where one of these does not hold:
    /// - After its end a call writes turns, cancels what the service still says, and files what is urgent in
    ///   the caller's last words; nothing else.
    /// - At most one response is asked for at once, and only of a session that is ready.
    /// - A turn is written under an ordinal that was given out; at the end every one of them is written.
    fn check_effects(&mut self, had_ended: bool, effects: &[Effect]) {
        let mut asked = 0;
        for effect in effects {
            match effect {
                Effect::WriteTurn(turn) => {
                    let last = self.turns.count();
                    let given = last - self.turns.given() + 1..=last;
                    assert!(given.contains(&turn.ordinal), "turn {} is none of {given:?}", turn.ordinal);
                    self.written.learn(turn);
                }
                Effect::Ask(Request::Cancel { .. }) | Effect::FileItem(_) => {}
                other => assert!(!had_ended, "after its end the call does more: {other:?}"),
            }
            if let Effect::Ask(Request::Greet { .. } | Request::Respond { .. } | Request::Warn { .. }) =
                effect
            {
                asked += 1;
                assert!(self.link.is_ready(), "a response is asked for, and no session is ready");
            }
        }
        assert!(asked <= 1, "{asked} responses are asked for at once");
        if effects.iter().any(|effect| matches!(effect, Effect::End { .. })) {
            let (written, given) = (self.written.0.len(), self.turns.given());
            assert_eq!(written, given as usize, "{given} turns were given an ordinal, {written} are written");
        }
    }

    /// Panics where one of these does not hold:
    /// - Audio is held only for a caller who is not on the line, counted to the byte and within its bound.
    /// - Audio is on its way only to a caller who is on the line, and within its bound.
    /// - No more of a turn is sent than was made.
    fn check_audio(&self) {
        let is_open = self.stream == Stream::Open && !self.ended;
        assert!(is_open || !self.playback.is_playing(), "audio is on its way to nobody");
        assert!(self.held.is_empty() || !(is_open || self.ended), "audio is held for a caller on the line");
        let held = |held: &Held| match held {
            Held::Audio { payload, .. } => payload_bytes(payload),
            Held::Completed { .. } => 0,
        };
        let (counted, bytes) = (self.held_bytes, self.held.iter().map(held).sum::<u64>());
        assert_eq!(counted, bytes, "{counted} bytes are counted, and {bytes} are held");
        assert!(bytes / 8 <= HELD_MS, "{} ms are held", bytes / 8);
        let unheard = self.playback.unheard_ms();
        // The last words go behind what is being said.
        let is_bound = unheard <= UNHEARD_MS || self.parting.is_some();
        assert!(is_bound, "{unheard} ms are on their way");
        for (ordinal, sent) in self.playback.sent_ms().filter(|(ordinal, _)| !Playback::is_phrase(*ordinal)) {
            assert!(ordinal <= self.turns.count(), "what is on its way is of no turn: {ordinal}");
            let made = self.turns.made_ms(ordinal);
            let is_made = made.is_none_or(|made| u64::from(sent) <= made);
            assert!(is_made, "of turn {ordinal} {sent} ms were sent and {made:?} ms made");
        }
    }

    /// Panics where one of these does not hold:
    /// - Before its end a call always has a moment at which it goes on by itself.
    /// - Speech can become an interruption only while it lasts.
    /// - What is counted or remembered stays within its limit.
    fn check_waiting(&self) {
        assert!(self.ended || self.deadline().is_some(), "the call waits without a deadline");
        let is_speech = self.interrupt_at.is_none() || self.speaking_since.is_some();
        assert!(is_speech || self.is_leaving(), "silence is to become an interruption");
        assert!(self.fruitless <= MAX_FRUITLESS, "{} fruitless sessions in a row", self.fruitless);
        let (running, known) = (self.tools.running(), self.tools.known());
        assert!(running <= MAX_RUNNING, "{running} tools are at work");
        assert!(known <= MAX_KNOWN, "{known} function calls are remembered");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::conversation::{Input, Rules};
    use crate::realtime::events::{AudioDelta, ServerEvent};

    /// The caller is on the line, and the greeting is being said.
    fn greeting() -> Conversation {
        let rules = Rules { jitter_seed: 7, ..Rules::default() };
        let mut conversation = Conversation::begin(rules, 0, &mut vec![]);
        let delta = AudioDelta {
            response_id: "r",
            item_id: "i",
            content_index: 0,
            payload: Bytes::from_static(b"AAAA"),
        };
        for input in [
            Input::Service(ServerEvent::SessionCreated),
            Input::Service(ServerEvent::SessionUpdated),
            Input::StreamOpened,
            Input::Service(ServerEvent::ResponseCreated { id: "r".into(), number: Some(1) }),
            Input::Service(ServerEvent::Audio(delta)),
        ] {
            conversation.step(&input, 10, &mut vec![]);
        }
        conversation.check(false, &[]);
        assert!(conversation.playback.is_playing());
        conversation
    }

    fn turn(ordinal: u32, heard_ms: Option<u32>) -> Effect {
        Effect::WriteTurn(TurnUpdate {
            ordinal,
            speaker: Speaker::Agent,
            text: String::new(),
            started_at: 0,
            heard_ms,
            cut_off: false,
        })
    }

    #[test]
    #[should_panic(expected = "turn 2 is none of 1..=1")]
    fn a_turn_with_an_ordinal_from_nowhere_is_noticed() {
        greeting().check(false, &[turn(2, None)]);
    }

    #[test]
    #[should_panic(expected = "of turn 1 Some(900) ms were heard: Some(300)")]
    fn a_turn_of_which_less_was_heard_in_the_end_is_noticed() {
        greeting().check(false, &[turn(1, Some(900)), turn(1, Some(300))]);
    }

    #[test]
    #[should_panic(expected = "after its end the call does more: OpenGate")]
    fn whatever_is_done_after_the_end_is_noticed() {
        greeting().check(true, &[Effect::OpenGate]);
    }

    #[test]
    #[should_panic(expected = "2 responses are asked for at once")]
    fn two_responses_at_once_are_noticed() {
        let ask = |number| Effect::Ask(Request::Respond { number });
        greeting().check(false, &[ask(1), ask(2)]);
    }

    #[test]
    #[should_panic(expected = "1 turns were given an ordinal, 0 are written")]
    fn a_turn_that_is_missing_at_the_end_is_noticed() {
        let mut conversation = greeting();
        let mut effects = vec![];
        conversation.act(&Input::CallOver, 20, &mut effects);
        effects.retain(|effect| !matches!(effect, Effect::WriteTurn(_)));
        conversation.check(false, &effects);
    }

    #[test]
    #[should_panic(expected = "8 bytes are counted, and 0 are held")]
    fn audio_that_is_counted_and_not_held_is_noticed() {
        let mut conversation = greeting();
        conversation.held_bytes = 8;
        conversation.check(false, &[]);
    }

    #[test]
    #[should_panic(expected = "audio is on its way to nobody")]
    fn audio_for_a_caller_who_is_gone_is_noticed() {
        let mut conversation = greeting();
        conversation.stream = Stream::Lost;
        conversation.check(false, &[]);
    }

    #[test]
    #[should_panic(expected = "silence is to become an interruption")]
    fn an_interruption_by_nobody_is_noticed() {
        let mut conversation = greeting();
        conversation.interrupt_at = Some(500);
        conversation.check(false, &[]);
    }

    fn piece(response_id: &'static str, item_id: &'static str, ms: usize) -> Input<'static> {
        let payload = "A".repeat(ms * 32 / 3 / 4 * 4).into();
        Input::Service(ServerEvent::Audio(AudioDelta { response_id, item_id, content_index: 0, payload }))
    }

    fn created(id: &str) -> Input<'static> {
        Input::Service(ServerEvent::ResponseCreated { id: id.into(), number: None })
    }

    #[test]
    fn what_waits_for_the_caller_stays_within_its_bound_however_much_is_made() {
        let mut conversation = greeting();
        conversation.step(&Input::StreamLost, 20, &mut vec![]);
        for (at, response) in [(30, "r2"), (40, "r3"), (50, "r4")] {
            let mut effects = vec![];
            conversation.step(&created(response), at, &mut effects);
            conversation.step(&piece(response, response, 29_000), at, &mut effects);
            conversation.step(&piece(response, response, 2_000), at, &mut effects);
            let is_cancelled = |effect: &Effect| matches!(effect, Effect::Ask(Request::Cancel { .. }));
            assert!(effects.iter().any(is_cancelled), "{effects:?}");
            assert!(conversation.held_bytes / 8 <= HELD_MS);
        }
    }

    #[test]
    fn what_is_on_its_way_to_the_caller_stays_within_its_bound_however_much_comes_at_once() {
        let mut conversation = greeting();
        let mut effects = vec![];
        conversation.step(&piece("r", "i", 299_000), 20, &mut effects);
        conversation.step(&piece("r", "i", 700_000), 30, &mut effects);
        assert!(effects.contains(&Effect::Ask(Request::Cancel { response_id: Some("r".into()) })));
        assert!(conversation.playback.unheard_ms() <= UNHEARD_MS);
    }

    #[test]
    fn a_word_that_is_over_before_it_interrupts_interrupts_nothing_later() {
        let mut conversation = greeting();
        conversation.rules.barge_in_min_ms = 600;
        let mut effects = vec![];
        conversation.step(&Input::Service(ServerEvent::SpeechStarted), 100, &mut effects);
        let committed = ServerEvent::Committed { item_id: "u".into() };
        conversation.step(&Input::Service(committed), 300, &mut effects);
        conversation.step(&Input::Tick, 900, &mut effects);
        assert!(!effects.contains(&Effect::Clear), "the agent is interrupted: {effects:?}");
    }
}
