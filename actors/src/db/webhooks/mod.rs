//! Twilio's status callbacks: stored once each before they are acknowledged, then processed from their table.
//!
//! A door makes a [`Webhook`] of the request and [stores](super::Doors::store_webhook) it; the inbox writes
//! what comes at the same time together. A worker, of whichever instance, leases what is due and applies it
//! to calls, conferences and recordings. Whatever the order and however often, the same webhooks lead to the
//! same rows.

mod apply;
mod backlog;
pub(super) mod dead_letters;
mod inbox;
mod metrics;
mod table;
mod trouble;
mod worker;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use self::backlog::state;
pub use self::backlog::{WebhookBacklog, WebhookState};
pub use self::dead_letters::DeadLetter;
pub(super) use self::inbox::Inbox;
pub(super) use self::metrics::{Kept, Metrics};
pub(super) use self::table::{insert, of_conference};
pub(super) use self::worker::run;

/// Which door it came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    CallStatus,
    StreamStatus,
    ConferenceEvents,
    RecordingStatus,
}

impl Route {
    pub const ALL: [Self; 4] =
        [Self::CallStatus, Self::StreamStatus, Self::ConferenceEvents, Self::RecordingStatus];

    /// The word used in URLs, in metrics and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallStatus => "call-status",
            Self::StreamStatus => "stream-status",
            Self::ConferenceEvents => "conference-events",
            Self::RecordingStatus => "recording-status",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.as_str() == word)
    }
}

/// A status callback as it came. It may wait in the spool: what is said in [`record`](super::write::record)
/// of fields holds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    pub route: Route,
    /// Equal keys are the same message, stored and processed once; at most 200 bytes.
    pub dedupe_key: String,
    /// Whom it concerns, as Twilio says; at most 64 bytes each, and not blank.
    pub call_sid: Option<String>,
    pub conference_sid: Option<String>,
    /// All parameters by name; one that came several times is an array, of which the first value counts.
    pub body: Value,
    /// When it happened, as Twilio says.
    pub twilio_at: Option<DateTime<Utc>>,
    pub received_at: DateTime<Utc>,
}

impl Webhook {
    /// A parameter that is there and not blank; of several values the first, as the door read it.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.body, name)
    }

    /// When it happened; as of when it came, if Twilio does not say.
    pub fn at(&self) -> DateTime<Utc> {
        self.twilio_at.unwrap_or(self.received_at)
    }
}

/// A parameter of a stored body: see [`Webhook::parameter`].
pub(super) fn parameter<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    let value = match body.get(name)? {
        Value::Array(values) => values.first()?,
        value => value,
    };
    value.as_str().filter(|value| !value.trim().is_empty())
}

/// Without the body: it has callers' numbers in it.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { route, dedupe_key, received_at, .. } = self;
        f.debug_struct("Webhook")
            .field("route", route)
            .field("dedupe_key", dedupe_key)
            .field("received_at", received_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_parameter_that_came_several_times_is_its_first_value() {
        let body =
            json!({"CallSid": ["CA1", "CA2"], "Event": "join", "Blank": " ", "First": ["", "x"], "None": []});
        let read = |name| parameter(&body, name);
        assert_eq!((read("CallSid"), read("Event")), (Some("CA1"), Some("join")));
        assert_eq!([read("Blank"), read("First"), read("None"), read("Other")], [None; 4]);
    }
}
