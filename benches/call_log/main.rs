//! The call log of a busy year: how long the program takes to answer `GET /api/call-logs`, ten requests at a
//! time.
//!
//! `cargo bench --bench call_log -- --calls 1000000` fills a private PostgreSQL (5 GB for a million calls
//! with ten million turns) that has 2 GB of memory, starts the program on it and prints a table: for each
//! question the median, the 95th and the 99th percentile in milliseconds, over HTTP on this machine. The
//! targets, for a million calls, are a P95 under 20 ms, and under 100 ms for a search. Nothing is left
//! behind.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use chrono::{NaiveDate, TimeDelta, Utc};
use clap::Parser;
use hdrhistogram::Histogram;
use switchboard::private_postgres::PrivatePostgres;
use tokio_postgres::NoTls;

use figures::{Asked, Figures};
use program::Process;

#[path = "../support/figures.rs"]
mod figures;
mod fill;
#[path = "../support/program.rs"]
mod program;

const AT_A_TIME: u64 = 10;
/// A quarter of a machine of 8 GB, as PostgreSQL's manual has it.
const SHARED_BUFFERS: &str = "2GB";
/// Answers that are not counted: the server's memory is cold.
const WARM_UP: u64 = 20;

/// A question: what it is called, how soon it is to be answered (P95, in milliseconds), and the parameters of
/// the request of this number.
type Question = (&'static str, u64, fn(u64) -> String);

const QUESTIONS: [Question; 20] = [
    ("first page", 20, |_| "page=1".into()),
    ("page 1,000", 20, |_| "page=1000".into()),
    ("pages up to 1,000", 20, |n| format!("page={}", 1 + n * 7919 % 1000)),
    ("from", 20, |n| format!("from=%2B1555{:07}", n * 7919 % 100_000)),
    ("to", 20, |n| format!("to=%2B1555019{}", n % 9)),
    ("since and until", 20, |n| format!("since={}&until={}", day(30 + n % 9), day(n % 9))),
    ("outcome, frequent", 20, |_| "outcome=completed".into()),
    ("outcome, rare", 20, |_| "outcome=failed".into()),
    ("urgent", 20, |_| "urgent=true".into()),
    ("with a recording", 20, |_| "hasRecording=true".into()),
    ("without one", 20, |_| "hasRecording=false".into()),
    ("oldest first", 20, |_| "sort=startedAt".into()),
    ("longest first", 20, |_| "sort=-durationSeconds".into()),
    ("cheapest first", 20, |_| "sort=costUsd".into()),
    ("search: in nearly all calls", 100, |n| format!("q=w{}", 1 + n % 5)),
    ("search: in one of 3", 100, |n| format!("q=w{}", 28 + n % 5)),
    ("search: in one of 20", 100, |n| format!("q=w{}", 260 + n % 40)),
    ("search: in one of 100", 100, |n| format!("q=w{}", 1000 + n % 400)),
    ("search: in one of 500", 100, |n| format!("q=w{}", 3500 + n % 1000)),
    ("search: two words", 100, |n| format!("q=w{}+w{}", 20 + n % 20, 1000 + n % 900)),
];

fn day(ago: u64) -> NaiveDate {
    (Utc::now() - TimeDelta::days(ago.cast_signed())).date_naive()
}

#[derive(Parser)]
struct Arguments {
    /// Calls in the log; each has ten turns.
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// Requests for each question.
    #[arg(long, default_value_t = 500)]
    requests: u64,
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.asked.is_for("call_log") {
        return Ok(());
    }
    actix_rt::System::new().block_on(bench(&arguments))
}

async fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = with_memory(folder.path()).await?;
    actors::db::migrate::migrate(postgres.url()).await?;
    let begun = Instant::now();
    fill::fill(postgres.url(), arguments.calls).await.context("the log is filled")?;
    let turns = arguments.calls * fill::TURNS;
    println!("call_log: {} calls and {turns} turns in {:.0?}", arguments.calls, begun.elapsed());

    let mut command = program::serve();
    program::set(&mut command, postgres.url(), folder.path());
    let program = Process::start(command)?;
    let mut figures = Figures::of(format!("call_log-{}", arguments.calls));
    println!("{:<30} {:>8} {:>8} {:>8}  target", "ms, 10 at a time", "P50", "P95", "P99");
    for (name, target, parameters) in QUESTIONS {
        ask(&program, WARM_UP, parameters).await?;
        let times = ask(&program, arguments.requests, parameters).await?;
        let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        let verdict = if ms(0.95) < target as f64 { "met" } else { "NOT met" };
        println!("{name:<30} {:>8.1} {:>8.1} {:>8.1}  P95 < {target} {verdict}", ms(0.5), ms(0.95), ms(0.99));
        figures.add(format!("{name}: P95, ms"), [ms(0.95)]);
    }
    figures.finish(&arguments.asked)
}

/// A cluster with the memory of a server of this size: by default PostgreSQL takes 128 MB, whatever the
/// machine has.
async fn with_memory(folder: &Path) -> anyhow::Result<PrivatePostgres> {
    let postgres = PrivatePostgres::start(folder)?;
    let (client, connection) = tokio_postgres::connect(postgres.url(), NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("ALTER SYSTEM SET shared_buffers = '{SHARED_BUFFERS}'")).await?;
    drop(client);
    connection.await??;
    postgres.stop();
    Ok(PrivatePostgres::start(folder)?)
}

/// Asks so often and answers the times in microseconds.
async fn ask(
    program: &Process,
    requests: u64,
    parameters: fn(u64) -> String,
) -> anyhow::Result<Histogram<u64>> {
    let numbers = Cell::new(0);
    let clients = (0..AT_A_TIME).map(async |_| {
        let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
        let mut times = Histogram::<u64>::new(3)?;
        while numbers.get() < requests {
            let number = numbers.replace(numbers.get() + 1);
            let url = format!("http://{}/api/call-logs?{}", program.address, parameters(number));
            let begun = Instant::now();
            let mut response = client.get(&url).send().await.map_err(|error| anyhow!("{url}: {error}"))?;
            let body = response.body().limit(1 << 20).await?;
            times.record(begun.elapsed().as_micros().try_into()?)?;
            ensure!(
                response.status() == 200,
                "{url}: {} {}",
                response.status(),
                String::from_utf8_lossy(&body)
            );
        }
        Ok(times)
    });
    let mut all = Histogram::new(3)?;
    for times in futures_util::future::try_join_all(clients).await? {
        all.add(times)?;
    }
    Ok(all)
}
