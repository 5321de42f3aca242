//! Whole calls against a small bridge that is its own agent: it greets, answers when the caller has spoken,
//! and is silent when interrupted.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::*;
use crate::sim::speech::Clip;
use crate::sim::tag::{FRAME_BYTES, NO_CLIP, Tag, monotonic_us};

mod calls;
mod simulated;

pub(super) const TOKEN: &str = "12345678901234567890123456789012";
const SHORT: Clip = Clip { id: 7, name: "short", text: "", audio: &[0x55; 10 * FRAME_BYTES] };
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A webhook request as it came: path, form, signature.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    path: String,
    form: Vec<(String, String)>,
    signature: Option<String>,
}

impl Asked {
    pub(super) fn get(&self, name: &str) -> &str {
        self.form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// What the bridge answers to its webhooks, and what it saw.
pub(super) struct Bridge {
    pub(super) origin: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Messages of the phone other than media.
    frames: Rc<RefCell<Vec<Value>>>,
    upgrade: Rc<RefCell<Vec<(String, String)>>>,
}

/// What the agent does wrong, or does of its own accord.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Manner {
    Proper,
    /// Sends messages that Twilio would complain of before its greeting.
    Sloppy,
    /// Closes the stream after the greeting was heard.
    Closes,
    /// Closes the stream after the greeting was heard, and has a person called.
    HandsOver,
    /// Never says a word.
    Mute,
    /// Greets, and never answers.
    Greets,
    /// Leaves out a frame of the greeting.
    Loses,
    /// Says a phrase so many times, one every four seconds, and greets four seconds after the last.
    PutsOff(u32),
    /// Says a phrase once, and no more.
    PutsOffForEver,
}

/// Frames of the caller between two phrases of an agent who puts the caller off.
const BETWEEN_PHRASES: u32 = 4 * 50;

impl Bridge {
    pub(super) async fn start(manner: Manner) -> Self {
        let media = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = format!("ws://{}/media", media.local_addr().unwrap());
        let after = if manner == Manner::HandsOver { "/person" } else { "/after?x=1&amp;y=2" };
        let connect = format!(
            r#"<Response><Connect action="{after}"><Stream url="{stream}" statusCallback="/stream-status"><Parameter name="token" value="t1"/></Stream></Connect></Response>"#
        );
        let bridge = Self::answering(connect, "text/xml").await;
        let (frames, upgrade) = (bridge.frames.clone(), bridge.upgrade.clone());
        actix_rt::spawn(async move {
            let sessions = Cell::new(300);
            while let Ok((tcp, _)) = media.accept().await {
                sessions.update(|session| session + 1);
                let upgrade = upgrade.clone();
                #[expect(clippy::result_large_err, reason = "the handshake's own type")]
                let note = move |request: &Request, response: Response| {
                    let header = |(name, value): (&_, &_)| format!("{name}: {value:?}");
                    let headers = request.headers().iter().map(header).collect::<Vec<_>>().join("\n");
                    let signature = request.headers().get("X-Twilio-Signature");
                    let signature = signature.map_or("", |value| value.to_str().unwrap()).to_owned();
                    upgrade.borrow_mut().push((headers.to_lowercase(), signature));
                    Ok(response)
                };
                let socket = accept_hdr_async(tcp, note).await.unwrap();
                actix_rt::spawn(Agent::new(socket, sessions.get(), manner, frames.clone()).run());
            }
        });
        bridge
    }

    /// A bridge without media that answers the voice webhook with `document`.
    pub(super) async fn answering(document: impl Into<String>, content_type: &'static str) -> Self {
        let (asked, document) = (Arc::new(Mutex::new(Vec::new())), document.into());
        let record = web::Data::from(asked.clone());
        let server = HttpServer::new(move || {
            let document = document.clone();
            let answer = move |request: HttpRequest,
                               form: web::Bytes,
                               record: web::Data<Mutex<Vec<Asked>>>| {
                let document = document.clone();
                async move {
                    let signature = request.headers().get("X-Twilio-Signature");
                    record.lock().unwrap().push(Asked {
                        path: request.path().to_owned(),
                        form: form_urlencoded::parse(&form).into_owned().collect(),
                        signature: signature.map(|value| value.to_str().unwrap().to_owned()),
                    });
                    match request.path() {
                        "/api/voice/incoming" => HttpResponse::Ok().content_type(content_type).body(document),
                        "/after" => HttpResponse::Ok()
                            .content_type("text/xml")
                            .body("<Response><Say>Goodbye</Say><Hangup/></Response>"),
                        "/person" => HttpResponse::Ok()
                            .content_type("text/xml")
                            .body("<Response><Dial>+14155550123</Dial></Response>"),
                        "/metrics" => HttpResponse::NotFound().finish(),
                        _ => HttpResponse::NoContent().finish(),
                    }
                }
            };
            App::new().app_data(record.clone()).default_service(web::to(answer))
        });
        let server = server.workers(1).disable_signals().shutdown_timeout(0).bind(("127.0.0.1", 0)).unwrap();
        let address: SocketAddr = server.addrs()[0];
        actix_rt::spawn(server.run());
        let origin = Url::parse(&format!("http://{address}")).unwrap();
        Self { origin, asked, frames: Rc::default(), upgrade: Rc::default() }
    }

    pub(super) fn options(&self) -> Options {
        let auth_token = Some(Secret::new(TOKEN.to_owned()));
        Options { url: self.origin.clone(), auth_token, calls: 1, quiet: true, ..Options::default() }
    }

    pub(super) fn network(&self) -> Network {
        Network::start(self.options()).unwrap()
    }

    pub(super) fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    pub(super) fn frames(&self, event: &str) -> Vec<Value> {
        self.frames.borrow().iter().filter(|frame| frame["event"] == event).cloned().collect()
    }
}

/// The media side of the bridge.
struct Agent {
    socket: WebSocketStream<TcpStream>,
    session: u16,
    manner: Manner,
    frames: Rc<RefCell<Vec<Value>>>,
    stream_sid: String,
    response: u32,
    /// The caller is speaking, or was silent for so many frames since.
    since_speech: Option<u32>,
    /// Marks that have not come back.
    outstanding: usize,
    /// Frames of the caller.
    heard: u32,
}

impl Agent {
    fn new(
        socket: WebSocketStream<TcpStream>,
        session: u16,
        manner: Manner,
        frames: Rc<RefCell<Vec<Value>>>,
    ) -> Self {
        let stream_sid = String::new();
        let (response, since_speech, outstanding, heard) = (0, None, 0, 0);
        Self { socket, session, manner, frames, stream_sid, response, since_speech, outstanding, heard }
    }

    async fn run(mut self) {
        while let Some(Ok(message)) = self.socket.next().await {
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            match frame["event"].as_str().unwrap() {
                "start" => {
                    self.stream_sid = frame["streamSid"].as_str().unwrap().to_owned();
                    if self.manner == Manner::Sloppy {
                        self.misbehaves().await;
                    }
                    match self.manner {
                        Manner::PutsOff(_) | Manner::PutsOffForEver => self.says_a_phrase().await,
                        _ => self.says(100, 25).await,
                    }
                }
                "media" => self.hears(frame["media"]["payload"].as_str().unwrap()).await,
                "mark" => {
                    self.outstanding -= 1;
                    if matches!(self.manner, Manner::Closes | Manner::HandsOver) && self.outstanding == 0 {
                        self.frames.borrow_mut().push(frame);
                        return self.socket.close(None).await.unwrap();
                    }
                }
                _ => {}
            }
            if frame["event"] != "media" {
                self.frames.borrow_mut().push(frame);
            }
        }
    }

    /// `frames` frames in one message and a mark after each half.
    async fn says(&mut self, clip: u16, frames: u32) {
        if self.manner == Manner::Mute || self.manner == Manner::Greets && self.response > 0 {
            return;
        }
        let lost = (self.manner == Manner::Loses).then_some(3);
        let all: Vec<_> = (0..frames)
            .filter(|number| Some(*number) != lost)
            .map(|number| {
                let mut frame = [0x55; FRAME_BYTES];
                let sequence = self.response << 16 | number;
                Tag { source: self.session, sequence, clip, sent_us: monotonic_us() }.write(&mut frame);
                frame
            })
            .collect();
        for half in all.chunks(all.len().div_ceil(2)) {
            let payload = STANDARD.encode(half.concat());
            self.sends(json!({"event": "media", "media": {"payload": payload}})).await;
            let name = format!("r{}", self.response);
            self.sends(json!({"event": "mark", "mark": {"name": name}})).await;
            self.outstanding += 1;
        }
        self.response += 1;
    }

    /// All of a phrase in one message.
    async fn says_a_phrase(&mut self) {
        let phrase = &crate::sim::speech::PHRASES[0];
        let mut audio = Vec::new();
        for (number, mut frame) in crate::sim::speech::frames(phrase).enumerate() {
            let (sequence, sent_us) = (number as u32, monotonic_us());
            Tag { source: 299, sequence, clip: phrase.id, sent_us }.write(&mut frame);
            audio.extend_from_slice(&frame);
        }
        self.sends(json!({"event": "media", "media": {"payload": STANDARD.encode(audio)}})).await;
    }

    /// 20 ms of an agent who has not greeted yet.
    async fn puts_off(&mut self, phrases: u32) {
        self.heard += 1;
        if self.heard == phrases * BETWEEN_PHRASES {
            self.says(100, 25).await;
        } else if self.heard < phrases * BETWEEN_PHRASES && self.heard.is_multiple_of(BETWEEN_PHRASES) {
            self.says_a_phrase().await;
        }
    }

    async fn hears(&mut self, payload: &str) {
        if let Manner::PutsOff(phrases) = self.manner {
            self.puts_off(phrases).await;
        }
        let audio: [u8; FRAME_BYTES] = STANDARD.decode(payload).unwrap().try_into().unwrap();
        let speaking = Tag::read(&audio).unwrap().clip != NO_CLIP;
        self.since_speech = match (speaking, self.since_speech) {
            (true, _) => Some(0),
            (false, since) => since.map(|frames| frames + 1),
        };
        if speaking && self.outstanding > 0 {
            self.sends(json!({"event": "clear"})).await;
            self.outstanding = usize::MAX / 2; // every mark comes back now; none counts any more
        }
        if self.since_speech == Some(10) {
            self.since_speech = None;
            self.outstanding = 0;
            self.says(101, 100).await;
        }
    }

    async fn misbehaves(&mut self) {
        self.sends(json!({"event": "clear", "sequenceNumber": "1"})).await;
        self.sends(json!({"event": "media", "media": {"payload": "?"}})).await;
        self.socket.send(Message::binary(vec![1, 2])).await.unwrap();
        self.socket.send(Message::text("not JSON")).await.unwrap();
    }

    async fn sends(&mut self, mut message: Value) {
        message["streamSid"] = self.stream_sid.clone().into();
        // The phone may have hung up meanwhile; the reading side notices.
        let _ = self.socket.send(Message::text(message.to_string())).await;
    }
}

#[test]
fn without_calls_there_is_nothing_to_do_but_to_serve_the_rest_api() {
    assert_eq!(run(Options { calls: 0, ..Options::default() }), USAGE);
}
