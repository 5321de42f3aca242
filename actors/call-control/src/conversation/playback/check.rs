//! What must hold of the playback after each step.

use super::Playback;

impl Playback {
    /// Panics where one of these does not hold:
    /// - Only the turn that is sent last can still grow.
    /// - No more of a turn was heard than was sent, and no mark lies beyond what was sent.
    /// - The marks of a turn are out in order, and the next one is not behind the ear.
    /// - A turn is on its way once.
    pub(in crate::conversation) fn check(&self) {
        for (at, turn) in self.turns.iter().enumerate() {
            let ordinal = turn.ordinal;
            let is_last = at + 1 == self.turns.len();
            assert!(turn.complete || is_last, "turn {ordinal} is followed by another and not complete");
            let (heard, sent) = (turn.heard_ms, turn.sent_ms());
            assert!(heard <= sent, "of turn {ordinal} {heard} ms were heard and {sent} ms sent");
            assert!(turn.marked_ms <= sent, "a mark of turn {ordinal} lies beyond what was sent");
            assert!(turn.marks.iter().is_sorted(), "the marks of turn {ordinal} are out of order");
            assert!(turn.marks.back().is_none_or(|mark| *mark <= sent), "a mark lies beyond turn {ordinal}");
            assert!(turn.marks.front().is_none_or(|mark| *mark >= heard), "a mark is behind the ear");
            let again = self.turns.iter().skip(at + 1).any(|other| other.ordinal == ordinal);
            assert!(!again, "turn {ordinal} is on its way twice");
        }
    }

    /// What was sent of each turn that is on its way, in milliseconds: by ordinal; of phrases by their
    /// number.
    pub(in crate::conversation) fn sent_ms(&self) -> impl Iterator<Item = (u32, u32)> {
        self.turns.iter().map(|turn| (turn.ordinal, turn.sent_ms()))
    }

    /// Whether it is the number of a phrase and no turn's ordinal.
    pub(in crate::conversation) fn is_phrase(number: u32) -> bool {
        number > super::PHRASES_FROM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two turns on their way.
    fn playing() -> Playback {
        let mut playback = Playback::default();
        playback.sent(1, 800 * 8, 0);
        playback.sent(2, 800 * 8, 0);
        playback.check();
        playback
    }

    #[test]
    #[should_panic(expected = "of turn 1 801 ms were heard and 800 ms sent")]
    fn more_heard_than_sent_is_noticed() {
        let mut playback = playing();
        playback.turns[0].heard_ms = 801;
        playback.check();
    }

    #[test]
    #[should_panic(expected = "turn 1 is followed by another and not complete")]
    fn a_turn_that_may_grow_behind_another_is_noticed() {
        let mut playback = playing();
        playback.turns[0].complete = false;
        playback.check();
    }

    #[test]
    #[should_panic(expected = "the marks of turn 2 are out of order")]
    fn marks_out_of_order_are_noticed() {
        let mut playback = playing();
        playback.turns[1].marks.push_back(200);
        playback.check();
    }

    #[test]
    #[should_panic(expected = "turn 1 is on its way twice")]
    fn a_turn_that_is_played_twice_is_noticed() {
        let mut playback = playing();
        playback.turns[1].ordinal = 1;
        playback.check();
    }
}
