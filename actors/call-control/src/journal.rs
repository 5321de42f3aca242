//! A machine and its checkpoint: a snapshot now and then, and the inputs since.
//!
//! The checkpoint is the machine's state as of the last completed input. It is the snapshot that has taken
//! all inputs of the journal again, but not the last one if that is not completed. Nothing comes of it
//! outside: the effects of these inputs were carried out when they were taken, and the effects of the replay
//! are dropped.
//!
//! **When a snapshot is taken.** A snapshot copies the whole machine, and an input in the journal costs next
//! to nothing. So a snapshot is taken as rarely as memory allows: when the journal is full, after the input
//! that filled it is completed. It is full at a number of inputs or of bytes, whichever comes first
//! ([`Limits`]). An input that is larger than the journal may be is kept until it is completed, and no
//! longer. A snapshot at the end of each turn would come more often and save nothing: a full journal is
//! replayed in microseconds, and only after a panic.
//!
//! **What else it is for.** [`snapshot`](Journal::snapshot) and [`entries`](Journal::entries) are plain data
//! with their times: [`replay`] makes the state out of them anywhere.

use crate::machine::{Machine, Millis, Replay};

/// How much a journal keeps before it takes a new snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub entries: usize,
    /// Of what the inputs hold besides their entries.
    pub bytes: usize,
}

/// One input, and when it was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<K> {
    pub now: Millis,
    pub input: K,
}

/// See the module.
pub struct Journal<M: Replay> {
    live: M,
    snapshot: M,
    entries: Vec<Entry<M::Kept>>,
    bytes: usize,
    /// The last entry's input is not completed.
    pending: bool,
    limits: Limits,
}

impl<M: Replay + Clone + PartialEq> Journal<M> {
    pub fn new(state: M, limits: Limits) -> Self {
        Self { snapshot: state.clone(), live: state, entries: Vec::new(), bytes: 0, pending: false, limits }
    }

    pub fn live(&self) -> &M {
        &self.live
    }

    /// The state before the first of the [`entries`](Self::entries).
    pub fn snapshot(&self) -> &M {
        &self.snapshot
    }

    /// The inputs since the snapshot, oldest first.
    pub fn entries(&self) -> &[Entry<M::Kept>] {
        &self.entries
    }

    /// The last entry, if its input is not completed.
    pub fn pending(&self) -> Option<&Entry<M::Kept>> {
        self.entries.last().filter(|_| self.pending)
    }

    /// What the entries hold besides themselves.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes an input; [`complete`](Self::complete) follows when its effects are carried out, or
    /// [`restore`](Self::restore) if that fails.
    pub fn step(&mut self, input: &M::Input<'_>, now: Millis, effects: &mut Vec<M::Effect>) {
        debug_assert!(!self.pending, "the input before is neither completed nor taken back");
        let kept = self.live.keep(input, self.entries.iter().rev().map(|entry| &entry.input));
        self.bytes += M::heap_bytes(&kept);
        self.entries.push(Entry { now, input: kept });
        self.pending = true;
        self.live.step(input, now, effects);
    }

    /// The input is completed.
    pub fn complete(&mut self) {
        self.pending = false;
        let Limits { entries, bytes } = self.limits;
        let is_full = self.entries.len() >= entries || self.bytes >= bytes;
        if cfg!(debug_assertions) && (is_full || self.entries.len().is_power_of_two()) {
            self.check();
        }
        if is_full {
            self.snapshot = self.live.clone();
            self.entries.clear();
            self.bytes = 0;
        }
    }

    /// Goes back to the checkpoint. If the replay panics, the checkpoint is lost, and this machine must not
    /// be used any more.
    pub fn restore(&mut self) {
        if std::mem::take(&mut self.pending)
            && let Some(last) = self.entries.pop()
        {
            self.bytes -= M::heap_bytes(&last.input);
        }
        self.live = self.checkpoint();
    }

    fn checkpoint(&self) -> M {
        let mut state = self.snapshot.clone();
        replay(&mut state, &self.entries);
        state
    }

    /// Panics where the inputs, taken again, do not lead to the same state.
    fn check(&self) {
        assert!(self.checkpoint() == self.live, "the checkpoint is not what the machine has come to");
    }
}

/// Takes the inputs again, each at its time. Nothing comes of their effects.
pub fn replay<M: Replay>(machine: &mut M, entries: &[Entry<M::Kept>]) {
    let mut done_already = Vec::new();
    for Entry { now, input } in entries {
        Machine::step(machine, &M::kept(input), *now, &mut done_already);
        done_already.clear();
    }
}

#[cfg(test)]
mod tests;
