//! What must hold of the slots after each step.

use std::collections::HashMap;

use super::{Slot, Slots};
use crate::twilio::sid::CallSid;

/// The highest epoch that was seen of each call. Empty in release builds.
#[derive(Default)]
pub(super) struct Seen(HashMap<CallSid, u32>);

impl Seen {
    pub(super) fn forget(&mut self, call_sid: CallSid) {
        self.0.remove(&call_sid);
    }
}

impl<T> Slots<T> {
    /// In debug builds: see [`check`](Self::check).
    pub(super) fn checked(&mut self) {
        if cfg!(debug_assertions) {
            self.check();
        }
    }

    /// Panics where one of these does not hold:
    /// - No more calls hold slots than the ceiling allows.
    /// - Reserved and active slots are all there are.
    /// - A call holds a slot or has ended, not both.
    /// - An epoch never falls, and none of a slot is older than its first.
    pub(super) fn check(&mut self) {
        let (held, limit) = (self.held.len(), self.limit);
        assert!(held <= limit, "{held} calls hold slots, and there are {limit}");
        let (reserved, active) = self.reserved_and_active();
        assert_eq!(reserved + active, held, "{reserved} slots are reserved, {active} active, {held} held");
        self.seen.0.retain(|call, _| self.held.contains_key(call) || self.ended.contains_key(call));
        for (call, Slot { epoch, first_epoch, .. }) in &self.held {
            assert!(!self.ended.contains_key(call), "a call holds a slot and has ended");
            assert!(epoch >= first_epoch, "the epoch {epoch} is older than the first one, {first_epoch}");
            assert!(*first_epoch > 0, "an epoch is 0");
            let before = self.seen.0.insert(*call, *epoch).unwrap_or_default();
            assert!(*epoch >= before, "the epoch fell from {before} to {epoch}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CLAIM_WITHIN;
    use super::*;
    use crate::Millis;

    const NOW: Millis = 1_000_000;

    fn sid(number: u8) -> CallSid {
        format!("CA{number:032x}").parse().unwrap()
    }

    /// Two slots, one of them held by a call whose second stream is open.
    fn slots() -> Slots<()> {
        let (mut slots, now) = (Slots::new(2), NOW);
        slots.reserve(sid(1), 0, now, |_| ());
        assert!(slots.claim(sid(1), 1).is_ok());
        slots.resume(sid(1), None, now);
        assert!(slots.claim(sid(1), 2).is_ok());
        slots
    }

    #[test]
    #[should_panic(expected = "1 calls hold slots, and there are 0")]
    fn a_call_beyond_the_ceiling_is_noticed() {
        let mut slots = slots();
        slots.limit = 0;
        slots.check();
    }

    #[test]
    #[should_panic(expected = "the epoch fell from 2 to 1")]
    fn an_epoch_that_falls_is_noticed() {
        let mut slots = slots();
        slots.held.get_mut(&sid(1)).unwrap().epoch = 1;
        slots.check();
    }

    #[test]
    #[should_panic(expected = "a call holds a slot and has ended")]
    fn a_slot_of_a_call_that_has_ended_is_noticed() {
        let mut slots = slots();
        slots.ended.insert(sid(1), (2, NOW));
        slots.check();
    }

    #[test]
    #[should_panic(expected = "the epoch fell from 3 to 2")]
    fn a_call_that_comes_back_with_an_old_epoch_is_noticed() {
        let (mut slots, now) = (slots(), NOW);
        slots.resume(sid(1), None, now);
        slots.release(sid(1), now);
        slots.ended.get_mut(&sid(1)).unwrap().0 = 1;
        slots.reserve(sid(1), 0, now, |_| ());
    }

    #[test]
    fn a_slot_whose_first_promise_has_run_out_is_still_reserved() {
        let (mut slots, now) = (Slots::new(1), NOW);
        slots.reserve(sid(1), 0, now, |_| ());
        assert!(slots.revoke(sid(1), 1, now + CLAIM_WITHIN).is_some());
        assert_eq!(slots.reserved_and_active(), (1, 0), "no stream has ever come");
        assert!(slots.claim(sid(1), 2).is_ok());
        assert_eq!(slots.reserved_and_active(), (0, 1));
        slots.resume(sid(1), None, now);
        assert_eq!(slots.reserved_and_active(), (0, 1), "its stream was lost");
    }
}
