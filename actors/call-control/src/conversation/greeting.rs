//! Whether the caller has heard the greeting. What cut it off may have been a noise: then it is said again.
//! Pure.

use super::turns::TurnUpdate;

/// How many times the greeting is repeated. Noise that lasts longer will not stop.
const MAX_AGAIN: u32 = 2;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Greeting {
    /// It was asked for, and neither was it heard whole nor has the caller said a word.
    owed: bool,
    interrupted: bool,
    /// It is to be said again and was not asked for yet.
    pending: bool,
    again: u32,
}

impl Greeting {
    /// The service was asked for it.
    pub fn asked(&mut self) {
        self.owed = true;
        self.interrupted = false;
        self.pending = false;
    }

    /// Playback of a turn has ended.
    pub fn heard(&mut self, turn: &TurnUpdate) {
        self.owed &= turn.cut_off || self.interrupted;
    }

    /// The agent fell silent for what seems to be the caller.
    pub fn interrupted(&mut self) {
        self.interrupted = self.owed;
    }

    /// What interrupted it is written down now: words, or not. Answers whether the greeting is due again.
    pub fn is_due_after(&mut self, text: &str) -> bool {
        if text.chars().any(char::is_alphanumeric) {
            self.owed = false;
            self.pending = false;
        }
        let due = self.owed && self.interrupted && !self.pending && self.again < MAX_AGAIN;
        if due {
            self.pending = true;
            self.again += 1;
        }
        due
    }

    pub fn is_pending(&self) -> bool {
        self.pending
    }
}
