//! What the caller hears while the service is late or away, and before a person takes over: recorded phrases
//! in the agent's own voice. A phrase that has not been recorded is not said.

use serde_json::json;

use super::{Conversation, Effect, Input, NextStep, Stream};
use crate::Millis;
use crate::conversation::end::{Outcome, Reason};
use crate::conversation::phrases::Phrase;

/// The last words and what is said before them are waited for so long; then a person takes over.
const LAST_WORDS_WITHIN: Millis = 4_000;

/// How the call ends when its last words are heard, or their time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parting {
    reason: Reason,
    /// When it ends though they are not.
    pub(super) until: Millis,
}

impl Conversation {
    /// Says a phrase, behind what is being said. Nobody but the caller learns of it: it is no turn, and no
    /// session is told, so that neither the log nor the agent takes it for an answer; the log has it as an
    /// event. Answers the number under which it is played.
    pub(super) fn say(
        &mut self,
        phrase: Phrase,
        event: &'static str,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) -> Option<u32> {
        let phrases = self.rules.phrases.clone();
        let recording = phrases.get(phrase)?;
        let number = self.playback.next_phrase();
        for piece in recording.pieces() {
            self.send(number, piece.clone(), now, effects);
        }
        effects.extend(self.playback.completed(number).map(Effect::Mark));
        effects.push(Effect::WriteEvent { kind: event, data: json!({"phrase": phrase.as_str()}) });
        Some(number)
    }

    /// The caller hears nothing and does not speak, and the agent owes them something. Without a session
    /// nobody can tell whether they speak, nor answer them: so that is owed. An answer of which more is to
    /// come is no silence.
    fn is_kept_waiting(&self) -> bool {
        let due = !self.link.is_ready() || self.owes();
        due && self.stream == Stream::Open && self.speaking_since.is_none() && !self.playback.is_playing()
    }

    /// Lets the caller hear that somebody is there, once that is due.
    pub(super) fn bridge_silence(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.playback.is_playing() {
            self.unnoticed.agent_speaks(now);
        }
        self.patience.observe(self.caller_listens(now), now);
        self.silence.observe(self.is_kept_waiting() && !self.is_leaving(), now);
        if self.silence.deadline().is_some_and(|due| due <= now)
            && let Some(filler) = self.rules.phrases.filler(self.silence.next_filler())
        {
            self.silence.bridged();
            self.say(filler, "filler", now, effects);
        }
    }

    /// The service cannot be had: a person takes over. Where the agent can still say so, the call ends when
    /// that was heard; what the service does meanwhile is of no concern.
    pub(super) fn hand_over(&mut self, reason: Reason, now: Millis, effects: &mut Vec<Effect>) {
        if self.concludes(now, effects) {
            return; // the agent has taken leave already
        }
        if self.stream != Stream::Open || self.rules.phrases.get(Phrase::Transfer).is_none() {
            return self.end(Outcome::Failed, reason, NextStep::Human, now, effects);
        }
        self.session_gone(now, effects);
        effects.push(Effect::Disconnect);
        self.say(Phrase::Transfer, "goodbye", now, effects);
        self.parting = Some(Parting { reason, until: now + LAST_WORDS_WITHIN });
    }

    /// The last words are on their way to the caller.
    pub(super) fn last_words(
        &mut self,
        parting: Parting,
        input: &Input<'_>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let next = match input {
            Input::Mark(mark) => {
                for heard in self.playback.mark_played(*mark, now) {
                    self.settle(heard, effects);
                }
                (!self.playback.is_playing()).then_some(NextStep::Human)
            }
            Input::Tick => (parting.until <= now).then_some(NextStep::Human),
            Input::StreamStopped | Input::CallOver => Some(NextStep::HangUp),
            Input::StreamLost | Input::Shutdown | Input::ToPerson | Input::ActorFailed => {
                Some(NextStep::Human)
            }
            _ => None,
        };
        if let Some(next) = next {
            self.end(Outcome::Failed, parting.reason, next, now, effects);
        }
    }
}
