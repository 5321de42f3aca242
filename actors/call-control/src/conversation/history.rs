//! What was said so far, as another session is told it: only what the caller heard.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::turns::TurnUpdate;
use crate::conversation::speaker::Speaker;

/// A new session is told the last turns; older ones are rarely needed, and each costs tokens.
const REMEMBERED: usize = 20;
/// More turns than a call has under one epoch.
const ROOM_OF_AN_EPOCH: u32 = 10_000;
/// So many epochs have room of their own; an ordinal fits into 31 bits.
const EPOCHS_WITH_ROOM: u32 = 100_000;

/// The last turns of a call, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(VecDeque<Said>);

/// What is known of a call that another process began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The highest epoch that was used.
    pub epoch: u32,
    /// What is known to have been said, by ordinal.
    pub said: Vec<Said>,
    /// Nothing else was said.
    pub is_whole: bool,
}

impl Past {
    /// Nobody has had the call before.
    pub fn is_blank(&self) -> bool {
        self.epoch == 0
    }

    /// The ordinal after which the call goes on. Where not all is known, there is room for the turns that are
    /// written elsewhere, a place of its own after each epoch, so that none is written over however often
    /// that happens.
    pub fn last_ordinal(&self) -> u32 {
        let known = self.said.iter().map(|said| said.ordinal).max().unwrap_or_default();
        let room = ROOM_OF_AN_EPOCH * (self.epoch % EPOCHS_WITH_ROOM).max(1);
        if self.is_whole { known } else { known.max(room) }
    }
}

/// One turn, as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub ordinal: u32,
    pub speaker: Speaker,
    pub text: String,
}

impl History {
    /// What was said before this process took the call up.
    pub fn of(past: &Past) -> Self {
        Self(past.said[past.said.len().saturating_sub(REMEMBERED)..].iter().cloned().collect())
    }

    /// Learns a turn, or better of it.
    pub fn learn(&mut self, turn: &TurnUpdate) {
        let said = Said { ordinal: turn.ordinal, speaker: turn.speaker, text: turn.text.clone() };
        match self.0.iter().rposition(|known| known.ordinal <= turn.ordinal) {
            Some(at) if self.0[at].ordinal == turn.ordinal => self.0[at] = said,
            Some(at) => self.0.insert(at + 1, said),
            None if self.0.len() == REMEMBERED => {}
            None => self.0.push_front(said),
        }
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// The turns in which something was heard.
    pub fn turns(&self) -> impl Iterator<Item = &Said> {
        self.0.iter().filter(|said| !said.text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(ordinal: u32, text: &str) -> TurnUpdate {
        let speaker = if ordinal.is_multiple_of(2) { Speaker::Caller } else { Speaker::Agent };
        TurnUpdate { ordinal, speaker, text: text.into(), started_at: 0, heard_ms: None, cut_off: false }
    }

    #[test]
    fn turns_stand_in_order_however_late_they_are_known_and_unheard_ones_are_left_out() {
        let mut history = History::default();
        for (ordinal, text) in [(1, "one"), (3, ""), (4, "four"), (2, "two"), (1, "one, cut")] {
            history.learn(&turn(ordinal, text));
        }
        let told: Vec<_> = history.turns().map(|said| (said.ordinal, said.text.as_str())).collect();
        assert_eq!(told, [(1, "one, cut"), (2, "two"), (4, "four")]);
    }

    #[test]
    fn ordinals_go_on_after_the_last_or_with_room_for_what_is_not_known() {
        let said = |ordinal| Said { ordinal, speaker: Speaker::Caller, text: "Hi".into() };
        let past = |epoch, said, is_whole| Past { epoch, said, is_whole };
        assert_eq!(past(3, vec![], true).last_ordinal(), 0);
        assert_eq!(past(3, vec![said(1), said(2)], true).last_ordinal(), 2);
        assert_eq!(past(1, vec![], false).last_ordinal(), 10_000);
        assert_eq!(past(2, vec![said(10_001), said(10_004)], false).last_ordinal(), 20_000, "lost again");
        assert_eq!(past(7, vec![said(70_002)], true).last_ordinal(), 70_002);
        assert!(i32::try_from(past(1_795_499_999, vec![], false).last_ordinal()).is_ok(), "a clock's second");
    }

    #[test]
    fn only_the_last_turns_are_remembered() {
        let mut history = History::default();
        (1..=50).for_each(|ordinal| history.learn(&turn(ordinal, "x")));
        history.learn(&turn(1, "late"));
        let ordinals: Vec<_> = history.turns().map(|said| said.ordinal).collect();
        assert_eq!(ordinals, (31..=50).collect::<Vec<_>>());
    }
}
