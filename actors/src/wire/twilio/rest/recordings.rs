//! Recordings of calls (reference: twilio.md sections 6.5 and 7).

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use url::Url;

use super::transport::{Params, page};
use super::{RestError, TwilioApi, fields};
use crate::wire::twilio::sid::{CallSid, RecordingSid};

/// A recording as Twilio has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Recording {
    pub sid: RecordingSid,
    pub call_sid: Option<CallSid>,
    /// `in-progress`, `paused`, `stopped`, `processing`, `completed`, `absent` or `deleted`.
    pub status: String,
    #[serde(default, rename = "date_created", deserialize_with = "fields::time")]
    pub created_at: Option<DateTime<Utc>>,
    /// Whole seconds; none while it goes on.
    #[serde(default, deserialize_with = "fields::seconds")]
    pub duration: Option<Duration>,
    pub channels: Option<u8>,
}

/// Both sides in one channel, or each in its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    Mono,
    Dual,
}

/// How to record a call.
#[derive(Debug, Clone, Copy)]
pub struct NewRecording<'a> {
    pub channels: Channels,
    /// Told what becomes of the recording.
    pub status_callback: Option<&'a Url>,
    /// Of what it is told: `in-progress`, `completed`, `absent`; Twilio's default is `completed`.
    pub status_callback_events: &'a [&'a str],
}

/// What to do with a recording that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingChange {
    /// What is said meanwhile is left out, and the recording is shorter by it.
    Pause,
    Resume,
    /// For good.
    Stop,
}

/// No longer audio is read: WAV of Twilio has 16,000 bytes a second, so this is over eight minutes.
const MAX_AUDIO_BYTES: usize = 8 << 20;

page!(Recordings, recordings: Recording);

impl TwilioApi {
    /// Starts to record a live call. None if the call is over. After an unanswered request it is looked up
    /// among the recordings of the call before it is started again.
    ///
    /// # Errors
    /// [`RestError::leaves_open`]: it may have been started all the same.
    pub async fn start_recording(
        &self,
        call: CallSid,
        recording: NewRecording<'_>,
    ) -> Result<Option<Recording>, RestError> {
        let path = ["Calls", call.as_str(), "Recordings"];
        let params = Params::default()
            .with("RecordingChannels", recording.channels)
            .maybe("RecordingStatusCallback", recording.status_callback)
            .each("RecordingStatusCallbackEvent", recording.status_callback_events);
        let look_up = async |not_before| {
            let found = self.newest::<Recordings>(&path, Params::default()).await?;
            let ours =
                |found: &Recording| found.status == "in-progress" && found.created_at >= Some(not_before);
            Ok(found.into_iter().find(ours))
        };
        super::transport::if_there(self.create(&self.post(&path, params), look_up).await)
    }

    /// Pauses, resumes or stops a recording. None if it or its call is over.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn change_recording(
        &self,
        call: CallSid,
        recording: RecordingSid,
        change: RecordingChange,
    ) -> Result<Option<Recording>, RestError> {
        let status = match change {
            RecordingChange::Pause => "paused",
            RecordingChange::Resume => "in-progress",
            RecordingChange::Stop => "stopped",
        };
        let params = Params::default().with("Status", status);
        let params = params.maybe("PauseBehavior", (change == RecordingChange::Pause).then_some("skip"));
        let path = ["Calls", call.as_str(), "Recordings", recording.as_str()];
        self.ask_if_there(&self.post(&path, params).repeatable()).await
    }

    /// Fetches a recording's data; none if it was deleted or never was.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn recording(&self, recording: RecordingSid) -> Result<Option<Recording>, RestError> {
        self.ask_if_there(&self.get(&["Recordings", recording.as_str()])).await
    }

    /// Fetches a recording's audio as WAV, 8 MiB at most; none if it was deleted or never was.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn recording_audio(&self, recording: RecordingSid) -> Result<Option<Vec<u8>>, RestError> {
        let request = self.get(&["Recordings", recording.as_str()]);
        self.bytes_if_there(&request.of_kind("wav", "audio/x-wav", MAX_AUDIO_BYTES)).await
    }

    /// Deletes a recording, its audio included. None if it was deleted before.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn delete_recording(&self, recording: RecordingSid) -> Result<Option<()>, RestError> {
        self.delete_if_there(&["Recordings", recording.as_str()]).await
    }
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mono => "mono",
            Self::Dual => "dual",
        })
    }
}
