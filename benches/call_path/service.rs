//! The Realtime service's end of a call: a session, and one response that lasts as long as the load.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;

use crate::load::{FRAME, Pace, State, Tag};
use crate::socket_config;

/// The agents' ticks lie between the callers', and are spread alike.
const OFFSET_US: u64 = 10_100;
const SPREAD_US: u64 = 200;

/// Takes connections until the load ends; those of a subject that has TLS by `tls`.
pub async fn serve(state: Arc<State>, listener: TcpListener, tls: TlsAcceptor) {
    for number in 0.. {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                return state.failed(&anyhow::Error::new(error).context("the service takes no session"));
            }
        };
        let (state, tls) = (state.clone(), tls.clone());
        tokio::spawn(async move {
            if let Err(error) = accepted(&state, socket, tls, number).await {
                state.failed(&error.context(format!("session {number}")));
            }
        });
    }
}

async fn accepted(state: &State, socket: TcpStream, tls: TlsAcceptor, number: u32) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    if state.kind.has_tls() {
        session(state, tls.accept(socket).await?, number).await
    } else {
        session(state, socket, number).await
    }
}

async fn session(
    state: &State,
    socket: impl AsyncRead + AsyncWrite + Unpin,
    number: u32,
) -> anyhow::Result<()> {
    let mut socket = accept_async_with_config(socket, Some(socket_config())).await?;
    if !state.kind.is_bare() {
        socket.send(SESSION_CREATED.into()).await?;
    }
    let mut speaks = state.kind.is_bare();
    let mut is_trial = false;
    let (short, long) = (Tag::tail(20), Tag::tail(200));
    let (mut sequence, mut heard) = (0, None);
    let offset = (OFFSET_US + u64::from(number) * SPREAD_US) % FRAME.as_micros() as u64;
    let (mut tick, mut ticks) = state.ticks(Duration::from_micros(offset));
    loop {
        tokio::select! {
            biased;
            message = socket.next() => {
                if is_trial && !matches!(message, Some(Ok(Message::Text(_)))) {
                    return Ok(());
                }
                let Message::Text(text) = message.context("the session was ended")?? else { continue };
                if let Some(audio) = text.strip_prefix(r#"{"type":"input_audio_buffer.append","audio":""#) {
                    state.heard(&state.up, audio, &mut heard);
                    continue;
                }
                let request: Value = serde_json::from_str(&text)?;
                let answers: &[&'static str] = match request["type"].as_str() {
                    Some("session.update") => &[SESSION_UPDATED],
                    // No call's: the program tries its agent when it starts.
                    Some("response.create") if request["response"]["conversation"] == "none" => {
                        is_trial = true;
                        &[TRIAL_DONE]
                    }
                    Some("response.create") => &RESPONSE_BEGINS,
                    _ => anyhow::bail!("an unexpected request: {text}"),
                };
                for answer in answers {
                    socket.send((*answer).into()).await?;
                }
                speaks |= answers == RESPONSE_BEGINS;
            }
            _ = ticks.tick() => {
                tick += 1;
                let tail = match state.pace() {
                    _ if !speaks || state.is_quiet() => continue,
                    Pace::Realtime => &short,
                    Pace::Burst if (tick + u64::from(number)).is_multiple_of(10) => &long,
                    Pace::Burst => continue,
                };
                let tag = state.tag(&state.down, number, &mut sequence);
                socket.send(delta(tag, tail).into()).await?;
            }
        }
    }
}

fn delta(tag: Tag, tail: &str) -> String {
    format!(
        r#"{{"type":"response.output_audio.delta","event_id":"event_0026","response_id":"resp_0001","item_id":"item_A001","output_index":0,"content_index":0,"delta":"{tag}{tail}"}}"#
    )
}

const SESSION_CREATED: &str = r#"{"type":"session.created","event_id":"event_0001","session":{"type":"realtime","object":"realtime.session","id":"sess_0001","model":"gpt-realtime","output_modalities":["audio"],"tools":[]}}"#;
const SESSION_UPDATED: &str = r#"{"type":"session.updated","event_id":"event_0002","session":{"type":"realtime","object":"realtime.session","id":"sess_0001","model":"gpt-realtime","output_modalities":["audio"],"tools":[]}}"#;
const TRIAL_DONE: &str = r#"{"type":"response.done","event_id":"event_0003","response":{"object":"realtime.response","id":"resp_0000","status":"completed","output":[]}}"#;
const RESPONSE_BEGINS: [&str; 4] = [
    r#"{"type":"response.created","event_id":"event_0020","response":{"object":"realtime.response","id":"resp_0001","status":"in_progress","output":[]}}"#,
    r#"{"type":"response.output_item.added","event_id":"event_0021","response_id":"resp_0001","output_index":0,"item":{"id":"item_A001","object":"realtime.item","type":"message","status":"in_progress","role":"assistant","content":[]}}"#,
    r#"{"type":"conversation.item.added","event_id":"event_0022","previous_item_id":null,"item":{"id":"item_A001","object":"realtime.item","type":"message","status":"in_progress","role":"assistant","content":[]}}"#,
    r#"{"type":"response.content_part.added","event_id":"event_0023","response_id":"resp_0001","item_id":"item_A001","output_index":0,"content_index":0,"part":{"type":"audio","transcript":""}}"#,
];
