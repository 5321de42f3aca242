//! The caller's end of a call, as Twilio speaks it: the webhook, the media stream, frames up, echoes of
//! marks.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use actors::wire::twilio::signature::sign;
use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::load::{FRAME, State, Tag};
use crate::program::AUTH_TOKEN;
use crate::socket_config;

/// How far apart two calls are on the 20 ms of the schedule.
const SPREAD_US: u64 = 200;

/// A call whose media stream is open.
pub struct Line {
    number: u32,
    stream_sid: String,
    socket: WebSocketStream<TcpStream>,
}

/// Rings, and opens the media stream that is asked for.
pub async fn dial(state: &State, subject: SocketAddr, number: u32) -> anyhow::Result<Line> {
    // The program remembers the calls of the runs before.
    let call_sid = format!("CA{:024x}{number:08x}", rand::random::<u64>());
    let stream_sid = format!("MZ{number:032x}");
    let token = if state.kind.is_bare() {
        String::new()
    } else {
        ring(subject, &call_sid).await.context("the webhook")?
    };
    let mut socket = open(subject).await.context("the media stream")?;
    socket.send(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#.into()).await?;
    socket.send(start(&stream_sid, &call_sid, &token).into()).await?;
    Ok(Line { number, stream_sid, socket })
}

/// Talks until the load ends.
pub async fn talk(state: &State, line: Line) -> anyhow::Result<()> {
    let Line { number, stream_sid, mut socket } = line;
    let (tail, mut sequence, mut heard) = (Tag::tail(20), 0, None);
    let mut echoes: VecDeque<(Instant, String)> = VecDeque::new();
    let mut played_at = Instant::now();
    let offset = Duration::from_micros(u64::from(number) * SPREAD_US % FRAME.as_micros() as u64);
    let (_, mut ticks) = state.ticks(offset);
    loop {
        let echo_at = echoes.front().map(|(at, _)| *at);
        let echo_due = async { if let Some(at) = echo_at { sleep_until(at).await } else { pending().await } };
        tokio::select! {
            biased;
            message = socket.next() => {
                let Message::Text(text) = message.context("the media stream has ended")?? else { continue };
                if let Some(audio) = text_after(&text, r#""payload":""#) {
                    state.heard(&state.down, audio, &mut heard);
                    let ms = audio.len() as u64 * 3 / 4 / 8;
                    played_at = played_at.max(Instant::now()) + Duration::from_millis(ms);
                } else if let Some(mark) = text_after(&text, r#""name":""#) {
                    echoes.push_back((played_at, echo(&stream_sid, mark)));
                }
            }
            due = ticks.tick() => {
                state.ticked(due);
                if state.is_quiet() {
                    continue;
                }
                let tag = state.tag(&state.up, number, &mut sequence);
                socket.send(frame(&stream_sid, sequence, tag, &tail).into()).await?;
            },
            () = echo_due => {
                let (_, echo) = echoes.pop_front().context("an echo is due")?;
                socket.send(echo.into()).await?;
            }
        }
    }
}

/// Posts the signed webhook; answers the token of the stream.
async fn ring(subject: SocketAddr, call_sid: &str) -> anyhow::Result<String> {
    let parameters =
        [("CallSid", call_sid), ("From", "+14155550100"), ("To", "+15005550006"), ("CallStatus", "ringing")];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let signed = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let signature = sign(AUTH_TOKEN, &format!("http://{subject}/api/voice/incoming"), &signed);
    let request = format!(
        "POST /api/voice/incoming HTTP/1.1\r\nHost: {subject}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         X-Twilio-Signature: {signature}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(subject).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let Some(token) = text_after(&answer, r#"name="token" value=""#) else {
        bail!("no stream was offered: {answer}")
    };
    Ok(token.to_owned())
}

async fn open(subject: SocketAddr) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let url = format!("ws://{subject}/api/voice/stream");
    let signature = sign(AUTH_TOKEN, &url, &[]);
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("X-Twilio-Signature", signature.parse()?);
    let socket = TcpStream::connect(subject).await?;
    socket.set_nodelay(true)?;
    Ok(client_async_with_config(request, socket, Some(socket_config())).await?.0)
}

fn start(stream_sid: &str, call_sid: &str, token: &str) -> String {
    format!(
        r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"AC00000000000000000000000000000001","streamSid":"{stream_sid}","callSid":"{call_sid}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{"token":"{token}"}}}},"streamSid":"{stream_sid}"}}"#
    )
}

/// The frame of this number, counted from 1.
fn frame(stream_sid: &str, number: u32, tag: Tag, tail: &str) -> String {
    let (sequence, timestamp) = (number + 1, number * FRAME.as_millis() as u32);
    format!(
        r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{number}","timestamp":"{timestamp}","payload":"{tag}{tail}"}},"streamSid":"{stream_sid}"}}"#
    )
}

fn echo(stream_sid: &str, mark: &str) -> String {
    format!(
        r#"{{"event":"mark","sequenceNumber":"4","streamSid":"{stream_sid}","mark":{{"name":"{mark}"}}}}"#
    )
}

/// What stands between `opening` and the next quote.
fn text_after<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    let inside = &text[memmem::find(text.as_bytes(), opening.as_bytes())? + opening.len()..];
    Some(&inside[..memchr(b'"', inside.as_bytes())?])
}
