//! What we say to the Realtime service (reference: OpenAI Realtime, "`session.update` (GA shape)" and "All
//! client events"). Requests that can be refused carry an event id of ours, which the refusal echoes.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use super::transcription;
use crate::conversation::speaker::Speaker;
use crate::policy::persona::Persona;

/// The event id of the session's configuration.
pub const CONFIGURE_ID: &str = "configure";
/// What the event ids of function outputs begin with; the call's id follows.
pub const OUTPUT: &str = "output-";
/// What the event ids of response requests begin with; a number follows.
pub const RESPOND_PREFIX: &str = "respond-";

/// The service hears the end of the caller's speech when it has been silent for so long, and says so then
/// (reference: OpenAI Realtime, server VAD).
pub const SILENCE_MS: u64 = 500;

/// One event of ours. The audio has a path of its own: `Uplink`, in the crate `actors`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Configures the whole session.
    Configure,
    /// Asks for the opening words.
    Greet { number: u32 },
    /// Asks for a response.
    Respond { number: u32 },
    /// Asks for a response that tells the caller to dial the emergency number.
    Warn { number: u32 },
    /// Tells a new session what was said before.
    Recall { speaker: Speaker, text: String },
    /// Tells the session something that nobody said.
    Note { text: Cow<'static, str> },
    /// Ends a response; the active one if none is named.
    Cancel { response_id: Option<String> },
    /// Takes back what the caller did not hear of an item.
    Truncate { item_id: String, content_index: u32, audio_end_ms: u32 },
    /// Takes back an item of which the caller heard nothing.
    Delete { item_id: String },
    /// Answers a function call, with JSON.
    FunctionOutput { call_id: String, output: String },
}

impl Request {
    /// The event as the service wants it.
    pub fn to_json(&self, persona: &Persona) -> String {
        match self {
            Self::Configure => configure(persona),
            Self::Greet { number } => json!({
                "type": "response.create", "event_id": request_name(*number),
                "response": {
                    "instructions": greeting_instructions(persona),
                    "metadata": {"purpose": "greeting", "request": request_name(*number)},
                },
            }),
            Self::Respond { number } => json!({
                "type": "response.create", "event_id": request_name(*number),
                "response": {"metadata": {"request": request_name(*number)}},
            }),
            Self::Warn { number } => json!({
                "type": "response.create", "event_id": request_name(*number),
                "response": {
                    "instructions": warning_instructions(persona),
                    "metadata": {"purpose": "emergency", "request": request_name(*number)},
                },
            }),
            Self::Recall { speaker: Speaker::Caller, text } => message("user", "input_text", text),
            Self::Recall { speaker: Speaker::Agent, text } => message("assistant", "output_text", text),
            Self::Note { text } => message("system", "input_text", text),
            Self::Cancel { response_id: Some(id) } => {
                json!({"type": "response.cancel", "event_id": format!("cancel-{id}"), "response_id": id})
            }
            Self::Cancel { response_id: None } => json!({"type": "response.cancel", "event_id": "cancel"}),
            Self::Truncate { item_id, content_index, audio_end_ms } => json!({
                "type": "conversation.item.truncate", "event_id": format!("truncate-{item_id}"),
                "item_id": item_id, "content_index": content_index, "audio_end_ms": audio_end_ms,
            }),
            Self::Delete { item_id } => json!({
                "type": "conversation.item.delete", "event_id": format!("delete-{item_id}"), "item_id": item_id,
            }),
            Self::FunctionOutput { call_id, output } => json!({
                "type": "conversation.item.create", "event_id": format!("{OUTPUT}{call_id}"),
                "item": {"type": "function_call_output", "call_id": call_id, "output": output},
            }),
        }
        .to_string()
    }
}

/// The name of a response request: its event id, and in the metadata of its response.
fn request_name(number: u32) -> String {
    format!("{RESPOND_PREFIX}{number}")
}

/// The number of the response request with this name.
pub fn request_number(name: &str) -> Option<u32> {
    name.strip_prefix(RESPOND_PREFIX)?.parse().ok()
}

/// A message of the conversation. The agent's own can be created as text only (reference: section 9).
fn message(role: &str, kind: &str, text: &str) -> Value {
    json!({
        "type": "conversation.item.create", "event_id": "recall",
        "item": {"type": "message", "role": role, "content": [{"type": kind, "text": text}]},
    })
}

/// Turn-taking is ours, so the service neither interrupts itself nor prods a silent caller.
fn configure(persona: &Persona) -> Value {
    json!({
        "type": "session.update", "event_id": CONFIGURE_ID,
        "session": {
            "type": "realtime",
            "instructions": persona.instructions(),
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "noise_reduction": {"type": "near_field"},
                    "transcription": {"model": transcription::MODEL, "languages": [persona.language]},
                    "turn_detection": {
                        "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                        "silence_duration_ms": SILENCE_MS, "create_response": true, "interrupt_response": false,
                        "idle_timeout_ms": null,
                    },
                },
                "output": {"format": {"type": "audio/pcmu"}, "voice": persona.voice, "speed": 1.0},
            },
            "tools": persona.toolbox.to_json(),
            "tool_choice": "auto",
            "max_output_tokens": 2048,
            "truncation": {
                "type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 16000},
            },
        },
    })
}

/// A response's instructions replace the session's, so the persona is restated.
fn greeting_instructions(persona: &Persona) -> String {
    format!(
        "{}\n\nThe caller has just been connected. Open the call now with exactly these words, and say nothing else: {}",
        persona.instructions(),
        persona.greeting
    )
}

fn warning_instructions(persona: &Persona) -> String {
    format!(
        "{}\n\nThe caller's words describe an emergency. Before anything else tell them, calmly and in the language of the \
         call, to hang up now and dial {}. Say nothing else.",
        persona.instructions(),
        persona.emergency_number
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persona() -> Persona {
        Persona { instructions: "Be brief.".into(), greeting: "Hello.".into(), ..Persona::default() }
    }

    #[test]
    fn the_session_speaks_mu_law_and_leaves_turn_taking_to_us() {
        let event: Value = serde_json::from_str(&Request::Configure.to_json(&persona())).unwrap();
        let audio = &event["session"]["audio"];
        assert_eq!(audio["input"]["format"], json!({"type": "audio/pcmu"}));
        assert_eq!(audio["output"]["format"], json!({"type": "audio/pcmu"}));
        let turns = &audio["input"]["turn_detection"];
        assert_eq!((&turns["create_response"], &turns["interrupt_response"]), (&json!(true), &json!(false)));
        assert_eq!(turns["idle_timeout_ms"], Value::Null);
        assert!(event["session"].get("tracing").is_none() && event["session"].get("model").is_none());
    }

    #[test]
    fn the_greeting_restates_the_persona() {
        let event: Value = serde_json::from_str(&Request::Greet { number: 1 }.to_json(&persona())).unwrap();
        let instructions = event["response"]["instructions"].as_str().unwrap();
        assert!(instructions.starts_with("Be brief.") && instructions.ends_with("Hello."));
        assert_eq!(event["event_id"], "respond-1");
    }

    #[test]
    fn a_functions_output_is_a_text() {
        let request = Request::FunctionOutput {
            call_id: "call_1".into(),
            output: r#"{"error":"no such tool"}"#.into(),
        };
        let event: Value = serde_json::from_str(&request.to_json(&persona())).unwrap();
        assert_eq!(event["item"]["output"], r#"{"error":"no such tool"}"#);
    }
}
