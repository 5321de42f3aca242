//! How long a caller has waited for an answer, whatever the reason. Pure.
//!
//! This is the last line: every other part has deadlines of its own. Only time in which the caller is silent
//! counts, so that somebody who tells a long story with pauses is not taken for somebody who waits.

use crate::Millis;

/// A caller who has waited this long for an answer is given to a person.
const LIMIT: Millis = 30_000;

/// The wait of one caller.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patience {
    /// The caller is owed an answer.
    owed: bool,
    /// Waited before `since`.
    waited: Millis,
    /// Since when they wait without a pause.
    since: Option<Millis>,
}

impl Patience {
    /// The caller has said something, or has come to the line.
    pub fn owe(&mut self) {
        self.owed = true;
    }

    /// The caller was taken for speaking this long, and may have waited all the time.
    pub fn owe_since(&mut self, ago: Millis) {
        if !std::mem::replace(&mut self.owed, true) {
            self.waited = ago;
        }
    }

    /// The caller is owed an answer, and does not wait now.
    pub fn is_paused(&self) -> bool {
        self.owed && self.since.is_none()
    }

    /// The caller hears an answer.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// Whether the caller is on the line and silent now.
    pub fn observe(&mut self, silent: bool, now: Millis) {
        let waits = self.owed && silent;
        match self.since {
            None if waits => self.since = Some(now),
            Some(since) if !waits => {
                self.waited += now.saturating_sub(since);
                self.since = None;
            }
            _ => {}
        }
    }

    /// When the wait has lasted too long.
    pub fn deadline(&self) -> Option<Millis> {
        Some(self.since? + LIMIT.saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_silence_of_a_caller_who_is_owed_an_answer_counts() {
        let mut patience = Patience::default();
        patience.observe(true, 0);
        assert_eq!(patience.deadline(), None, "nothing is owed");
        patience.owe();
        patience.observe(true, 1_000);
        assert_eq!(patience.deadline(), Some(31_000));
        patience.observe(false, 11_000);
        assert_eq!(patience.deadline(), None, "they speak");
        patience.observe(true, 20_000);
        assert_eq!(patience.deadline(), Some(40_000), "20 s are left");
        patience.answered();
        patience.observe(true, 30_000);
        assert_eq!(patience.deadline(), None);
    }
}
