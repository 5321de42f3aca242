//! The session's configuration: the real service's defaults, and what `session.update` makes of them
//! (openai-realtime.md section 2).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::events::Refusal;
use super::schema::{self, Format, Modality, TurnDetection};
use super::vad::Detection;

/// Objects whose fields are updated one by one; every other value is replaced whole.
const CONTAINERS: [&str; 3] = ["audio", "input", "output"];

/// The configuration in force.
#[derive(Debug)]
pub struct Config {
    id: String,
    expires_at: i64,
    model: String,
    /// Everything but `id`, `object`, `expires_at` and `model`.
    fields: Value,
    /// The same, typed.
    view: schema::Session,
}

impl Config {
    /// What a session has before its first update. `expires_at` in Unix seconds.
    pub fn new(id: String, model: String, expires_at: i64) -> Self {
        let fields = json!({
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": "Your knowledge cutoff is 2023-10. You are a helpful, witty, and friendly AI.",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": null,
            "truncation": "auto",
            "prompt": null,
            "include": null,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": null,
                    "noise_reduction": null,
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": 200,
                        "idle_timeout_ms": null,
                        "create_response": true,
                        "interrupt_response": true,
                    },
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
            },
        });
        let view = schema::Session::deserialize(&fields).expect("the defaults are what a client may send");
        Self { id, expires_at, model, fields, view }
    }

    /// The `session` of `session.created` and `session.updated`.
    pub fn json(&self) -> Value {
        let mut session = self.fields.clone();
        session["object"] = "realtime.session".into();
        session["id"] = self.id.as_str().into();
        session["model"] = self.model.as_str().into();
        session["expires_at"] = self.expires_at.into();
        session
    }

    /// Merges an update. `spoken`: whether the session has put out audio, after which its voice stays.
    pub fn update(&mut self, patch: &Value, checked: &schema::Session, spoken: bool) -> Result<(), Refusal> {
        self.check(patch, checked, spoken)?;
        let mut fields = self.fields.clone();
        merge(&mut fields, patch);
        fields.as_object_mut().map(|fields| fields.remove("model"));
        self.view = schema::Session::deserialize(&fields)?;
        self.fields = fields;
        Ok(())
    }

    fn check(&self, patch: &Value, checked: &schema::Session, spoken: bool) -> Result<(), Refusal> {
        if checked.model.as_ref().is_some_and(|model| *model != self.model) {
            let message = "The model of a session cannot be changed.";
            return Err(Refusal::new("model-change", "invalid_value", message).on("session.model"));
        }
        let voice = checked.audio.as_ref().and_then(|audio| audio.output.as_ref()?.voice.as_ref());
        if spoken && voice.is_some() {
            let message = "Cannot update a conversation's voice if assistant audio is present.";
            return Err(
                Refusal::new("voice-change", "cannot_update_voice", message).on("session.audio.output.voice")
            );
        }
        let reasoning = checked.reasoning.is_some() || checked.parallel_tool_calls.is_some();
        self.check_reasoning(reasoning)?;
        let transcription =
            checked.audio.as_ref().and_then(|audio| audio.input.as_ref()?.transcription.as_ref());
        if transcription.is_some_and(|asr| asr.language.is_some() && asr.languages.is_some()) {
            let message = "Only one of 'language' and 'languages' can be given.";
            return Err(
                Refusal::new("wrong-value", "invalid_value", message).on("session.audio.input.transcription")
            );
        }
        let tracing = &self.fields["tracing"];
        if !tracing.is_null() && patch.get("tracing").is_some_and(|new| new != tracing) {
            let message = "Tracing cannot be changed once it is enabled.";
            return Err(Refusal::new("tracing-change", "invalid_value", message).on("session.tracing"));
        }
        Ok(())
    }

    /// Refuses what only reasoning models take (section 11).
    pub fn check_reasoning(&self, asked: bool) -> Result<(), Refusal> {
        let reasons = self.model == "gpt-realtime-2"
            || self.model.starts_with("gpt-realtime-2.")
            || self.model.starts_with("gpt-realtime-2-");
        if asked && !reasons {
            let message = "'reasoning' and 'parallel_tool_calls' are only supported by reasoning models.";
            return Err(Refusal::new("reasoning", "invalid_value", message));
        }
        Ok(())
    }

    /// Whether the audio that arrives is μ-law.
    pub fn hears_mulaw(&self) -> bool {
        self.input().is_some_and(|input| matches!(input.format, Some(Format::Pcmu {})))
    }

    /// Whether the audio that is sent is μ-law.
    pub fn speaks_mulaw(&self) -> bool {
        let output = self.view.audio.as_ref().and_then(|audio| audio.output.as_ref());
        output.is_some_and(|output| matches!(output.format, Some(Format::Pcmu {})))
    }

    /// Whether responses are text.
    pub fn writes(&self) -> bool {
        self.view.output_modalities == Some([Modality::Text])
    }

    /// Whether the caller's utterances are transcribed.
    pub fn transcribes(&self) -> bool {
        self.input().is_some_and(|input| input.transcription.is_some())
    }

    /// Turn detection, if it is on. The semantic kind is taken for the other one with a silence of 500 ms.
    pub fn detection(&self) -> Option<Detection> {
        let defaults = Detection {
            threshold: 0.5,
            prefix_padding_ms: 300,
            silence_duration_ms: 500,
            idle_timeout_ms: None,
            create_response: true,
            interrupt_response: true,
        };
        Some(match *self.input()?.turn_detection.as_ref()? {
            TurnDetection::ServerVad {
                threshold,
                prefix_padding_ms,
                silence_duration_ms,
                idle_timeout_ms,
                create_response,
                interrupt_response,
            } => Detection {
                threshold: threshold.unwrap_or(defaults.threshold),
                prefix_padding_ms: prefix_padding_ms.unwrap_or(defaults.prefix_padding_ms),
                silence_duration_ms: silence_duration_ms.unwrap_or(defaults.silence_duration_ms),
                idle_timeout_ms,
                create_response: create_response.unwrap_or(true),
                interrupt_response: interrupt_response.unwrap_or(true),
            },
            TurnDetection::SemanticVad { create_response, interrupt_response, .. } => Detection {
                create_response: create_response.unwrap_or(true),
                interrupt_response: interrupt_response.unwrap_or(true),
                ..defaults
            },
        })
    }

    /// The function of this name, as the session was told of it.
    pub fn function(&self, name: &str) -> Option<&Value> {
        let tools = self.fields["tools"].as_array()?;
        tools.iter().find(|tool| tool["type"] == "function" && tool["name"] == name)
    }

    /// Length of the instructions in characters.
    pub fn instructions_len(&self) -> usize {
        self.view.instructions.as_deref().map_or(0, str::len)
    }

    /// The part of the configuration that `response.created` and `response.done` repeat.
    pub fn response_head(&self) -> Map<String, Value> {
        let audio = &self.fields["audio"]["output"];
        let mut head = Map::new();
        head.insert("output_modalities".into(), self.fields["output_modalities"].clone());
        head.insert("max_output_tokens".into(), self.fields["max_output_tokens"].clone());
        let output = json!({"format": audio["format"], "voice": audio["voice"]});
        head.insert("audio".into(), json!({"output": output}));
        head
    }

    fn input(&self) -> Option<&schema::AudioInput> {
        self.view.audio.as_ref()?.input.as_ref()
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else { return };
    for (name, new) in patch {
        let old = target.entry(name.as_str()).or_insert(Value::Null);
        let same_kind = name == "turn_detection" && new.is_object() && old["type"] == new["type"];
        if CONTAINERS.contains(&name.as_str()) || same_kind {
            merge(old, new);
        } else {
            *old = new.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new("sess_1".into(), "gpt-realtime-2.1".into(), 1_795_425_000)
    }

    fn update(config: &mut Config, fields: Value, spoken: bool) -> Result<(), &'static str> {
        let mut patch = fields;
        patch["type"] = "realtime".into();
        let checked = schema::Session::deserialize(&patch).unwrap();
        config.update(&patch, &checked, spoken).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_session_begins_with_the_services_defaults() {
        let config = config();
        let json = config.json();
        assert_eq!(json["audio"]["input"]["turn_detection"]["silence_duration_ms"], 200);
        assert_eq!(
            (&json["object"], &json["expires_at"]),
            (&json!("realtime.session"), &json!(1_795_425_000))
        );
        assert!(!config.hears_mulaw() && !config.speaks_mulaw() && !config.transcribes() && !config.writes());
        assert!(config.detection().unwrap().interrupt_response);
    }

    #[test]
    fn only_the_fields_that_are_present_change_and_null_turns_off() {
        let mut config = config();
        let mulaw = json!({"format": {"type": "audio/pcmu"}});
        update(
            &mut config,
            json!({"instructions": "Be brief.", "audio": {"input": mulaw, "output": mulaw}}),
            false,
        )
        .unwrap();
        assert!(config.hears_mulaw() && config.speaks_mulaw());
        assert_eq!(config.json()["audio"]["output"]["voice"], "marin");
        let vad = json!({"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": false});
        let input = json!({"turn_detection": vad, "transcription": {"model": "gpt-transcribe"}});
        update(&mut config, json!({"audio": {"input": input}}), true).unwrap();
        let detection = config.detection().unwrap();
        assert!(config.hears_mulaw() && config.transcribes() && !detection.interrupt_response);
        assert_eq!((detection.silence_duration_ms, detection.prefix_padding_ms), (500, 300));
        update(
            &mut config,
            json!({"audio": {"input": {"turn_detection": null, "transcription": null}}}),
            true,
        )
        .unwrap();
        assert!(config.detection().is_none() && !config.transcribes());
        assert_eq!(config.json()["instructions"], "Be brief.");
    }

    #[test]
    fn what_cannot_change_any_more_is_refused_and_changes_nothing() {
        let mut config = config();
        let voice = json!({"audio": {"output": {"voice": "cedar"}}});
        assert_eq!(update(&mut config, voice.clone(), false), Ok(()));
        assert_eq!(update(&mut config, voice, true), Err("cannot_update_voice"));
        let model = json!({"model": "gpt-realtime-2.1-mini", "instructions": "x"});
        assert_eq!(update(&mut config, model, false), Err("invalid_value"));
        assert_ne!(config.json()["instructions"], "x");
        assert_eq!(update(&mut config, json!({"tracing": "auto"}), false), Ok(()));
        assert_eq!(update(&mut config, json!({"tracing": null}), false), Err("invalid_value"));
    }

    #[test]
    fn reasoning_is_for_reasoning_models() {
        let reasoning = || json!({"reasoning": {"effort": "low"}});
        assert_eq!(update(&mut config(), reasoning(), false), Ok(()));
        let mut older = Config::new("sess_1".into(), "gpt-realtime-2025-08-28".into(), 0);
        assert_eq!(update(&mut older, reasoning(), false), Err("invalid_value"));
    }
}
