//! The ceiling, as plain data: a slot is reserved when the call rings, claimed by its stream, freed exactly
//! once.

use std::collections::HashMap;

use self::check::Seen;
use crate::Millis;
use crate::intensity::Intensity;
use crate::twilio::sid::CallSid;

mod check;

/// A stream that was promised comes within this time, or the call's agent is told.
pub const CLAIM_WITHIN: Millis = 15_000;
/// A call may lose its stream this often within [`RESUME_WITHIN`] and be taken up again.
const MAX_RESUMES: usize = 3;
const RESUME_WITHIN: Millis = 60_000;
/// How often within [`RESUME_WITHIN`] Twilio may ask what comes after a stream that was never opened.
const MAX_UNOPENED: usize = 5;
/// Longer than a token is valid.
const REMEMBER_ENDED: Millis = 120_000;

/// The slots; `T` is what a slot holds for its call.
pub struct Slots<T> {
    limit: usize,
    held: HashMap<CallSid, Slot<T>>,
    /// The last epochs of calls that ended lately. A call that comes back continues after its last epoch, so
    /// a used token stays used.
    ended: HashMap<CallSid, (u32, Millis)>,
    seen: Seen,
}

/// A place under the ceiling.
pub struct Slot<T> {
    pub call: T,
    /// Of the stream that is open, or promised.
    pub epoch: u32,
    /// The stream of this epoch is open.
    pub claimed: bool,
    first_epoch: u32,
    promised_at: Millis,
    resumes: Intensity,
    unopened: Intensity,
}

/// What became of a reservation.
#[derive(Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The call holds a slot; `fresh` if it did not before.
    Slot { epoch: u32, fresh: bool },
    /// Every slot is held by another call.
    Full,
}

/// Why a stream does not get its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotClaimed {
    /// The call holds no slot.
    NoSlot,
    /// The token's epoch is not the one that is promised: used before, or overtaken.
    WrongEpoch,
}

/// What a call that lost its stream may do.
#[derive(Debug, PartialEq, Eq)]
pub enum Resumed {
    Epoch(u32),
    /// It has done so too often.
    TooOften,
    NoSlot,
}

impl<T> Slots<T> {
    pub fn new(limit: usize) -> Self {
        Self { limit, held: HashMap::with_capacity(limit), ended: HashMap::new(), seen: Seen::default() }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Reserves a slot for a call. `start` gets the first epoch, which is the one after `used`, the last
    /// epoch known to be used. A call that holds a slot keeps it, so asking twice changes nothing.
    pub fn reserve(
        &mut self,
        call_sid: CallSid,
        used: u32,
        now: Millis,
        start: impl FnOnce(u32) -> T,
    ) -> Reserved {
        if let Some(slot) = self.held.get(&call_sid) {
            return Reserved::Slot { epoch: slot.epoch, fresh: false };
        }
        if self.held.len() >= self.limit {
            return Reserved::Full;
        }
        self.ended.retain(|_, (_, since)| now.saturating_sub(*since) < REMEMBER_ENDED);
        let ended_with = self.ended.remove(&call_sid).map_or(0, |(epoch, _)| epoch);
        if ended_with == 0 {
            self.seen.forget(call_sid); // long ago, if ever
        }
        let epoch = ended_with.max(used) + 1;
        let slot = Slot {
            call: start(epoch),
            epoch,
            claimed: false,
            first_epoch: epoch,
            promised_at: now,
            resumes: Intensity::new(MAX_RESUMES, RESUME_WITHIN),
            unopened: Intensity::new(MAX_UNOPENED, RESUME_WITHIN),
        };
        self.held.insert(call_sid, slot);
        self.checked();
        Reserved::Slot { epoch, fresh: true }
    }

    /// The stream of `epoch` is here: once.
    pub fn claim(&mut self, call_sid: CallSid, epoch: u32) -> Result<&Slot<T>, NotClaimed> {
        let slot = self.held.get_mut(&call_sid).ok_or(NotClaimed::NoSlot)?;
        if slot.claimed || slot.epoch != epoch {
            return Err(NotClaimed::WrongEpoch);
        }
        slot.claimed = true;
        Ok(slot)
    }

    /// The call's stream has ended and the call has not: a stream of the next epoch is promised. If `ended`
    /// names an earlier stream than the open one, nothing changes.
    pub fn resume(&mut self, call_sid: CallSid, ended: Option<u32>, now: Millis) -> Resumed {
        let Some(slot) = self.held.get_mut(&call_sid) else { return Resumed::NoSlot };
        if slot.claimed {
            if ended.is_some_and(|ended| ended < slot.epoch) {
                return Resumed::Epoch(slot.epoch);
            }
            if !slot.resumes.allows(now) {
                return Resumed::TooOften;
            }
            slot.epoch += 1;
            slot.claimed = false;
        } else if ended.is_none_or(|ended| ended >= slot.epoch) && !slot.unopened.allows(now) {
            return Resumed::TooOften; // it ends before it opens
        }
        slot.promised_at = now;
        let epoch = slot.epoch;
        self.checked();
        Resumed::Epoch(epoch)
    }

    /// When the next promise runs out, if none is renewed or kept.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.held.values().filter(|slot| !slot.claimed).map(|slot| slot.promised_at + CLAIM_WITHIN).min()
    }

    /// The promises that have run out: each call with its epoch.
    pub fn expired(&self, now: Millis) -> Vec<(CallSid, u32)> {
        let is_due = |slot: &Slot<T>| !slot.claimed && now.saturating_sub(slot.promised_at) >= CLAIM_WITHIN;
        let due = self.held.iter().filter(|(_, slot)| is_due(slot));
        due.map(|(call_sid, slot)| (*call_sid, slot.epoch)).collect()
    }

    /// The promise of `epoch` has run out. If its stream has not come, it cannot be claimed any more. Answers
    /// the call and the next epoch, whose promise runs out as late again.
    pub fn revoke(&mut self, call_sid: CallSid, epoch: u32, now: Millis) -> Option<(&T, u32)> {
        let slot = self.held.get_mut(&call_sid).filter(|slot| slot.epoch == epoch && !slot.claimed)?;
        if now.saturating_sub(slot.promised_at) < CLAIM_WITHIN {
            return None; // it was promised again meanwhile
        }
        if slot.epoch == slot.first_epoch {
            slot.first_epoch += 1; // no stream has ever come
        }
        slot.epoch += 1;
        slot.promised_at = now;
        self.checked();
        self.held.get(&call_sid).map(|slot| (&slot.call, slot.epoch))
    }

    /// Frees the slot. Answers what it held the first time, nothing after that.
    pub fn release(&mut self, call_sid: CallSid, now: Millis) -> Option<T> {
        let slot = self.held.remove(&call_sid)?;
        self.ended.insert(call_sid, (slot.epoch, now));
        self.checked();
        Some(slot.call)
    }

    /// What the slot holds for its call.
    pub fn call_mut(&mut self, call_sid: CallSid) -> Option<&mut T> {
        self.held.get_mut(&call_sid).map(|slot| &mut slot.call)
    }

    pub fn get(&self, call_sid: CallSid) -> Option<&Slot<T>> {
        self.held.get(&call_sid)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&CallSid, &Slot<T>)> {
        self.held.iter()
    }

    /// Slots held for a stream that has not come, and slots with a stream or a lost one.
    pub fn reserved_and_active(&self) -> (usize, usize) {
        let reserved =
            self.held.values().filter(|slot| slot.epoch == slot.first_epoch && !slot.claimed).count();
        (reserved, self.held.len() - reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_000_000;

    fn sid(number: u8) -> CallSid {
        format!("CA{number:032x}").parse().unwrap()
    }

    #[test]
    fn reserving_twice_is_one_slot() {
        let mut slots = Slots::new(1);
        assert_eq!(slots.reserve(sid(1), 0, NOW, |_| ()), Reserved::Slot { epoch: 1, fresh: true });
        assert_eq!(slots.reserve(sid(1), 0, NOW, |_| ()), Reserved::Slot { epoch: 1, fresh: false });
        assert_eq!(slots.reserve(sid(2), 0, NOW, |_| ()), Reserved::Full);
    }

    #[test]
    fn an_epoch_is_claimed_once() {
        let mut slots = Slots::new(1);
        assert_eq!(slots.claim(sid(1), 1).err(), Some(NotClaimed::NoSlot));
        slots.reserve(sid(1), 0, NOW, |_| ());
        assert_eq!(slots.claim(sid(1), 2).err(), Some(NotClaimed::WrongEpoch));
        assert!(slots.claim(sid(1), 1).is_ok());
        assert_eq!(slots.claim(sid(1), 1).err(), Some(NotClaimed::WrongEpoch));
    }

    #[test]
    fn a_promise_that_has_run_out_cannot_be_claimed() {
        let mut slots = Slots::new(1);
        slots.reserve(sid(1), 0, NOW, |_| ());
        assert!(slots.revoke(sid(1), 1, NOW + CLAIM_WITHIN).is_some());
        assert!(slots.revoke(sid(1), 1, NOW + CLAIM_WITHIN).is_none());
        assert_eq!(slots.claim(sid(1), 1).err(), Some(NotClaimed::WrongEpoch));
    }

    #[test]
    fn a_promise_that_was_renewed_has_not_run_out() {
        let mut slots = Slots::new(1);
        let now = NOW;
        slots.reserve(sid(1), 0, now, |_| ());
        slots.resume(sid(1), None, now + 10_000);
        assert!(slots.revoke(sid(1), 1, now + CLAIM_WITHIN).is_none());
        assert!(slots.revoke(sid(1), 1, now + 25_000).is_some());
    }

    #[test]
    fn a_call_that_comes_back_goes_on_after_its_last_epoch() {
        let mut slots = Slots::new(1);
        let now = NOW;
        slots.reserve(sid(1), 0, now, |_| ());
        slots.release(sid(1), now);
        assert_eq!(
            slots.reserve(sid(1), 0, now, |epoch| assert_eq!(epoch, 2)),
            Reserved::Slot { epoch: 2, fresh: true }
        );
        assert_eq!(slots.reserved_and_active(), (1, 0));
        assert_eq!(slots.claim(sid(1), 1).err(), Some(NotClaimed::WrongEpoch));
    }

    #[test]
    fn an_old_streams_end_that_is_told_again_takes_nothing_from_the_open_stream() {
        let mut slots = Slots::new(1);
        let now = NOW;
        slots.reserve(sid(1), 0, now, |_| ());
        assert!(slots.claim(sid(1), 1).is_ok());
        assert_eq!(slots.resume(sid(1), Some(1), now), Resumed::Epoch(2));
        assert_eq!(slots.resume(sid(1), Some(1), now), Resumed::Epoch(2), "promised, not open yet");
        assert!(slots.claim(sid(1), 2).is_ok());
        for _ in 0..9 {
            assert_eq!(
                slots.resume(sid(1), Some(1), now),
                Resumed::Epoch(2),
                "used: it cannot be claimed again"
            );
            assert!(slots.get(sid(1)).is_some_and(|slot| slot.claimed), "the stream of epoch 2 is open");
        }
        assert_eq!(slots.resume(sid(1), Some(2), now), Resumed::Epoch(3), "this one has ended");
    }

    #[test]
    fn a_stream_that_ends_before_it_opens_is_not_promised_for_ever() {
        let mut slots = Slots::new(1);
        slots.reserve(sid(1), 0, NOW, |_| ());
        for times in 0..5 {
            assert_eq!(slots.resume(sid(1), Some(1), NOW + times), Resumed::Epoch(1));
        }
        assert_eq!(slots.resume(sid(1), Some(1), NOW), Resumed::TooOften);
        assert_eq!(slots.resume(sid(1), Some(0), NOW), Resumed::Epoch(1), "an older question, told again");
        assert_eq!(slots.resume(sid(1), Some(1), NOW + 61_000), Resumed::Epoch(1));
    }

    #[test]
    fn a_lost_stream_is_promised_again_with_the_next_epoch_but_not_for_ever() {
        let mut slots = Slots::new(1);
        let now = NOW;
        assert_eq!(slots.resume(sid(1), None, now), Resumed::NoSlot);
        slots.reserve(sid(1), 0, NOW, |_| ());
        for epoch in 1..=3 {
            assert!(slots.claim(sid(1), epoch).is_ok());
            assert_eq!(slots.resume(sid(1), None, now), Resumed::Epoch(epoch + 1));
            assert_eq!(slots.resume(sid(1), None, now), Resumed::Epoch(epoch + 1), "asked twice");
        }
        assert!(slots.claim(sid(1), 4).is_ok());
        assert_eq!(slots.resume(sid(1), None, now), Resumed::TooOften);
        assert_eq!(slots.resume(sid(1), None, now + 61_000), Resumed::Epoch(5));
    }
}

#[cfg(test)]
mod properties;
