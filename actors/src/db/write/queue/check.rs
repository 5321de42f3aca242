//! What must hold of the queue after each step.

use std::collections::HashMap;

use super::{Depth, Waiting, weight};

/// The records of a longer queue are not all weighed again at each step.
const WEIGHED: usize = 500;

impl Waiting {
    /// In debug builds: see [`check`](Self::check).
    pub(super) fn checked(&self, capacity: usize) {
        if cfg!(debug_assertions) {
            self.check(capacity);
        }
    }

    /// Panics where one of these does not hold:
    /// - The records in the queue do not exceed its capacity.
    /// - A queue that is closed is empty.
    /// - Bytes are counted as the records weigh, in all and of each call; a call that has none is not
    ///   counted.
    pub(super) fn check(&self, capacity: usize) {
        let (records, bytes) = (self.records.len(), self.bytes);
        assert!(bytes <= capacity, "{bytes} bytes wait, and {capacity} have room");
        assert!(!self.closed || records == 0, "{records} records wait in a closed queue");
        let of_calls = self.calls.values().map(|call| call.records).sum::<usize>();
        assert!(of_calls <= records, "{of_calls} records of calls wait, and {records} in all");
        if records > WEIGHED {
            return;
        }
        let (mut weighed, mut calls) = (0, HashMap::<_, Depth>::new());
        for record in &self.records {
            let weight = weight::of(record);
            weighed += weight;
            if let Some(call_sid) = record.call_sid() {
                let call = calls.entry(call_sid).or_default();
                (call.records, call.bytes) = (call.records + 1, call.bytes + weight);
            }
        }
        assert_eq!(bytes, weighed, "{bytes} bytes are counted, and {weighed} wait");
        assert_eq!(self.calls, calls, "what each call has in it is counted otherwise");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Queue;
    use super::super::tests::{sid, turn};

    fn queue() -> Queue {
        let queue = Queue::new(100_000);
        queue.push(turn(1, "said"));
        queue.push(turn(2, "said"));
        queue
    }

    #[test]
    #[should_panic(expected = "1 bytes are counted")]
    fn bytes_that_are_counted_wrong_are_noticed() {
        let queue = queue();
        let mut waiting = queue.lock();
        waiting.bytes = 1;
        waiting.check(100_000);
    }

    #[test]
    #[should_panic(expected = "what each call has in it is counted otherwise")]
    fn a_call_that_is_forgotten_is_noticed() {
        let queue = queue();
        let mut waiting = queue.lock();
        waiting.calls.remove(&sid(2));
        waiting.check(100_000);
    }

    #[test]
    #[should_panic(expected = "bytes wait, and 10 have room")]
    fn more_than_there_is_room_for_is_noticed() {
        queue().lock().check(10);
    }

    #[test]
    #[should_panic(expected = "2 records wait in a closed queue")]
    fn records_that_nobody_will_write_are_noticed() {
        let queue = queue();
        let mut waiting = queue.lock();
        waiting.closed = true;
        waiting.check(100_000);
    }
}
