//! What the simulators measured: the answer of `sim realtime`'s `GET /report`, and the `--json` of
//! `sim phone`.

use serde::{Deserialize, Serialize};

/// `GET /report` of the simulated Realtime service: what arrived, what was sent, and what the client did
/// wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeReport {
    /// One entry a session, in the order in which they were opened; also the closed ones, but none that
    /// rendered phrases or tried the service: it has no caller.
    pub sessions: Vec<SessionReport>,
    /// Everything a real service would have refused, over all sessions.
    pub violations: Vec<Violation>,
}

/// `GET /state` of the simulated Realtime service: how far it has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeState {
    /// The number of the session that was opened last.
    pub last_session: u16,
    /// Violations of those who got no session: the first ones of the report's.
    pub refused: usize,
    /// How late the service itself was in what it had to do: by so many microseconds, so often.
    pub late: Vec<(u64, u64)>,
}

/// One session of the simulated Realtime service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReport {
    /// The `source` of the tags in this session's audio.
    pub session: u16,
    /// Whether its socket is still open.
    pub open: bool,
    /// Distinct `source` values of the tagged frames that arrived: the phone's call numbers. More than one is
    /// cross-talk.
    pub callers: Vec<u16>,
    /// Tagged caller frames by sequence, in order of arrival, as `[sequence, latency in microseconds]`.
    pub arrivals: Vec<(u32, u32)>,
    /// 20 ms frames without a tag: silence the bridge filled in.
    pub untagged: u64,
    /// Frames whose checksum did not hold, or pieces that were not whole frames.
    pub corrupted: u64,
    /// What was said to the caller.
    pub responses: Vec<ResponseReport>,
    /// Tokens of all responses that have ended.
    #[serde(default)]
    pub billed_tokens: u64,
    /// Utterances of the caller that were committed.
    #[serde(default)]
    pub utterances: u32,
    /// The texts it was told as messages, in order: a history, notes.
    #[serde(default)]
    pub told: Vec<String>,
}

/// One response of a session that carried audio.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseReport {
    /// The upper half of the `sequence` of its frames.
    pub response: u16,
    /// Frames sent to the client.
    pub frames: u32,
    /// `completed`, `cancelled`, `failed` or `in_progress`.
    pub status: String,
    /// `audio_end_ms` of the client's truncation, if there was one.
    pub truncated_at_ms: Option<u32>,
}

/// Something a real peer would have refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// The session's or the call's number.
    pub source: u16,
    /// A short slug: `unknown-field`, `truncate-beyond-audio`, `second-response`, …
    pub kind: String,
    /// What exactly, for a person.
    pub detail: String,
}

/// The result of a run of simulated callers: the `--json` of `demo`, `sim phone` and `loadtest calls`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallsReport {
    pub calls: CallCounts,
    /// In both directions; null when the Realtime service did not tell what arrived there, and nothing was
    /// found wrong here.
    pub frames: Option<FrameCounts>,
    /// What the bridge adds to each frame's way.
    pub added_latency_ms: UpDown,
    /// From the stream's start to the first audio the caller hears.
    pub first_audio_ms: Percentiles,
    /// From the first sound of an interruption to the end of the agent's audio in the caller's ear.
    pub barge_in_ms: Percentiles,
    /// From the caller's last word to the first of the answer, as the caller hears it.
    #[serde(default)]
    pub turn_ms: Percentiles,
    /// Of each call, the longest time in which nothing was heard and nothing was said.
    #[serde(default)]
    pub silence_ms: Percentiles,
    /// Times an agent broke off for less than 300 ms: its audio was late.
    #[serde(default)]
    pub gaps: u64,
    /// Of the bridge's process alone; null when it cannot be known.
    pub cpu_seconds_per_call_minute: Option<f64>,
    pub memory_kib_per_call: Option<f64>,
    /// Processors that the bridge's process kept busy, on average; null when it cannot be known.
    #[serde(default)]
    pub bridge_cores: Option<f64>,
    /// The same of the process of the callers, in which the simulated Realtime service may be, too.
    #[serde(default)]
    pub own_cores: Option<f64>,
    /// How late the simulated Realtime service was in what it had to do.
    #[serde(default)]
    pub realtime_lag_ms: Percentiles,
    /// Everything a real peer would have refused, on both sides.
    pub violations: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallCounts {
    pub asked: u64,
    pub completed: u64,
    /// A person took them, or the caller left a message.
    #[serde(default)]
    pub with_person: u64,
    /// Turned away by the full house.
    pub refused: u64,
    pub failed: u64,
    /// Requests for the number's fallback URL.
    pub fallback: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameCounts {
    pub lost: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub crossed: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpDown {
    /// Caller to agent.
    pub up: Percentiles,
    /// Agent to caller.
    pub down: Percentiles,
}

/// Null where nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}
