//! What the calls write: facts handed to the [`Db`](crate::db::Db), in order, never waited for.
//!
//! They may wait in the spool, in JSON, and be read by a later version of this program: a field that is added
//! needs a default, and one that is renamed an alias.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use call_control::call_flow::NextStep;

pub use crate::call::conversation::speaker::Speaker;
use crate::call::end::{CallEnd, Outcome};
use crate::db::webhooks::Webhook;
use crate::wire::twilio::sid::CallSid;

/// One fact to be kept. Each is an upsert: writing it twice changes nothing, and an older epoch changes
/// nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    Opened(CallOpened),
    Turn(Turn),
    Event(Event),
    Decided(Decision),
    Closed(CallClosed),
    Aftermath(Aftermath),
    Inbox(InboxItem),
    Webhook(Webhook),
}

#[cfg(test)]
thread_local! {
    /// How many records this thread has asked whose they are.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Record {
    /// The call whose rows it changes.
    pub fn call_sid(&self) -> Option<CallSid> {
        #[cfg(test)]
        LOOKED_AT.set(LOOKED_AT.get() + 1);
        match self {
            Self::Opened(opened) => Some(opened.call_sid),
            Self::Turn(turn) => Some(turn.call_sid),
            Self::Event(event) => Some(event.call_sid),
            Self::Decided(decision) => Some(decision.call_sid),
            Self::Closed(closed) => Some(closed.call_sid),
            Self::Aftermath(aftermath) => Some(aftermath.event.call_sid),
            Self::Inbox(item) => Some(item.call_sid),
            Self::Webhook(_) => None, // not before it is processed
        }
    }

    /// The word for it in logs and traces.
    pub(in crate::db) fn kind(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Turn(_) => "turn",
            Self::Event(_) => "event",
            Self::Decided(_) => "decided",
            Self::Closed(_) => "closed",
            Self::Aftermath(_) => "aftermath",
            Self::Inbox(_) => "inbox",
            Self::Webhook(_) => "webhook",
        }
    }

    pub(in crate::db) fn webhook(&self) -> Option<&Webhook> {
        match self {
            Self::Webhook(webhook) => Some(webhook),
            _ => None,
        }
    }
}

/// A call was admitted, or turned away (then [`CallClosed`] follows at once).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallOpened {
    pub call_sid: CallSid,
    /// Raised by each accepted stream; starts at 1.
    pub epoch: u32,
    /// The caller's number as Twilio gives it: E.164, a SIP URI, `anonymous`, …
    pub from: String,
    pub to: String,
    pub started_at: DateTime<Utc>,
    /// `INSTANCE_ID` of the process that carries the call.
    pub instance: String,
}

/// A turn as it is known now; a later record of the same ordinal replaces it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    pub call_sid: CallSid,
    pub epoch: u32,
    /// Dense within the call, from 1.
    pub ordinal: u32,
    pub speaker: Speaker,
    /// Empty while the transcript is not known.
    pub text: String,
    pub started_at: DateTime<Utc>,
    /// Agent turns: how much of it the caller heard. Caller turns: none.
    pub heard_ms: Option<u32>,
    /// The caller did not hear all of it; `text` ends where the hearing did.
    pub cut_off: bool,
    /// Rises with each turn that is written under the epoch: a writing that arrives late replaces no later
    /// one.
    #[serde(default)]
    pub version: u32,
}

/// Something that happened to a call and belongs in its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub call_sid: CallSid,
    pub at: DateTime<Utc>,
    /// A short slug: `call-status`, `stream-started`, `realtime-error`, `voicemail` (with the recording's SID
    /// and URL), …
    pub kind: String,
    pub data: Value,
    /// Equal keys of one call are the same event and stored once; none: always stored.
    pub dedupe_key: Option<String>,
}

/// The kind of the event that says whom the agent gives the caller to.
pub const TRANSFER_ASKED: &str = "transfer-asked";

/// What such an event says.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct TransferAsked {
    /// The name of a destination.
    #[serde(default)]
    pub destination: Option<String>,
    /// In the agent's words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Without the reason.
impl fmt::Debug for TransferAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferAsked").field("destination", &self.destination).finish_non_exhaustive()
    }
}

/// It was decided what comes next. A later stream of the call makes the decision void.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub call_sid: CallSid,
    pub epoch: u32,
    pub next_step: NextStep,
    pub decided_at: DateTime<Utc>,
}

/// A call is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallClosed {
    pub call_sid: CallSid,
    pub epoch: u32,
    pub ended_at: DateTime<Utc>,
    pub end: CallEnd,
    pub barge_ins: u32,
    pub first_audio_ms: Option<u32>,
    /// Token counts summed over all responses, as stored in `calls.usage`.
    pub usage: Value,
    pub cost_usd: Option<f64>,
}

/// What befell the caller after the agent's part: an event of the call's log that decides its outcome, too.
///
/// It may be written before the call, and in any order: `voicemail` stands over `transferred`, and both stand
/// over whatever the agent's part ended with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aftermath {
    pub event: Event,
    pub outcome: Outcome,
    /// The caller's number, if it is told: a voicemail can come without the call's row.
    #[serde(default)]
    pub from: Option<String>,
}

impl Aftermath {
    /// The item of the inbox that it is: a voicemail, by its recording.
    pub(in crate::db) fn inbox_item(&self) -> Option<InboxItem> {
        if self.outcome != Outcome::Voicemail {
            return None;
        }
        let recording_sid = self.event.data.get("recordingSid")?.as_str()?;
        let seconds = self.event.data.get("durationSeconds").and_then(Value::as_u64);
        Some(InboxItem {
            call_sid: self.event.call_sid,
            at: self.event.at,
            kind: InboxKind::Voicemail,
            dedupe_key: format!("voicemail {recording_sid}"),
            from: self.from.clone(),
            name: None,
            text: String::new(),
            language: None,
            recording_sid: Some(recording_sid.to_owned()),
            duration_seconds: seconds.and_then(|seconds| seconds.try_into().ok()),
        })
    }
}

/// Something that a caller left for the staff.
///
/// It may be written before the call, and in any order. Of equal items the earliest time, the longer text and
/// whatever else is known stand; a mark that one is done stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxItem {
    pub call_sid: CallSid,
    pub at: DateTime<Utc>,
    pub kind: InboxKind,
    /// Equal keys of one call are the same item.
    pub dedupe_key: String,
    /// The caller's number as Twilio gives it. None: that of the call's row.
    #[serde(default)]
    pub from: Option<String>,
    /// The caller's name, as the caller told it.
    #[serde(default)]
    pub name: Option<String>,
    /// What the caller asks for, or said. The table keeps 4,000 characters.
    #[serde(default)]
    pub text: String,
    /// The language of the call, as `en` or `de-CH`.
    #[serde(default)]
    pub language: Option<String>,
    #[serde(default)]
    pub recording_sid: Option<String>,
    #[serde(default)]
    pub duration_seconds: Option<u32>,
}

impl InboxItem {
    /// An item that the caller left by word of mouth. A call is urgent once; any other item is one of its
    /// own.
    pub fn said(call_sid: CallSid, at: DateTime<Utc>, kind: InboxKind, text: impl Into<String>) -> Self {
        let dedupe_key = match kind {
            InboxKind::Urgent => kind.as_str().to_owned(),
            _ => format!("{} {:032x}", kind.as_str(), rand::random::<u128>()),
        };
        Self {
            call_sid,
            at,
            kind,
            dedupe_key,
            from: None,
            name: None,
            text: text.into(),
            language: None,
            recording_sid: None,
            duration_seconds: None,
        }
    }
}

/// What an item of the inbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InboxKind {
    Message,
    Voicemail,
    /// The call is then urgent, too, and the person on duty is told.
    Urgent,
    CallBack,
}

impl InboxKind {
    pub const ALL: [Self; 4] = [Self::Message, Self::Voicemail, Self::Urgent, Self::CallBack];

    /// The word used in answers and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Voicemail => "voicemail",
            Self::Urgent => "urgent",
            Self::CallBack => "call-back",
        }
    }
}
