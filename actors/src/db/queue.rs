//! The records that wait to be written. It outlives the actor that writes them, so a panic there loses none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::record::Record;
use crate::wire::twilio::sid::CallSid;

/// What became of a record that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits, alone: the writer may be asleep.
    First,
    /// It waits behind others: the writer is awake.
    Behind,
    /// Not taken, and nor was the one before it.
    Refused,
    /// Not taken, for the first time since one was.
    FirstRefused,
}

/// First in, first out, bounded. Full, or closed: a record is refused, and the caller counts it.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    depth: watch::Sender<usize>,
    capacity: usize,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Arc<Record>>,
    refusing: bool,
    closed: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::default(), depth: watch::Sender::new(0), capacity }
    }

    pub(super) fn push(&self, record: Record) -> Pushed {
        let mut waiting = self.lock();
        if waiting.closed || waiting.records.len() >= self.capacity {
            let first = !std::mem::replace(&mut waiting.refusing, true);
            return if first { Pushed::FirstRefused } else { Pushed::Refused };
        }
        waiting.refusing = false;
        waiting.records.push_back(Arc::new(record));
        self.changed(&waiting);
        if waiting.records.len() == 1 { Pushed::First } else { Pushed::Behind }
    }

    /// The oldest records, at most `limit`. They stay until they are [written](Self::written).
    pub(super) fn front(&self, limit: usize) -> Vec<Arc<Record>> {
        self.lock().records.iter().take(limit).cloned().collect()
    }

    /// The oldest `count` records need not wait any more.
    pub(super) fn written(&self, count: usize) {
        let mut waiting = self.lock();
        let count = count.min(waiting.records.len());
        waiting.records.drain(..count);
        self.changed(&waiting);
    }

    pub(super) fn depth(&self) -> usize {
        *self.depth.borrow()
    }

    /// Returns when nothing waits.
    pub(super) async fn emptied(&self) {
        self.depth.subscribe().wait_for(|depth| *depth == 0).await.expect("the sender is in `self`");
    }

    /// Returns when something waits.
    pub(super) async fn filled(&self) {
        self.depth.subscribe().wait_for(|depth| *depth > 0).await.expect("the sender is in `self`");
    }

    /// Returns when nothing waits of one call.
    pub(super) async fn emptied_of(&self, call_sid: &CallSid) {
        let mut depth = self.depth.subscribe();
        while !self.of_call(call_sid).is_empty() {
            depth.changed().await.expect("the sender is in `self`");
        }
    }

    /// What waits of one call.
    pub(super) fn of_call(&self, call_sid: &CallSid) -> Vec<Arc<Record>> {
        self.lock().records.iter().filter(|record| record.call_sid() == Some(*call_sid)).cloned().collect()
    }

    /// Takes no more, and gives up what waits.
    pub(super) fn close(&self) -> Vec<Arc<Record>> {
        let mut waiting = self.lock();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.records);
        self.changed(&waiting);
        left.into()
    }

    fn changed(&self, waiting: &Waiting) {
        self.depth.send_replace(waiting.records.len());
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that runs under the lock can leave it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
