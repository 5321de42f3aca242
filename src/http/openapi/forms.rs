//! The forms that Twilio posts, for the description alone: the parameters that the program reads. Twilio
//! sends more of them, and may send others later.
#![allow(dead_code, reason = "nobody makes one")]

use utoipa::ToSchema;

use super::words;

/// A call that rings.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct Ringing {
    #[schema(schema_with = words::call_sid)]
    call_sid: String,
    from: Option<String>,
    to: Option<String>,
    /// `inbound`, or another word of Twilio's.
    direction: Option<String>,
}

/// A call after its stream.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct AfterStream {
    #[schema(schema_with = words::call_sid)]
    call_sid: String,
    /// The caller has hung up unless this is `in-progress`.
    call_status: Option<String>,
    from: Option<String>,
    to: Option<String>,
    direction: Option<String>,
}

/// A call that meets the last resort.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct LastResort {
    from: Option<String>,
    to: Option<String>,
    direction: Option<String>,
}

/// A call to a person that is over.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct TransferDone {
    #[schema(schema_with = words::call_sid)]
    call_sid: String,
    /// `completed`, `answered`, `busy`, `no-answer`, `failed` or `canceled`.
    dial_call_status: String,
    dial_call_sid: Option<String>,
    /// In seconds.
    dial_call_duration: Option<String>,
    from: Option<String>,
    to: Option<String>,
    direction: Option<String>,
}

/// A caller who waits, or a person who is called.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct Waiting {
    call_sid: Option<String>,
    /// The key that was pressed.
    digits: Option<String>,
    call_status: Option<String>,
    from: Option<String>,
    to: Option<String>,
    direction: Option<String>,
}

/// A message that a caller has left, or has not.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct MessageLeft {
    #[schema(schema_with = words::call_sid)]
    call_sid: String,
    recording_sid: Option<String>,
    recording_url: Option<String>,
    /// In seconds.
    recording_duration: Option<String>,
    call_status: Option<String>,
}

/// The status of a call.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct CallStatus {
    #[schema(schema_with = words::call_sid)]
    call_sid: String,
    /// The slot is free after `completed`, `busy`, `failed`, `no-answer` and `canceled`.
    call_status: String,
    account_sid: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<String>,
}

/// The status of a media stream.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct StreamStatus {
    #[schema(schema_with = words::call_sid)]
    call_sid: String,
    /// `stream-started`, `stream-stopped` or `stream-error`.
    stream_event: String,
    stream_sid: Option<String>,
    account_sid: Option<String>,
    timestamp: Option<String>,
}

/// What happens in a conference.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct ConferenceEvents {
    conference_sid: String,
    /// `participant-join`, `conference-end` and others.
    status_callback_event: String,
    call_sid: Option<String>,
    account_sid: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<String>,
}

/// The status of a recording.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct RecordingStatus {
    recording_sid: String,
    /// `in-progress`, `completed` or `absent`.
    recording_status: String,
    /// `RecordVerb`: a message that a caller has left.
    recording_source: Option<String>,
    recording_url: Option<String>,
    /// In seconds.
    recording_duration: Option<String>,
    /// Required if `RecordingSource` is `RecordVerb` and the recording is `completed`.
    call_sid: Option<String>,
    account_sid: Option<String>,
}
