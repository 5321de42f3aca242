//! Client events, read as strictly as the real service reads them (openai-realtime.md section 3), and the
//! refusals of section 7.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::schema::{self, Content, Item, Role};

const MAX_EVENT_ID_CHARS: usize = 512;
const MAX_ITEM_ID_CHARS: usize = 32;

/// Why something the client sent is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The slug of the violation; `None` when a correct client may run into it.
    pub kind: Option<&'static str>,
    /// `error.code`.
    pub code: &'static str,
    /// `error.message`.
    pub message: String,
    /// `error.param`.
    pub param: Option<String>,
}

impl Refusal {
    pub fn new(kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: Some(kind), code, message: message.into(), param: None }
    }

    /// One that a correct client may run into.
    pub fn benign(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: None, code, message: message.into(), param: None }
    }

    pub fn on(self, param: &str) -> Self {
        Self { param: Some(param.to_owned()), ..self }
    }
}

/// serde_json tells the causes apart in its messages alone.
impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let (kind, code) = if text.starts_with("unknown field") {
            ("unknown-field", "unknown_parameter")
        } else if text.starts_with("missing field") {
            ("missing-field", "missing_required_parameter")
        } else if text.starts_with("invalid type") {
            ("wrong-type", "invalid_type")
        } else {
            ("wrong-value", "invalid_value")
        };
        let param = text.split('`').nth(1).filter(|_| text.contains("field")).map(str::to_owned);
        Self { kind: Some(kind), code, message: text, param }
    }
}

/// What a client asks for.
#[derive(Debug)]
pub enum ClientEvent<'a> {
    SessionUpdate {
        patch: Value,
        checked: Box<schema::Session>,
    },
    /// Base64.
    Append(Cow<'a, str>),
    Commit,
    Clear,
    ItemCreate {
        item: Value,
        checked: Item,
        previous: Option<String>,
    },
    Truncate(schema::Truncate),
    Delete(String),
    Retrieve(String),
    ResponseCreate {
        response: Value,
        checked: Box<schema::Response>,
    },
    /// Of one response, or of the conversation's active one.
    Cancel(Option<String>),
}

/// Nine of ten events are this one: it is read without copying the audio.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainAppend<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    audio: Cow<'a, str>,
}

/// Reads one text frame: its `event_id`, which a refusal echoes, and the event.
pub fn parse(text: &str) -> (Option<String>, Result<ClientEvent<'_>, Refusal>) {
    if let Ok(PlainAppend { r#type, audio }) = serde_json::from_str(text)
        && r#type == "input_audio_buffer.append"
    {
        return (None, Ok(ClientEvent::Append(audio)));
    }
    let mut fields: Map<String, Value> = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(_) => {
            let message = "The event could not be parsed as a JSON object.";
            return (None, Err(Refusal::new("malformed-json", "invalid_event", message)));
        }
    };
    let event_id = match fields.remove("event_id") {
        None => None,
        Some(Value::String(id)) if id.chars().count() <= MAX_EVENT_ID_CHARS => Some(id),
        Some(Value::String(_)) => {
            let message = format!("event_id is longer than {MAX_EVENT_ID_CHARS} characters.");
            return (None, Err(Refusal::new("event-id", "invalid_value", message).on("event_id")));
        }
        Some(_) => {
            let refusal = Refusal::new("event-id", "invalid_type", "event_id is not a string.");
            return (None, Err(refusal.on("event_id")));
        }
    };
    let Some(Value::String(kind)) = fields.remove("type") else {
        let refusal = Refusal::new("missing-field", "invalid_event", "The 'type' field is missing.");
        return (event_id, Err(refusal.on("type")));
    };
    (event_id, read(&kind, Value::Object(fields)))
}

fn read(kind: &str, fields: Value) -> Result<ClientEvent<'static>, Refusal> {
    Ok(match kind {
        "session.update" => {
            let schema::SessionUpdate { session } = strict(fields)?;
            let checked = Box::new(part("session", &session)?);
            ClientEvent::SessionUpdate { patch: session, checked }
        }
        "input_audio_buffer.append" => ClientEvent::Append(strict::<schema::Append>(fields)?.audio.into()),
        "input_audio_buffer.commit" => strict::<schema::Nothing>(fields).map(|_| ClientEvent::Commit)?,
        "input_audio_buffer.clear" => strict::<schema::Nothing>(fields).map(|_| ClientEvent::Clear)?,
        "output_audio_buffer.clear" => {
            let message = "output_audio_buffer.clear is only available over WebRTC and SIP.";
            return Err(Refusal::new("output-audio-buffer", "invalid_value", message).on("type"));
        }
        "conversation.item.create" => {
            let schema::ItemCreate { item, previous_item_id: previous } = strict(fields)?;
            let checked = checked_item(&item)?;
            if matches!(checked, Item::Reference { .. }) {
                let message = "An item_reference can only be used in the input of a response.";
                return Err(Refusal::new("wrong-value", "invalid_value", message).on("item.type"));
            }
            ClientEvent::ItemCreate { item, checked, previous }
        }
        "conversation.item.truncate" => ClientEvent::Truncate(strict(fields)?),
        "conversation.item.delete" => ClientEvent::Delete(strict::<schema::ItemId>(fields)?.item_id),
        "conversation.item.retrieve" => ClientEvent::Retrieve(strict::<schema::ItemId>(fields)?.item_id),
        "response.create" => {
            let response =
                strict::<schema::ResponseCreate>(fields)?.response.unwrap_or_else(|| Map::new().into());
            let checked: Box<schema::Response> = Box::new(part("response", &response)?);
            checked.input.iter().flatten().try_for_each(check_item)?;
            ClientEvent::ResponseCreate { response, checked }
        }
        "response.cancel" => ClientEvent::Cancel(strict::<schema::Cancel>(fields)?.response_id),
        _ => {
            let message = format!("Invalid value: '{kind}'.");
            return Err(Refusal::new("unknown-type", "invalid_value", message).on("type"));
        }
    })
}

fn strict<T: DeserializeOwned>(fields: Value) -> Result<T, Refusal> {
    Ok(serde_json::from_value(fields)?)
}

/// A part of an event, whose refusal names the parameter by its path.
fn part<'a, T: Deserialize<'a>>(name: &str, value: &'a Value) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = format!("{name}.{}", error.path());
        let refusal = Refusal::from(error.into_inner());
        Refusal { param: refusal.param.or(Some(path)), ..refusal }
    })
}

fn checked_item(item: &Value) -> Result<Item, Refusal> {
    let item = Item::deserialize(item)?;
    check_item(&item)?;
    Ok(item)
}

/// What the shape alone does not say: the length of the id, and which role may say what.
fn check_item(item: &Item) -> Result<(), Refusal> {
    if item.id().is_some_and(|id| id.is_empty() || id.chars().count() > MAX_ITEM_ID_CHARS) {
        let message = format!("An item's id has 1 to {MAX_ITEM_ID_CHARS} characters.");
        return Err(Refusal::new("item-id", "invalid_value", message).on("item.id"));
    }
    let Item::Message { role, content, .. } = item else { return Ok(()) };
    for part in content {
        let fits = match part {
            Content::InputText { .. } => *role != Role::Assistant,
            Content::InputAudio { .. } | Content::InputImage { .. } => *role == Role::User,
            Content::OutputText { .. } => *role == Role::Assistant,
            Content::OutputAudio { .. } => {
                let message = "Audio of the assistant cannot be created by the client.";
                return Err(Refusal::new("assistant-audio", "invalid_value", message).on("item.content"));
            }
        };
        if !fits {
            let message = format!("This content is not allowed in a message of role {role:?}.");
            return Err(Refusal::new("wrong-content", "invalid_value", message).on("item.content"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_client_event_is_read() {
        for line in include_str!("../../../tests/fixtures/openai-client-events.jsonl").lines() {
            match parse(line) {
                (_, Ok(_)) => {}
                (_, Err(refusal)) if line.contains("output_audio_buffer.clear") => {
                    assert_eq!(refusal.kind, Some("output-audio-buffer"));
                }
                (_, Err(refusal)) => panic!("{line}: {refusal:?}"),
            }
        }
    }

    #[test]
    fn an_append_with_an_event_id_is_an_append() {
        let (id, event) = parse(r#"{"type":"input_audio_buffer.append","event_id":"a1","audio":"//8="}"#);
        assert_eq!(id.as_deref(), Some("a1"));
        assert!(matches!(event, Ok(ClientEvent::Append(audio)) if audio == "//8="));
    }

    fn assert_refused(table: impl IntoIterator<Item = (String, &'static str)>) {
        for (text, code) in table {
            match parse(&text).1 {
                Err(refusal) => {
                    assert!(refusal.code == code && refusal.kind.is_some(), "{text}: {refusal:?}")
                }
                Ok(event) => panic!("{text} was read as {event:?}"),
            }
        }
    }

    #[test]
    fn an_event_that_is_not_in_the_schema_is_refused_with_its_code() {
        let long = "x".repeat(513);
        assert_refused([
            ("not json".into(), "invalid_event"),
            ("[1]".into(), "invalid_event"),
            (r#"{"event_id":"a"}"#.into(), "invalid_event"),
            (r#"{"type":"session.updat"}"#.into(), "invalid_value"),
            (r#"{"type":"response.cancel","event_id":7}"#.into(), "invalid_type"),
            (format!(r#"{{"type":"response.cancel","event_id":"{long}"}}"#), "invalid_value"),
            (r#"{"type":"response.cancel","id":"resp_1"}"#.into(), "unknown_parameter"),
            (r#"{"type":"input_audio_buffer.append"}"#.into(), "missing_required_parameter"),
            (r#"{"type":"input_audio_buffer.append","audio":7}"#.into(), "invalid_type"),
            (r#"{"type":"input_audio_buffer.commit","audio":""}"#.into(), "unknown_parameter"),
            (r#"{"type":"output_audio_buffer.clear"}"#.into(), "invalid_value"),
            (
                r#"{"type":"conversation.item.truncate","item_id":"i","content_index":0}"#.into(),
                "missing_required_parameter",
            ),
            (
                r#"{"type":"conversation.item.truncate","item_id":"i","content_index":0,"audio_end_ms":1.5}"#
                    .into(),
                "invalid_type",
            ),
        ]);
    }

    #[test]
    fn a_session_that_is_not_in_the_schema_is_refused_with_its_code() {
        let session =
            |fields: &str| format!(r#"{{"type":"session.update","session":{{"type":"realtime",{fields}}}}}"#);
        let detection = |fields: &str| {
            session(&format!(r#""audio":{{"input":{{"turn_detection":{{"type":"server_vad",{fields}}}}}}}"#))
        };
        assert_refused([
            (
                r#"{"type":"session.update","session":{"instructions":"x"}}"#.into(),
                "missing_required_parameter",
            ),
            (r#"{"type":"session.update","session":{"type":"live"}}"#.into(), "invalid_value"),
            (session(r#""temperature":0.8"#), "unknown_parameter"),
            (session(r#""voice":"marin""#), "unknown_parameter"),
            (session(r#""instructions":null"#), "invalid_type"),
            (session(r#""instructions":3"#), "invalid_type"),
            (session(r#""output_modalities":["audio","text"]"#), "invalid_value"),
            (session(r#""max_output_tokens":0"#), "invalid_value"),
            (session(r#""max_output_tokens":4097"#), "invalid_value"),
            (
                session(r#""audio":{"input":{"format":{"type":"audio/pcmu","rate":8000}}}"#),
                "unknown_parameter",
            ),
            (session(r#""audio":{"input":{"format":{"type":"audio/pcm","rate":8000}}}"#), "invalid_value"),
            (session(r#""audio":{"input":{"format":"g711_ulaw"}}"#), "invalid_type"),
            (session(r#""audio":{"output":{"speed":2.0}}"#), "invalid_value"),
            (session(r#""audio":{"output":{"voice":"nova"}}"#), "invalid_value"),
            (session(r#""tools":[{"type":"function","function":{"name":"x"}}]"#), "unknown_parameter"),
            (session(r#""truncation":{"type":"retention_ratio","retention_ratio":1.5}"#), "invalid_value"),
            (detection(r#""threshold":1.1"#), "invalid_value"),
            (detection(r#""silence_duration_ms":-5"#), "invalid_value"),
            (detection(r#""idle_timeout_ms":4999"#), "invalid_value"),
            (detection(r#""eagerness":"low""#), "unknown_parameter"),
        ]);
    }

    #[test]
    fn an_item_or_a_response_that_is_not_in_the_schema_is_refused_with_its_code() {
        let long = "x".repeat(513);
        let item = |fields: &str| format!(r#"{{"type":"conversation.item.create","item":{{{fields}}}}}"#);
        let response = |fields: &str| format!(r#"{{"type":"response.create","response":{{{fields}}}}}"#);
        assert_refused([
            (item(r#""type":"message","role":"user""#), "missing_required_parameter"),
            (
                item(r#""type":"message","role":"user","content":[{"type":"text","text":"x"}]"#),
                "invalid_value",
            ),
            (
                item(r#""type":"message","role":"user","content":[{"type":"output_text","text":"x"}]"#),
                "invalid_value",
            ),
            (
                item(r#""type":"message","role":"assistant","content":[{"type":"output_audio","audio":""}]"#),
                "invalid_value",
            ),
            (
                item(&format!(r#""id":"{}","type":"message","role":"user","content":[]"#, &long[..33])),
                "invalid_value",
            ),
            (item(r#""type":"item_reference","id":"a""#), "invalid_value"),
            (item(r#""type":"function_call_output","call_id":"c","output":{}"#), "invalid_type"),
            (response(r#""modalities":["audio"]"#), "unknown_parameter"),
            (response(r#""conversation":"some""#), "invalid_value"),
            (response(&format!(r#""metadata":{{"a":"{long}"}}"#)), "invalid_value"),
            (response(r#""metadata":{"a":1}"#), "invalid_value"),
        ]);
    }

    #[test]
    fn a_refusal_names_the_field_and_keeps_the_event_id() {
        let (id, event) = parse(
            r#"{"type":"session.update","event_id":"cfg-1","session":{"type":"realtime","voice":"ash"}}"#,
        );
        assert_eq!(id.as_deref(), Some("cfg-1"));
        assert_eq!(event.unwrap_err().param.as_deref(), Some("voice"));
        let nova =
            r#"{"type":"session.update","session":{"type":"realtime","audio":{"output":{"voice":"nova"}}}}"#;
        assert_eq!(parse(nova).1.unwrap_err().param.as_deref(), Some("session.audio.output.voice"));
    }
}
