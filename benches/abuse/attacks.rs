//! What strangers do to the program, each on connections that are opened anew as soon as they end.

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actors::wire::twilio::signature::sign;
use anyhow::Context as _;
use rustix::process::setpriority_process;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::place::Place;
use crate::program::AUTH_TOKEN;

/// Between the end of a connection and the next one.
const RENEWED_AFTER: Duration = Duration::from_millis(1);
/// Requests are written in pieces of about this many bytes.
const PIECE: usize = 32 << 10;
/// What the header of a frame announces.
const ANNOUNCED: u64 = 1 << 30;
/// The attackers share a core with the callers, and leave them their turn.
const NICENESS: i32 = 19;

/// Which of them.
#[derive(Debug, Clone, Copy)]
pub enum Attack {
    HeldBodies,
    Pipeline,
    ForgedPipelines,
    UnreadAnswers,
    HugeFrames,
    IdleSockets,
    LoginStorm,
}

impl Attack {
    pub const ALL: [Self; 7] = [
        Self::HeldBodies,
        Self::Pipeline,
        Self::ForgedPipelines,
        Self::UnreadAnswers,
        Self::HugeFrames,
        Self::IdleSockets,
        Self::LoginStorm,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HeldBodies => "320 bodies held back",
            Self::Pipeline => "1 endless pipeline",
            Self::ForgedPipelines => "4 forged pipelines",
            Self::UnreadAnswers => "40 readers of nothing",
            Self::HugeFrames => "20 frames of 1 GiB",
            Self::IdleSockets => "400 idle sockets",
            Self::LoginStorm => "1,000 logins at once",
        }
    }

    /// How many descriptors the program may have; none: as many as there are.
    pub const fn descriptors(self) -> Option<u32> {
        match self {
            Self::HeldBodies | Self::IdleSockets => Some(256),
            _ => None,
        }
    }

    const fn connections(self) -> usize {
        match self {
            Self::HeldBodies => 320,
            Self::Pipeline => 1,
            Self::ForgedPipelines => 4,
            Self::UnreadAnswers => 40,
            Self::HugeFrames => 20,
            Self::IdleSockets => 400,
            Self::LoginStorm => 1_000,
        }
    }

    /// One connection, from its begin to its end.
    async fn connect(self, target: SocketAddr) -> io::Result<()> {
        let mut socket = TcpStream::connect(target).await?;
        match self {
            Self::HeldBodies => {
                socket
                    .write_all(request(target, "GET /healthz", "Content-Length: 5\r\n", "").as_bytes())
                    .await?;
                read_all(&mut socket).await
            }
            Self::Pipeline => pipeline(socket, &request(target, "GET /healthz", "", "")).await,
            Self::ForgedPipelines => pipeline(socket, &forged(target)).await,
            Self::UnreadAnswers => write_all(&mut socket, &request(target, "GET /metrics", "", "")).await,
            Self::HugeFrames => huge_frame(socket, target).await,
            Self::IdleSockets => read_all(&mut socket).await,
            Self::LoginStorm => {
                socket.write_all(login(target).as_bytes()).await?;
                read_all(&mut socket).await?;
                std::future::pending().await // one attempt each
            }
        }
    }
}

/// An attack that goes on until its drop.
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(attack: Attack, target: SocketAddr, place: Place) -> anyhow::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let attacks = async move {
            for _ in 0..attack.connections() {
                tokio::spawn(async move {
                    loop {
                        let _ = attack.connect(target).await; // it ends however the program wants it to
                        sleep(RENEWED_AFTER).await;
                    }
                });
            }
            let _ = stopped.await;
        };
        let thread = thread::Builder::new().name("attack".into()).spawn(move || {
            place.take_for_load().expect("the CPU was there a moment ago");
            setpriority_process(None, NICENESS).expect("a thread may give way to others");
            runtime.block_on(attacks);
        });
        Ok(Self { stop: Some(stop), thread: Some(thread.context("the attack starts")?) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn request(target: SocketAddr, line: &str, headers: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {target}\r\n{headers}\r\n{body}")
}

/// A call that Twilio did not sign.
fn forged(target: SocketAddr) -> String {
    let body = "CallSid=CA00000000000000000000000000000001&From=%2B14155550100&CallStatus=ringing";
    let headers =
        format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len());
    request(target, "POST /api/voice/incoming", &headers, body)
}

/// A password for a user whom nobody knows: it is compared all the same.
fn login(target: SocketAddr) -> String {
    let body = r#"{"name":"nobody","password":"correct horse battery staple"}"#;
    let headers =
        format!("Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    request(target, "POST /api/auth/login", &headers, body)
}

/// Writes requests without end, and reads what is answered.
async fn pipeline(mut socket: TcpStream, request: &str) -> io::Result<()> {
    let (mut reader, mut writer) = socket.split();
    let requests = repeated(request);
    tokio::select! {
        written = async { loop { writer.write_all(&requests).await? } } => written,
        read = async {
            let mut answers = vec![0; PIECE];
            while reader.read(&mut answers).await? > 0 {}
            Ok(())
        } => read,
    }
}

async fn write_all(socket: &mut TcpStream, request: &str) -> io::Result<()> {
    let requests = repeated(request);
    loop {
        socket.write_all(&requests).await?;
    }
}

fn repeated(request: &str) -> Vec<u8> {
    request.repeat(PIECE / request.len()).into_bytes()
}

async fn read_all(socket: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 4 << 10];
    while socket.read(&mut answer).await? > 0 {}
    Ok(())
}

/// A media stream whose first frame never comes to its end.
async fn huge_frame(mut socket: TcpStream, target: SocketAddr) -> io::Result<()> {
    let signature = sign(AUTH_TOKEN, &format!("ws://{target}/api/voice/stream"), &[]);
    let headers = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Twilio-Signature: {signature}\r\n"
    );
    socket.write_all(request(target, "GET /api/voice/stream", &headers, "").as_bytes()).await?;
    let mut answer = [0; 1 << 10];
    let length = socket.read(&mut answer).await?;
    if !answer[..length].starts_with(b"HTTP/1.1 101") {
        return Err(io::Error::other("the stream is refused"));
    }
    let mut header = vec![0x81, 0x80 | 127]; // text, masked, with a length of eight bytes
    header.extend(ANNOUNCED.to_be_bytes());
    header.extend([0; 4]);
    socket.write_all(&header).await?;
    let bytes = vec![b'x'; PIECE];
    loop {
        socket.write_all(&bytes).await?;
    }
}
