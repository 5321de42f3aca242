//! The socket to the Realtime service, shared by the pump that brings the caller's audio and the actor that
//! reads.
//!
//! The caller's audio is spliced, undecoded, into `input_audio_buffer.append` events. Until the session
//! understands it, and while the socket takes nothing, frames wait in a ring of 5 s; when it is full the
//! oldest goes and is counted as a gap. Writers never wait: what the socket does not take now goes out when
//! the reader learns that it takes more, or with the next frame. The lock is never held over an await.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use call_control::realtime::RING_MS;
use futures_util::{Sink, Stream};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::Url;

use super::holes::{FRAME_MS, Holes};
use crate::secret::Secret;
use crate::wire::dial::dial;
use crate::wire::https::trusting;
use crate::wire::roots;
use crate::wire::twilio::frames::payload_ms;

mod check;
mod read_ahead;

use read_ahead::ReadAhead;

type Socket = WebSocketStream<MaybeTlsStream<ReadAhead<TcpStream>>>;

/// An utterance comes back whole in some events (reference: OpenAI Realtime, "Connecting").
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// tungstenite zeroes it before every read, so a large one costs (reference: audio path). A small one costs
/// no more reads of the socket, which are [large](ReadAhead).
const READ_BUFFER_BYTES: usize = 2 << 10;
/// What may wait inside the socket; audio does not, so this is for our few requests.
const WRITE_BUFFER_BYTES: usize = 1 << 20;
/// Opening the socket: resolving, connecting, TLS and the upgrade.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Frames of it that wait: four times as many as Twilio sends, whose frames last 20 ms. It bounds those that
/// hold next to nothing.
const RING_FRAMES: usize = 1_000;

/// Where the service is, and who we are there.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `wss`, or `ws` to a loopback address; without query, which names the model (`OPENAI_REALTIME_URL`).
    pub url: Url,
    /// `OPENAI_REALTIME_MODEL`.
    pub model: String,
    /// `OPENAI_API_KEY`.
    pub api_key: Secret,
}

static TLS: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| trusting(roots::of_the_system().unwrap_or_else(|_| roots::compiled_in())));

/// TLS to the service, the same for all sockets: so the roots are in memory once, and a session is resumed.
/// Trusts what this machine trusts, and where that is nobody the CAs that are compiled in.
pub fn tls() -> Arc<ClientConfig> {
    TLS.clone()
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("not connected within {} s", CONNECT_WITHIN.as_secs())]
    TimedOut,
    #[error("{0}")]
    Failed(String),
    /// The service cannot serve us now; `wait`: what it says of when to try again.
    #[error("the service answered {status}")]
    Busy { status: u16, wait: Option<Duration> },
    /// The service refused us, and will refuse us again.
    #[error("the service answered {status}")]
    Refused { status: u16 },
}

impl ConnectError {
    /// What the service says of when to try again.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { wait, .. } => *wait,
            Self::TimedOut | Self::Failed(_) | Self::Refused { .. } => None,
        }
    }

    /// What an answer means that is no upgrade. A request that is at fault stays so.
    fn answered(status: u16, headers: &HeaderMap) -> Self {
        match status {
            408 | 409 | 425 | 429 => Self::Busy { status, wait: retry_after(headers) },
            400..=499 => Self::Refused { status },
            _ => Self::Busy { status, wait: retry_after(headers) },
        }
    }
}

/// Longer waits make no difference, and in milliseconds they are a number.
const LONGEST_WAIT_SECONDS: f64 = 365.0 * 86_400.0;

/// `Retry-After-Ms` or `Retry-After` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after"))?;
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(LONGEST_WAIT_SECONDS)))
}

/// A header that says when to try again: a number of seconds or nothing, and a wait that there can be.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_retry_after(data: &[u8]) {
    use tokio_tungstenite::tungstenite::http::HeaderName;
    for name in ["retry-after", "retry-after-ms"] {
        let Ok(value) = HeaderValue::from_bytes(data) else { return };
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
        let Some(wait) = retry_after(&headers) else { continue };
        let number = str::from_utf8(data).expect("it was read as a text").trim().parse::<f64>();
        let seconds =
            number.expect("it was read as a number") / if name.ends_with("ms") { 1_000.0 } else { 1.0 };
        let expected = seconds.min(LONGEST_WAIT_SECONDS);
        assert!(
            (wait.as_secs_f64() - expected).abs() <= expected * 1e-6 + 1e-9,
            "{wait:?} is not {seconds} s"
        );
    }
}

/// Opens a socket to the service. "Connected" means that it answered the upgrade; whether it accepts us shows
/// in its first event.
pub async fn connect(endpoint: &Endpoint) -> Result<Socket, ConnectError> {
    let failed = |error: WsError| ConnectError::Failed(error.to_string());
    let url = format!("{}?model={}", endpoint.url, endpoint.model);
    let mut request = url.into_client_request().map_err(failed)?;
    let authorization = HeaderValue::from_str(&format!("Bearer {}", endpoint.api_key.expose()));
    let mut authorization =
        authorization.map_err(|_| ConnectError::Failed("OPENAI_API_KEY is no header value".into()))?;
    authorization.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, authorization);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES);
    let connector = (endpoint.url.scheme() == "wss").then(|| Connector::Rustls(tls()));
    let connected = async {
        let uri = request.uri();
        let port = uri.port_u16().unwrap_or(if connector.is_some() { 443 } else { 80 });
        let tcp = dial(uri.host().unwrap_or_default(), port).await?;
        tcp.set_nodelay(true)?;
        client_async_tls_with_config(request, ReadAhead::new(tcp), Some(config), connector).await
    };
    match tokio::time::timeout(CONNECT_WITHIN, connected).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(WsError::Http(response))) => {
            Err(ConnectError::answered(response.status().as_u16(), response.headers()))
        }
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

/// What the reader of the socket learns.
#[derive(Debug)]
pub enum Received {
    /// One event.
    Event(Bytes),
    /// The answer to our [`ping`](Uplink::ping).
    Pong,
    /// The service ended the session, or the connection broke.
    Closed { fatal: bool, cause: String },
}

/// What has passed, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UplinkCounts {
    pub frames: u64,
    /// Frames that did not fit into the ring.
    pub dropped: u64,
    /// Holes in what Twilio sent, and their length.
    pub gaps: u64,
    pub gap_ms: u64,
}

/// The way up, from the caller to the service.
#[derive(Default)]
pub struct Uplink {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    socket: Option<Socket>,
    /// Raised with every socket, so that the reader of an old one ends.
    session: u32,
    open: bool,
    stalled: bool,
    /// Why the socket was given up by a writer; its reader is yet to say so.
    broken: Option<String>,
    reader: Option<Waker>,
    ring: VecDeque<Box<[u8]>>,
    ring_ms: u64,
    scratch: BytesMut,
    holes: Holes,
    frames: u64,
    dropped: u64,
}

impl Uplink {
    /// Takes a new socket in use; its gate is shut until [`open`](Self::open). Answers its session's number.
    pub fn attach(&self, socket: Socket) -> u32 {
        let mut inner = self.lock();
        inner.socket = Some(socket);
        inner.session += 1;
        inner.open = false;
        inner.stalled = false;
        inner.broken = None;
        inner.session
    }

    /// The session in use, if there is one.
    pub fn session(&self) -> Option<u32> {
        let inner = self.lock();
        inner.socket.as_ref().map(|_| inner.session)
    }

    /// The session understands μ-law: what has waited is sent, and the rest flows.
    pub fn open(&self) {
        let mut inner = self.lock();
        // Where it is lost already, the next one gets what the caller says.
        inner.open = inner.socket.is_some();
        inner.drain();
        if cfg!(debug_assertions) {
            inner.check();
        }
    }

    /// A frame of the caller: base64 of μ-law, and its presentation time on the stream.
    pub fn audio(&self, timestamp_ms: u64, payload: &[u8]) {
        let mut inner = self.lock();
        let silence_ms = inner.holes.frame(timestamp_ms, payload_ms(payload));
        inner.fill(silence_ms);
        inner.frames += 1;
        inner.pass(payload);
    }

    /// No frame has come for so long: the service hears silence instead, so that it can tell when a turn has
    /// ended.
    pub fn quiet(&self, quiet: Duration) {
        let mut inner = self.lock();
        let silence_ms = inner.holes.quiet(quiet.as_millis() as u64);
        inner.fill(silence_ms);
    }

    /// A new stream counts its time from zero again.
    pub fn stream_opened(&self) {
        self.lock().holes.stream_opened();
    }

    /// Sends one of our requests. A socket that takes no more of them is lost: its reader says so.
    pub fn send(&self, event: String) {
        self.lock().write(Message::Text(event.into()));
    }

    /// Asks the service for a sign of life.
    pub fn ping(&self) {
        self.lock().write(Message::Ping(Bytes::new()));
    }

    pub fn counts(&self) -> UplinkCounts {
        let Inner { frames, dropped, ref holes, .. } = *self.lock();
        UplinkCounts { frames, dropped, gaps: holes.count, gap_ms: holes.total_ms }
    }

    /// Ends the session in use, with a normal close if the socket still takes one.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.open = false;
        if let Some(mut socket) = inner.socket.take() {
            let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") };
            let mut close = Some(Message::Close(Some(frame)));
            let _ = at_once(|cx| {
                ready!(Pin::new(&mut socket).poll_ready(cx))?;
                close.take().map_or(Ok(()), |close| Pin::new(&mut socket).start_send(close))?;
                Pin::new(&mut socket).poll_flush(cx)
            });
        }
    }

    /// The next thing received on `session`; the end of it when another session is in use.
    pub fn poll_received(&self, session: u32, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut inner = self.lock();
        if inner.session != session {
            return Poll::Ready(None);
        }
        if let Some(cause) = inner.broken.take() {
            return Poll::Ready(Some(Received::Closed { fatal: false, cause }));
        }
        inner.reader = Some(cx.waker().clone());
        if inner.stalled {
            inner.flush(); // the socket wakes its reader also when it can be written to
            inner.drain();
        }
        loop {
            let Some(socket) = inner.socket.as_mut() else { return Poll::Ready(None) };
            let closed = match ready!(Pin::new(socket).poll_next(cx)) {
                Some(Ok(Message::Text(text))) => return Poll::Ready(Some(Received::Event(text.into()))),
                Some(Ok(Message::Pong(_))) => return Poll::Ready(Some(Received::Pong)),
                Some(Ok(Message::Close(frame))) => closed_by(frame),
                Some(Ok(_)) => continue,
                Some(Err(error)) => Received::Closed { fatal: false, cause: error.to_string() },
                None => Received::Closed { fatal: false, cause: "the connection ended".into() },
            };
            inner.socket = None;
            inner.open = false;
            return Poll::Ready(Some(closed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves at worst a socket whose next write fails.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 3000 and 4000 are refusals; another session would be refused as well (reference: "Errors").
fn closed_by(frame: Option<CloseFrame>) -> Received {
    let Some(frame) = frame else {
        return Received::Closed { fatal: false, cause: "closed without a code".into() };
    };
    let code = u16::from(frame.code);
    Received::Closed {
        fatal: matches!(code, 3000 | 4000),
        cause: format!("closed with {code} {}", frame.reason),
    }
}

impl Inner {
    fn pass(&mut self, payload: &[u8]) {
        if self.open && self.ring.is_empty() && !self.stalled {
            return self.append(payload);
        }
        self.ring.push_back(payload.into());
        self.ring_ms += payload_ms(payload);
        while self.ring_ms > RING_MS || self.ring.len() > RING_FRAMES {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_ms -= payload_ms(&oldest);
            self.dropped += 1;
        }
        self.drain();
        if cfg!(debug_assertions) {
            self.check();
        }
    }

    /// Sends what waits, as far as the socket takes it.
    fn drain(&mut self) {
        if !self.open {
            return;
        }
        self.flush();
        while !self.stalled {
            let Some(payload) = self.ring.pop_front() else { break };
            self.ring_ms -= payload_ms(&payload);
            self.append(&payload);
        }
    }

    fn append(&mut self, payload: &[u8]) {
        if let Some(event) = write_append(&mut self.scratch, payload) {
            self.write(Message::Text(event));
        }
    }

    fn fill(&mut self, ms: u64) {
        let silence = silent_frame();
        for _ in 0..ms / FRAME_MS {
            self.pass(silence);
        }
    }

    fn write(&mut self, message: Message) {
        if let Some(socket) = self.socket.as_mut() {
            let mut message = Some(message);
            let written = at_once(|cx| {
                // Pending or not, `start_send` queues within its bound.
                let _ = Pin::new(&mut *socket).poll_ready(cx);
                message.take().map_or(Ok(()), |message| Pin::new(&mut *socket).start_send(message))?;
                Pin::new(&mut *socket).poll_flush(cx)
            });
            self.stalled = written.is_pending();
            if let Poll::Ready(Err(error)) = written {
                self.give_up(error.to_string());
            }
        }
    }

    fn give_up(&mut self, cause: String) {
        self.socket = None;
        self.open = false;
        self.broken = Some(cause);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn flush(&mut self) {
        if let Some(socket) = self.socket.as_mut() {
            self.stalled = at_once(|cx| Pin::new(&mut *socket).poll_flush(cx)).is_pending();
        }
    }
}

/// The event that carries `payload`, base64 of μ-law, up to the service; none if it is no text. `scratch` is
/// the storage, which comes back from the socket when the event is gone.
pub fn write_append(scratch: &mut BytesMut, payload: &[u8]) -> Option<Utf8Bytes> {
    const OPEN: &[u8] = br#"{"type":"input_audio_buffer.append","audio":""#;
    const CLOSE: &[u8] = br#""}"#;
    scratch.reserve(OPEN.len() + payload.len() + CLOSE.len());
    for part in [OPEN, payload, CLOSE] {
        scratch.extend_from_slice(part);
    }
    Utf8Bytes::try_from(scratch.split().freeze()).ok()
}

/// Polls without waiting: no waker of its own, so the reader's stays registered, and outside tokio's budget
/// of operations, so that "pending" means a full socket and nothing else.
fn at_once<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    let unbudgeted = std::pin::pin!(tokio::task::coop::unconstrained(std::future::poll_fn(poll)));
    unbudgeted.poll(&mut Context::from_waker(Waker::noop()))
}

/// 20 ms of μ-law silence (0xFF) in base64.
fn silent_frame() -> &'static [u8] {
    const FRAME: [u8; 216] = {
        let mut frame = [b'/'; 216];
        frame[213] = b'w';
        frame[214] = b'=';
        frame[215] = b'=';
        frame
    };
    &FRAME
}

#[cfg(test)]
mod tests;
