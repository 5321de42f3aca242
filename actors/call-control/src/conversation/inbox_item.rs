//! What a call leaves for the staff: plain data.

use serde::Serialize;

/// An item for the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InboxItem {
    /// The caller left a message with the agent.
    Message {
        /// Tells it from others of the call.
        key: String,
        text: String,
        name: Option<String>,
        call_back: bool,
    },
    /// Something cannot wait.
    Urgent {
        by: UrgentBy,
        /// What the agent says of it, or what the caller said.
        text: String,
    },
}

/// Who found a call urgent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UrgentBy {
    Agent,
    /// The caller said these words, whatever the agent made of them.
    Phrase(String),
}

impl UrgentBy {
    /// The word for it in a call's log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Phrase(_) => "phrase",
        }
    }
}
