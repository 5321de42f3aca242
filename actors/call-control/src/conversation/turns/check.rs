//! What must hold of the turns after each step.

use super::{Heard, Turns};

impl Turns {
    /// Panics where one of these does not hold:
    /// - Every open turn has an ordinal of its own that was given out by this process.
    /// - The turns of each speaker are in the order of their ordinals.
    /// - An item is one turn.
    /// - No more of a turn was heard than was made, and none is kept that is written.
    pub(in crate::conversation) fn check(&self) {
        let given = self.before + 1..=self.last_ordinal;
        for (at, turn) in self.agent.iter().enumerate() {
            let ordinal = turn.ordinal;
            assert!(given.contains(&ordinal), "the agent's turn {ordinal} is none of {given:?}");
            let caller = self.caller.iter().any(|caller| caller.ordinal == ordinal);
            assert!(!caller, "two turns have the ordinal {ordinal}");
            let is_again = self.agent[at + 1..].iter().any(|other| other.item_id == turn.item_id);
            assert!(!is_again, "the item of turn {ordinal} has two turns");
            let made = turn.made_bytes / 8;
            match turn.heard {
                Heard::NotYet => {}
                Heard::Whole { ms } | Heard::Until { ms } => {
                    assert!(u64::from(ms) <= made, "of turn {ordinal} {ms} ms were heard and {made} ms made");
                }
            }
            assert!(!turn.is_written(), "turn {ordinal} is written and still open");
        }
        for turn in &self.caller {
            assert!(given.contains(&turn.ordinal), "the caller's turn {} is none of {given:?}", turn.ordinal);
        }
        let in_order = self.agent.is_sorted_by(|a, b| a.ordinal < b.ordinal);
        assert!(in_order, "the agent's turns are out of order");
        let in_order = self.caller.is_sorted_by(|a, b| a.ordinal < b.ordinal);
        assert!(in_order, "the caller's turns are out of order");
    }

    /// How many turns this process has given an ordinal.
    pub(in crate::conversation) fn given(&self) -> u32 {
        self.last_ordinal - self.before
    }

    /// How many milliseconds the service has made of the turn, if it is open.
    pub(in crate::conversation) fn made_ms(&self, ordinal: u32) -> Option<u64> {
        self.agent.iter().find(|turn| turn.ordinal == ordinal).map(|turn| turn.made_bytes / 8)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::realtime::events::AudioDelta;

    /// One turn of the agent and two of the caller.
    fn open() -> Turns {
        let mut turns = Turns::after(10);
        let delta = AudioDelta { response_id: "r", item_id: "i", content_index: 0, payload: Bytes::new() };
        turns.audio(&delta, 8_000, 0);
        turns.committed("u1", 1);
        turns.committed("u2", 2);
        turns.check();
        turns
    }

    #[test]
    #[should_panic(expected = "the caller's turn 14 is none of 11..=13")]
    fn an_ordinal_that_was_not_given_out_is_noticed() {
        let mut turns = open();
        turns.caller[1].ordinal = 14;
        turns.check();
    }

    #[test]
    #[should_panic(expected = "two turns have the ordinal 11")]
    fn an_ordinal_that_was_given_twice_is_noticed() {
        let mut turns = open();
        turns.caller[0].ordinal = 11;
        turns.check();
    }

    #[test]
    #[should_panic(expected = "the caller's turns are out of order")]
    fn turns_out_of_order_are_noticed() {
        let mut turns = open();
        turns.caller.swap(0, 1);
        turns.check();
    }

    #[test]
    #[should_panic(expected = "of turn 11 1001 ms were heard and 1000 ms made")]
    fn more_heard_than_made_is_noticed() {
        let mut turns = open();
        turns.agent[0].heard = Heard::Until { ms: 1_001 };
        turns.check();
    }
}
