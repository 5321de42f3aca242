//! The media stream of a call: a frame of the caller every 20 ms on an absolute schedule, and playback of
//! what the bridge sends (reference: "Media Streams: WebSocket messages"). Strict: what Twilio would complain
//! of is a violation.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::{Host, Url};

use super::ear::{Audible, FRAME};
use super::line::{Event, Line};
use super::network::{ACCOUNT_SID, Inner};
use super::playback::Playback;
use super::signature::sign;
use super::{sid, twiml};
use crate::sim::tag::monotonic_us;

/// Limit of connect and upgrade together.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A bridge that takes nothing for so long does not read (error 31930).
const STALLED: Duration = Duration::from_secs(2);
/// How long a closing handshake may take before the socket is dropped.
const CLOSING: Duration = Duration::from_secs(1);
/// Ten minutes of audio in one message: what the playback buffer would still take.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// How a media stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// By a close frame of the bridge.
    ClosedByBridge,
    /// By the caller's hanging up, or because the REST API has another use for the call.
    Stopped,
    /// The socket died.
    Lost(String),
}

/// A connected media stream, before `start`.
pub struct Media {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    stream_sid: String,
    call_sid: String,
    line: Rc<Line>,
    net: Rc<Inner>,
    number: u16,
    sequence: u64,
    playback: Playback,
}

/// What a bridge may send.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Media(Vec<u8>),
    Mark(String),
    Clear,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Frame<'a> {
    event: &'a str,
    stream_sid: &'a str,
    #[serde(borrow)]
    media: Option<Payload<'a>>,
    mark: Option<Mark>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload<'a> {
    payload: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    name: String,
}

/// Reads a message of the bridge; the error says what is wrong with it (31951).
fn command(text: &str, stream_sid: &str) -> Result<Command, String> {
    let frame: Frame<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if frame.stream_sid != stream_sid {
        return Err("for another stream".into());
    }
    match (frame.event, frame.media, frame.mark) {
        ("media", Some(Payload { payload }), None) => {
            let audio = STANDARD.decode(payload).map_err(|error| format!("payload: {error}"))?;
            if audio.is_empty() { Err("an empty payload".into()) } else { Ok(Command::Media(audio)) }
        }
        ("mark", None, Some(Mark { name })) => Ok(Command::Mark(name)),
        ("clear", None, None) => Ok(Command::Clear),
        (event, ..) => Err(format!("unknown or misshapen event {event:?}")),
    }
}

impl Media {
    /// Opens the socket. The error is the text of the `stream-error` 31920.
    pub async fn connect(
        net: Rc<Inner>,
        line: Rc<Line>,
        number: u16,
        call_sid: &str,
        url: &Url,
    ) -> Result<Self, String> {
        let connector = match url.scheme() {
            "wss" => Connector::Rustls(net.options.reach.tls()),
            "ws" => Connector::Plain,
            _ => return Err(format!("{url} is not a wss URL")),
        };
        net.options.reach.permits(url).map_err(|refusal| refusal.to_string())?;
        let handshake = async {
            let mut request = url.as_str().into_client_request().map_err(|error| error.to_string())?;
            let headers = request.headers_mut();
            headers.insert("User-Agent", HeaderValue::from_static("Twilio.TmeWs/1.0"));
            headers.insert("Accept-Encoding", HeaderValue::from_static("gzip"));
            if let Some(token) = &net.options.auth_token {
                let signature = sign(token.expose(), url.as_str(), &[]);
                let signature = HeaderValue::try_from(signature).map_err(|error| error.to_string())?;
                headers.insert("X-Twilio-Signature", signature);
            }
            let tcp = tcp(url).await.map_err(|error| error.to_string())?;
            tcp.set_nodelay(true).map_err(|error| error.to_string())?;
            let config = WebSocketConfig::default()
                .read_buffer_size(8 * 1024)
                .write_buffer_size(4 * 1024)
                .max_message_size(Some(MAX_MESSAGE_BYTES))
                .max_frame_size(Some(MAX_MESSAGE_BYTES));
            match client_async_tls_with_config(request, tcp, Some(config), Some(connector)).await {
                Ok((socket, _)) => Ok(socket),
                Err(Error::Http(response)) => Err(format!("answered {}", response.status())),
                Err(error) => Err(error.to_string()),
            }
        };
        let socket =
            timeout(HANDSHAKE, handshake).await.unwrap_or_else(|_| Err("no upgrade in time".into()))?;
        let (stream_sid, call_sid) = (sid("MZ"), call_sid.to_owned());
        Ok(Self {
            socket,
            stream_sid,
            call_sid,
            line,
            net,
            number,
            sequence: 0,
            playback: Playback::default(),
        })
    }

    pub fn stream_sid(&self) -> &str {
        &self.stream_sid
    }

    /// Sends `connected` and `start`, then carries the call until the stream ends.
    pub async fn carry(mut self, stream: &twiml::Stream) -> StreamEnd {
        let end = self.run(stream).await;
        self.line.change(|state| {
            state.streaming = false;
            state.drop_socket = false;
            state.ear.stream_ends(monotonic_us());
        });
        self.line.hears(Audible::Nobody);
        let how = match &end {
            StreamEnd::ClosedByBridge => "closed by the bridge".to_owned(),
            StreamEnd::Stopped => "stopped".to_owned(),
            StreamEnd::Lost(how) => how.clone(),
        };
        self.line.event(Event::StreamEnded(how));
        end
    }

    async fn run(&mut self, stream: &twiml::Stream) -> StreamEnd {
        if let Err(end) = self.opens(stream).await {
            return end;
        }
        let mut schedule = interval_at(Instant::now() + FRAME, FRAME);
        schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut chunk = 0;
        loop {
            let step = tokio::select! {
                biased;
                due = schedule.tick() => {
                    chunk += 1;
                    self.net.lag.borrow_mut().saturating_record(due.elapsed().as_micros() as u64);
                    self.tick(chunk).await
                }
                message = self.socket.next() => self.takes(message).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn opens(&mut self, stream: &twiml::Stream) -> Result<(), StreamEnd> {
        let parameters: serde_json::Map<_, _> =
            stream.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let start = json!({
            "event": "start", "sequenceNumber": self.next_sequence(), "streamSid": self.stream_sid,
            "start": {
                "accountSid": ACCOUNT_SID, "streamSid": self.stream_sid, "callSid": self.call_sid,
                "tracks": ["inbound"], "customParameters": parameters,
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        });
        let connected = json!({"event": "connected", "protocol": "Call", "version": "1.0.0"});
        self.send(vec![connected.to_string(), start.to_string()]).await?;
        self.line.change(|state| {
            state.streaming = true;
            state.connected_at.get_or_insert_with(Instant::now);
            state.ear.stream_starts(monotonic_us());
        });
        self.line.event(Event::StreamStarted);
        Ok(())
    }

    /// 20 ms: says the next frame, plays the next frame, echoes the marks reached.
    async fn tick(&mut self, chunk: u64) -> Result<(), StreamEnd> {
        let (stop, dropped, key) =
            self.line.with(|state| (state.is_interrupted(), state.drop_socket, state.keys.pop_front()));
        if stop {
            return Err(self.stops().await);
        }
        if dropped {
            return Err(StreamEnd::Lost("the network dropped the socket".into()));
        }
        let mut messages = Vec::with_capacity(1);
        if let Some(digit) = key {
            let dtmf = json!({
                "event": "dtmf", "streamSid": self.stream_sid, "sequenceNumber": self.next_sequence(),
                "dtmf": {"track": "inbound_track", "digit": digit.to_string()},
            });
            messages.push(dtmf.to_string());
        }
        let frame = self.line.speaks(monotonic_us());
        if !self.line.with(|state| state.inaudible) {
            let (sequence, timestamp, payload) = (self.next_sequence(), chunk * 20, STANDARD.encode(frame));
            messages.push(format!(
                r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{timestamp}","payload":"{payload}"}},"streamSid":"{}"}}"#,
                self.stream_sid,
            ));
        }
        self.playback.play();
        let (position, appended) = (self.playback.position(), self.playback.appended());
        let audible = self.line.with(|state| {
            state.ear.check_whole(appended);
            state.ear.plays(position)
        });
        self.line.hears(audible);
        while let Some(name) = self.playback.reached() {
            messages.push(self.echo(&name));
        }
        self.send(messages).await
    }

    async fn takes(&mut self, message: Option<Result<Message, Error>>) -> Result<(), StreamEnd> {
        match message {
            Some(Ok(Message::Text(text))) => match command(&text, &self.stream_sid) {
                Ok(command) => return self.obeys(command).await,
                Err(detail) => self.violation("31951", format!("{detail}: {:.80}", text.as_str())),
            },
            Some(Ok(Message::Binary(_))) => self.violation("31951", "a binary frame".into()),
            Some(Ok(Message::Close(_))) => {
                // The answer to the close is queued; polling on sends it and waits for the bridge to hang up.
                let _ = timeout(CLOSING, async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
                return Err(StreamEnd::ClosedByBridge);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                match &error {
                    Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {}
                    Error::Protocol(_) | Error::Capacity(_) | Error::Utf8(_) => {
                        self.violation("31924", error.to_string());
                    }
                    _ => {}
                }
                return Err(StreamEnd::Lost(error.to_string()));
            }
            None => return Err(StreamEnd::Lost("end of the connection".into())),
        }
        Ok(())
    }

    async fn obeys(&mut self, command: Command) -> Result<(), StreamEnd> {
        match command {
            Command::Media(audio) => {
                let now_us = monotonic_us();
                if self.playback.append(audio.len()).is_err() {
                    self.violation("31931", "more than ten minutes of audio buffered".into());
                } else {
                    let latencies = &mut self.net.latencies.borrow_mut();
                    self.line.with(|state| state.ear.arrives(&audio, now_us, latencies));
                }
            }
            Command::Mark(name) => match self.playback.mark(name) {
                Ok(None) => {}
                Ok(Some(name)) => {
                    let echo = self.echo(&name);
                    self.send(vec![echo]).await?;
                }
                Err(_) => self.violation("marks", "too many marks outstanding".into()),
            },
            Command::Clear => {
                let names: Vec<_> = self.playback.clear().collect();
                let echoes = names.iter().map(|name| self.echo(name)).collect();
                self.line.with(|state| state.ear.clears());
                self.line.hears(Audible::Nobody);
                self.line.event(Event::Cleared);
                self.send(echoes).await?;
            }
        }
        Ok(())
    }

    async fn stops(&mut self) -> StreamEnd {
        let stop = json!({
            "event": "stop", "sequenceNumber": self.next_sequence(), "streamSid": self.stream_sid,
            "stop": {"accountSid": ACCOUNT_SID, "callSid": self.call_sid},
        });
        if self.send(vec![stop.to_string()]).await.is_ok() {
            let closing = async {
                self.socket.close(None).await?;
                while let Some(message) = self.socket.next().await {
                    message?;
                }
                Ok::<_, Error>(())
            };
            let _ = timeout(CLOSING, closing).await;
        }
        StreamEnd::Stopped
    }

    fn echo(&mut self, name: &str) -> String {
        let sequence = self.next_sequence();
        json!({
            "event": "mark", "sequenceNumber": sequence, "streamSid": self.stream_sid, "mark": {"name": name},
        })
        .to_string()
    }

    async fn send(&mut self, messages: Vec<String>) -> Result<(), StreamEnd> {
        let sending = async {
            for message in messages {
                self.socket.feed(Message::text(message)).await?;
            }
            self.socket.flush().await
        };
        match timeout(STALLED, sending).await {
            Ok(Ok(())) => Ok(()),
            // The bridge may have closed just now: what it said last decides how the stream ended.
            Ok(Err(_)) => loop {
                let Ok(message) = timeout(CLOSING, self.socket.next()).await else {
                    return Err(StreamEnd::Lost("broken while sending".into()));
                };
                match message {
                    Some(Ok(Message::Close(_))) => return Err(StreamEnd::ClosedByBridge),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(StreamEnd::Lost(error.to_string())),
                    None => return Err(StreamEnd::Lost("end of the connection".into())),
                }
            },
            Err(_) => {
                self.violation("31930", "the bridge does not read its socket".into());
                Err(StreamEnd::Lost("stalled".into()))
            }
        }
    }

    fn next_sequence(&mut self) -> String {
        self.sequence += 1;
        self.sequence.to_string()
    }

    fn violation(&self, kind: &str, detail: String) {
        self.net.violation(self.number, kind, detail);
    }
}

/// A connection to where the URL leads; its name is resolved elsewhere than on the thread of the calls.
async fn tcp(url: &Url) -> io::Result<TcpStream> {
    let port = url.port_or_known_default().unwrap_or_default();
    match url.host() {
        Some(Host::Domain(name)) => TcpStream::connect((name, port)).await,
        Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
        None => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "MZ00000000000000000000000000000001";

    fn read(text: &str) -> Result<Command, String> {
        command(&text.replace("SID", SID), SID)
    }

    #[test]
    fn the_three_messages_of_a_bridge_are_understood() {
        assert_eq!(
            read(r#"{"event":"media","streamSid":"SID","media":{"payload":"//8="}}"#),
            Ok(Command::Media(vec![0xFF, 0xFF]))
        );
        assert_eq!(
            read(r#"{"mark":{"name":"a"},"streamSid":"SID","event":"mark"}"#),
            Ok(Command::Mark("a".into()))
        );
        assert_eq!(read(r#"{"event":"clear","streamSid":"SID"}"#), Ok(Command::Clear));
    }

    #[test]
    fn missing_and_extra_fields_other_streams_and_bad_payloads_are_refused() {
        for text in [
            "hello",
            "[]",
            r#"{"event":"clear"}"#,
            r#"{"event":"clear","streamSid":"MZ2"}"#,
            r#"{"event":"clear","streamSid":"SID","sequenceNumber":"1"}"#,
            r#"{"event":"clear","streamSid":"SID","mark":{"name":"a"}}"#,
            r#"{"event":"mark","streamSid":"SID"}"#,
            r#"{"event":"mark","streamSid":"SID","mark":{"name":"a","x":1}}"#,
            r#"{"event":"stop","streamSid":"SID"}"#,
            r#"{"event":"media","streamSid":"SID","media":{"payload":"//8=","track":"outbound"}}"#,
            r#"{"event":"media","streamSid":"SID","media":{"payload":"//8"}}"#,
            r#"{"event":"media","streamSid":"SID","media":{"payload":""}}"#,
            r#"{"event":"media","streamSid":"SID","media":{}}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
