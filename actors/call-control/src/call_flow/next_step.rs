//! What comes next.

use serde::{Deserialize, Serialize};

/// What comes next for a caller when the agent's part is over. The conversation decides it, the database
/// stores it, and Twilio is answered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextStep {
    /// The caller is given to a person; where there is none, to the voicemail box.
    Human,
    /// The caller may leave a message.
    Voicemail,
    /// The call ends: the caller has hung up, or all is said.
    HangUp,
    /// The agent goes on with the caller at whichever instance Twilio asks.
    HandedOver,
}

/// Whom the agent gave a caller to, and why, in its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferTo {
    /// The name of a destination. The model never learns its number.
    pub destination: String,
    pub reason: String,
}

impl NextStep {
    pub const ALL: [Self; 4] = [Self::Human, Self::Voicemail, Self::HangUp, Self::HandedOver];

    /// The word used in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Voicemail => "voicemail",
            Self::HangUp => "hang-up",
            Self::HandedOver => "handed-over",
        }
    }

    /// The step of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == word)
    }
}
