//! A session of its own in which the service speaks a few texts for keeping. It is no call's: it hears
//! nobody, and each text is a response outside of any conversation (reference: OpenAI Realtime,
//! "`response.create`").

use std::borrow::Cow;
use std::future::poll_fn;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::events::{self, Response, ServerEvent, ServiceError};
use super::socket::{ConnectError, Endpoint, Received, Uplink, connect};
use super::usage::Usage;

/// From the open socket to the configured session.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// From asking for a text to its last sound.
const SPOKEN_WITHIN: Duration = Duration::from_secs(20);

/// Why a text was not spoken.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("no connection: {0}")]
    Connect(#[from] ConnectError),
    #[error("the session ended: {cause}")]
    Closed { fatal: bool, cause: String },
    #[error("the service failed with the code {:?}", .0.code())]
    Failed(ServiceError),
    #[error("the service took too long")]
    TimedOut,
    #[error("the service did not say what it was asked to")]
    OtherWords,
    #[error("the session has {part} = {told:?}, which was not asked for")]
    OtherSession { part: Cow<'static, str>, told: String },
    #[error("the length of it is not that of a phrase")]
    Length,
}

impl RenderError {
    /// Trying again cannot help.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Connect(error) => matches!(error, ConnectError::Refused { .. }),
            Self::Closed { fatal, .. } => *fatal,
            Self::Failed(error) => error.is_fatal() || error.code() == "invalid_value",
            Self::TimedOut | Self::OtherWords | Self::OtherSession { .. } | Self::Length => false,
        }
    }
}

/// A text as it was spoken.
#[derive(Debug)]
pub struct Spoken {
    /// μ-law at 8 kHz.
    pub mulaw: Vec<u8>,
    pub usage: Usage,
}

/// An open session; dropped, it is closed.
pub struct Rendering {
    uplink: Uplink,
    session: u32,
    asked: u32,
}

impl Rendering {
    /// Opens a session that speaks with `voice`. Has a deadline.
    pub async fn open(endpoint: &Endpoint, voice: &str) -> Result<Self, RenderError> {
        Self::configured(endpoint, configure(voice).to_string()).await
    }

    /// Opens a session with this `session.update`. Has a deadline.
    pub(super) async fn configured(endpoint: &Endpoint, update: String) -> Result<Self, RenderError> {
        let uplink = Uplink::default();
        let session = uplink.attach(connect(endpoint).await?);
        let rendering = Self { uplink, session, asked: 0 };
        let configured = async {
            rendering.uplink.send(update);
            rendering.until(|event| matches!(event, ServerEvent::SessionUpdated).then_some(())).await
        };
        timeout(READY_WITHIN, configured).await.unwrap_or(Err(RenderError::TimedOut))?;
        Ok(rendering)
    }

    /// Has `text` spoken, at most `max_bytes` of it. Has a deadline.
    pub async fn speak(&mut self, text: &str, max_bytes: usize) -> Result<Spoken, RenderError> {
        self.asked += 1;
        let mut mulaw = Vec::new();
        let spoken = self.response(ask(self.asked, text).to_string(), |event| match event {
            ServerEvent::Audio(delta) if mulaw.len() <= max_bytes => {
                mulaw.extend(BASE64_STANDARD.decode(&delta.payload).unwrap_or_default());
                None
            }
            ServerEvent::ResponseDone(response) => Some(std::mem::take(&mut **response)),
            _ => None,
        });
        let response = spoken.await?;
        check(&response, text)?;
        if mulaw.len() > max_bytes {
            return Err(RenderError::Length);
        }
        Ok(Spoken { mulaw, usage: response.usage.unwrap_or_default() })
    }

    /// Sends a `response.create` and reads until `found` has found something. Has a deadline.
    pub(super) async fn response<T>(
        &self,
        request: String,
        found: impl FnMut(&mut ServerEvent<'_>) -> Option<T>,
    ) -> Result<T, RenderError> {
        self.uplink.send(request);
        timeout(SPOKEN_WITHIN, self.until(found)).await.unwrap_or(Err(RenderError::TimedOut))
    }

    /// Reads until `found` has found something. An error of the service is the end of it: there is nothing to
    /// go on with.
    async fn until<T>(
        &self,
        mut found: impl FnMut(&mut ServerEvent<'_>) -> Option<T>,
    ) -> Result<T, RenderError> {
        loop {
            match poll_fn(|cx| self.uplink.poll_received(self.session, cx)).await {
                Some(Received::Event(message)) => match events::parse(&message) {
                    Ok(ServerEvent::SessionDiffers { part, told }) => {
                        return Err(RenderError::OtherSession { part, told });
                    }
                    Ok(ServerEvent::Error(error)) => return Err(RenderError::Failed(error)),
                    Ok(mut event) => {
                        if let Some(found) = found(&mut event) {
                            return Ok(found);
                        }
                    }
                    Err(_) => {} // what it was about will be missed, or not
                },
                Some(Received::Pong) => {}
                Some(Received::Closed { fatal, cause }) => return Err(RenderError::Closed { fatal, cause }),
                None => {
                    return Err(RenderError::Closed { fatal: false, cause: "the connection ended".into() });
                }
            }
        }
    }
}

impl Drop for Rendering {
    fn drop(&mut self) {
        self.uplink.close();
    }
}

fn configure(voice: &str) -> Value {
    json!({
        "type": "session.update", "event_id": "configure",
        "session": {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {"format": {"type": "audio/pcmu"}, "turn_detection": null},
                "output": {"format": {"type": "audio/pcmu"}, "voice": voice, "speed": 1.0},
            },
            "tools": [],
        },
    })
}

fn ask(number: u32, text: &str) -> Value {
    json!({
        "type": "response.create", "event_id": format!("phrase-{number}"),
        "response": {
            "conversation": "none",
            "input": [],
            "instructions": format!(
                "You are on the telephone, friendly and calm. Say exactly these words, at an even pace, and nothing else: {text}"
            ),
            "metadata": {"purpose": "phrase"},
        },
    })
}

/// A response is good if it is whole and says what was asked for: it will be heard for years.
fn check(response: &Response, text: &str) -> Result<(), RenderError> {
    if response.status != "completed" {
        let error = response.status_details.as_ref().and_then(|details| details.error.clone());
        return Err(RenderError::Failed(error.unwrap_or_default()));
    }
    let said = response.output.iter().find_map(|item| item.transcript()).unwrap_or_default();
    if letters(said).eq(letters(text)) { Ok(()) } else { Err(RenderError::OtherWords) }
}

/// Punctuation and capitals are a matter of taste.
fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::realtime::events::{Content, Item};

    fn response(status: &str, said: &str) -> Response {
        let content = vec![Content { transcript: Some(said.into()) }];
        let output = vec![Item { kind: "message".into(), content, ..Item::default() }];
        Response { status: status.into(), output, ..Response::default() }
    }

    #[test]
    fn only_the_words_that_were_asked_for_will_do() {
        assert!(check(&response("completed", "one moment, please"), "One moment please.").is_ok());
        let other = check(&response("completed", "Sure! One moment please."), "One moment please.");
        assert!(matches!(other, Err(RenderError::OtherWords)));
        assert!(matches!(check(&Response::default(), "One"), Err(RenderError::Failed(_))));
        let cut = check(&response("incomplete", "One moment please."), "One moment please.");
        assert!(matches!(cut, Err(RenderError::Failed(_))));
    }
}
