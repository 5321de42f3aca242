//! A session as calls have it, and one word asked for in it: whether the service takes key, model, voice and
//! all else that it is told. It is no call's, and nobody hears it.

use call_control::policy::persona::Persona;
use serde_json::{Value, json};

use super::events::{Response, ServerEvent};
use super::rendering::{RenderError, Rendering};
use super::requests::Request;
use super::socket::{ConnectError, Endpoint};
use super::usage::Usage;

/// The event id of the question.
const TRIAL: &str = "trial";
/// Of the answer: more would be thrown away.
const MAX_OUTPUT_TOKENS: u32 = 16;

/// Opens a session as calls do and has it answer: the service tells of a model or an account that it refuses
/// only when a response is asked for (reference: "Connecting"). Has a deadline.
///
/// # Errors
/// Why the service does not answer.
pub async fn answers(endpoint: &Endpoint, persona: &Persona) -> Result<Usage, RenderError> {
    let session = Rendering::configured(endpoint, Request::Configure.to_json(persona)).await?;
    let response = session.response(ask().to_string(), |event| match event {
        ServerEvent::ResponseDone(response) => Some(std::mem::take(&mut **response)),
        _ => None,
    });
    let Response { status, status_details, usage, .. } = match response.await {
        // It has taken the session; that our question is not to its taste says nothing of the calls.
        Err(RenderError::Failed(error)) if error.event_id.as_deref() == Some(TRIAL) && !error.is_fatal() => {
            return Ok(Usage::default());
        }
        other => other?,
    };
    match status.as_str() {
        "completed" | "incomplete" => Ok(usage.unwrap_or_default()),
        _ => Err(RenderError::Failed(status_details.and_then(|details| details.error).unwrap_or_default())),
    }
}

/// Whether the service would say the same again: what is at fault is the key, the model or what it is told.
pub fn is_refusal(error: &RenderError) -> bool {
    match error {
        RenderError::Connect(error) => matches!(error, ConnectError::Refused { .. }),
        RenderError::Closed { fatal, .. } => *fatal,
        RenderError::Failed(error) => {
            let is_of_ours = error.kind.as_deref() == Some("invalid_request_error");
            let passes = matches!(
                error.code(),
                "rate_limit_exceeded" | "inference_rate_limit_exceeded" | "server_error" | "session_expired"
            );
            error.is_fatal() || is_of_ours && !passes
        }
        RenderError::OtherSession { .. } => true,
        RenderError::TimedOut | RenderError::OtherWords | RenderError::Length => false,
    }
}

/// What the session is told at the parameter that a refusal names, such as `session.audio.output.voice`.
pub fn value_at(parameter: &str, persona: &Persona) -> Option<String> {
    let event: Value = serde_json::from_str(&Request::Configure.to_json(persona)).ok()?;
    let path = parameter.replace(['.', '['], "/").replace(']', "");
    let path = format!("/{}", path.trim_matches('/'));
    let value = event.pointer(&path).or_else(|| event.get("session")?.pointer(&path))?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Text costs least, and tries the same.
fn ask() -> Value {
    json!({
        "type": "response.create", "event_id": TRIAL,
        "response": {
            "conversation": "none",
            "input": [],
            "output_modalities": ["text"],
            "instructions": "Say: ready.",
            "max_output_tokens": MAX_OUTPUT_TOKENS,
            "metadata": {"purpose": "trial"},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::realtime::events::ServiceError;

    #[test]
    fn the_value_of_a_refused_parameter_is_found_in_what_the_session_is_told() {
        let persona = Persona { voice: "nova".into(), language: "xx".into(), ..Persona::default() };
        for (parameter, value) in [
            ("session.audio.output.voice", Some("nova")),
            ("audio.output.voice", Some("nova")),
            ("session.audio.input.transcription.languages[0]", Some("xx")),
            ("session.audio.input.transcription.languages", Some(r#"["xx"]"#)),
            ("session.audio.input.turn_detection.threshold", Some("0.5")),
            ("session.nothing", None),
            ("", None),
        ] {
            assert_eq!(value_at(parameter, &persona).as_deref(), value, "{parameter}");
        }
    }

    #[test]
    fn what_may_pass_is_no_refusal() {
        let failed = |code: &str, kind: &str| {
            let (code, kind) = (Some(code.to_owned()), Some(kind.to_owned()));
            RenderError::Failed(ServiceError { code, kind, ..ServiceError::default() })
        };
        let closed = |fatal| RenderError::Closed { fatal, cause: String::new() };
        for (error, is) in [
            (failed("invalid_value", "invalid_request_error"), true),
            (failed("", "invalid_request_error"), true),
            (failed("insufficient_quota", "insufficient_quota"), true),
            (failed("rate_limit_exceeded", "invalid_request_error"), false),
            (failed("server_error", "server_error"), false),
            (failed("", ""), false),
            (RenderError::Connect(ConnectError::Refused { status: 401 }), true),
            (RenderError::Connect(ConnectError::Busy { status: 503, wait: None }), false),
            (RenderError::Connect(ConnectError::TimedOut), false),
            (closed(true), true),
            (closed(false), false),
            (RenderError::TimedOut, false),
        ] {
            assert_eq!(is_refusal(&error), is, "{error:?}");
        }
    }
}
