//! The agent is tried at the service before callers are: at the start, and when what it is told has changed.

use std::time::Duration;

use actix_rt::time::sleep;

use super::persona::Persona;
use super::phrases::book::BACKOFF;
use crate::health::{Fault, Outcome};
use crate::metrics::Metrics;
use crate::wire::realtime::rendering::RenderError;
use crate::wire::realtime::socket::Endpoint;
use crate::wire::realtime::trial::{answers, is_refusal, value_at};

/// Sessions that are tried until the service answers or refuses.
const TRIES: u32 = 6;
/// Of what the service says of when to try again.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Trial {
    /// The service takes all that it is told, and answers.
    Passed,
    /// It will say the same again. Not noted yet.
    Refused(Fault),
    /// It was away, or failed, each time.
    Undecided,
}

/// Tries `persona`; what the service says of itself is noted in its health. Has a deadline.
pub async fn try_agent(persona: &Persona, endpoint: &Endpoint, metrics: &Metrics) -> Trial {
    for attempt in 0..TRIES {
        let error = match answers(endpoint, persona).await {
            Ok(usage) => {
                metrics.count_tokens(&usage);
                metrics.realtime.note(Outcome::Answered);
                return Trial::Passed;
            }
            Err(error) => error,
        };
        if is_refusal(&error) {
            let mut fault = Fault::of_session(&error);
            if fault.value.is_empty() {
                fault.value = value_of(&fault, persona, endpoint);
            }
            return Trial::Refused(fault);
        }
        let wait = match &error {
            RenderError::Connect(cause) => {
                metrics.realtime.note_unconnected(cause);
                cause.wait().unwrap_or_default().min(MAX_WAIT)
            }
            error => {
                metrics.realtime.note_failed(&Fault::of_session(error));
                Duration::ZERO
            }
        };
        if attempt + 1 < TRIES {
            sleep(wait + BACKOFF.pause_after(attempt, rand::random())).await;
        }
    }
    Trial::Undecided
}

/// A key is never shown.
fn value_of(fault: &Fault, persona: &Persona, endpoint: &Endpoint) -> String {
    if fault.is_of_the_model() {
        return endpoint.model.clone();
    }
    value_at(&fault.parameter, persona).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt as _, StreamExt as _};
    use serde_json::{Value, json};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::accept_async;

    use super::*;
    use crate::metrics::MetricSet as _;
    use crate::secret::Secret;
    use crate::wire::realtime::requests::Request;

    async fn listen() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/realtime", listener.local_addr().unwrap()).parse().unwrap();
        (listener, Endpoint { url, model: "gpt-x".into(), api_key: Secret::new("sk-test".into()) })
    }

    fn persona() -> Persona {
        Persona { voice: "nova".into(), language: "de".into(), ..Persona::default() }
    }

    /// Answers each request of ours with the next of `answers`; tells the requests.
    async fn converses(tcp: TcpStream, answers: Vec<Value>) -> Vec<Value> {
        let mut socket = accept_async(tcp).await.unwrap();
        let mut asked = vec![];
        for answer in answers {
            let text = socket.next().await.unwrap().unwrap().into_text().unwrap();
            asked.push(serde_json::from_str(&text).unwrap());
            socket.send(answer.to_string().into()).await.unwrap();
        }
        while let Some(Ok(_)) = socket.next().await {}
        asked
    }

    fn answer(status: &str, code: &str) -> Value {
        let error = json!({"type": "invalid_request_error", "code": code, "message": "no"});
        let details = (status == "failed").then_some(json!({"error": error}));
        json!({"type": "response.done", "response": {"id": "r", "status": status, "status_details": details}})
    }

    async fn tried_with(answers: Vec<Value>) -> (Trial, Vec<Value>, Metrics) {
        let (listener, endpoint) = listen().await;
        let metrics = Metrics::build().unwrap();
        let serves = async { converses(listener.accept().await.unwrap().0, answers).await };
        let persona = persona();
        let (trial, asked) = tokio::join!(try_agent(&persona, &endpoint, &metrics), serves);
        (trial, asked, metrics)
    }

    #[actix_rt::test]
    async fn an_agent_is_tried_with_the_session_that_calls_have_and_passes_when_the_service_answers() {
        let session = json!({"type": "session.updated", "session": {}});
        let (trial, asked, metrics) = tried_with(vec![session, answer("incomplete", "")]).await;
        assert_eq!((trial, metrics.realtime.recent()), (Trial::Passed, vec![Outcome::Answered]));
        let configure: Value = serde_json::from_str(&Request::Configure.to_json(&persona())).unwrap();
        assert_eq!(asked[0], configure);
        assert_eq!(asked[1]["response"]["conversation"], "none");
    }

    #[actix_rt::test]
    async fn a_refused_voice_is_told_with_parameter_and_value() {
        let error = json!({"type": "invalid_request_error", "code": "invalid_value", "message": "Invalid value",
            "param": "session.audio.output.voice", "event_id": "configure"});
        let (trial, _, _) = tried_with(vec![json!({"type": "error", "error": error})]).await;
        let Trial::Refused(fault) = trial else { panic!("{trial:?}") };
        assert_eq!((&*fault.parameter, &*fault.value), ("session.audio.output.voice", "nova"));
        assert!(fault.is_of_the_agent_file());
    }

    #[actix_rt::test]
    async fn a_model_that_is_refused_only_when_it_is_to_answer_is_told() {
        let session = json!({"type": "session.updated", "session": {}});
        let (trial, _, _) = tried_with(vec![session, answer("failed", "model_not_found")]).await;
        let Trial::Refused(fault) = trial else { panic!("{trial:?}") };
        assert_eq!((&*fault.code, &*fault.value), ("model_not_found", "gpt-x"));
        assert!(!fault.is_of_the_agent_file());
    }

    #[actix_rt::test]
    async fn a_refused_key_is_told_at_once_and_a_busy_service_is_tried_again() {
        let (listener, endpoint) = listen().await;
        let metrics = Metrics::build().unwrap();
        let serves = async {
            for status in ["503 Service Unavailable", "401 Unauthorized"] {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    tokio::io::AsyncReadExt::read_buf(&mut tcp, &mut head).await.unwrap();
                }
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                tcp.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let persona = persona();
        let (trial, ()) = tokio::join!(try_agent(&persona, &endpoint, &metrics), serves);
        assert_eq!(metrics.realtime.recent(), [Outcome::NotConnected]);
        let Trial::Refused(fault) = trial else { panic!("{trial:?}") };
        assert_eq!((&*fault.code, &*fault.value), ("connect-401", ""));
    }
}
