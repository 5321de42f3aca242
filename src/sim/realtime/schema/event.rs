//! The shapes of the client events, their items and their responses (openai-realtime.md section 3).

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Format, MaxTokens, Modality, Prompt, Reasoning, Tool, ToolChoice, Voice, some};

fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Map<String, Value>>, D::Error> {
    let pairs = Option::<Map<String, Value>>::deserialize(from)?;
    let fits = |(key, value): (&String, &Value)| {
        key.chars().count() <= 64 && value.as_str().is_some_and(|value| value.chars().count() <= 512)
    };
    match &pairs {
        Some(map) if map.len() > 16 || !map.iter().all(fits) => Err(Error::invalid_value(
            Unexpected::Map,
            &"metadata of at most 16 pairs of strings, keys up to 64 and values up to 512 characters",
        )),
        _ => Ok(pairs),
    }
}

/// `item` of a `conversation.item.create`, and an element of a response's `input`.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Item {
    Message {
        id: Option<String>,
        object: Option<String>,
        status: Option<Status>,
        role: Role,
        content: Vec<Content>,
    },
    FunctionCall {
        id: Option<String>,
        object: Option<String>,
        status: Option<Status>,
        call_id: Option<String>,
        name: String,
        arguments: String,
    },
    FunctionCallOutput {
        id: Option<String>,
        object: Option<String>,
        status: Option<Status>,
        call_id: String,
        output: String,
    },
    McpApprovalResponse {
        id: Option<String>,
        approval_request_id: String,
        approve: bool,
        reason: Option<String>,
    },
    /// Only in a response's `input`.
    #[serde(rename = "item_reference")]
    Reference { id: Option<String> },
}

impl Item {
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Message { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::FunctionCallOutput { id, .. }
            | Self::McpApprovalResponse { id, .. }
            | Self::Reference { id } => id.as_deref(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Completed,
    Incomplete,
    InProgress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Assistant,
    System,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    InputText { text: String },
    InputAudio { audio: String, transcript: Option<String> },
    InputImage { image_url: String, detail: Option<String> },
    OutputText { text: String },
    OutputAudio { audio: Option<String>, transcript: Option<String> },
}

/// `response` of a `response.create`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    #[serde(deserialize_with = "some")]
    pub instructions: Option<String>,
    #[serde(deserialize_with = "some")]
    pub output_modalities: Option<[Modality; 1]>,
    #[serde(deserialize_with = "some")]
    pub audio: Option<ResponseAudio>,
    #[serde(deserialize_with = "some")]
    tools: Option<Vec<Tool>>,
    #[serde(deserialize_with = "some")]
    tool_choice: Option<ToolChoice>,
    #[serde(deserialize_with = "some")]
    max_output_tokens: Option<MaxTokens>,
    #[serde(deserialize_with = "metadata")]
    pub metadata: Option<Map<String, Value>>,
    #[serde(deserialize_with = "some")]
    pub conversation: Option<Conversation>,
    #[serde(deserialize_with = "some")]
    pub input: Option<Vec<Item>>,
    #[serde(deserialize_with = "some")]
    pub parallel_tool_calls: Option<bool>,
    #[serde(deserialize_with = "some")]
    pub reasoning: Option<Reasoning>,
    prompt: Option<Prompt>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseAudio {
    #[serde(default, deserialize_with = "some")]
    pub output: Option<ResponseAudioOutput>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseAudioOutput {
    #[serde(default, deserialize_with = "some")]
    pub format: Option<Format>,
    #[serde(default, deserialize_with = "some")]
    pub voice: Option<Voice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conversation {
    Auto,
    None,
}

/// The fields of the events that are not one of the above.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Append {
    pub audio: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionUpdate {
    pub session: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemCreate {
    pub item: Value,
    pub previous_item_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truncate {
    pub item_id: String,
    pub content_index: u32,
    pub audio_end_ms: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemId {
    pub item_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseCreate {
    #[serde(default, deserialize_with = "some")]
    pub response: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    #[serde(default, deserialize_with = "some")]
    pub response_id: Option<String>,
}
