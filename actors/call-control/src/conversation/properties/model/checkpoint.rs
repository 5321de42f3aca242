//! The actor panics in mid-call: the conversation goes on from its checkpoint.

use super::*;
use crate::journal::{Limits, replay};

/// So few that a short call needs many snapshots.
pub(super) const LIMITS: Limits = Limits { entries: 12, bytes: 4_000 };
/// One of so many inputs panics at first.
const PANICS: u64 = 3;
/// The largest input of the model is a piece of sound: 300,000 bytes in base64.
const LARGEST: usize = 410_000;

impl World<'_> {
    /// Whether the actor panics at the next input.
    pub(super) fn is_panicky(&self) -> bool {
        self.sequence.is_multiple_of(PANICS)
    }

    /// The same input goes through a journal: its effects are the conversation's, and so is its state,
    /// directly and by replay. `before`: the conversation as it was, if the actor panics at this input before
    /// it takes it.
    pub(super) fn journalled(
        &mut self,
        input: &Input<'_>,
        before: Option<&Conversation>,
        effects: &[Effect],
    ) {
        if let Some(before) = before {
            self.journal.step(input, self.now, &mut vec![]);
            self.recorded(None);
            self.check_bounds(LARGEST);
            self.journal.restore();
            if self.journal.live() != before {
                self.fault(
                    Property::Checkpoint,
                    "the checkpoint is not the state before the input that panicked",
                );
            }
        }
        let mut again = vec![];
        self.journal.step(input, self.now, &mut again);
        self.recorded(Some(effects));
        if effects != again || self.conversation != *self.journal.live() {
            self.fault(Property::Determinism, "the same input was taken in two ways");
        }
        self.journal.complete();
        self.check_bounds(0);
        let mut replayed = self.journal.snapshot().clone();
        replay(&mut replayed, self.journal.entries());
        if replayed != self.conversation {
            self.fault(Property::Checkpoint, "snapshot and journal are not the state");
        }
    }

    /// From here on the call is recorded anew, as a process does that begins it or takes it up.
    pub(super) fn records(&mut self, past: Option<&Past>, effects: &[Effect]) {
        self.play_the_recording();
        if self.is_recorded {
            self.tape = Some(Tape::begin(&self.scenario.rules(), past, self.now, effects));
        }
    }

    /// The last input of the journal, with its effects or lost in a panic.
    fn recorded(&mut self, effects: Option<&[Effect]>) {
        let (Some(tape), Some(entry)) = (&mut self.tape, self.journal.entries().last()) else { return };
        match effects {
            Some(effects) => tape.taken(self.now, &entry.input, effects),
            None => tape.lost(self.now, &entry.input),
        }
    }

    /// What was recorded, taken again, has the same effects.
    pub(super) fn play_the_recording(&mut self) {
        let differences = self.tape.take().map(Tape::differences).unwrap_or_default();
        if let Some(first) = differences.into_iter().next() {
            self.fault(Property::Recorded, format!("the recording differs: {first}"));
        }
    }

    fn check_bounds(&mut self, more: usize) {
        let (entries, bytes) = (self.journal.entries().len(), self.journal.bytes());
        if entries > LIMITS.entries || bytes > LIMITS.bytes + more {
            self.fault(Property::Checkpoint, format!("the journal has {entries} inputs and {bytes} bytes"));
        }
    }
}
