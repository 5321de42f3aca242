//! The live picture: what `GET /api/call-monitor` answers.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

pub use crate::call::conversation::state::{CallState, Speaking};
use crate::schemas;
use crate::wire::twilio::sid::CallSid;

/// The whole picture of one instance.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Picture {
    pub generated_at: DateTime<Utc>,
    pub instance: String,
    pub draining: bool,
    pub capacity: Capacity,
    pub calls: Vec<LiveCall>,
    pub queue: Vec<QueuedCall>,
}

/// How many calls there are, and how many more there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    pub limit: usize,
    /// Calls whose stream has been accepted.
    pub active: usize,
    /// Slots held for a stream that has not come yet.
    pub reserved: usize,
    pub queued: usize,
    pub available: usize,
}

/// One call on the line.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveCall {
    #[schema(schema_with = schemas::call_sid)]
    pub call_sid: CallSid,
    pub instance: String,
    pub from: String,
    pub to: String,
    #[schema(schema_with = schemas::call_state)]
    pub state: CallState,
    pub started_at: DateTime<Utc>,
    pub duration_seconds: u64,
    #[schema(schema_with = schemas::speaking)]
    pub speaking: Speaking,
    pub turns: u32,
    pub barge_ins: u32,
    /// From the stream's start to the first audio sent to the caller.
    pub first_audio_ms: Option<u32>,
    /// From the caller's last word (as the service heard it) to the first audio of the answer.
    pub last_turn_ms: Option<u32>,
    pub restarts: u32,
    pub reconnects: u32,
}

/// One caller waiting for a slot.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuedCall {
    #[schema(schema_with = schemas::call_sid)]
    pub call_sid: CallSid,
    pub from: String,
    pub position: usize,
    pub waiting_seconds: u64,
}
