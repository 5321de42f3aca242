//! What the Realtime service says (reference: OpenAI Realtime, "All server events").
//!
//! Audio deltas take a path of their own: they are scanned, and their base64 is handed on as a slice of the
//! message. Everything else is rare and parsed by serde. Unknown types and unknown fields are ignored: the
//! service adds some.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::acknowledged::difference;
use super::audio;
pub use super::audio::AudioDelta;
use super::lenient::{from_objects, optional, or_default, without_lone_surrogates};
use super::rate_limits::{RateLimit, TokenLimit};
use super::requests::request_number;
use super::transcription::Transcription;
use super::usage::Usage;
use crate::policy::tools::Read;

/// One event of the service, as far as a call needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerEvent<'a> {
    #[serde(skip)] // a recording has its length
    Audio(AudioDelta<'a>),
    SessionCreated,
    SessionUpdated,
    /// The session was configured otherwise than we asked: which part, and its value.
    SessionDiffers {
        part: Cow<'static, str>,
        told: String,
    },
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
        usage: Transcription,
        /// The number of the urgent phrase in it, where that is known already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        urgent: Option<usize>,
    },
    TranscriptFailed {
        item_id: String,
        code: Option<String>,
    },
    /// A response began; `number`: the request of ours that it names.
    ResponseCreated {
        id: String,
        number: Option<u32>,
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
        /// Recordings of before have none.
        #[serde(default)]
        response_id: String,
        item: Item,
    },
    ResponseDone(Box<Response>),
    Error(ServiceError),
    /// How much the account may still ask; told at the start of a response.
    RateLimits(TokenLimit),
    /// Known to be of no concern, or unknown.
    Other,
}

impl ServerEvent<'_> {
    /// Whether somebody who missed this event would misunderstand the session from then on: it says how far
    /// the session, the caller's utterance or a response has come. What else there is, is made up for by what
    /// follows.
    pub fn moves_the_session(&self) -> bool {
        match self {
            Self::SessionCreated
            | Self::SessionUpdated
            | Self::SessionDiffers { .. }
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
            | Self::RateLimits(_)
            | Self::Other => false,
        }
    }
}

/// An item, as far as a call needs it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Item {
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    #[serde(deserialize_with = "or_default")]
    #[serde(rename = "type")]
    pub kind: String,
    /// `completed` or `incomplete`.
    #[serde(deserialize_with = "optional")]
    pub status: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub call_id: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub name: Option<String>,
    /// Of a function call: JSON, as the model wrote it.
    #[serde(deserialize_with = "optional")]
    pub arguments: Option<String>,
    /// What the arguments are to the agent's tools, where that is known already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Box<Read>>,
    #[serde(deserialize_with = "or_default")]
    pub content: Vec<Content>,
}

/// A part of a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    #[serde(deserialize_with = "optional")]
    pub transcript: Option<String>,
}

impl Item {
    /// A call of one of our functions, or of an MCP server's, which the service asks by itself.
    pub fn is_call(&self) -> bool {
        matches!(self.kind.as_str(), "function_call" | "mcp_call")
    }

    /// What an agent's message says, if the service has written it down.
    pub fn transcript(&self) -> Option<&str> {
        self.content.iter().find_map(|part| part.transcript.as_deref())
    }
}

/// A finished response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Response {
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// `completed`, `cancelled`, `incomplete` or `failed`.
    #[serde(deserialize_with = "or_default")]
    pub status: String,
    #[serde(deserialize_with = "optional")]
    pub status_details: Option<StatusDetails>,
    #[serde(deserialize_with = "or_default")]
    pub output: Vec<Item>,
    #[serde(deserialize_with = "optional")]
    pub usage: Option<Usage>,
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
}

/// What our request put into its response, to know it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    #[serde(deserialize_with = "optional")]
    pub request: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusDetails {
    #[serde(deserialize_with = "optional")]
    pub error: Option<ServiceError>,
}

/// A refusal or a fault, from an `error` event or a failed response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceError {
    #[serde(deserialize_with = "optional")]
    pub code: Option<String>,
    #[serde(deserialize_with = "optional")]
    #[serde(rename = "type")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub message: Option<String>,
    /// Of what was asked, the one at fault.
    #[serde(deserialize_with = "optional")]
    pub param: Option<String>,
    /// Of the client's event that caused it.
    #[serde(deserialize_with = "optional")]
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

from_objects!(Item, Content, Response, StatusDetails, Metadata, ServiceError);

/// Reads one message of the service.
///
/// # Errors
/// What `serde_json` says of a message that is no JSON, or whose known event lacks what it needs.
pub fn parse(message: &Bytes) -> Result<ServerEvent<'_>, serde_json::Error> {
    if let Some(delta) = audio::quick(message) {
        return Ok(ServerEvent::Audio(delta));
    }
    let Kind { kind } = serde_json::from_slice(message)?;
    match &*kind {
        "response.output_audio.delta" => audio::read(message),
        "session.created" => Ok(ServerEvent::SessionCreated),
        "session.updated" => Ok(session_updated(message)),
        "input_audio_buffer.speech_started" => Ok(ServerEvent::SpeechStarted),
        "input_audio_buffer.speech_stopped" => Ok(ServerEvent::SpeechStopped),
        "input_audio_buffer.committed"
        | "conversation.item.added"
        | "conversation.item.input_audio_transcription.completed"
        | "conversation.item.input_audio_transcription.failed"
        | "response.created"
        | "response.output_audio.done"
        | "response.output_audio_transcript.delta"
        | "response.output_item.done"
        | "response.done"
        | "rate_limits.updated"
        | "error" => understood(&kind, fields(message)?),
        _ => Ok(ServerEvent::Other),
    }
}

/// A session that cannot be read is taken to be as asked.
fn session_updated(message: &[u8]) -> ServerEvent<'static> {
    let event: Value = serde_json::from_slice(message).unwrap_or_default();
    match event.get("session").and_then(difference) {
        Some((part, told)) => ServerEvent::SessionDiffers { part: part.into(), told },
        None => ServerEvent::SessionUpdated,
    }
}

/// What is read first; the other fields decide nothing about whether an event is known.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

/// The fields of all events but the audio's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(deserialize_with = "or_default")]
    response_id: String,
    #[serde(deserialize_with = "or_default")]
    item_id: String,
    #[serde(deserialize_with = "or_default")]
    delta: String,
    #[serde(deserialize_with = "or_default")]
    transcript: String,
    #[serde(deserialize_with = "or_default")]
    error: ServiceError,
    #[serde(deserialize_with = "optional")]
    item: Option<Item>,
    #[serde(deserialize_with = "optional")]
    response: Option<Box<Response>>,
    /// Of a transcript; a response has its own.
    usage: Value,
    #[serde(deserialize_with = "or_default")]
    rate_limits: Vec<RateLimit>,
}

/// Reads texts lossily: half of a surrogate pair is no character.
fn fields(message: &[u8]) -> Result<Fields, serde_json::Error> {
    serde_json::from_slice(message).or_else(|error| {
        without_lone_surrogates(message).map_or(Err(error), |mended| serde_json::from_slice(&mended))
    })
}

fn understood(kind: &str, fields: Fields) -> Result<ServerEvent<'static>, serde_json::Error> {
    let Fields { response_id, item_id, delta, transcript, error, item, response, usage, rate_limits } =
        fields;
    let missing = <serde_json::Error as serde::de::Error>::missing_field;
    let named = |id: String| if id.is_empty() { Err(missing("item_id")) } else { Ok(id) };
    Ok(match kind {
        "input_audio_buffer.committed" => ServerEvent::Committed { item_id: named(item_id)? },
        "conversation.item.added" => {
            let item = item.ok_or_else(|| missing("item"))?;
            ServerEvent::ItemAdded { kind: item.kind, call_id: item.call_id }
        }
        "conversation.item.input_audio_transcription.completed" => {
            let usage = Transcription::read(&usage);
            ServerEvent::TranscriptCompleted { item_id: named(item_id)?, transcript, usage, urgent: None }
        }
        "conversation.item.input_audio_transcription.failed" => {
            ServerEvent::TranscriptFailed { item_id: named(item_id)?, code: error.code }
        }
        "response.created" => {
            let Response { id, metadata, .. } = *response.ok_or_else(|| missing("response"))?;
            let number = metadata.request.as_deref().and_then(request_number);
            ServerEvent::ResponseCreated { id, number }
        }
        "response.output_audio.done" => ServerEvent::AudioDone { response_id, item_id: named(item_id)? },
        "response.output_audio_transcript.delta" => {
            ServerEvent::TranscriptDelta { response_id, item_id: named(item_id)?, delta }
        }
        "response.output_item.done" => {
            let item = item.ok_or_else(|| missing("item"))?;
            ServerEvent::OutputItemDone { response_id, item: unread(item) }
        }
        "response.done" => {
            let mut response = response.ok_or_else(|| missing("response"))?;
            response.output = std::mem::take(&mut response.output).into_iter().map(unread).collect();
            ServerEvent::ResponseDone(response)
        }
        "rate_limits.updated" => {
            TokenLimit::of(&rate_limits).map_or(ServerEvent::Other, ServerEvent::RateLimits)
        }
        "error" => ServerEvent::Error(error),
        _ => ServerEvent::Other,
    })
}

/// What the service says of our tools counts for nothing.
fn unread(item: Item) -> Item {
    Item { read: None, ..item }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Vec<Bytes> {
        let lines = include_str!("../../tests/fixtures/openai-server-events.jsonl").lines();
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

    fn done(json: &'static str) -> Box<Response> {
        match parse(&Bytes::from_static(json.as_bytes())) {
            Ok(ServerEvent::ResponseDone(response)) => response,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn odd_fields_of_a_finished_response_are_ignored_and_its_id_and_status_are_read() {
        for odd in ["null", "true", "-5", "1.5", "10.0", r#""10""#, "[]", "[null,1]", "{}", r#"{"a":[{}]}"#] {
            for field in ["output", "usage", "status_details"] {
                let json = format!(
                    r#"{{"type":"response.done","response":{{"{field}":{odd},"id":"r","status":"s"}}}}"#
                );
                let response = done(json.leak());
                assert_eq!((response.id.as_str(), response.status.as_str()), ("r", "s"), "{field}: {odd}");
            }
        }
        let response = done(
            r#"{"type":"response.done","response":{"id":"r","status":"failed",
                "status_details":{"error":{"code":7,"type":null,"message":"no"}},
                "output":[null,{"id":"i","content":null},{"id":"j","content":[1,{"transcript":null}]}],
                "usage":{"input_tokens":"10","output_tokens":10.0,"input_token_details":-5,
                "output_token_details":{"text_tokens":null,"audio_tokens":3}}}}"#,
        );
        let usage = response.usage.unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (0, 10));
        assert_eq!(usage.output_token_details.audio_tokens, 3);
        assert_eq!(response.output.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["i", "j"]);
        assert_eq!(response.status_details.unwrap().error.unwrap().message.as_deref(), Some("no"));
    }

    #[test]
    fn half_a_surrogate_pair_is_read_as_a_replacement_character() {
        let json = r#"{"type":"response.output_audio_transcript.delta","response_id":"r","item_id":"i",
            "delta":"a\ud83d b\ud83d\ude00 c\ude00 \\ud83d"}"#;
        let message = Bytes::from(json);
        let Ok(ServerEvent::TranscriptDelta { delta, .. }) = parse(&message) else { panic!("unreadable") };
        assert_eq!(delta, "a\u{fffd} b\u{1f600} c\u{fffd} \\ud83d");
    }
}
