//! The shapes of what a client may send: unknown fields, wrong types and values out of range are refused. The
//! session (openai-realtime.md section 2) is here, the events (section 3) are in `event`. A-law is not
//! simulated.

#![expect(dead_code, reason = "a field that nobody reads is still checked")]

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

mod event;

pub use event::*;

/// A field that may be absent, but not null.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

fn within<'de, D: Deserializer<'de>>(from: D, low: f64, high: f64, expected: &str) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(Error::invalid_value(Unexpected::Float(value), &expected))
    }
}

fn share<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(from, 0.0, 1.0, "0 to 1").map(Some)
}

fn speed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(from, 0.25, 1.5, "0.25 to 1.5").map(Some)
}

fn idle_timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    match Option::<u32>::deserialize(from)? {
        Some(ms) if !(5_000..=30_000).contains(&ms) => {
            Err(Error::invalid_value(Unexpected::Unsigned(ms.into()), &"5000 to 30000"))
        }
        timeout => Ok(timeout),
    }
}

/// `session` of a `session.update`; also the session in force.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    r#type: SessionType,
    #[serde(default, deserialize_with = "some")]
    pub model: Option<String>,
    #[serde(default, deserialize_with = "some")]
    pub instructions: Option<String>,
    #[serde(default, deserialize_with = "some")]
    pub output_modalities: Option<[Modality; 1]>,
    #[serde(default, deserialize_with = "some")]
    pub audio: Option<Audio>,
    #[serde(default, deserialize_with = "some")]
    tools: Option<Vec<Tool>>,
    #[serde(default, deserialize_with = "some")]
    tool_choice: Option<ToolChoice>,
    #[serde(default, deserialize_with = "some")]
    pub parallel_tool_calls: Option<bool>,
    #[serde(default, deserialize_with = "some")]
    pub reasoning: Option<Reasoning>,
    #[serde(default, deserialize_with = "some")]
    max_output_tokens: Option<MaxTokens>,
    #[serde(default, deserialize_with = "some")]
    truncation: Option<Truncation>,
    tracing: Option<Tracing>,
    include: Option<Vec<Include>>,
    prompt: Option<Prompt>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SessionType {
    Realtime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    Audio,
    Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audio {
    #[serde(deserialize_with = "some")]
    pub input: Option<AudioInput>,
    #[serde(deserialize_with = "some")]
    pub output: Option<AudioOutput>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AudioInput {
    #[serde(deserialize_with = "some")]
    pub format: Option<Format>,
    noise_reduction: Option<NoiseReduction>,
    pub transcription: Option<Transcription>,
    pub turn_detection: Option<TurnDetection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AudioOutput {
    #[serde(deserialize_with = "some")]
    pub format: Option<Format>,
    #[serde(deserialize_with = "some")]
    pub voice: Option<Voice>,
    #[serde(deserialize_with = "speed")]
    speed: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Format {
    #[serde(rename = "audio/pcm")]
    Pcm {
        #[serde(default, deserialize_with = "rate_24k")]
        rate: Option<u32>,
    },
    #[serde(rename = "audio/pcmu")]
    Pcmu {},
}

fn rate_24k<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(from)? {
        24_000 => Ok(Some(24_000)),
        rate => Err(Error::invalid_value(Unexpected::Unsigned(rate.into()), &"24000")),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoiseReduction {
    r#type: NoiseReductionType,
    #[serde(default, deserialize_with = "some")]
    strength: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NoiseReductionType {
    NearField,
    FarField,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transcription {
    #[serde(deserialize_with = "some")]
    model: Option<String>,
    #[serde(deserialize_with = "some")]
    pub language: Option<String>,
    #[serde(deserialize_with = "some")]
    pub languages: Option<Vec<String>>,
    #[serde(deserialize_with = "some")]
    prompt: Option<String>,
    #[serde(deserialize_with = "some")]
    keywords: Option<Vec<String>>,
    #[serde(deserialize_with = "some")]
    delay: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TurnDetection {
    ServerVad {
        #[serde(default, deserialize_with = "share")]
        threshold: Option<f64>,
        #[serde(default, deserialize_with = "some")]
        prefix_padding_ms: Option<u32>,
        #[serde(default, deserialize_with = "some")]
        silence_duration_ms: Option<u32>,
        #[serde(default, deserialize_with = "idle_timeout")]
        idle_timeout_ms: Option<u32>,
        #[serde(default, deserialize_with = "some")]
        create_response: Option<bool>,
        #[serde(default, deserialize_with = "some")]
        interrupt_response: Option<bool>,
    },
    SemanticVad {
        #[serde(default, deserialize_with = "some")]
        eagerness: Option<Eagerness>,
        #[serde(default, deserialize_with = "some")]
        create_response: Option<bool>,
        #[serde(default, deserialize_with = "some")]
        interrupt_response: Option<bool>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eagerness {
    Low,
    Medium,
    High,
    Auto,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Voice {
    Named(NamedVoice),
    Custom(CustomVoice),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedVoice {
    Alloy,
    Ash,
    Ballad,
    Coral,
    Echo,
    Sage,
    Shimmer,
    Verse,
    Marin,
    Cedar,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomVoice {
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Tool {
    Function {
        name: String,
        #[serde(default, deserialize_with = "some")]
        description: Option<String>,
        #[serde(default, deserialize_with = "some")]
        parameters: Option<Map<String, Value>>,
    },
    Mcp {
        server_label: String,
        server_url: Option<String>,
        connector_id: Option<String>,
        tunnel_id: Option<String>,
        authorization: Option<String>,
        headers: Option<Map<String, Value>>,
        allowed_tools: Option<Value>,
        require_approval: Option<Value>,
        server_description: Option<String>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ToolChoice {
    Mode(ToolMode),
    Tool(ChosenTool),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToolMode {
    Auto,
    None,
    Required,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum ChosenTool {
    Function { name: String },
    Mcp { server_label: String, name: Option<String> },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reasoning {
    #[serde(default, deserialize_with = "some")]
    effort: Option<Effort>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
}

/// 1 to 4096, or `"inf"`.
#[derive(Debug)]
struct MaxTokens;

impl<'de> Deserialize<'de> for MaxTokens {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Value::deserialize(from)? {
            Value::String(text) if text == "inf" => Ok(Self),
            Value::Number(number) if number.as_u64().is_some_and(|n| (1..=4096).contains(&n)) => Ok(Self),
            other => {
                Err(Error::invalid_value(Unexpected::Other(&other.to_string()), &"1 to 4096, or \"inf\""))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Truncation {
    Mode(TruncationMode),
    Ratio(TruncationRatio),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TruncationMode {
    Auto,
    Disabled,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TruncationRatio {
    r#type: RatioType,
    #[serde(deserialize_with = "share")]
    retention_ratio: Option<f64>,
    #[serde(default, deserialize_with = "some")]
    token_limits: Option<TokenLimits>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RatioType {
    RetentionRatio,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenLimits {
    #[serde(default, deserialize_with = "some")]
    post_instructions: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tracing {
    Mode(TracingMode),
    Named(NamedTracing),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TracingMode {
    Auto,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NamedTracing {
    workflow_name: Option<String>,
    group_id: Option<String>,
    metadata: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
enum Include {
    #[serde(rename = "item.input_audio_transcription.logprobs")]
    Logprobs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompt {
    id: String,
    version: Option<String>,
    variables: Option<Map<String, Value>>,
}
