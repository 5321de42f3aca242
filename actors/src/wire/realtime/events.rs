//! What the Realtime service says (reference: OpenAI Realtime, "All server events").
//!
//! Audio deltas take a path of their own: they are scanned, and their base64 is handed on as a slice of the message.
//! Everything else is rare and parsed by serde. Unknown types and unknown fields are ignored: the service adds some.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::usage::Usage;
use crate::wire::scan::{self, Raw, Unusual};

/// One event of the service, as far as a call needs it.
#[derive(Debug, PartialEq)]
pub enum ServerEvent<'a> {
    Audio(AudioDelta<'a>),
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    /// The caller's utterance became an item of the conversation.
    Committed {
        item_id: String,
    },
    /// An item entered the conversation; `call_id` of a function's call or its output.
    ItemAdded {
        kind: String,
        call_id: Option<String>,
    },
    TranscriptCompleted {
        item_id: String,
        transcript: String,
    },
    TranscriptFailed {
        item_id: String,
        code: Option<String>,
    },
    ResponseCreated {
        id: String,
    },
    AudioDone {
        response_id: String,
        item_id: String,
    },
    TranscriptDelta {
        response_id: String,
        item_id: String,
        delta: String,
    },
    /// An item of a response is final.
    OutputItemDone {
        item: Item,
    },
    ResponseDone(Box<Response>),
    Error(ServiceError),
    /// Known to be of no concern, or unknown.
    Other,
}

impl ServerEvent<'_> {
    /// Whether somebody who missed this event would misunderstand the session from then on: it says how far the session,
    /// the caller's utterance or a response has come. What else there is, is made up for by what follows.
    pub fn moves_the_session(&self) -> bool {
        match self {
            Self::SessionCreated
            | Self::SessionUpdated
            | Self::Committed { .. }
            | Self::ItemAdded { .. }
            | Self::ResponseCreated { .. }
            | Self::OutputItemDone { .. }
            | Self::ResponseDone(_)
            | Self::Error(_) => true,
            Self::Audio(_)
            | Self::SpeechStarted
            | Self::SpeechStopped
            | Self::TranscriptCompleted { .. }
            | Self::TranscriptFailed { .. }
            | Self::AudioDone { .. }
            | Self::TranscriptDelta { .. }
            | Self::Other => false,
        }
    }
}

/// A piece of the agent's voice.
#[derive(Debug, PartialEq)]
pub struct AudioDelta<'a> {
    pub response_id: &'a str,
    pub item_id: &'a str,
    pub content_index: u32,
    /// Base64 of μ-law, a slice of the message.
    pub payload: Bytes,
}

/// An item, as far as a call needs it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Item {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub call_id: Option<String>,
    pub name: Option<String>,
    pub content: Vec<Content>,
}

/// A part of a message.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Content {
    pub transcript: Option<String>,
}

impl Item {
    /// What an agent's message says, if the service has written it down.
    pub fn transcript(&self) -> Option<&str> {
        self.content.iter().find_map(|part| part.transcript.as_deref())
    }
}

/// A finished response.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Response {
    pub id: String,
    /// `completed`, `cancelled`, `incomplete` or `failed`.
    pub status: String,
    pub status_details: Option<StatusDetails>,
    pub output: Vec<Item>,
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct StatusDetails {
    pub error: Option<ServiceError>,
}

/// A refusal or a fault, from an `error` event or a failed response.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceError {
    pub code: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub message: Option<String>,
    /// Of the client's event that caused it.
    pub event_id: Option<String>,
}

impl ServiceError {
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    /// Trying again cannot help: the account, the key or the model is the cause (reference: section 7).
    pub fn is_fatal(&self) -> bool {
        matches!(
            self.code(),
            "invalid_api_key"
                | "insufficient_quota"
                | "account_deactivated"
                | "billing_hard_limit_reached"
                | "model_not_found"
        )
    }
}

/// Reads one message of the service.
///
/// # Errors
/// What `serde_json` says of a message that is no JSON, or whose known event lacks what it needs.
pub fn parse(message: &Bytes) -> Result<ServerEvent<'_>, serde_json::Error> {
    if let Ok(delta) = scan_audio(message) {
        return Ok(ServerEvent::Audio(delta));
    }
    Ok(match serde_json::from_slice::<Event<'_>>(message)? {
        Event::Audio { response_id, item_id, content_index, delta } => ServerEvent::Audio(AudioDelta {
            response_id,
            item_id,
            content_index,
            payload: match delta {
                Cow::Borrowed(delta) => message.slice_ref(delta.as_bytes()),
                Cow::Owned(delta) => Bytes::from(delta),
            },
        }),
        Event::SessionCreated {} => ServerEvent::SessionCreated,
        Event::SessionUpdated {} => ServerEvent::SessionUpdated,
        Event::SpeechStarted {} => ServerEvent::SpeechStarted,
        Event::SpeechStopped {} => ServerEvent::SpeechStopped,
        Event::Committed { item_id } => ServerEvent::Committed { item_id },
        Event::ItemAdded { item } => ServerEvent::ItemAdded { kind: item.kind, call_id: item.call_id },
        Event::TranscriptCompleted { item_id, transcript } => {
            ServerEvent::TranscriptCompleted { item_id, transcript }
        }
        Event::TranscriptFailed { item_id, error } => {
            ServerEvent::TranscriptFailed { item_id, code: error.and_then(|error| error.code) }
        }
        Event::ResponseCreated { response } => ServerEvent::ResponseCreated { id: response.id },
        Event::AudioDone { response_id, item_id } => ServerEvent::AudioDone { response_id, item_id },
        Event::TranscriptDelta { response_id, item_id, delta } => {
            ServerEvent::TranscriptDelta { response_id, item_id, delta }
        }
        Event::OutputItemDone { item } => ServerEvent::OutputItemDone { item },
        Event::ResponseDone { response } => ServerEvent::ResponseDone(response),
        Event::Error { error } => ServerEvent::Error(error),
        Event::Other => ServerEvent::Other,
    })
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Event<'a> {
    #[serde(rename = "response.output_audio.delta")]
    Audio {
        response_id: &'a str,
        item_id: &'a str,
        #[serde(default)]
        content_index: u32,
        #[serde(borrow)]
        delta: Cow<'a, str>,
    },
    #[serde(rename = "session.created")]
    SessionCreated {},
    #[serde(rename = "session.updated")]
    SessionUpdated {},
    #[serde(rename = "input_audio_buffer.speech_started")]
    SpeechStarted {},
    #[serde(rename = "input_audio_buffer.speech_stopped")]
    SpeechStopped {},
    #[serde(rename = "input_audio_buffer.committed")]
    Committed { item_id: String },
    #[serde(rename = "conversation.item.added")]
    ItemAdded { item: Item },
    #[serde(rename = "conversation.item.input_audio_transcription.completed")]
    TranscriptCompleted { item_id: String, transcript: String },
    #[serde(rename = "conversation.item.input_audio_transcription.failed")]
    TranscriptFailed { item_id: String, error: Option<ServiceError> },
    #[serde(rename = "response.created")]
    ResponseCreated { response: Response },
    #[serde(rename = "response.output_audio.done")]
    AudioDone { response_id: String, item_id: String },
    #[serde(rename = "response.output_audio_transcript.delta")]
    TranscriptDelta { response_id: String, item_id: String, delta: String },
    #[serde(rename = "response.output_item.done")]
    OutputItemDone { item: Item },
    #[serde(rename = "response.done")]
    ResponseDone { response: Box<Response> },
    #[serde(rename = "error")]
    Error { error: ServiceError },
    #[serde(other)]
    Other,
}

fn scan_audio(message: &Bytes) -> Result<AudioDelta<'_>, Unusual> {
    let (mut is_audio, mut response_id, mut item_id, mut content_index, mut delta) =
        (false, None, None, 0, None);
    scan::members(message, |place, value| {
        match place {
            (None, b"type") if value == Raw::Text(b"response.output_audio.delta") => is_audio = true,
            (None, b"type") => return Err(Unusual),
            (None, b"response_id") => response_id = Some(value.text()?),
            (None, b"item_id") => item_id = Some(value.text()?),
            (None, b"content_index") => {
                let Raw::Bare(digits) = value else { return Err(Unusual) };
                content_index = u32::try_from(scan::number(digits)?).map_err(|_| Unusual)?;
            }
            (None, b"delta") => delta = Some(value.text()?),
            _ => {}
        }
        Ok(())
    })?;
    let (true, Some(delta)) = (is_audio, delta) else { return Err(Unusual) };
    let payload = message.slice_ref(delta);
    Ok(AudioDelta { response_id: utf8(response_id)?, item_id: utf8(item_id)?, content_index, payload })
}

fn utf8(bytes: Option<&[u8]>) -> Result<&str, Unusual> {
    std::str::from_utf8(bytes.ok_or(Unusual)?).map_err(|_| Unusual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Vec<Bytes> {
        let lines = include_str!("../../../tests/fixtures/openai-server-events.jsonl").lines();
        lines.map(|line| Bytes::copy_from_slice(line.as_bytes())).collect()
    }

    #[test]
    fn every_recorded_event_is_understood() {
        let (mut known, mut other) = (0, 0);
        for line in recorded() {
            match parse(&line).unwrap() {
                ServerEvent::Other => other += 1,
                _ => known += 1,
            }
        }
        assert!(known > 25 && other > 20, "{known} known, {other} other");
    }

    #[test]
    fn an_audio_delta_is_scanned_and_its_payload_is_not_copied() {
        let line =
            recorded().into_iter().find(|line| line.windows(18).any(|w| w == b"output_audio.delta")).unwrap();
        let delta = scan_audio(&line).unwrap();
        assert_eq!((delta.response_id, delta.item_id, delta.content_index), ("resp_0001", "item_A001", 0));
        assert!(line.as_ptr_range().contains(&delta.payload.as_ptr()));
        let by_serde: Event<'_> = serde_json::from_slice(&line).unwrap();
        assert!(matches!(by_serde, Event::Audio { item_id: "item_A001", .. }));
    }

    #[test]
    fn usage_transcript_and_failure_are_read_from_a_finished_response() {
        let done: Vec<_> = recorded()
            .iter()
            .filter_map(|line| match parse(line).unwrap() {
                ServerEvent::ResponseDone(response) => Some(response),
                _ => None,
            })
            .collect();
        assert_eq!(done[0].usage.as_ref().unwrap().output_token_details.audio_tokens, 91);
        assert!(done[0].output[0].transcript().unwrap().starts_with("Sure"));
        assert_eq!(done[0].output[1].call_id.as_deref(), Some("call_0001"));
        let failed = done.iter().find(|response| response.status == "failed").unwrap();
        let error = failed.status_details.as_ref().unwrap().error.as_ref().unwrap();
        assert_eq!((error.code(), error.is_fatal()), ("inference_rate_limit_exceeded", false));
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for wrong in ["", "{", r#"{"type":"input_audio_buffer.committed"}"#, "[]"] {
            assert!(parse(&Bytes::from_static(wrong.as_bytes())).is_err(), "{wrong}");
        }
    }
}
