//! The records that wait to be written. It outlives the actor that writes them, so a panic there loses none.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::record::Record;
use super::weight;
use crate::wire::twilio::sid::CallSid;

mod check;

/// What became of a record that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) enum Pushed {
    /// It waits, alone: the writer may be asleep.
    First,
    /// It waits behind others: the writer is awake.
    Behind,
    /// Not taken, and nor was the one before it.
    Refused,
    /// Not taken, for the first time since one was.
    FirstRefused,
}

/// More records than this, or more bytes, are for the disk.
const CROWD: usize = 2_000;
const CROWD_BYTES: usize = 8 << 20;

/// First in, first out, bounded in bytes. A call may hold as many as are still free, so one call can never
/// take what the others need. Full, or closed: a record is refused, and the caller counts it.
pub(in crate::db) struct Queue {
    waiting: Mutex<Waiting>,
    depth: watch::Sender<Depth>,
    capacity: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Depth {
    records: usize,
    bytes: usize,
}

impl Depth {
    fn is_crowded(self) -> bool {
        self.records > CROWD || self.bytes > CROWD_BYTES
    }
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// What each call has in it.
    calls: HashMap<CallSid, Depth>,
    refusing: bool,
    closed: bool,
}

impl Waiting {
    fn admits(&self, record: &Record, bytes: usize, capacity: usize) -> bool {
        let free = capacity.saturating_sub(self.bytes);
        let held =
            record.call_sid().and_then(|call_sid| self.calls.get(&call_sid)).map_or(0, |call| call.bytes);
        !self.closed && bytes <= free && held <= free
    }

    fn push(&mut self, record: Record, bytes: usize) {
        self.bytes += bytes;
        if let Some(call_sid) = record.call_sid() {
            let call = self.calls.entry(call_sid).or_default();
            (call.records, call.bytes) = (call.records + 1, call.bytes + bytes);
        }
        self.records.push_back(Arc::new(record));
    }

    fn pop(&mut self) {
        let Some(record) = self.records.pop_front() else { return };
        let bytes = weight::of(&record);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(call_sid) = record.call_sid()
            && let Entry::Occupied(mut call) = self.calls.entry(call_sid)
        {
            let left = call.get_mut();
            (left.records, left.bytes) = (left.records - 1, left.bytes.saturating_sub(bytes));
            if left.records == 0 {
                call.remove();
            }
        }
    }
}

impl Queue {
    /// Of so many bytes.
    pub(in crate::db) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::default(), depth: watch::Sender::new(Depth::default()), capacity }
    }

    pub(in crate::db) fn push(&self, record: Record) -> Pushed {
        let bytes = weight::of(&record);
        let mut waiting = self.lock();
        if !waiting.admits(&record, bytes, self.capacity) {
            let first = !std::mem::replace(&mut waiting.refusing, true);
            return if first { Pushed::FirstRefused } else { Pushed::Refused };
        }
        waiting.refusing = false;
        waiting.push(record, bytes);
        self.changed(&waiting);
        if waiting.records.len() == 1 { Pushed::First } else { Pushed::Behind }
    }

    /// The oldest records, at most `limit`. They stay until they are [written](Self::written).
    pub(in crate::db) fn front(&self, limit: usize) -> Vec<Arc<Record>> {
        self.lock().records.iter().take(limit).cloned().collect()
    }

    /// The oldest `count` records need not wait any more.
    pub(in crate::db) fn written(&self, count: usize) {
        let mut waiting = self.lock();
        (0..count).for_each(|_| waiting.pop());
        self.changed(&waiting);
    }

    pub(in crate::db) fn depth(&self) -> usize {
        self.depth.borrow().records
    }

    /// More waits than memory is for.
    pub(in crate::db) fn is_crowded(&self) -> bool {
        self.depth.borrow().is_crowded()
    }

    /// Returns when more waits than memory is for.
    pub(in crate::db) async fn crowded(&self) {
        self.depth.subscribe().wait_for(|depth| depth.is_crowded()).await.expect("the sender is in `self`");
    }

    /// Returns when nothing waits.
    pub(in crate::db) async fn emptied(&self) {
        self.depth.subscribe().wait_for(|depth| depth.records == 0).await.expect("the sender is in `self`");
    }

    /// Returns when something waits.
    pub(in crate::db) async fn filled(&self) {
        self.depth.subscribe().wait_for(|depth| depth.records > 0).await.expect("the sender is in `self`");
    }

    /// Returns when nothing waits of one call.
    pub(in crate::db) async fn emptied_of(&self, call_sid: &CallSid) {
        let mut depth = self.depth.subscribe();
        while self.lock().calls.contains_key(call_sid) {
            depth.changed().await.expect("the sender is in `self`");
        }
    }

    /// What waits of one call.
    pub(in crate::db) fn of_call(&self, call_sid: &CallSid) -> Vec<Arc<Record>> {
        self.lock().records.iter().filter(|record| record.call_sid() == Some(*call_sid)).cloned().collect()
    }

    /// Takes no more, and gives up what waits.
    pub(in crate::db) fn close(&self) -> Vec<Arc<Record>> {
        let mut waiting = self.lock();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.records);
        (waiting.bytes, waiting.calls) = (0, HashMap::new());
        self.changed(&waiting);
        left.into()
    }

    fn changed(&self, waiting: &Waiting) {
        waiting.checked(self.capacity);
        self.depth.send_replace(Depth { records: waiting.records.len(), bytes: waiting.bytes });
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that runs under the lock can leave it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use chrono::Utc;

    use super::*;
    use crate::db::write::record::{LOOKED_AT, Speaker, Turn};

    const CAPACITY: usize = 100_000;

    pub(super) fn turn(call: u32, text: &str) -> Record {
        Record::Turn(Turn {
            call_sid: sid(call),
            epoch: 1,
            ordinal: 1,
            speaker: Speaker::Caller,
            text: text.to_owned(),
            started_at: Utc::now(),
            heard_ms: None,
            cut_off: false,
            version: 0,
        })
    }

    pub(super) fn sid(call: u32) -> CallSid {
        format!("CA{call:032x}").parse().unwrap()
    }

    /// How many more records of the call are taken.
    fn fill(queue: &Queue, call: u32) -> usize {
        let mut taken = 0;
        while matches!(queue.push(turn(call, "said")), Pushed::First | Pushed::Behind) {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_call_takes_half_at_most_and_there_is_room_for_others_as_long_as_they_hold_less() {
        let queue = Queue::new(CAPACITY);
        let all = CAPACITY / weight::of(&turn(1, "said"));
        let first = fill(&queue, 1);
        assert!((all / 2..=all / 2 + 1).contains(&first), "{first} of {all}");
        let others: Vec<usize> = (2..6).map(|call| fill(&queue, call)).collect();
        assert!(others.iter().all(|taken| *taken > 0), "{others:?}");
        assert_eq!(queue.push(turn(1, "said")), Pushed::Refused);
        assert_eq!(queue.push(turn(9, "said")), Pushed::Behind, "a call that has nothing in it yet");
        queue.written(queue.depth());
        assert_eq!(queue.depth(), 0);
        assert!(queue.lock().calls.is_empty());
        assert_eq!(fill(&queue, 1), first);
    }

    #[test]
    fn what_does_not_fit_is_told_once_until_something_fits_again() {
        let queue = Queue::new(CAPACITY);
        let long = "x".repeat(CAPACITY);
        assert_eq!(queue.push(turn(1, &long)), Pushed::FirstRefused);
        assert_eq!(queue.push(turn(1, &long)), Pushed::Refused);
        assert_eq!(queue.push(turn(1, "said")), Pushed::First);
        assert_eq!(queue.push(turn(1, &long)), Pushed::FirstRefused);
        queue.close();
        assert_eq!(queue.push(turn(2, "said")), Pushed::Refused);
        assert!(queue.of_call(&sid(1)).is_empty() && queue.lock().calls.is_empty());
    }

    #[test]
    fn many_records_or_large_ones_are_a_crowd() {
        let queue = Queue::new(64 << 20);
        (0..CROWD).for_each(|_| _ = queue.push(turn(1, "said")));
        assert!(!queue.is_crowded());
        queue.push(turn(1, "said"));
        assert!(queue.is_crowded());
        queue.written(CROWD);
        assert!(!queue.is_crowded());
        queue.push(turn(1, &"x".repeat(CROWD_BYTES)));
        assert!(queue.is_crowded());
    }

    #[test]
    fn a_hand_over_waits_for_its_own_call_without_a_look_at_the_queue() {
        let queue = Queue::new(8 << 20);
        queue.push(turn(1, "said"));
        (0..1_000).for_each(|_| _ = queue.push(turn(2, "said")));
        let call_sid = sid(1);
        let mut emptied = pin!(queue.emptied_of(&call_sid));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            queue.push(turn(2, "said"));
            let looked_at = LOOKED_AT.get();
            assert!(emptied.as_mut().poll(&mut context).is_pending());
            assert_eq!(LOOKED_AT.get(), looked_at);
        }
        queue.written(1);
        assert!(emptied.as_mut().poll(&mut context).is_ready());
    }
}
