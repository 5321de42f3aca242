//! The agent's voice on its way to the caller: it is played, held for a caller who is away, or taken back.

use bytes::Bytes;
use serde_json::json;

use super::playback::Cut;
use super::turns::TakeBack;
use super::{Conversation, Effect, HELD_MS, Held, Stream, UNHEARD_MS, ask_cancel, ask_delete, write};
use crate::Millis;
use crate::realtime::events::AudioDelta;
use crate::realtime::requests::Request;
use crate::twilio::frames::payload_bytes;

impl Conversation {
    pub(super) fn stream_opened(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.stream = Stream::Open;
        if self.rules.phrases.filler(0).is_some() {
            self.link.has_fillers();
        }
        if self.opened_at.replace(self.opened_at.unwrap_or(now)).is_some() && self.held.is_empty() {
            self.responses.break_silence(now); // what they said meanwhile is lost
        }
        self.patience.owe();
        self.held_bytes = 0;
        for held in std::mem::take(&mut self.held) {
            match held {
                Held::Audio { ordinal, payload } => self.play(ordinal, payload, now, effects),
                Held::Completed { ordinal } => self.complete(ordinal, effects),
            }
        }
    }

    /// What was being said is given up, and said again for a caller who comes back; what had not begun is
    /// held.
    pub(super) fn stream_lost(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.stream = Stream::Lost;
        self.farewell_interrupted(effects);
        if self.concludes(now, effects) {
            return; // Twilio asks what comes next
        }
        if self.playback.is_playing() {
            effects.extend(self.responses.cancel(now).map(ask_cancel));
            self.responses.want(); // said again to a caller who comes back
            self.stop_playing(now, effects);
        }
    }

    /// The audio path: nothing here may cost more than it must.
    pub(super) fn audio(&mut self, delta: &AudioDelta<'_>, now: Millis, effects: &mut Vec<Effect>) {
        let bytes = payload_bytes(&delta.payload);
        self.link.heard(now);
        let is_wanted = self.responses.audio(delta.response_id, now);
        let has_room = self.has_room_for(bytes);
        if is_wanted && !has_room {
            effects.push(Effect::WriteEvent { kind: "response-too-long", data: json!({}) });
            effects.extend(self.responses.cancel(now).map(ask_cancel));
        }
        if !is_wanted || !has_room || self.turns.is_past(delta.item_id) {
            let unheard = self.turns.late_audio(delta, bytes);
            return effects.extend(unheard.map(ask_delete));
        }
        let ordinal = self.turns.audio(delta, bytes, now);
        if self.stream == Stream::Open {
            self.play(ordinal, delta.payload.clone(), now, effects);
        } else {
            self.held_bytes += bytes;
            self.held.push_back(Held::Audio { ordinal, payload: delta.payload.clone() });
        }
    }

    /// Whether so much more audio may wait to be heard.
    fn has_room_for(&self, bytes: u64) -> bool {
        match self.stream {
            Stream::Open => self.playback.unheard_ms() + bytes / 8 <= UNHEARD_MS,
            Stream::Awaited | Stream::Lost => (self.held_bytes + bytes) / 8 <= HELD_MS,
        }
    }

    fn play(&mut self, ordinal: u32, payload: Bytes, now: Millis, effects: &mut Vec<Effect>) {
        self.silence.ends();
        self.farewell_sounds();
        self.urgency.sounds();
        self.patience.answered();
        self.unnoticed.agent_speaks(now);
        self.fruitless = 0;
        self.unnoticed.new_session();
        self.send(ordinal, payload, now, effects);
        if let Some(last_word_at) = self.last_word_at.take() {
            self.last_turn_ms = u32::try_from(now - last_word_at).ok();
            self.answers += 1;
        }
        if let (None, Some(opened_at)) = (self.result.first_audio_ms, self.opened_at) {
            self.result.first_audio_ms = u32::try_from(now - opened_at).ok();
        }
    }

    /// Sends audio to the caller, with the mark that is due after it.
    pub(super) fn send(&mut self, ordinal: u32, payload: Bytes, now: Millis, effects: &mut Vec<Effect>) {
        let mark = self.playback.sent(ordinal, payload_bytes(&payload), now);
        effects.push(Effect::Play(payload));
        effects.extend(mark.map(Effect::Mark));
    }

    /// All audio of a turn has come.
    pub(super) fn complete(&mut self, ordinal: u32, effects: &mut Vec<Effect>) {
        if self.stream == Stream::Open {
            effects.extend(self.playback.completed(ordinal).map(Effect::Mark));
        } else {
            self.held.push_back(Held::Completed { ordinal });
        }
    }

    pub(super) fn caller_interrupts(&self) -> bool {
        self.speaking_since.is_some() && self.interrupt_at.is_none()
    }

    /// The caller speaks: the agent falls silent, and the service forgets what was not heard.
    pub(super) fn barge_in(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.interrupt_at = None;
        self.greeting.interrupted();
        let was_heard = self.playback.is_playing();
        let cancel = self.responses.cancel(now);
        if was_heard {
            self.result.barge_ins += 1;
            effects.push(Effect::Clear);
        }
        effects.extend(cancel.map(ask_cancel));
        self.stop_playing(now, effects);
        self.discard_held(effects);
    }

    /// The greeting takes the place of whatever answers a noise.
    pub(super) fn greet_again(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.playback.is_playing() {
            effects.push(Effect::Clear);
        }
        effects.extend(self.responses.cancel(now).map(ask_cancel));
        self.stop_playing(now, effects);
        self.responses.greet();
    }

    /// Discards the audio that is held for a caller who is away: it answers an older question.
    pub(super) fn discard_held(&mut self, effects: &mut Vec<Effect>) {
        self.held_bytes = 0;
        let mut last = None;
        for held in std::mem::take(&mut self.held) {
            if let Held::Audio { ordinal, .. } = held
                && last.replace(ordinal) != Some(ordinal)
            {
                self.settle(Cut { ordinal, heard_ms: 0, sent_ms: 0, complete: false }, effects);
            }
        }
    }

    /// Settles what was heard of all that was sent.
    pub(super) fn stop_playing(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for cut in self.playback.interrupt(now) {
            self.settle(cut, effects);
        }
    }

    pub(super) fn settle(&mut self, cut: Cut, effects: &mut Vec<Effect>) {
        self.urgency.settled(cut);
        let greeting = &mut self.greeting;
        let taken_back = self.turns.heard(cut, |turn| {
            greeting.heard(&turn);
            write(&mut self.history, turn, effects);
        });
        match taken_back {
            Some(TakeBack::Rest(place)) => effects.push(Effect::Ask(Request::Truncate {
                item_id: place.item_id,
                content_index: place.content_index,
                audio_end_ms: cut.heard_ms,
            })),
            Some(TakeBack::Item(item_id)) => effects.push(ask_delete(item_id)),
            None => {}
        }
    }
}
