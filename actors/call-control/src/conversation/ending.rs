//! How a call ends.

use super::end::{CallEnd, Outcome, Reason};
use super::{Conversation, Effect, NextStep, ask_cancel, write};
use crate::Millis;

impl Conversation {
    pub(super) fn caller_gone(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.result.first_audio_ms.is_some() {
            self.end(Outcome::Completed, Reason::CallerHungUp, NextStep::HangUp, now, effects);
        } else {
            self.never_came(Reason::CallerHungUp, now, effects);
        }
    }

    /// Another process goes on with the call, unless the agent has taken leave.
    pub(super) fn shut_down(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if !self.concludes(now, effects) {
            self.end(Outcome::Failed, Reason::Shutdown, NextStep::HandedOver, now, effects);
        }
    }

    /// The caller was gone before they heard anything of us.
    pub(super) fn never_came(&mut self, reason: Reason, now: Millis, effects: &mut Vec<Effect>) {
        let (outcome, reason) = match (self.taken_up, self.opened_at) {
            (true, None) => (Outcome::Failed, Reason::ProcessLost),
            _ => (Outcome::Abandoned, reason),
        };
        self.end(outcome, reason, NextStep::HangUp, now, effects);
    }

    pub(super) fn end(
        &mut self,
        outcome: Outcome,
        reason: Reason,
        next: NextStep,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        self.ended = true;
        effects.extend(self.responses.cancel(now).filter(|_| self.link.is_ready()).map(ask_cancel));
        for cut in self.playback.interrupt(now) {
            self.turns.heard(cut, |turn| write(&mut self.history, turn, effects));
        }
        self.turns.close(|turn| write(&mut self.history, turn, effects));
        self.held.clear();
        self.held_bytes = 0;
        let result = self.result.clone();
        effects.push(Effect::End { end: CallEnd::new(outcome, reason), next, result });
    }
}
