//! Panics in the middle of live calls, over real sockets: a call goes on where it was; one that panics too
//! often ends, and it alone.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::web::{Data, Payload, get};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actors::call::conversation::Rules;
use actors::call::pump::Pump;
use actors::call::{CallSetup, Ledger, ToolRunner};
use actors::db::record::{NextStep, Record};
use actors::metrics::{MetricSet as _, Metrics};
use actors::registry::picture::{CallState, LiveCall};
use actors::registry::{Answer, Registry};
use actors::secret::Secret;
use actors::wire::realtime::socket::Endpoint;
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::stream::accept;
use actors::wire::twilio::token::TokenKey;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

/// Longer than a promised stream is waited for.
const DEADLINE: Duration = Duration::from_secs(25);
/// The key whose press panics, once.
const PANIC_ONCE: &str = "9";
/// The key whose press panics, and after which nothing of that call can be recorded any more.
const PANIC_EVER: &str = "0";

/// A caller's number whose call cannot be recorded when it rings.
const PANIC_AT_FIRST: &str = "+19995550100";

/// Keeps what it is given, until it is told to break.
#[derive(Default)]
struct Brittle {
    records: Mutex<Vec<Record>>,
    broken: Mutex<Vec<CallSid>>,
}

impl Ledger for Brittle {
    fn decide(&self, _: CallSid, _: u32, _: NextStep) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn record(&self, record: Record) {
        let call = record.call_sid().expect("a call records nothing else");
        if let Record::Event(event) = &record {
            if event.data["digit"] == PANIC_EVER {
                self.broken.lock().unwrap().push(call);
            }
            assert!(event.data["digit"] != PANIC_ONCE, "on purpose");
        }
        if let Record::Opened(opened) = &record {
            assert!(opened.from != PANIC_AT_FIRST, "on purpose");
        }
        let broken = self.broken.lock().unwrap().contains(&call);
        assert!(!broken, "on purpose, again");
        self.records.lock().unwrap().push(record);
    }
}

/// One session at the simulated service.
struct Session {
    says: mpsc::UnboundedSender<&'static str>,
    hears: mpsc::UnboundedReceiver<String>,
}

/// Accepts sessions, one after the other; each greets with `greeting` and says what it is told to.
async fn service() -> (String, mpsc::UnboundedReceiver<Session>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1/realtime", listener.local_addr().unwrap());
    let (opened, sessions) = mpsc::unbounded_channel();
    actix_rt::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (says, told) = mpsc::unbounded_channel();
            let (heard, hears) = mpsc::unbounded_channel();
            opened.send(Session { says, hears }).unwrap();
            actix_rt::spawn(serve(tcp, told, heard));
        }
    });
    (url, sessions)
}

async fn serve(
    tcp: TcpStream,
    mut told: mpsc::UnboundedReceiver<&'static str>,
    heard: mpsc::UnboundedSender<String>,
) {
    let mut socket = accept_async(tcp).await.unwrap();
    let mut events = vec![json!({"type": "session.created"})];
    let mut responses = 0;
    loop {
        for event in events.drain(..) {
            if socket.send(event.to_string().into()).await.is_err() {
                return;
            }
        }
        let mut respond = |payload: &str| {
            responses += 1;
            let (id, item) = (format!("resp_{responses}"), format!("item_{responses}"));
            vec![
                json!({"type": "response.created", "response": {"id": id}}),
                json!({"type": "response.output_audio.delta", "response_id": id, "item_id": item, "content_index": 0, "delta": payload}),
                json!({"type": "response.done", "response": {"id": id, "status": "completed"}}),
            ]
        };
        tokio::select! {
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Ok(text) = message.to_text() else { continue };
                let Ok(request) = serde_json::from_str::<Value>(text) else { continue };
                match request["type"].as_str().unwrap() {
                    "session.update" => events.push(json!({"type": "session.updated"})),
                    "response.create" => events = respond("greeting"),
                    "input_audio_buffer.append" => {
                        let _ = heard.send(request["audio"].as_str().unwrap().to_owned());
                    }
                    _ => {}
                }
            }
            payload = told.recv() => match payload {
                Some(payload) => events = respond(payload),
                None => return,
            }
        }
    }
}

/// A registry whose streams are taken by a real server, and the service behind it.
struct House {
    registry: Registry,
    ledger: Arc<Brittle>,
    metrics: Metrics,
    tokens: TokenKey,
    streams: String,
    sessions: mpsc::UnboundedReceiver<Session>,
}

async fn stream(
    pump: Data<Pump>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let (response, incoming, outgoing) = accept(&request, payload)?;
    actix_rt::spawn(pump.get_ref().clone().run(incoming, outgoing));
    Ok(response)
}

impl House {
    async fn open() -> Self {
        let (url, sessions) = service().await;
        let ledger = Arc::new(Brittle::default());
        let metrics = Metrics::build().unwrap();
        let setup = CallSetup {
            instance: "test".into(),
            persona: Arc::default(),
            endpoint: Endpoint {
                url: url.parse().unwrap(),
                model: "m".into(),
                api_key: Secret::new("sk-test".into()),
            },
            rules: Rules::default(),
            phrases: Arc::default(),
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            recorder: None,
            tools: ToolRunner::default(),
        };
        let registry = Registry::start(2, Arc::new(setup));
        let tokens = TokenKey::new(Secret::new("key".into()));
        let pump = Data::new(Pump {
            keeper: Arc::new(registry.clone()),
            tokens: tokens.clone(),
            metrics: metrics.clone(),
        });
        let server =
            HttpServer::new(move || App::new().app_data(pump.clone()).route("/stream", get().to(stream)))
                .workers(1)
                .disable_signals()
                .bind("127.0.0.1:0")
                .unwrap();
        let streams = format!("ws://{}/stream", server.addrs()[0]);
        actix_rt::spawn(server.run());
        Self { registry, ledger, metrics, tokens, streams, sessions }
    }

    /// A call that has heard the greeting.
    async fn on_the_line(&mut self, number: u8) -> Caller {
        let call: CallSid = format!("CA{number:032}").parse().unwrap();
        let admitted = self.registry.admit(call, "+14155550100".into(), "+15005550006".into()).await.unwrap();
        let Answer::Connect { epoch } = admitted else { panic!("{admitted:?}") };
        let session = timeout(DEADLINE, self.sessions.recv()).await.expect("a session in time").unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let token = self.tokens.mint(call, epoch, now);
        let (socket, _) = connect_async(&self.streams).await.unwrap();
        let mut caller = Caller { call, stream: format!("MZ{number:032}"), socket, session };
        let start = json!({"event": "start", "start": {
            "streamSid": caller.stream, "callSid": call, "customParameters": {"token": token},
        }});
        caller.send(start).await;
        caller.hears("greeting").await;
        caller
    }

    async fn live(&self, caller: &Caller) -> LiveCall {
        let calls = self.registry.picture().await.unwrap().calls;
        calls.into_iter().find(|call| call.call_sid == caller.call).expect("the call is live")
    }

    fn panics(&self) -> u64 {
        self.metrics.panics.with_label_values(&["call"]).get()
    }

    async fn eventually(&self, what: &str, fact: impl Fn(&Self) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !fact(self) {
            assert!(Instant::now() < until, "it never came true that {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The call is over as failed, its slot is free, and Twilio is told to give the caller to a person.
    async fn has_given_up(&self, caller: &mut Caller) {
        assert_eq!(caller.close_code().await, 1000);
        self.eventually("the slot is free", |house| house.registry.capacity().active == 1).await;
        assert_eq!(
            self.registry.after_stream(caller.call, None).await.unwrap(),
            Some(Answer::Next(NextStep::Human))
        );
        let ends = &self.metrics.call_ends;
        assert_eq!(ends.with_label_values(&["failed", "actor-failed"]).get(), 1);
    }
}

/// A caller on the line, with the session that listens.
struct Caller {
    call: CallSid,
    stream: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Session,
}

impl Caller {
    async fn send(&mut self, message: Value) {
        self.socket.send(message.to_string().into()).await.unwrap();
    }

    async fn presses(&mut self, digit: &str) {
        self.send(json!({"event": "dtmf", "streamSid": self.stream, "dtmf": {"digit": digit}})).await;
    }

    /// Waits for this piece of audio.
    async fn hears(&mut self, payload: &str) {
        let heard = async {
            loop {
                let message = self.socket.next().await.expect("the stream is open").unwrap();
                let Ok(text) = message.to_text() else { continue };
                if text.contains(&format!(r#""payload":"{payload}""#)) {
                    return;
                }
            }
        };
        timeout(DEADLINE, heard).await.unwrap_or_else(|_| panic!("{payload} was never heard"));
    }

    /// Both ways of the call work, on the sockets it has always had.
    async fn talks(&mut self, timestamp_ms: u32, there: &'static str, back: &'static str) {
        self.send(json!({"event": "media", "streamSid": self.stream, "media": {
            "timestamp": timestamp_ms.to_string(), "payload": there,
        }}))
        .await;
        let heard = async { while self.session.hears.recv().await.expect("the session is open") != there {} };
        timeout(DEADLINE, heard).await.unwrap_or_else(|_| panic!("{there} was never heard"));
        self.session.says.send(back).unwrap();
        self.hears(back).await;
    }

    async fn close_code(&mut self) -> u16 {
        let closed = async {
            loop {
                if let Message::Close(frame) = self.socket.next().await.expect("a close").unwrap() {
                    return frame.expect("a code").code.into();
                }
            }
        };
        timeout(DEADLINE, closed).await.expect("closed in time")
    }
}

#[actix_rt::test]
async fn a_call_goes_on_after_a_panic_on_the_same_sockets() {
    let mut house = House::open().await;
    let mut caller = house.on_the_line(1).await;
    let mut neighbour = house.on_the_line(2).await;
    for panics in 1..=3 {
        caller.presses(PANIC_ONCE).await;
        house.eventually("the actor panicked", |house| house.panics() == panics).await;
        caller.talks(20, "AAAA", "BBBB").await;
        neighbour.talks(20, "CCCC", "DDDD").await;
    }
    let (call, other) = (house.live(&caller).await, house.live(&neighbour).await);
    assert_eq!((call.state, call.restarts), (CallState::Live, 3));
    assert_eq!((other.state, other.restarts), (CallState::Live, 0));
    assert!(house.sessions.try_recv().is_err(), "no other session was opened");
}

#[actix_rt::test]
async fn the_fourth_panic_within_a_minute_gives_the_caller_to_a_person_and_touches_no_other_call() {
    let mut house = House::open().await;
    let mut caller = house.on_the_line(1).await;
    let mut neighbour = house.on_the_line(2).await;
    for panics in 1..=4 {
        caller.presses(PANIC_ONCE).await;
        house.eventually("the actor panicked", |house| house.panics() == panics).await;
    }
    house.has_given_up(&mut caller).await;
    neighbour.talks(20, "AAAA", "BBBB").await;
    let ended = |record: &Record| matches!(record, Record::Closed(closed) if closed.call_sid == caller.call);
    assert_eq!(house.ledger.records.lock().unwrap().iter().filter(|record| ended(record)).count(), 1);
}

#[actix_rt::test]
async fn a_call_that_cannot_even_end_without_a_panic_frees_its_slot_and_touches_no_other_call() {
    let mut house = House::open().await;
    let mut caller = house.on_the_line(1).await;
    let mut neighbour = house.on_the_line(2).await;
    caller.presses(PANIC_EVER).await;
    for panics in 2..=4 {
        caller.presses(PANIC_ONCE).await;
        house.eventually("the actor panicked", |house| house.panics() >= panics).await;
    }
    house.has_given_up(&mut caller).await;
    neighbour.talks(20, "AAAA", "BBBB").await;
}

#[actix_rt::test]
async fn a_slot_that_was_promised_before_the_registry_panicked_is_free_in_time() {
    let mut house = House::open().await;
    let mut caller = house.on_the_line(1).await;
    let ringing: CallSid = format!("CA{:032}", 2).parse().unwrap();
    let admitted = house.registry.admit(ringing, PANIC_AT_FIRST.into(), "+15005550006".into()).await;
    assert!(admitted.is_err(), "Twilio is to ask again");
    assert_eq!(house.metrics.panics.with_label_values(&["registry"]).get(), 1);
    assert_eq!(house.registry.picture().await.unwrap().calls.len(), 2);
    house.eventually("the slot is free", |house| house.registry.capacity().available == 1).await;
    caller.talks(20, "AAAA", "BBBB").await;
}
