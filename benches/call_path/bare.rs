//! The yardstick: a relay between two websockets that does nothing but splice the audio of one into the
//! other.
//!
//! It has no signatures, no conversation and no database, and marks only if it is told to: it is what a call
//! costs at the least on this stack. One thread, one task a call.

use std::net::SocketAddr;
use std::sync::LazyLock;

use actors::wire::realtime::socket::tls;
use anyhow::Context as _;
use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use memchr::memchr;
use memchr::memmem::Finder;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{Connector, WebSocketStream};
use tokio_tungstenite::{accept_async_with_config, connect_async_tls_with_config};

use crate::socket_config;
use crate::subject::SERVICE;

/// Characters of base64 between two marks: 200 ms of μ-law.
const MARK_EVERY: usize = 200 * 8 * 4 / 3;

/// Relays calls until it is killed. Its address is the last word of the first line on standard output.
pub fn run(marks: bool) -> anyhow::Result<()> {
    let service = std::env::var(SERVICE).context(SERVICE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("relay listening on http://{}", listener.local_addr()?);
        loop {
            let (caller, _) = listener.accept().await?;
            let service = service.clone();
            tokio::spawn(async move {
                if let Err(error) = relay(caller, &service, marks).await {
                    eprintln!("the bare relay lost a call: {error:#}");
                }
            });
        }
    })
}

async fn relay(caller: TcpStream, service: &str, marks: bool) -> anyhow::Result<()> {
    caller.set_nodelay(true)?;
    // Until the flush: a mark goes out with its audio.
    let buffered = socket_config().write_buffer_size(4 << 10);
    let mut caller = accept_async_with_config(caller, Some(buffered)).await?;
    let Some(stream_sid) = started(&mut caller).await? else { return Ok(()) };
    let tls = Connector::Rustls(tls());
    let (mut service, _) =
        connect_async_tls_with_config(service, Some(socket_config()), true, Some(tls)).await?;
    let mut scratch = BytesMut::new();
    let mut unmarked = 0;
    loop {
        tokio::select! {
            biased;
            message = caller.next() => match message.transpose()? {
                Some(Message::Text(text)) => {
                    if let Some(audio) = audio_of_caller(text.as_bytes()) {
                        service.send(append(&mut scratch, audio)?).await?;
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
            message = service.next() => match message.transpose()? {
                Some(Message::Text(text)) => {
                    if let Some(audio) = audio_of_service(text.as_bytes()) {
                        caller.feed(media(&mut scratch, &stream_sid, audio)?).await?;
                        unmarked += audio.len();
                        if marks && unmarked >= MARK_EVERY {
                            caller.feed(mark(&mut scratch, &stream_sid)?).await?;
                            unmarked = 0;
                        }
                        caller.flush().await?;
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// Waits for `start`; answers the stream's identifier.
async fn started(caller: &mut WebSocketStream<TcpStream>) -> anyhow::Result<Option<Box<[u8]>>> {
    let stream_sid = Finder::new(br#""streamSid":""#);
    while let Some(message) = caller.next().await.transpose()? {
        if let Some(stream_sid) = after(&message.into_data(), &stream_sid) {
            return Ok(Some(stream_sid.into()));
        }
    }
    Ok(None)
}

fn audio_of_caller(text: &[u8]) -> Option<&[u8]> {
    static PAYLOAD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""payload":""#));
    if text.starts_with(br#"{"event":"media""#) { after(text, &PAYLOAD) } else { None }
}

fn audio_of_service(text: &[u8]) -> Option<&[u8]> {
    static DELTA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""delta":""#));
    if text.starts_with(br#"{"type":"response.output_audio.delta""#) { after(text, &DELTA) } else { None }
}

/// The text that opens with `opening`, up to its closing quote.
fn after<'a>(text: &'a [u8], opening: &Finder<'_>) -> Option<&'a [u8]> {
    let inside = &text[opening.find(text)? + opening.needle().len()..];
    Some(&inside[..memchr(b'"', inside)?])
}

fn append(scratch: &mut BytesMut, audio: &[u8]) -> anyhow::Result<Message> {
    spliced(scratch, &[br#"{"type":"input_audio_buffer.append","audio":""#, audio, br#""}"#])
}

fn media(scratch: &mut BytesMut, stream_sid: &[u8], audio: &[u8]) -> anyhow::Result<Message> {
    let parts: [&[u8]; 5] =
        [br#"{"event":"media","streamSid":""#, stream_sid, br#"","media":{"payload":""#, audio, br#""}}"#];
    spliced(scratch, &parts)
}

fn mark(scratch: &mut BytesMut, stream_sid: &[u8]) -> anyhow::Result<Message> {
    let parts: [&[u8]; 3] =
        [br#"{"event":"mark","streamSid":""#, stream_sid, br#"","mark":{"name":"g1:item_A001:200"}}"#];
    spliced(scratch, &parts)
}

/// The storage comes back to `scratch` when the message is gone: no allocation.
fn spliced(scratch: &mut BytesMut, parts: &[&[u8]]) -> anyhow::Result<Message> {
    scratch.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        scratch.extend_from_slice(part);
    }
    Ok(Message::Text(Utf8Bytes::try_from(scratch.split().freeze())?))
}
