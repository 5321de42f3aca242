//! What the service still says when the call is over: what the caller's last words were, and what a response
//! cost.

use super::{Conversation, Effect, Input, ServerEvent, ask_cancel, write};
use crate::Millis;

impl Conversation {
    /// The session may still say something that belongs to the log.
    pub fn awaits_afterword(&self) -> bool {
        self.ended && self.link.is_ready() && (self.turns.awaits_words() || self.responses.is_under_way())
    }

    /// Takes one input after the end.
    pub(super) fn afterword(&mut self, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) {
        match input {
            Input::Service(ServerEvent::TranscriptCompleted { item_id, transcript, usage, urgent }) => {
                self.result.usage.transcription += *usage;
                self.listen_for_urgency(transcript, *urgent, effects);
                if let Some(turn) = self.turns.transcribed(item_id, transcript) {
                    write(&mut self.history, turn, effects);
                }
            }
            Input::Service(ServerEvent::TranscriptFailed { item_id, .. }) => {
                drop(self.turns.transcribed(item_id, ""));
            }
            // The service answers the last utterance by itself; nobody will hear it.
            Input::Service(ServerEvent::ResponseCreated { id, number }) => {
                let cancel = self.responses.created(id, *number, true, now);
                effects.extend(cancel.map(ask_cancel));
            }
            Input::Service(ServerEvent::ResponseDone(response)) => {
                self.result.usage += response.usage.unwrap_or_default();
                self.responses.done(&response.id, true, 0, now);
            }
            _ => {}
        }
    }
}
