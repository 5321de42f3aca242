//! Tries the agent at the Realtime service, as `serve` does at its start, but once.

use actors::health::{Fault, short};
use actors::wire::realtime::rendering::RenderError;
use actors::wire::realtime::socket::ConnectError;
use actors::wire::realtime::trial::{answers, is_refusal, value_at};
use tokio::time::timeout;

use super::late;
use crate::preflight::DEADLINE;
use crate::preflight::facts::Realtime;
use crate::settings::Settings;

pub async fn try_once(settings: &Settings) -> Realtime {
    let persona = &settings.agent.persona;
    let error = match timeout(DEADLINE, answers(&settings.realtime, persona)).await {
        Ok(Ok(_)) => return Realtime::Answers,
        Ok(Err(error)) => error,
        Err(_) => return Realtime::Fails(late()),
    };
    if is_limit(&error) {
        return Realtime::Limits(error.to_string());
    }
    if !is_refusal(&error) {
        return Realtime::Fails(error.to_string());
    }
    let mut fault = Fault::of_session(&error);
    if fault.value.is_empty() {
        fault.value = if fault.is_of_the_model() {
            settings.realtime.model.clone()
        } else {
            value_at(&fault.parameter, persona).unwrap_or_default()
        };
    }
    let (said, setting) = (told(&fault), fault.place_in(&settings.places()));
    Realtime::Refuses { code: fault.code, said, setting }
}

/// The service is there, and has had too many requests of this account.
fn is_limit(error: &RenderError) -> bool {
    match error {
        RenderError::Connect(error) => matches!(error, ConnectError::Busy { status: 429, .. }),
        RenderError::Failed(error) => {
            matches!(error.code(), "rate_limit_exceeded" | "inference_rate_limit_exceeded")
        }
        _ => false,
    }
}

/// Without the service's own words, which may have a part of the key in them.
fn told(fault: &Fault) -> String {
    let parts = [("", &fault.code), ("parameter ", &fault.parameter), ("value ", &fault.value)];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(_, part)| !part.is_empty())
        .map(|(what, part)| format!("{what}{}", short(part)))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use actors::wire::realtime::events::ServiceError;

    use super::*;

    #[test]
    fn a_limit_of_the_service_is_told_from_a_service_that_is_away() {
        let busy = |status| RenderError::Connect(ConnectError::Busy { status, wait: None });
        assert!(is_limit(&busy(429)) && !is_limit(&busy(503)));
        assert!(
            !is_limit(&RenderError::Connect(ConnectError::TimedOut)) && !is_limit(&RenderError::TimedOut)
        );
        let code = Some("rate_limit_exceeded".to_owned());
        assert!(is_limit(&RenderError::Failed(ServiceError { code, ..ServiceError::default() })));
    }

    #[test]
    fn a_refusal_is_told_without_the_words_of_the_service() {
        let fault = Fault {
            code: "invalid_value".to_owned(),
            parameter: "session.audio.output.voice".to_owned(),
            value: "nova".to_owned(),
            text: "Incorrect API key provided: sk-hush".to_owned(),
        };
        assert_eq!(told(&fault), "invalid_value, parameter session.audio.output.voice, value nova");
    }
}
