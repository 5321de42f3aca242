//! The sockets of the simulated service: `GET /v1/realtime` (websocket), `/report`, `/state` and `/healthz`.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::events::Refusal;
use super::session::{Manners, Out, Outbox, Session};
use crate::sim::phone::network::histogram;
use crate::sim::report::{RealtimeReport, RealtimeState, Violation};
use crate::sim::tag::monotonic_us;

/// The longest request head that is read, and how long it may take.
const MAX_HEAD_BYTES: usize = 16 << 10;
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client may leave its socket unread before the session is given up.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// How long the client's answer to a close is waited for.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// 15 MiB of audio in base64, and some JSON around it.
const MAX_MESSAGE_BYTES: usize = 24 << 20;
/// Refused handshakes that are kept for the report; later ones are dropped.
const MAX_REFUSED: usize = 1_000;

/// Everything that the connections share.
#[derive(Debug)]
pub struct Service {
    manners: Arc<Manners>,
    /// In the order in which they were opened, numbered without a gap.
    sessions: Mutex<Vec<Arc<Mutex<Session>>>>,
    /// Violations before there was a session: their source is 0.
    refused: Mutex<Vec<Violation>>,
    /// Microseconds by which what was due was done late: the service's own lag.
    late: Mutex<Histogram<u64>>,
    numbers_after: u16,
}

impl Service {
    /// The first session has the number after `numbers_after`.
    pub fn new(manners: Manners, numbers_after: u16) -> Self {
        Self {
            manners: Arc::new(manners),
            sessions: Mutex::default(),
            refused: Mutex::default(),
            late: Mutex::new(histogram()),
            numbers_after,
        }
    }

    /// What all sessions have seen so far that were opened after the one of number `after`.
    pub fn report(&self, after: u16) -> RealtimeReport {
        let mut report = RealtimeReport { sessions: Vec::new(), violations: lock(&self.refused).clone() };
        let sessions = lock(&self.sessions).clone();
        for session in sessions.iter().skip(usize::from(after.saturating_sub(self.numbers_after))) {
            let session = lock(session);
            if !session.record().renders {
                report.sessions.push(session.record().report.clone());
            }
            report.violations.extend_from_slice(&session.record().violations);
        }
        report
    }

    pub fn state(&self) -> RealtimeState {
        let opened = lock(&self.sessions).len();
        let late = lock(&self.late);
        RealtimeState {
            // There are no more sessions than numbers.
            last_session: self.numbers_after + opened as u16,
            refused: lock(&self.refused).len(),
            late: late.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect(),
        }
    }

    /// A session with the next number; `None` when the numbers are used up.
    fn open(&self, model: String) -> Option<OpenSession> {
        let mut sessions = lock(&self.sessions);
        let number = u16::try_from(usize::from(self.numbers_after) + sessions.len() + 1).ok()?;
        let unix_s = chrono::Utc::now().timestamp();
        let session = Session::new(number, model, self.manners.clone(), monotonic_us(), unix_s);
        let session = Arc::new(Mutex::new(session));
        sessions.push(session.clone());
        Some(OpenSession(session))
    }

    fn refuse(&self, refusal: &Refusal) {
        let mut refused = lock(&self.refused);
        if let Some(kind) = refusal.kind
            && refused.len() < MAX_REFUSED
        {
            refused.push(Violation { source: 0, kind: kind.into(), detail: refusal.message.clone() });
        }
    }
}

/// A poisoned lock is taken all the same: what one connection broke is its own session.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session whose socket is open; its end is recorded however the socket ends.
struct OpenSession(Arc<Mutex<Session>>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        lock(&self.0).end(monotonic_us());
    }
}

/// Serves until `stop` changes; returns when every connection is closed.
pub async fn serve(listener: TcpListener, service: Arc<Service>, mut stop: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (service, stop) = (service.clone(), stop.clone());
                    connections.spawn(async move {
                        // What goes wrong with a connection ends that connection and concerns nobody else.
                        let _ = connection(stream, &service, stop).await;
                    });
                }
                // Out of file descriptors, or the client has already gone.
                Err(_) => sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(
    mut stream: TcpStream,
    service: &Service,
    mut stop: watch::Receiver<()>,
) -> tungstenite::Result<()> {
    stream.set_nodelay(true)?;
    let head = tokio::select! {
        head = timeout(HEAD_DEADLINE, read_head(&mut stream)) => head.map_err(io::Error::from)?,
        _ = stop.changed() => return Ok(()),
    };
    let Some((request, rest)) = head? else {
        return answer(&mut stream, "400 Bad Request", "text/plain", "not an HTTP request\n").await;
    };
    match (request.method().as_str(), request.uri().path()) {
        ("GET", "/v1/realtime") => upgrade(stream, &request, rest, service, stop).await,
        ("GET", "/report") => {
            let query = request.uri().query().unwrap_or_default();
            let after = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after");
            let after = after.and_then(|(_, number)| number.parse().ok()).unwrap_or_default();
            let report = serde_json::to_string(&service.report(after)).map_err(io::Error::from)?;
            answer(&mut stream, "200 OK", "application/json", &report).await
        }
        ("GET", "/state") => {
            let state = serde_json::to_string(&service.state()).map_err(io::Error::from)?;
            answer(&mut stream, "200 OK", "application/json", &state).await
        }
        ("GET", "/healthz") => answer(&mut stream, "200 OK", "text/plain", "ok\n").await,
        ("GET", _) => answer(&mut stream, "404 Not Found", "text/plain", "not found\n").await,
        _ => answer(&mut stream, "405 Method Not Allowed", "text/plain", "only GET\n").await,
    }
}

/// Reads a request up to its empty line, and what came after it. `None` when it is not HTTP or too long.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<(Request, Vec<u8>)>> {
    let mut head = Vec::with_capacity(1 << 10);
    while head.len() < MAX_HEAD_BYTES {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match Request::try_parse(&head) {
            Ok(Some((length, request))) => return Ok(Some((request, head.split_off(length)))),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    Ok(None)
}

async fn answer(stream: &mut TcpStream, status: &str, kind: &str, body: &str) -> tungstenite::Result<()> {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let sent = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    Ok(timeout(WRITE_DEADLINE, sent).await.map_err(io::Error::from)??)
}

/// What is wrong with a handshake, and the code with which the real service closes (openai-realtime.md
/// section 1).
struct Rejected {
    refusal: Refusal,
    code: u16,
    reason: &'static str,
}

/// The model that is asked for, if the handshake is in order.
fn model(request: &Request) -> Result<String, Rejected> {
    let reject = |kind, message| Rejected {
        refusal: Refusal::new(kind, "invalid_value", message),
        code: 4000,
        reason: "invalid_request_error.invalid_value",
    };
    if key(request).is_some_and(|key| key.starts_with("bad")) {
        let message = "Incorrect API key provided. You can find your API key on the platform's account page.";
        let refusal = Refusal::benign("invalid_api_key", message);
        return Err(Rejected { refusal, code: 3000, reason: "invalid_request_error.invalid_api_key" });
    }
    if request.headers().contains_key("OpenAI-Beta") {
        return Err(reject(
            "beta-header",
            "The OpenAI-Beta header must not be sent: the beta interface is gone.",
        ));
    }
    if request.headers().contains_key("Sec-WebSocket-Protocol") {
        return Err(reject("subprotocol", "Subprotocols are for browsers."));
    }
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == "model" && !value.is_empty())
        .map(|(_, model)| model.into_owned())
        .ok_or_else(|| reject("missing-model", "The query names no model."))
}

fn key(request: &Request) -> Option<&str> {
    let value = request.headers().get("Authorization")?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim).filter(|key| !key.is_empty())
}

async fn upgrade(
    mut stream: TcpStream,
    request: &Request,
    rest: Vec<u8>,
    service: &Service,
    mut stop: watch::Receiver<()>,
) -> tungstenite::Result<()> {
    let faults = &service.manners.faults;
    tokio::select! {
        () = sleep(faults.accept_delay) => {}
        _ = stop.changed() => return Ok(()),
    }
    if let Some(status) = faults.refuse {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let status = format!("{status} {}", reason.unwrap_or("Refused"));
        return answer(&mut stream, &status, "text/plain", "refused by a fault\n").await;
    }
    let Ok(response) = create_response(request) else {
        return answer(&mut stream, "400 Bad Request", "text/plain", "not a websocket handshake\n").await;
    };
    if key(request).is_none() {
        service.refuse(&Refusal::new("missing-authorization", "", "The handshake has no bearer key."));
        let body = r#"{"error":{"type":"invalid_request_error","code":null,"message":"Missing bearer authentication in header","param":null}}"#;
        return answer(&mut stream, "401 Unauthorized", "application/json", body).await;
    }
    let model = model(request);
    let mut switching = Vec::new();
    write_response(&mut switching, &response)?;
    stream.write_all(&switching).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(8 << 10)
        .write_buffer_size(8 << 10)
        .max_write_buffer_size(MAX_MESSAGE_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let mut socket = WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(config)).await;
    match model {
        Err(Rejected { refusal, code, reason }) => {
            service.refuse(&refusal);
            let mut out = Outbox::default();
            out.error(&refusal, None);
            out.push_end(Out::Close(code, reason));
            send(&mut socket, out.take()).await.map(|_| ())
        }
        Ok(model) => match service.open(model) {
            Some(session) => converse(&mut socket, service, &session, stop).await,
            None => close(&mut socket, 1013, "no session numbers are left").await,
        },
    }
}

/// Carries a session over its socket until one of them ends.
async fn converse(
    socket: &mut WebSocketStream<TcpStream>,
    service: &Service,
    session: &OpenSession,
    mut stop: watch::Receiver<()>,
) -> tungstenite::Result<()> {
    let session = &session.0;
    loop {
        let (out, wake_at) = {
            // Here, not where the timer fires: a client that sends without a pause must not hold up what is
            // due.
            let mut session = lock(session);
            let (now, due) = (monotonic_us(), session.wake_at());
            if due <= now {
                lock(&service.late).saturating_record(now - due);
            }
            session.tick(now);
            (session.take_out(), session.wake_at())
        };
        match send(socket, out).await? {
            Sent::Open => {}
            Sent::Closed => return Ok(()),
            Sent::Stalled => {
                // The peer's patience is what is being tried; only the end of the service ends this.
                let _ = stop.changed().await;
                return Ok(());
            }
        }
        let wake = pin!(sleep(Duration::from_micros(wake_at.saturating_sub(monotonic_us()))));
        tokio::select! {
            message = socket.next() => match message.transpose()? {
                Some(Message::Text(text)) => lock(session).receive(&text, monotonic_us()),
                Some(Message::Binary(_)) => lock(session).receive_binary(),
                Some(_) => {}
                None => return Ok(()),
            },
            () = wake => {}
            _ = stop.changed() => return close(socket, 1001, "the service stops").await,
        }
    }
}

enum Sent {
    Open,
    Closed,
    Stalled,
}

async fn send(socket: &mut WebSocketStream<TcpStream>, out: Vec<Out>) -> tungstenite::Result<Sent> {
    if out.is_empty() {
        return Ok(Sent::Open);
    }
    let sending = async {
        for out in out {
            match out {
                Out::Event(text) => socket.feed(Message::text(text)).await?,
                Out::Close(code, reason) => {
                    close(socket, code, reason).await?;
                    return Ok(Sent::Closed);
                }
                Out::Reset => {
                    socket.flush().await?;
                    socket.get_ref().set_zero_linger()?;
                    return Ok(Sent::Closed);
                }
                Out::Stall => {
                    socket.flush().await?;
                    return Ok(Sent::Stalled);
                }
            }
        }
        socket.flush().await?;
        Ok(Sent::Open)
    };
    timeout(WRITE_DEADLINE, sending).await.map_err(io::Error::from)?
}

/// Closes from our side and waits a moment for the answer.
async fn close(
    socket: &mut WebSocketStream<TcpStream>,
    code: u16,
    reason: &'static str,
) -> tungstenite::Result<()> {
    socket.close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() })).await?;
    let answered = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = timeout(CLOSE_DEADLINE, answered).await;
    Ok(())
}
