//! Whom an alert is about: one process, or what all instances share.

use super::Rule;

/// Rules about what belongs to one process: its memory, pool, slots, spool, files and actors. Two instances
/// with the same alert have two faults. The other rules are about what instances share, such as the database,
/// Redis, Twilio and the Realtime service: there, several instances with the same alert have one fault.
const LOCAL: [&str; 15] = [
    "database-pool",
    "memory",
    "ceiling-reached",
    "callers-turned-away",
    "spool-pending",
    "spool-oldest",
    "records-set-aside",
    "spool-failing",
    "records-lost",
    "records-wait",
    "webhooks-not-stored",
    "actor-restarts",
    "agent-file-not-used",
    "certificate-not-used",
    "certificate-ends-soon",
];

impl Rule {
    /// Whether it is about this process alone: each instance tells its own alert.
    pub fn is_local(&self) -> bool {
        is_local(self.name)
    }
}

/// The same by the name of a rule.
pub fn is_local(rule: &str) -> bool {
    LOCAL.contains(&rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::position;

    #[test]
    fn rules_about_one_process_are_told_apart_from_those_about_what_instances_share() {
        for name in LOCAL {
            assert!(position(name).is_some(), "{name} is a rule");
        }
        for name in ["memory", "database-pool", "spool-pending", "spool-failing"] {
            assert!(is_local(name), "{name}");
        }
        for name in ["database-unavailable", "redis-away", "realtime-refused", "dead-letters"] {
            assert!(!is_local(name), "{name}");
        }
    }
}
