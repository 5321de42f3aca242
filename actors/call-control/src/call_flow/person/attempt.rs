//! One attempt to give a caller to somebody: all that has to be known of it.
//!
//! It travels in the URLs that both legs ask, sealed (see [`seal`](super::seal)), so any instance can go on
//! with a transfer, without a database and after the death of the process that began it.

use serde::{Deserialize, Serialize};

use crate::policy::destinations::Destination;
use crate::twilio::sid::CallSid;

/// How long the person may take from answering to pressing the key, in seconds: the announcement, read twice
/// as slowly as usual, and the wait after it.
const WHISPER_SECONDS: u64 = 40;
/// Twilio rings for that much longer than it is told (reference: twilio.md section 7).
const RING_BUFFER_SECONDS: u64 = 5;
/// The caller moves on so long after the last moment in which the key counts: the clocks of instances differ,
/// and the caller may be on the way into the conference.
const GRACE_SECONDS: u64 = 5;
/// How long a caller may be alone in the conference before the transfer counts as failed, in seconds.
const ALONE_SECONDS: u64 = 10;
/// The longest reason that a person is told, in bytes: two sealed attempts have to fit into the 4,000
/// characters of a document that is sent by REST.
const MAX_REASON_BYTES: usize = 300;

/// See the module. Its printed form shows neither the reason nor the caller's number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The caller's call.
    #[serde(rename = "c")]
    pub call_sid: CallSid,
    /// The name of the destination that is rung.
    #[serde(rename = "n")]
    pub name: String,
    /// The destination that the agent chose, which decides the order.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// Why the caller is given to a person, in the agent's words.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The caller's number, if they show one.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How many have been rung, with this one.
    #[serde(rename = "a")]
    pub ordinal: u8,
    #[serde(rename = "w")]
    pub way: Way,
    /// The person is called from our own number.
    #[serde(rename = "s", default)]
    pub from_us: bool,
    /// The key counts until then (Unix seconds); in the conference: nobody is alone any more.
    #[serde(rename = "u")]
    pub until: u64,
    /// The person's call, where it is known.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub person_sid: Option<CallSid>,
    /// How many pieces of music the caller has heard; how often the person was put off.
    #[serde(rename = "m", default)]
    pub piece: u32,
}

/// How the person is rung, and where the caller is meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Way {
    /// `<Dial>` without a key: the person has the call when they answer. The caller hears the ringing.
    #[serde(rename = "c")]
    Cold,
    /// `<Dial>` with a whisper: the person takes the call with a key. The caller hears it ring.
    #[serde(rename = "d")]
    Dial,
    /// The REST API calls the person, who takes the call with a key. The caller hears music and news.
    #[serde(rename = "w")]
    Waiting,
    /// The person has pressed the key, and both are on the way into the conference or in it.
    #[serde(rename = "r")]
    Room,
}

impl Way {
    /// The word used in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Dial => "whisper",
            Self::Waiting | Self::Room => "conference",
        }
    }
}

impl Attempt {
    /// The caller leaves the music at this time, whatever has happened (Unix seconds).
    pub fn moves_on_at(&self) -> u64 {
        self.until + GRACE_SECONDS
    }

    /// The same attempt, once the person has taken the call.
    pub fn in_room(&self, now: u64) -> Self {
        Self { way: Way::Room, until: now + ALONE_SECONDS, piece: 0, ..self.clone() }
    }

    /// The same attempt without the REST API.
    pub fn by_dial(&self) -> Self {
        Self { way: Way::Dial, person_sid: None, ..self.clone() }
    }

    /// The same attempt, one piece later.
    pub fn later(&self) -> Self {
        Self { piece: self.piece.saturating_add(1), ..self.clone() }
    }
}

/// The key counts until then if `destination` is rung from now on.
pub(super) fn until(destination: &Destination, now: u64) -> u64 {
    now + u64::from(destination.ring_seconds) + RING_BUFFER_SECONDS + WHISPER_SECONDS
}

/// A reason as it is told: one line, of bounded length; none if nothing is left.
pub fn told_reason(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut line = words.collect::<Vec<_>>().join(" ");
    let end = (0..=MAX_REASON_BYTES.min(line.len())).rfind(|end| line.is_char_boundary(*end));
    line.truncate(end.unwrap_or_default());
    (!line.is_empty()).then_some(line)
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { call_sid, name, ordinal, way, until, piece, .. } = self;
        f.debug_struct("Attempt")
            .field("call_sid", call_sid)
            .field("name", name)
            .field("ordinal", ordinal)
            .field("way", way)
            .field("until", until)
            .field("piece", piece)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert_eq!(told_reason(" a bill\nof\u{7}May ").as_deref(), Some("a bill of May"));
        assert_eq!(told_reason(&"ü".repeat(300)).unwrap().len(), MAX_REASON_BYTES);
        assert_eq!(told_reason(" \n"), None);
    }
}
