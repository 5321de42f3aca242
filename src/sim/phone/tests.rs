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
                            .body("<Response><Dial>+15005550006</Dial></Response>"),
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

fn agent(clip: u16, response: u16, ms: u32) -> Heard {
    Heard::Agent { clip, response, ms }
}

#[actix_rt::test]
async fn a_call_is_greeted_answered_interrupted_and_hung_up() {
    let bridge = Bridge::start(Manner::Proper).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    assert_eq!(caller.heard(), [agent(100, 0, 500)]);

    caller.say(&SHORT).await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.listens_for(SECOND / 2).await.unwrap();
    let reaction = caller.interrupts_with(&SHORT).await.unwrap().unwrap();
    assert!(reaction < SECOND / 5, "{reaction:?}");
    let Some(Heard::Agent { clip: 101, response: 1, ms: 400..=800 }) = caller.heard().last().cloned() else {
        panic!("{:?}", caller.heard())
    };
    caller.presses('5');
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.hangs_up().await;

    assert_eq!(caller.end(), Some(End::ByCaller));
    assert_eq!(net.violations(), (0, Vec::new()));
    assert!(caller.silence_ms() < 2_000);
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Cleared));
    let start = &bridge.frames("start")[0];
    assert_eq!(start["start"]["customParameters"], json!({"token": "t1"}));
    assert_eq!(start["start"]["callSid"], caller.call_sid());
    assert_eq!(bridge.frames("dtmf")[0]["dtmf"], json!({"track": "inbound_track", "digit": "5"}));
    assert_eq!(bridge.frames("mark").iter().filter(|mark| mark["mark"]["name"] == "r1").count(), 2);
    assert_eq!(bridge.frames("stop").len(), 1);
}

#[actix_rt::test]
async fn every_request_is_signed_and_every_callback_comes() {
    let bridge = Bridge::start(Manner::Proper).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.hangs_up().await;

    let incoming = &bridge.asked("/api/voice/incoming")[0];
    assert_eq!(incoming.get("CallStatus"), "ringing");
    assert_eq!(incoming.get("CallSid"), caller.call_sid());
    let url = bridge.origin.join("/api/voice/incoming").unwrap();
    assert_eq!(incoming.signature, Some(signature::sign(TOKEN, url.as_str(), &incoming.form)));
    assert_eq!(bridge.asked("/after")[0].get("CallStatus"), "completed");
    let streams: Vec<_> =
        bridge.asked("/stream-status").iter().map(|asked| asked.get("StreamEvent").to_owned()).collect();
    assert_eq!(streams.len(), 2);
    assert!(streams.contains(&"stream-started".to_owned()) && streams.contains(&"stream-stopped".to_owned()));
    let status = &bridge.asked("/api/voice/call-status")[0];
    assert_eq!((status.get("CallStatus"), status.get("SequenceNumber")), ("completed", "0"));
    chrono::DateTime::parse_from_rfc2822(status.get("Timestamp")).unwrap();
    let (headers, signature) = bridge.upgrade.borrow()[0].clone();
    assert!(headers.contains("twilio.tmews/1.0"));
    assert!(
        !["origin:", "protocol:", "extensions:"].iter().any(|absent| headers.contains(absent)),
        "{headers}"
    );
    let stream =
        headers.lines().find_map(|line| line.strip_prefix("host: \"")).unwrap().trim_end_matches('"');
    assert_eq!(signature, signature::sign(TOKEN, &format!("ws://{stream}/media"), &[]));
}

#[actix_rt::test]
async fn a_stream_that_the_bridge_closes_leads_to_the_action() {
    let bridge = Bridge::start(Manner::Closes).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(caller.heard(), [agent(100, 0, 500), Heard::Said("Goodbye".into())]);
    assert_eq!(bridge.asked("/after")[0].get("CallStatus"), "in-progress");
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_lost_socket_leads_to_the_action_or_to_nothing() {
    let bridge = Bridge::start(Manner::Proper).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    caller.drops_socket();
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(bridge.asked("/after").len(), 1);
    assert!(bridge.asked("/stream-status").iter().any(|asked| asked.get("StreamError").starts_with("31903")));

    let net = Network::start(Options { after_drop: AfterDrop::Nothing, ..bridge.options() }).unwrap();
    let caller = net.ring().await.unwrap();
    caller.drops_socket();
    assert!(timeout(SECOND / 2, caller.ends()).await.is_err());
    caller.hangs_up().await;
    assert_eq!(caller.end(), Some(End::ByCaller));
    assert_eq!(bridge.asked("/after").len(), 1);
}

#[actix_rt::test]
async fn what_twilio_would_complain_of_is_a_violation_and_the_call_goes_on() {
    let bridge = Bridge::start(Manner::Sloppy).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.hangs_up().await;
    let (count, violations) = net.violations();
    assert_eq!(count, 4, "{violations:?}");
    assert!(violations.iter().all(|violation| violation.kind == "31951"));
}

#[actix_rt::test]
async fn a_bridge_that_is_away_leads_to_the_fallback() {
    let options = Options {
        url: Url::parse("http://127.0.0.1:1").unwrap(),
        calls: 1,
        seconds: 5 * SECOND,
        ramp: Duration::ZERO,
        quiet: true,
        ..Options::default()
    };
    let outcome = simulate(options).await.unwrap();
    let calls = &outcome.report.calls;
    assert_eq!((calls.asked, calls.failed, calls.fallback), (1, 1, 1));
    assert!(outcome.calls[0].events.iter().any(|(_, event)| *event == Event::Fallback(11205)));
    assert_eq!(outcome.calls[0].ear.heard(), [Heard::Said("We are sorry. Please call again.".into())]);
    assert_eq!(
        outcome.violations.iter().map(|violation| violation.kind.as_str()).collect::<Vec<_>>(),
        ["15003"]
    );
}

#[actix_rt::test]
async fn an_answer_that_is_no_twiml_is_a_violation_and_leads_to_the_fallback() {
    let bridge = Bridge::answering("{}", "application/json").await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    assert_eq!(caller.end(), Some(End::ByBridge));
    assert_eq!(net.violations().1[0].kind, "12300");
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Fallback(12300)));
}

#[actix_rt::test]
async fn a_caller_who_is_told_that_all_lines_are_taken_is_refused() {
    let bridge = Bridge::answering("<Response><Say>All busy</Say><Hangup/></Response>", "text/xml").await;
    let outcome = simulate(Options { seconds: 5 * SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!((outcome.report.calls.refused, outcome.report.violations), (1, 0));
    let bridge = Bridge::answering("<Response><Reject reason=\"busy\"/></Response>", "text/xml").await;
    let outcome = simulate(Options { seconds: 5 * SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!(outcome.report.calls.refused, 1);
    assert_eq!(bridge.asked("/api/voice/call-status")[0].get("CallStatus"), "busy");
}

#[actix_rt::test]
async fn redirects_without_end_are_given_up() {
    let bridge =
        Bridge::answering("<Response><Redirect>/api/voice/incoming</Redirect></Response>", "text/xml").await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    assert_eq!(bridge.asked("/api/voice/incoming").len(), 11);
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Fallback(11215)));
}

#[actix_rt::test]
async fn a_dialled_number_is_an_event_and_its_action_follows() {
    let document = r#"<Response><Dial action="/after">+14155550123</Dial></Response>"#;
    let bridge = Bridge::answering(document, "text/xml").await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Dialled("+14155550123".into())));
    assert_eq!(bridge.asked("/after")[0].get("DialCallStatus"), "completed");
}

#[actix_rt::test]
async fn several_scripted_callers_talk_interrupt_and_are_all_fine() {
    let bridge = Bridge::start(Manner::Proper).await;
    let json = tempfile::NamedTempFile::new().unwrap();
    let options = Options { calls: 3, seconds: 8 * SECOND, ramp: SECOND / 2, ..bridge.options() };
    let outcome = simulate(Options { json: Some(json.path().into()), ..options }).await.unwrap();
    assert!(outcome.is_fine(), "{}", table::Table(&outcome));
    assert_eq!(outcome.report.calls.completed, 3);
    assert!(outcome.report.added_latency_ms.down.p99.is_some_and(|ms| ms < 100.0));
    assert!(outcome.report.barge_in_ms.p50.is_some_and(|ms| ms < 200.0), "{:?}", outcome.report.barge_in_ms);
    assert!(outcome.report.first_audio_ms.p50.is_some());
    assert_eq!(
        (outcome.report.cpu_seconds_per_call_minute, outcome.report.memory_kib_per_call),
        (None, None)
    );
    for call in &outcome.calls {
        let frames = f64::from(call.frames_sent);
        assert!((frames - call.length.as_secs_f64() * 50.0).abs() < 25.0, "{frames} in {:?}", call.length);
    }
}

#[actix_rt::test]
async fn a_lost_frame_of_the_agent_is_seen() {
    let bridge = Bridge::start(Manner::Loses).await;
    let outcome = simulate(Options { seconds: 2 * SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!(outcome.report.frames.as_ref().unwrap().lost, 1);
    assert!(!outcome.is_fine());
}

#[actix_rt::test]
async fn a_call_without_a_greeting_fails() {
    let bridge = Bridge::start(Manner::Mute).await;
    let outcome = simulate(Options { seconds: 12 * SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!(outcome.calls[0].verdict, Verdict::Failed("the agent was not heard within 10s".into()));
    assert!(outcome.calls[0].silence_ms >= 10_000);
    let outcome = simulate(Options { seconds: SECOND, ..bridge.options() }).await.unwrap();
    assert_eq!(outcome.calls[0].verdict, Verdict::Failed("the agent was never heard".into()));
}

#[actix_rt::test]
async fn a_call_that_a_person_took_is_told_apart_and_counts_where_that_is_said() {
    let bridge = Bridge::start(Manner::HandsOver).await;
    for person_counts in [false, true] {
        let options = Options { seconds: 20 * SECOND, person_counts, ..bridge.options() };
        let outcome = simulate(options).await.unwrap();
        assert_eq!(outcome.calls[0].verdict, Verdict::WithPerson, "{}", table::Table(&outcome));
        assert_eq!(outcome.report.calls.with_person, 1);
        assert_eq!(outcome.is_fine(), person_counts, "{}", table::Table(&outcome));
    }
    let nobody =
        Options { seconds: 20 * SECOND, person: Person::Busy, person_counts: true, ..bridge.options() };
    let outcome = simulate(nobody).await.unwrap();
    assert!(!outcome.is_fine(), "{}", table::Table(&outcome));
}

#[actix_rt::test]
async fn callers_can_be_told_how_long_a_silence_they_bear() {
    let bridge = Bridge::start(Manner::Mute).await;
    let options = Options { seconds: 12 * SECOND, patience: SECOND, ..bridge.options() };
    let outcome = simulate(options).await.unwrap();
    assert_eq!(outcome.calls[0].verdict, Verdict::Failed("the agent was not heard within 1s".into()));
}

#[actix_rt::test]
async fn whoever_hangs_up_without_an_answer_has_waited_for_one_all_the_same() {
    let bridge = Bridge::start(Manner::Greets).await;
    let outcome = simulate(Options { seconds: 10 * SECOND, ..bridge.options() }).await.unwrap();
    let call = &outcome.calls[0];
    assert_eq!(call.verdict, Verdict::Completed);
    assert!(matches!(call.answers[..], [waited] if waited > 2 * SECOND), "{:?}", call.answers);
    assert!(outcome.report.turn_ms.p50.is_some_and(|ms| ms > 2_000.0));
}

#[actix_rt::test]
async fn a_scripted_caller_who_is_put_off_waits_on_until_there_is_silence_for_ten_seconds() {
    let (patient, left) =
        join(Bridge::start(Manner::PutsOff(3)), Bridge::start(Manner::PutsOffForEver)).await;
    let options = |bridge: &Bridge| Options { seconds: 14 * SECOND, ..bridge.options() };
    let (patient, left) = join(simulate(options(&patient)), simulate(options(&left))).await;

    let patient = patient.unwrap();
    assert_eq!(patient.report.calls.completed, 1, "{}", table::Table(&patient));
    let call = &patient.calls[0];
    assert!(
        call.first_audio > Some(11 * SECOND),
        "more than any silence that is borne: {:?}",
        call.first_audio
    );
    assert!(call.silence_ms < 10_000, "{} ms", call.silence_ms);

    let left = left.unwrap();
    assert_eq!(left.calls[0].verdict, Verdict::Failed("the agent was not heard within 10s".into()));
    let waited = left.calls[0].length;
    assert!(waited > 11 * SECOND, "silence begins where the phrase ends: {waited:?}");
}

#[actix_rt::test]
async fn callers_who_are_together_hang_up_together_and_only_that_time_is_measured() {
    let bridge = Bridge::start(Manner::Proper).await;
    let options =
        Options { calls: 4, seconds: 3 * SECOND, ramp: 2 * SECOND, together: true, ..bridge.options() };
    let outcome = simulate(options).await.unwrap();
    assert!(outcome.is_fine(), "{}", table::Table(&outcome));
    let (first, last) = (&outcome.calls[0], &outcome.calls[3]);
    assert!(first.length > last.length + SECOND, "{:?}, {:?}", first.length, last.length);
    assert!(last.length > 3 * SECOND, "{:?}", last.length);
    for call in &outcome.calls {
        assert!((100..=152).contains(&call.counted.len()), "{:?} of {}", call.counted, call.frames_sent);
    }
    assert!(first.counted.start > 80, "{:?}", first.counted);
    assert!(outcome.report.own_cores.is_some_and(|cores| cores > 0.0));
}

#[actix_rt::test]
async fn when_the_observer_has_seen_enough_all_hang_up_and_nobody_rings_any_more() {
    let bridge = Bridge::start(Manner::Proper).await;
    let options = Options { calls: 10, seconds: 60 * SECOND, ramp: 20 * SECOND, ..bridge.options() };
    let observer =
        |glance: Glance| if glance.live >= 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let run = simulate_observed(Options { together: true, ..options }, observer);
    let outcome = timeout(10 * SECOND, run).await.expect("nobody waits for the others").unwrap();
    let calls = &outcome.report.calls;
    assert!((1..=3).contains(&calls.asked) && calls.completed == calls.asked, "{calls:?}");
}

#[test]
fn the_auth_token_is_not_printed() {
    let options = Options { auth_token: Some(Secret::new(TOKEN.to_owned())), ..Options::default() };
    assert!(!format!("{options:?}").contains(TOKEN));
}
