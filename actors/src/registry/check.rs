//! What must hold of the registry after each message. In debug builds it is checked.

use std::sync::PoisonError;

use call_control::call_flow::flows::MAX_REMEMBERED;

use super::CallRegistry;
use super::picture::Capacity;

impl CallRegistry {
    /// Panics where one of these does not hold:
    /// - The capacity that is told is that of the slots.
    /// - Each call that holds a slot has one agent, and no other call has one. After a panic of the registry,
    ///   the slots of agents that died in it are freed soon.
    /// - No more calls are remembered than there is room for.
    pub(super) fn check(&self) {
        let Capacity { limit, active, reserved, available, .. } =
            *self.capacity.lock().unwrap_or_else(PoisonError::into_inner);
        let told = (reserved, active);
        assert_eq!(told, self.flows.reserved_and_active(), "the capacity told is not that of the slots");
        assert_eq!(available + reserved + active, limit, "there are slots that are neither free nor held");
        let is_known =
            |(call_sid, serial)| self.agents.get(&call_sid).is_some_and(|agent| agent.serial == serial);
        assert!(self.flows.agents().all(is_known), "a slot has no agent");
        assert_eq!(self.agents.len(), reserved + active, "there is an agent without a slot");
        let remembered = self.flows.remembered();
        assert!(remembered <= MAX_REMEMBERED, "{remembered} calls without an agent are remembered");
    }
}
