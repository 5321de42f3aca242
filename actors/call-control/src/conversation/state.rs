//! What the monitor shows of a conversation.

use serde::Serialize;

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// Admitted; Twilio has not opened the media stream yet.
    Reserved,
    /// The stream is open; the Realtime session is not ready yet.
    Connecting,
    Live,
    /// A socket was lost and is waited for.
    Reconnecting,
    Transferring,
    /// The agent's part is over. The stream is being closed.
    Ending,
}

/// Who is heard on the line right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaking {
    Caller,
    Agent,
    None,
}
