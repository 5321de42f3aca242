//! What the Realtime service says when it says no, and what of our settings that is about.

use serde::Serialize;
use utoipa::ToSchema;

use crate::wire::realtime::events::ServiceError;
use crate::wire::realtime::rendering::RenderError;
use crate::wire::realtime::socket::ConnectError;

/// A fault of the service as it tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    pub code: String,
    /// Of what it was told, the one at fault.
    pub parameter: String,
    /// What it was told there; empty where that is not known.
    pub value: String,
    pub text: String,
}

impl Fault {
    pub(super) fn of(error: &ServiceError) -> Self {
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let (code, parameter) = (error.code().to_owned(), said(&error.param));
        Self { code, parameter, value: String::new(), text: said(&error.message) }
    }

    pub(super) fn of_connect(error: &ConnectError) -> Self {
        let code = match error {
            ConnectError::TimedOut => "connect-timed-out".to_owned(),
            ConnectError::Failed(_) => "connect-failed".to_owned(),
            ConnectError::Busy { status, .. } | ConnectError::Refused { status } => {
                format!("connect-{status}")
            }
        };
        Self { code, text: error.to_string(), ..Self::default() }
    }

    /// The variable, or file and line, that it is about; empty where that is not known.
    pub fn place_in(&self, places: &[(&'static str, String)]) -> String {
        let subject = subject(&self.code, &self.parameter);
        let place = places.iter().find(|(name, _)| Some(*name) == subject);
        place.map(|(_, place)| place.clone()).unwrap_or_default()
    }

    /// What is refused is in the agent file, so that another one may do.
    pub fn is_of_the_agent_file(&self) -> bool {
        matches!(subject(&self.code, &self.parameter), Some("voice" | "instructions" | "language"))
    }

    pub fn is_of_the_model(&self) -> bool {
        subject(&self.code, &self.parameter) == Some("model")
    }

    /// Why a session of our own came to nothing. A close says why behind the last dot of its reason.
    pub fn of_session(error: &RenderError) -> Self {
        let text = error.to_string();
        match error {
            RenderError::Connect(error) => Self::of_connect(error),
            RenderError::Failed(error) => Self::of(error),
            RenderError::OtherSession { part, told } => Self {
                code: "other-session".to_owned(),
                parameter: format!("session{}", part.replace('/', ".")),
                value: told.clone(),
                text,
            },
            RenderError::Closed { cause, .. } => {
                let code = cause.rsplit_once('.').map_or("closed", |(_, code)| code);
                Self { code: code.to_owned(), text, ..Self::default() }
            }
            RenderError::TimedOut => Self { code: "timed-out".to_owned(), text, ..Self::default() },
            RenderError::OtherWords | RenderError::Length => {
                Self { code: "other-words".to_owned(), text, ..Self::default() }
            }
        }
    }
}

/// What the service refuses, for whoever may use the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refusal {
    pub code: String,
    pub parameter: String,
    pub value: String,
    /// The variable, or file and line.
    pub setting: String,
}

/// What of our settings a fault of the service is about.
pub(super) fn subject(code: &str, parameter: &str) -> Option<&'static str> {
    match code {
        "invalid_api_key"
        | "insufficient_quota"
        | "account_deactivated"
        | "billing_hard_limit_reached"
        | "connect-401"
        | "connect-403" => return Some("key"),
        "model_not_found" | "connect-404" => return Some("model"),
        _ => {}
    }
    let parts: Vec<_> = parameter.split(['.', '[']).collect();
    match parts.iter().position(|part| *part == "transcription") {
        // Its model is none of the settings.
        Some(at) => parts[at..].iter().any(|part| part.starts_with("language")).then_some("language"),
        None => ["voice", "model", "instructions", "language"].into_iter().find(|name| parts.contains(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_names_the_setting_that_it_is_made_of() {
        for (parameter, setting) in [
            ("session.audio.output.voice", Some("voice")),
            ("session.instructions", Some("instructions")),
            ("session.model", Some("model")),
            ("session.audio.input.transcription.languages", Some("language")),
            ("session.audio.input.transcription.languages[0]", Some("language")),
            ("session.audio.input.transcription.language", Some("language")),
            ("session.audio.input.transcription.model", None),
            ("session.audio.input.turn_detection.threshold", None),
            ("", None),
        ] {
            assert_eq!(subject("invalid_value", parameter), setting, "{parameter}");
        }
        for (code, setting) in
            [("connect-401", "key"), ("insufficient_quota", "key"), ("model_not_found", "model")]
        {
            assert_eq!(subject(code, ""), Some(setting), "{code}");
        }
    }

    #[test]
    fn a_session_that_is_closed_says_why_behind_its_last_dot() {
        let closed = |cause: &str| {
            Fault::of_session(&RenderError::Closed { fatal: true, cause: cause.to_owned() }).code
        };
        assert_eq!(closed("closed with 3000 invalid_request_error.invalid_api_key"), "invalid_api_key");
        assert_eq!(closed("closed with 4000 "), "closed");
    }
}
