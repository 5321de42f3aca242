//! The media stream's socket: taken with `actix_web_actors::ws::handshake`, read frame by frame, written
//! through a buffer that the response's body empties (reference: Twilio, "Media Streams: connection"; audio
//! path).
//!
//! Frames are copied into one buffer of our own, always: copying 300 bytes is cheaper than the two
//! allocations that not copying costs. A text message that came in one piece is read where it stands there;
//! what else there may be is left to the codec.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_codec::{Decoder, Encoder};
use actix_http::body::{BodySize, MessageBody};
use actix_http::ws::{CloseCode, CloseReason, Codec, Frame, Item, Message, ProtocolError};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt;

use super::frames::{self, MAX_FRAME_BYTES, Mark};
use super::sid::StreamSid;

/// What may wait for Twilio's socket. The conversation bounds the audio at 300 s, which is below this.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// What goes with a piece of audio: the rest of its message, and a mark behind it.
const BESIDE_AUDIO: usize = 256;
/// From our close to the peer's.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);
/// What a peer may still send after our close, where it can no longer be read as frames. It is thrown away.
const MAX_DISCARDED_BYTES: usize = 1 << 20;

/// The server reads on for a moment after the last byte (`client_disconnect_timeout`), by a clock that is up
/// to half a second behind: a moment that is over before it begins wakes nobody, and the connection stays
/// open. So we do.
const LINGERED: Duration = Duration::from_millis(60);

/// Why a stream is closed, as a close code (RFC 6455 section 7.4) and a word for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    #[error("a message over 64 KiB")]
    TooLarge,
    #[error("a binary frame")]
    Binary,
    #[error("a message that is no JSON of Twilio's")]
    Malformed,
    #[error("a frame out of place")]
    OutOfPlace,
    #[error("no `start` in time")]
    NoStart,
    #[error("a token that is wrong, used or expired")]
    BadToken,
    #[error("a call that holds no slot")]
    NoSlot,
    #[error("a broken websocket frame")]
    Protocol,
    #[error("more waiting for it than it may hold")]
    Overflow,
}

impl StreamFault {
    /// As a metric's labels.
    pub const LABELS: &[&str] = &[
        Self::TooLarge.label(),
        Self::Binary.label(),
        Self::Malformed.label(),
        Self::OutOfPlace.label(),
        Self::NoStart.label(),
        Self::BadToken.label(),
        Self::NoSlot.label(),
        Self::Protocol.label(),
        Self::Overflow.label(),
    ];

    /// As a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Binary => "binary",
            Self::Malformed => "malformed",
            Self::OutOfPlace => "out-of-place",
            Self::NoStart => "no-start",
            Self::BadToken => "bad-token",
            Self::NoSlot => "no-slot",
            Self::Protocol => "protocol",
            Self::Overflow => "overflow",
        }
    }

    pub fn close_code(self) -> CloseCode {
        match self {
            Self::TooLarge => CloseCode::Size,
            Self::Binary => CloseCode::Unsupported,
            Self::Malformed => CloseCode::Invalid,
            Self::OutOfPlace | Self::Protocol => CloseCode::Protocol,
            Self::NoStart | Self::BadToken | Self::NoSlot => CloseCode::Policy,
            Self::Overflow => CloseCode::Error,
        }
    }
}

/// Answers the upgrade; gives the two ends of the socket.
///
/// # Errors
/// A request that is no websocket upgrade.
pub fn accept(
    request: &HttpRequest,
    payload: Payload,
) -> Result<(HttpResponse, StreamIn, StreamOut), actix_web::Error> {
    let mut response = actix_web_actors::ws::handshake(request)?;
    let out = StreamOut::default();
    let stream = StreamIn {
        payload,
        codec: Codec::new().max_size(MAX_FRAME_BYTES),
        buffer: BytesMut::with_capacity(4096),
        text: Text::InBuffer(0..0),
        fragments: None,
        out: out.clone(),
        closed: false,
    };
    let response = response.message_body(StreamBody(out.clone()))?.map_into_boxed_body();
    Ok((response, stream, out))
}

/// The reading end. `Payload` is not `Send`, so it stays on the worker that took the connection.
pub struct StreamIn {
    payload: Payload,
    codec: Codec,
    buffer: BytesMut,
    /// The message that was read last.
    text: Text,
    /// Of a message that comes in pieces, what has come.
    fragments: Option<BytesMut>,
    out: StreamOut,
    /// The peer's side of the close was seen.
    closed: bool,
}

/// Where a message stands.
enum Text {
    InBuffer(Range<usize>),
    Apart(Bytes),
}

impl StreamIn {
    /// The next text message; none when the peer has closed or is gone. Pings are answered on the way.
    pub async fn next(&mut self) -> Option<Result<&[u8], StreamFault>> {
        if let Text::InBuffer(range) = std::mem::replace(&mut self.text, Text::InBuffer(0..0)) {
            self.read_past(range.end);
        }
        self.text = match self.receive().await? {
            Ok(text) => text,
            Err(fault) => return Some(Err(fault)),
        };
        Some(Ok(match &self.text {
            Text::InBuffer(range) => &self.buffer[range.clone()],
            Text::Apart(text) => text,
        }))
    }

    /// The message that ends here was read. Where nothing is behind it, the next one gets its place, which is
    /// in the processor's cache: a buffer that is walked through to its end is in none.
    fn read_past(&mut self, end: usize) {
        if end == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.advance(end);
        }
    }

    async fn receive(&mut self) -> Option<Result<Text, StreamFault>> {
        loop {
            if self.fragments.is_none()
                && let Some(range) = unmask_text(&mut self.buffer)
            {
                return Some(Ok(Text::InBuffer(range)));
            }
            match self.codec.decode(&mut self.buffer) {
                Ok(Some(Frame::Text(text))) => return Some(Ok(Text::Apart(text))),
                Ok(Some(Frame::Continuation(item))) => match self.continued(item) {
                    Ok(None) => {}
                    Ok(Some(text)) => return Some(Ok(Text::Apart(text))),
                    Err(fault) => return Some(Err(fault)),
                },
                Ok(Some(Frame::Binary(_))) => return Some(Err(StreamFault::Binary)),
                Ok(Some(Frame::Ping(data))) => self.out.control(Message::Pong(data)),
                Ok(Some(Frame::Pong(_))) => {}
                Ok(Some(Frame::Close(_))) => {
                    self.closed = true;
                    self.out.close(); // the answer, unless we were first
                    return None;
                }
                Ok(None) if self.announces_too_much() => return Some(Err(StreamFault::TooLarge)),
                Ok(None) => match self.payload.next().await? {
                    Ok(chunk) => self.buffer.extend_from_slice(&chunk),
                    Err(_) => return None,
                },
                Err(ProtocolError::Overflow) => return Some(Err(StreamFault::TooLarge)),
                Err(_) => return Some(Err(StreamFault::Protocol)),
            }
        }
    }

    /// Waits for the peer's side of a close, reading past what was on its way: a connection that is cut while
    /// something is unread may cost the peer our close.
    pub async fn drain(&mut self) {
        if self.closed {
            return;
        }
        let drained = async {
            while let Some(Ok(_)) = self.next().await {}
            self.discard().await;
        };
        let _ = tokio::time::timeout(CLOSED_WITHIN, drained).await;
    }

    /// Reads past what is not, or no longer, read as frames.
    async fn discard(&mut self) {
        self.buffer = BytesMut::new();
        let mut left = MAX_DISCARDED_BYTES;
        while !self.closed
            && left > 0
            && let Some(Ok(chunk)) = self.payload.next().await
        {
            left = left.saturating_sub(chunk.len());
        }
    }

    /// Whether the frame that has begun makes its message too large: it is refused before the rest of it has
    /// come.
    fn announces_too_much(&self) -> bool {
        let begun = self.fragments.as_ref().map_or(0, BytesMut::len) as u64;
        announced_bytes(&self.buffer)
            .is_some_and(|bytes| bytes.saturating_add(begun) > MAX_FRAME_BYTES as u64)
    }

    fn continued(&mut self, item: Item) -> Result<Option<Bytes>, StreamFault> {
        let (part, last) = match item {
            Item::FirstText(part) => (part, false),
            Item::FirstBinary(_) => return Err(StreamFault::Binary),
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        let mut whole = self.fragments.take().unwrap_or_default();
        if whole.len() + part.len() > MAX_FRAME_BYTES {
            return Err(StreamFault::TooLarge);
        }
        whole.extend_from_slice(&part);
        if last {
            return Ok(Some(whole.freeze()));
        }
        self.fragments = Some(whole);
        Ok(None)
    }
}

/// The length of the frame that `received` begins with, as its header has it (RFC 6455 section 5.2); none
/// until that much of the header is there.
fn announced_bytes(received: &[u8]) -> Option<u64> {
    match *received {
        [_, length, ref rest @ ..] => match length & 0x7F {
            126 => Some(u16::from_be_bytes(*rest.first_chunk()?).into()),
            127 => Some(u64::from_be_bytes(*rest.first_chunk()?)),
            length => Some(length.into()),
        },
        _ => None,
    }
}

/// Unmasks the text message that `received` begins with, and answers where it stands; none unless all of it
/// is there, in one frame of less than 64 KiB (RFC 6455 section 5.2).
pub fn unmask_text(received: &mut [u8]) -> Option<Range<usize>> {
    const FINAL_TEXT: u8 = 0x81;
    const MASKED: u8 = 0x80;
    let (length, key_at) = match *received {
        [FINAL_TEXT, length @ MASKED..=0xFD, ..] => (usize::from(length - MASKED), 2),
        [FINAL_TEXT, 0xFE, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 4),
        _ => return None,
    };
    let (text_at, end) = (key_at + 4, key_at + 4 + length);
    let (header, text) = received.get_mut(..end)?.split_at_mut(text_at);
    let key: [u8; 4] = header[key_at..].try_into().expect("four bytes");
    let twice = u32::from_ne_bytes(key);
    let twice = u64::from(twice) << 32 | u64::from(twice);
    let (words, rest) = text.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ twice).to_ne_bytes();
    }
    rest.iter_mut().zip(key.into_iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Some(text_at..end)
}

impl Drop for StreamIn {
    /// Nobody reads any more: once what waits is sent, the connection ends.
    fn drop(&mut self) {
        let mut waiting = self.out.lock();
        waiting.finished = true;
        waiting.wake();
    }
}

/// The writing end: usable from any thread, never waits.
#[derive(Clone, Default)]
pub struct StreamOut(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    buffer: BytesMut,
    waker: Option<Waker>,
    /// The close is written: nothing more is taken; what waits still goes out.
    closing: bool,
    /// More waited than may.
    overflown: bool,
    /// The reading end is gone.
    finished: bool,
}

impl StreamOut {
    /// Audio for the caller: base64 of μ-law, as it came.
    pub fn media(&self, stream: StreamSid, payload: &[u8]) {
        self.write(|buffer| {
            buffer.reserve(payload.len() + BESIDE_AUDIO);
            frames::write_media(buffer, stream, payload);
        });
    }

    pub fn mark(&self, stream: StreamSid, mark: Mark) {
        self.write(|buffer| frames::write_mark(buffer, stream, mark));
    }

    /// Twilio forgets what it has not played; what we have not sent is forgotten here.
    pub fn clear(&self, stream: StreamSid) {
        self.write(|buffer| {
            buffer.clear(); // the body takes whole frames, so what is left begins with one
            frames::write_clear(buffer, stream);
        });
    }

    /// Asks whether the peer is alive; it answers, or its socket fails.
    pub fn ping(&self) {
        self.control(Message::Ping(Bytes::new()));
    }

    /// Closes normally: Twilio goes on with the call's next instruction.
    pub fn close(&self) {
        self.close_with(CloseCode::Normal, "");
    }

    /// Whether we have closed, or the peer has.
    pub fn is_closed(&self) -> bool {
        self.lock().closing
    }

    /// Whether we have closed because more waited for the peer than may.
    pub fn is_overflown(&self) -> bool {
        self.lock().overflown
    }

    /// Closes because of the peer's fault.
    pub fn refuse(&self, fault: StreamFault) {
        self.close_with(fault.close_code(), &fault.to_string());
    }

    fn close_with(&self, code: CloseCode, description: &str) {
        let description = (!description.is_empty()).then(|| description.to_owned());
        self.lock().close(CloseReason { code, description });
    }

    fn control(&self, message: Message) {
        self.write(|buffer| encode(message, buffer));
    }

    fn write(&self, write: impl FnOnce(&mut BytesMut)) {
        let mut waiting = self.lock();
        if waiting.closing {
            return;
        }
        write(&mut waiting.buffer);
        if waiting.buffer.len() > MAX_WAITING_BYTES {
            waiting.buffer.clear();
            waiting.overflown = true;
            let fault = StreamFault::Overflow;
            waiting.close(CloseReason { code: fault.close_code(), description: Some(fault.to_string()) });
        }
        waiting.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What a panic can leave under this lock is a frame too few.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(control: Message, buffer: &mut BytesMut) {
    Codec::new().encode(control, buffer).expect("a control frame can always be encoded");
}

impl Waiting {
    /// The close is the last that is written, and written once.
    fn close(&mut self, reason: CloseReason) {
        if !std::mem::replace(&mut self.closing, true) {
            encode(Message::Close(Some(reason)), &mut self.buffer);
            self.wake();
        }
    }

    /// All that waits. The next piece has memory of its own, which the allocator has from the piece of some
    /// other call that was sent a moment ago: memory that is kept for one call is in no cache when its turn
    /// comes.
    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.buffer).freeze()
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The response's body: whatever waits, in one piece.
struct StreamBody(StreamOut);

impl MessageBody for StreamBody {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let mut waiting = self.0.lock();
        if !waiting.buffer.is_empty() {
            return Poll::Ready(Some(Ok(waiting.take())));
        }
        if waiting.finished {
            let connection = cx.waker().clone();
            actix_rt::spawn(async move {
                tokio::time::sleep(LINGERED).await;
                connection.wake();
            });
            return Poll::Ready(None);
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for StreamBody {
    /// The connection is gone: nothing needs to be kept for it.
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.closing = true;
        waiting.buffer = BytesMut::new();
    }
}

#[cfg(test)]
mod tests;
