//! The load: both ends of many calls, on one thread of its own, the same for the program and for the bare
//! relay.
//!
//! Each caller sends a frame every 20 ms, each agent a piece of voice every 20 or every 200 ms, on a schedule
//! that does not wait for anybody; calls are spread over it. Every piece of audio carries a [`Tag`], by which
//! the other end knows its call, its place and when it was sent.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, interval_at, sleep_until};
use tokio_rustls::TlsAcceptor;

use crate::place::Place;
use crate::subject::Kind;
use crate::{caller, service};

/// Of a frame, and of the schedule.
pub const FRAME: Duration = Duration::from_millis(20);
/// Between two calls that begin, at the least.
const RAMP: Duration = Duration::from_millis(4);
/// For all calls to be live, and for the last frames to arrive.
const DEADLINE: Duration = Duration::from_secs(30);

/// A longer latency counts as this one.
const LONGEST_US: u64 = 10_000_000;

/// How the agent's voice comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// 20 ms each 20 ms.
    Realtime,
    /// 200 ms each 200 ms.
    Burst,
}

impl fmt::Display for Pace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Realtime => "realtime",
            Self::Burst => "burst",
        })
    }
}

/// Latencies of both directions, in microseconds.
pub struct Latencies {
    pub up: Histogram<u64>,
    pub down: Histogram<u64>,
}

impl Latencies {
    pub fn none() -> Self {
        Self { up: none_yet(), down: none_yet() }
    }

    pub fn add(&mut self, more: &Self) -> anyhow::Result<()> {
        self.up.add(&more.up)?;
        Ok(self.down.add(&more.down)?)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [up, down] = [&self.up, &self.down].map(|way| (ms(way, 0.5), ms(way, 0.99)));
        write!(formatter, "up {:.2}/{:.2} ms, down {:.2}/{:.2} ms (p50/p99)", up.0, up.1, down.0, down.1)
    }
}

/// In milliseconds.
pub fn ms(microseconds: &Histogram<u64>, quantile: f64) -> f64 {
    microseconds.value_at_quantile(quantile) as f64 / 1000.0
}

/// What has passed in a direction since the calls began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Passed {
    pub sent: u64,
    pub heard: u64,
    /// Heard in another call or not in its turn.
    pub misplaced: u64,
}

/// One direction: from the callers to the service, or back.
pub struct Way {
    sent: AtomicU64,
    heard: AtomicU64,
    misplaced: AtomicU64,
    /// Calls of which something was heard.
    live: AtomicU32,
    latencies: Mutex<Histogram<u64>>,
}

impl Way {
    fn new() -> Self {
        Self {
            sent: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            misplaced: AtomicU64::new(0),
            live: AtomicU32::new(0),
            latencies: Mutex::new(none_yet()),
        }
    }

    pub fn passed(&self) -> Passed {
        Passed {
            sent: self.sent.load(Relaxed),
            heard: self.heard.load(Relaxed),
            misplaced: self.misplaced.load(Relaxed),
        }
    }

    fn latencies(&self) -> MutexGuard<'_, Histogram<u64>> {
        locked(&self.latencies)
    }
}

fn none_yet() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What both ends of all calls share.
pub struct State {
    pub kind: Kind,
    /// Of the schedule; tags count their time from it.
    origin: Instant,
    burst: AtomicBool,
    quiet: AtomicBool,
    pub up: Way,
    pub down: Way,
    /// How late callers were to speak, in microseconds.
    lag: Mutex<Histogram<u64>>,
    fault: Mutex<Option<String>>,
    /// How many ends of calls failed.
    faults: AtomicU32,
}

impl State {
    pub fn pace(&self) -> Pace {
        if self.burst.load(Relaxed) { Pace::Burst } else { Pace::Realtime }
    }

    /// Nothing is to be sent.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Relaxed)
    }

    /// A tick each 20 ms, `offset` after the schedule's own; with it the number of the first one.
    pub fn ticks(&self, offset: Duration) -> (u64, Interval) {
        let number = (self.origin.elapsed().as_micros() / FRAME.as_micros()) as u64 + 1;
        (number, interval_at(self.origin + FRAME * number as u32 + offset, FRAME))
    }

    /// A caller's tick of this moment has come.
    pub fn ticked(&self, due: Instant) {
        locked(&self.lag).saturating_record(due.elapsed().as_micros() as u64);
    }

    /// The tag of the next piece that `call` sends on this way.
    pub fn tag(&self, way: &Way, call: u32, sequence: &mut u32) -> Tag {
        way.sent.fetch_add(1, Relaxed);
        let tag = Tag { call, sequence: *sequence, sent_us: self.now_us() };
        *sequence += 1;
        tag
    }

    /// A piece has arrived; `last` is the tag of the one before it on the same socket.
    pub fn heard(&self, way: &Way, audio: &str, last: &mut Option<Tag>) {
        let Some(tag) = Tag::parse(audio) else {
            way.misplaced.fetch_add(1, Relaxed);
            return;
        };
        way.heard.fetch_add(1, Relaxed);
        let in_place = match *last {
            None => tag.sequence == 0,
            Some(last) => (tag.call, tag.sequence) == (last.call, last.sequence + 1),
        };
        if !in_place {
            way.misplaced.fetch_add(1, Relaxed);
        }
        if last.replace(tag).is_none() {
            way.live.fetch_add(1, Relaxed);
        }
        way.latencies().saturating_record(u64::from(self.now_us().saturating_sub(tag.sent_us)));
    }

    /// One end of a call failed; the first fault is kept.
    pub fn failed(&self, error: &anyhow::Error) {
        self.faults.fetch_add(1, Relaxed);
        locked(&self.fault).get_or_insert_with(|| format!("{error:#}"));
    }

    fn now_us(&self) -> u32 {
        self.origin.elapsed().as_micros() as u32
    }
}

/// What the first characters of each piece's base64 say; the rest of it is silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    call: u32,
    sequence: u32,
    sent_us: u32,
}

impl Tag {
    const CHARACTERS: usize = 24;

    /// The base64 of `ms` of μ-law silence, without the part where a tag goes.
    pub fn tail(ms: usize) -> String {
        let bytes = ms * 8;
        let (whole, rest) = (bytes / 3 * 4, bytes % 3);
        let end = ["", "/w==", "//8="][rest];
        "/".repeat(whole - Self::CHARACTERS) + end
    }

    fn parse(audio: &str) -> Option<Self> {
        let field = |at: usize| u32::from_str_radix(audio.get(at..at + 8)?, 16).ok();
        Some(Self { call: field(0)?, sequence: field(8)?, sent_us: field(16)? })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}{:08x}{:08x}", self.call, self.sequence, self.sent_us)
    }
}

/// The running load; its drop ends its calls.
pub struct Load {
    state: Arc<State>,
    /// Where the service is to be found.
    pub service: SocketAddr,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts the service's end. A subject that has TLS finds it there.
    pub fn start(kind: Kind, place: Place, tls: TlsAcceptor) -> anyhow::Result<Self> {
        let state = Arc::new(State {
            kind,
            origin: Instant::now(),
            burst: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
            up: Way::new(),
            down: Way::new(),
            lag: Mutex::new(none_yet()),
            fault: Mutex::new(None),
            faults: AtomicU32::new(0),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, start) = mpsc::channel();
        let shared = state.clone();
        let thread = thread::Builder::new().name("load".into()).spawn(move || {
            place.take_for_load().expect("the CPU was there a moment ago");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime needs an epoll and a pipe");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
                let address = listener.local_addr().expect("a bound socket has an address");
                let _ = started.send((address, Handle::current()));
                tokio::select! {
                    () = service::serve(shared, listener, tls) => {}
                    _ = stopped => {}
                }
            });
        })?;
        let (service, runtime) = start.recv().context("the load starts")?;
        Ok(Self { state, service, runtime, stop: Some(stop), thread: Some(thread) })
    }

    /// Begins the calls of these numbers, each when the stream of the one before it is open, and waits until
    /// all of them are heard both ways.
    pub fn call(&self, subject: SocketAddr, numbers: Range<u32>) -> anyhow::Result<()> {
        let calls = numbers.end;
        let state = self.state.clone();
        self.runtime.spawn(async move {
            for number in numbers {
                let next_at = Instant::now() + RAMP;
                let failed = move |error: anyhow::Error| error.context(format!("caller {number}"));
                let line = match caller::dial(&state, subject, number).await {
                    Ok(line) => line,
                    Err(error) => return state.failed(&failed(error)),
                };
                let shared = state.clone();
                tokio::spawn(async move {
                    if let Err(error) = caller::talk(&shared, line).await {
                        shared.failed(&failed(error));
                    }
                });
                sleep_until(next_at).await;
            }
        });
        let is_live = |state: &State| state.up.live.load(Relaxed).min(state.down.live.load(Relaxed)) == calls;
        self.wait(&format!("{calls} calls are live"), is_live)
    }

    /// How many are live.
    pub fn calls(&self) -> u32 {
        self.state.up.live.load(Relaxed)
    }

    pub fn set_pace(&self, pace: Pace) {
        self.state.burst.store(pace == Pace::Burst, Relaxed);
    }

    /// Whether the calls are silent, both ways. The program takes a silence of over 750 ms for a hole, and
    /// fills it.
    pub fn set_quiet(&self, is_quiet: bool) {
        self.state.quiet.store(is_quiet, Relaxed);
    }

    /// Latencies count from here.
    pub fn forget_latencies(&self) {
        self.state.up.latencies().reset();
        self.state.down.latencies().reset();
    }

    /// Those of the way up and down since they were forgotten.
    pub fn latencies(&self) -> Latencies {
        Latencies { up: self.state.up.latencies().clone(), down: self.state.down.latencies().clone() }
    }

    /// How late its callers were to speak.
    pub fn lag(&self) -> Histogram<u64> {
        locked(&self.state.lag).clone()
    }

    /// # Errors
    /// A call has failed: what was measured is of fewer calls than it says.
    pub fn check(&self) -> anyhow::Result<()> {
        match &*locked(&self.state.fault) {
            Some(fault) => bail!("{fault}"),
            None => Ok(()),
        }
    }

    /// How many ends of calls have failed.
    #[allow(dead_code, reason = "not every bench that shares this file counts them")]
    pub fn faults(&self) -> u32 {
        self.state.faults.load(Relaxed)
    }

    /// As [`Self::settle`] does.
    ///
    /// # Errors
    /// A call has failed.
    pub fn finish(&self) -> anyhow::Result<[Passed; 2]> {
        let passed = self.settle();
        self.check()?;
        Ok(passed)
    }

    /// Sends nothing more, lets arrive what is under way, and answers what passed up and down.
    pub fn settle(&self) -> [Passed; 2] {
        self.set_quiet(true);
        let passed = || [self.state.up.passed(), self.state.down.passed()];
        let has_arrived = |_: &State| passed().iter().all(|way| way.heard >= way.sent);
        // What has not by now is lost, and counted so.
        let _ = self.wait("all frames have arrived", has_arrived);
        passed()
    }

    fn wait(&self, what: &str, holds: impl Fn(&State) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.check()?;
            if holds(&self.state) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "waited in vain until {what}: {:?}, {:?}",
                    self.state.up.passed(),
                    self.state.down.passed()
                );
            }
            thread::sleep(FRAME);
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
