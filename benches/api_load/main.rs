//! What the API costs the calls: the latency of audio while nobody asks the API, and while others export and
//! search.
//!
//! The program carries calls that talk. A window without requests to the API and one with them take turns, so
//! that whatever else happens on the machine falls on both alike. In the second one, clients read the whole
//! log as CSV, search it, and read a call of 10,000 turns, each again as soon as it is answered. The program
//! has one CPU for all its threads, which is the worst case: with more, the API's thread and the calls' do
//! not compete.
//!
//! `cargo bench --bench api_load`; `-- --calls 1000000` has the log of a busy year (5 GB on disk),
//! `-- --talking 100` so many calls on the line. Without `--bench`, as under `cargo test`, nothing is
//! measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser;
use futures_util::StreamExt as _;
use futures_util::future::{LocalBoxFuture, try_join_all};
use switchboard::descriptors;
use tokio_postgres::NoTls;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use figures::{Asked, Figures};
use load::{Latencies, Load, Pace, ms};
use subject::{Ground, Kind, Subject};

#[path = "../call_path/caller.rs"]
mod caller;
#[path = "../call_path/certificate.rs"]
mod certificate;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../call_log/fill.rs"]
mod fill;
#[allow(dead_code)] // of what `call_path` has, some
#[path = "../call_path/load.rs"]
mod load;
#[path = "../call_path/place.rs"]
mod place;
#[path = "../support/program.rs"]
mod program;
#[path = "../call_path/service.rs"]
mod service;
#[allow(dead_code)]
#[path = "../call_path/subject.rs"]
mod subject;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as the program has it

/// Windows of each kind.
const ROUNDS: usize = 3;
/// Between a change of the load and the window.
const SETTLE: Duration = Duration::from_secs(1);
/// What exports and searches add to the latency of audio, at the 99th percentile.
const ADDED_MS_AIM: f64 = 5.0;
/// Clients that read the whole log, that search, and that read the long call.
const EXPORTERS: usize = 2;
const SEARCHERS: usize = 4;
const READERS: usize = 1;

const LONG_CALL: &str = "CA00000000000000000000000000000001";
const LONG_CALL_ROWS: &str = "
    INSERT INTO calls (call_sid, epoch, from_number, to_number, instance, started_at, ended_at, outcome, turns)
    VALUES ('CA00000000000000000000000000000001', 1, '+15550001', '+15550199', 'bench', now(), now(), 'completed', 10000);
    INSERT INTO turns (call_sid, ordinal, epoch, speaker, text, started_at, heard_ms)
    SELECT 'CA00000000000000000000000000000001', turn, 1, CASE turn % 2 WHEN 1 THEN 'agent' ELSE 'caller' END,
        repeat('said ', 20), now(), 1000
    FROM generate_series(1, 10000) AS turn";

#[derive(Parser)]
struct Arguments {
    /// Calls in the log; each has ten turns
    #[arg(long, default_value_t = 20_000)]
    calls: u64,
    /// Calls on the line
    #[arg(long, default_value_t = 50)]
    talking: u32,
    /// Seconds of a window
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[command(flatten)]
    asked: Asked,
}

/// Every websocket of the bench: small buffers, and each message written at once.
fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(8 << 10).write_buffer_size(0)
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.asked.is_for("api_load") { bench(&arguments) } else { Ok(()) }
}

fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    descriptors::raise();
    let Arguments { calls, talking, .. } = *arguments;
    let ground = Ground::lay()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill_log(ground.postgres.url(), calls)).context("the log is filled")?;
    println!("api_load: {talking} calls on the line, {calls} in the log, {}", ground.place);

    let load = Load::start(Kind::Program, ground.place, ground.tls.clone())?;
    let subject = Subject::start(Kind::Program, load.service, &ground, talking)?;
    ground.place.take_for_load()?; // with the clients
    load.set_pace(Pace::Burst);
    load.call(subject.address(), 0..talking)?;
    let (mut quiet, mut asked) = (Latencies::none(), Latencies::none());
    let answers = Arc::new(Answers::default());
    for _ in 0..ROUNDS {
        measure(&load, arguments.seconds, &mut quiet)?;
        let clients = Clients::start(format!("http://{}", subject.address()), answers.clone());
        measure(&load, arguments.seconds, &mut asked)?;
        clients.stop()?;
    }
    report(arguments, &quiet, &asked)?;
    println!("the API: {}; the load: {:.2} ms late (p99)", answers.summary()?, ms(&load.lag(), 0.99));
    let lost: u64 = load.finish()?.iter().map(|way| way.sent.saturating_sub(way.heard) + way.misplaced).sum();
    ensure!(lost == 0, "{lost} frames were lost or misplaced");
    Ok(())
}

async fn fill_log(url: &str, calls: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    fill::fill(url, calls).await?;
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute(LONG_CALL_ROWS).await?;
    drop(client);
    connection.await??;
    println!("{calls} calls with {} turns each in {:.0?}", fill::TURNS, begun.elapsed());
    Ok(())
}

/// Adds the latencies of one window.
fn measure(load: &Load, seconds: u64, latencies: &mut Latencies) -> anyhow::Result<()> {
    sleep(SETTLE);
    load.forget_latencies();
    sleep(Duration::from_secs(seconds));
    load.check()?;
    latencies.add(&load.latencies())
}

fn report(arguments: &Arguments, quiet: &Latencies, asked: &Latencies) -> anyhow::Result<()> {
    let Arguments { calls, talking, .. } = *arguments;
    let mut figures = Figures::of(format!("api_load-{talking}-{calls}"));
    println!("nobody asks the API: {quiet}");
    println!("exports and searches: {asked}");
    let ways = [("up", &quiet.up, &asked.up), ("down", &quiet.down, &asked.down)];
    let mut worst = f64::MIN;
    for (way, quiet, asked) in ways {
        let added = |quantile| ms(asked, quantile) - ms(quiet, quantile);
        let (p50, p99) = (added(0.5), added(0.99));
        println!("added {way}: p50 {p50:.2} ms, p99 {p99:.2} ms; longest {:.1} ms", ms(asked, 1.0));
        figures.add(format!("added to p50 {way}, ms"), [p50]);
        figures.add(format!("added to p99 {way}, ms"), [p99]);
        worst = worst.max(p99);
    }
    let verdict = if worst < ADDED_MS_AIM { "met" } else { "NOT met" };
    println!("p99: {worst:.2} ms are added at the most, aim under {ADDED_MS_AIM} ms: {verdict}");
    figures.finish(&arguments.asked)
}

/// What the clients were answered.
#[derive(Default)]
struct Answers {
    exports: AtomicU64,
    export_bytes: AtomicU64,
    searches: AtomicU64,
    long_calls: AtomicU64,
}

impl Answers {
    /// # Errors
    /// Nothing came: then the figures are of calls that nobody disturbed.
    fn summary(&self) -> anyhow::Result<String> {
        let read = |count: &AtomicU64| count.load(Relaxed);
        let (bytes, searches) = (read(&self.export_bytes), read(&self.searches));
        ensure!(bytes > 0 && searches > 0, "the API has answered nothing");
        Ok(format!(
            "{} exports and {:.1} MB of them, {searches} searches, {} calls of 10,000 turns",
            read(&self.exports),
            bytes as f64 / 1e6,
            read(&self.long_calls)
        ))
    }
}

/// Those who ask the API, on a thread of their own, until they are stopped.
struct Clients {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Clients {
    fn start(origin: String, answers: Arc<Answers>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let client = Client { origin, answers, stopped };
            actix_rt::System::new().block_on(client.ask_all())
        });
        Self { stop, thread }
    }

    fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow!("a client panicked"))?
    }
}

struct Client {
    origin: String,
    answers: Arc<Answers>,
    stopped: Arc<AtomicBool>,
}

impl Client {
    async fn ask_all(&self) -> anyhow::Result<()> {
        let mut all: Vec<LocalBoxFuture<'_, anyhow::Result<()>>> = vec![];
        for _ in 0..EXPORTERS {
            let bytes = |count| {
                self.answers.export_bytes.fetch_add(count, Relaxed);
            };
            all.push(Box::pin(self.ask(|_| "/api/call-logs.csv".into(), &self.answers.exports, bytes)));
        }
        for searcher in 0..SEARCHERS as u64 {
            let path = move |n| format!("/api/call-logs?pageSize=200&q=w{}", 20 + (n * 37 + searcher) % 400);
            all.push(Box::pin(self.ask(path, &self.answers.searches, |_| {})));
        }
        for _ in 0..READERS {
            let path = |_| format!("/api/call-logs/{LONG_CALL}");
            all.push(Box::pin(self.ask(path, &self.answers.long_calls, |_| {})));
        }
        try_join_all(all).await.map(drop)
    }

    /// Asks again and again; counts answers, and the bytes of those that are under way, too.
    async fn ask(
        &self,
        path: impl Fn(u64) -> String,
        answers: &AtomicU64,
        bytes: impl Fn(u64),
    ) -> anyhow::Result<()> {
        let client = awc::Client::builder().timeout(Duration::from_secs(600)).finish();
        for number in 0.. {
            let url = format!("{}{}", self.origin, path(number));
            let mut response = client.get(&url).send().await.map_err(|error| anyhow!("{url}: {error}"))?;
            ensure!(response.status() == 200, "{url}: {}", response.status());
            while let Some(piece) = response.next().await {
                bytes(piece?.len() as u64);
                if self.stopped.load(Relaxed) {
                    return Ok(());
                }
            }
            answers.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}
