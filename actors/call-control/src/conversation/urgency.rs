//! An emergency never depends on the model: phrases in the caller's words alert the person on duty, and the
//! caller is told to hang up and dial the emergency number.
//!
//! The caller is told by a recorded phrase where there is one. Otherwise the service is asked for a response
//! that says so, until one was heard.

use super::inbox_item::{InboxItem, UrgentBy};
use super::phrases::Phrase;
use super::playback::Cut;
use super::{Conversation, Effect, Stream, ask_cancel};
use crate::Millis;
use crate::realtime::requests::Request;

const TOLD_BY_RECORDING: &str = "The caller's words may describe an emergency. A recording has just told them to hang up and \
                                 dial the emergency number, and the person on duty is alerted. Do not play the emergency \
                                 down. If they stay on the line, tell them again to dial the emergency number.";
const TO_BE_TOLD: &str = "The caller's words may describe an emergency. The person on duty is alerted. Tell the caller to \
                          hang up and dial the emergency number before anything else.";

/// How urgent the call is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Urgency {
    is_flagged: bool,
    /// The urgent phrases that the caller said, a bit each.
    said: u128,
    /// They are to hear from the service that they must dial the emergency number.
    is_owed: bool,
    /// The service was asked to tell them.
    is_asked: bool,
    /// The number under which the recording that tells them is played.
    recording: Option<u32>,
}

impl Urgency {
    /// The next response is the one that tells them.
    pub(super) fn take_ask(&mut self) -> bool {
        self.is_asked |= self.is_owed;
        self.is_owed
    }

    /// The agent says something that the caller hears.
    pub(super) fn sounds(&mut self) {
        if self.is_asked {
            *self = Self { is_owed: false, is_asked: false, ..*self };
        }
    }

    /// Playback of something has ended. A recording that was cut off is made up for by the service.
    pub(super) fn settled(&mut self, cut: Cut) {
        if self.recording.take_if(|number| *number == cut.ordinal).is_some() {
            self.is_owed |= !cut.heard_in_full();
        }
    }
}

impl Conversation {
    /// Alerts the person on duty, once a call.
    pub(super) fn flag_urgent(&mut self, text: String, effects: &mut Vec<Effect>) {
        self.raise(UrgentBy::Agent, text, effects);
    }

    fn raise(&mut self, by: UrgentBy, text: String, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.urgency.is_flagged, true) {
            effects.push(Effect::FileItem(InboxItem::Urgent { by, text }));
        }
    }

    /// The caller's words are known, and perhaps the number of the urgent phrase in them. Answers whether the
    /// caller is to be told: for the first time, or of something else than before.
    pub(super) fn listen_for_urgency(
        &mut self,
        words: &str,
        known: Option<usize>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let urgent = self.rules.urgent.clone();
        let Some(number) = known.or_else(|| urgent.find(words)) else { return false };
        let Some(phrase) = urgent.get(number) else { return false };
        let bit = 1 << number.min(127);
        if self.urgency.said & bit != 0 {
            return false;
        }
        let is_being_told = self.urgency.recording.is_some() || self.urgency.is_owed;
        self.urgency.said |= bit;
        self.raise(UrgentBy::Phrase(phrase.to_owned()), words.trim().to_owned(), effects);
        !is_being_told
    }

    /// Tells the caller, instead of whatever the agent says about it.
    pub(super) fn warn_of_emergency(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.playback.is_playing() {
            effects.push(Effect::Clear);
        }
        effects.extend(self.responses.cancel(now).map(ask_cancel));
        self.stop_playing(now, effects);
        self.discard_held(effects);
        let is_recorded = self.rules.phrases.get(Phrase::Emergency).is_some();
        let is_told = is_recorded && self.stream == Stream::Open;
        if is_told {
            self.urgency.recording = self.say(Phrase::Emergency, "emergency-told", now, effects);
        }
        self.urgency.is_owed = !is_told;
        let text = if is_told { TOLD_BY_RECORDING } else { TO_BE_TOLD };
        if self.link.is_ready() {
            effects.push(Effect::Ask(Request::Note { text: text.into() }));
        }
        self.responses.want();
    }
}
