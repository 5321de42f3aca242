//! What must hold of the registry after each message. In debug builds it is checked.

use std::sync::PoisonError;

use super::picture::Capacity;
use super::{CallRegistry, MAX_REMEMBERED};

impl CallRegistry {
    /// Panics where one of these does not hold:
    /// - The capacity that is told is that of the slots.
    /// - Each actor of a call has one slot and a number of its own.
    /// - Only so many calls are remembered as there is room for.
    pub(super) fn check(&self) {
        let Capacity { limit, active, reserved, available, .. } =
            *self.capacity.lock().unwrap_or_else(PoisonError::into_inner);
        let told = (reserved, active);
        assert_eq!(told, self.slots.reserved_and_active(), "the capacity told is not that of the slots");
        assert_eq!(available + reserved + active, limit, "there are slots that are neither free nor held");
        let serials = || self.slots.iter().map(|(_, slot)| slot.call.serial);
        assert!(serials().all(|serial| serial < self.serial), "an actor has a number that was not given");
        let is_once = serials().all(|serial| serials().filter(|other| *other == serial).count() == 1);
        assert!(is_once, "an actor has two slots");
        let (decided, refused) = (self.decided.len(), self.refused.len());
        assert!(decided <= MAX_REMEMBERED, "{decided} decisions are remembered");
        assert!(refused <= MAX_REMEMBERED, "{refused} calls that were turned away are remembered");
    }
}
