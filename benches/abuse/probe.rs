//! How soon signed webhooks are answered meanwhile, each on a connection of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actors::wire::twilio::signature::sign;
use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, timeout};

use crate::place::Place;
use crate::program::AUTH_TOKEN;

const EVERY: Duration = Duration::from_millis(25);
/// Twilio waits no longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// What became of the webhooks since they were counted anew.
#[derive(Clone)]
pub struct Answers {
    /// Microseconds to each answer.
    pub latencies: Histogram<u64>,
    pub missed: u64,
}

impl Answers {
    fn none_yet() -> Self {
        let most_us = ANSWERED_WITHIN.as_micros() as u64;
        let latencies = Histogram::new_with_bounds(1, most_us, 3).expect("the bounds are valid");
        Self { latencies, missed: 0 }
    }
}

/// Asks until its drop.
pub struct Probe {
    answers: Arc<Mutex<Answers>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    pub fn start(target: SocketAddr, place: Place) -> anyhow::Result<Self> {
        let answers = Arc::new(Mutex::new(Answers::none_yet()));
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = answers.clone();
        let asks = async move {
            let mut ticks = interval(EVERY);
            loop {
                ticks.tick().await;
                let answers = shared.clone();
                tokio::spawn(async move {
                    let begun = Instant::now();
                    let answered = matches!(timeout(ANSWERED_WITHIN, ring(target)).await, Ok(Ok(())));
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    if answered {
                        answers.latencies.saturating_record(begun.elapsed().as_micros() as u64);
                    } else {
                        answers.missed += 1;
                    }
                });
            }
        };
        let thread = thread::Builder::new().name("probe".into()).spawn(move || {
            place.take_for_load().expect("the CPU was there a moment ago");
            runtime.block_on(async {
                tokio::select! {
                    () = asks => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { answers, stop: Some(stop), thread: Some(thread.context("the probe starts")?) })
    }

    /// What became of those that ended since this was asked last.
    pub fn take(&self) -> Answers {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *answers, Answers::none_yet())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Another call rings, and is told that all lines are busy.
async fn ring(target: SocketAddr) -> anyhow::Result<()> {
    let call_sid = format!("CA{:032x}", rand::random::<u128>());
    let parameters = [
        ("CallSid", &*call_sid),
        ("From", "+14155550101"),
        ("To", "+15005550006"),
        ("CallStatus", "ringing"),
    ];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let signed = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let signature = sign(AUTH_TOKEN, &format!("http://{target}/api/voice/incoming"), &signed);
    let request = format!(
        "POST /api/voice/incoming HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         X-Twilio-Signature: {signature}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(target).await?;
    socket.set_nodelay(true)?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = [0; 2 << 10];
    let length = socket.read(&mut answer).await?;
    ensure!(answer[..length].starts_with(b"HTTP/1.1 200"), "refused");
    Ok(())
}
