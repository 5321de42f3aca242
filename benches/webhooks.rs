//! How many signed webhooks a second the real program acknowledges when they are durable, and how soon it has
//! processed them: everything on one machine, this load included.
//!
//! First as fast as 64 senders can, each of which waits for its answer; then 3,000 a second, where a late
//! answer delays nobody else and counts from when the webhook was due. At the end the table has each one
//! once.
//!
//! `cargo bench --bench webhooks`. Without `--bench`, as under `cargo test`, nothing is measured.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actors::wire::twilio::signature::sign;
use anyhow::{Context as _, bail, ensure};
use chrono::Utc;
use clap::Parser;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use switchboard::private_postgres::PrivatePostgres;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::NoTls;

use figures::{Asked, Figures};
use program::{AUTH_TOKEN, Process};

#[path = "support/figures.rs"]
mod figures;
#[path = "support/program.rs"]
mod program;

const PATH: &str = "/api/voice/conference-events";
const SENDERS: u32 = 64;
const WINDOW: Duration = Duration::from_secs(5);
/// Webhooks a second.
const PACE: u32 = 3_000;
const RATE_AIM: f64 = 3_000.0;
const P99_AIM_MS: f64 = 50.0;
/// Everything is processed within this, or never.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<()> {
    let Arguments { asked } = Arguments::parse();
    if !asked.is_for("webhooks") {
        return Ok(());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(bench(&asked))
}

async fn bench(asked: &Asked) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = PrivatePostgres::start(folder.path())?;
    actors::db::migrate::migrate(postgres.url()).await?;
    let mut command = program::serve();
    program::set(&mut command, postgres.url(), folder.path());
    let program = Process::start(command)?;
    let (database, connection) = tokio_postgres::connect(postgres.url(), NoTls).await?;
    tokio::spawn(connection);

    let mut figures = Figures::of("webhooks");
    let mut sent = 0;
    for pace in [None, Some(PACE)] {
        let window = measure(program.address, pace, sent).await?;
        let posted_at = Instant::now();
        sent += window.len() as u32;
        let processed = timeout(DEADLINE, all_processed(&database)).await.context("not all was processed")?;
        let rows = processed?;
        ensure!(rows == i64::from(sent), "{sent} were acknowledged, and {rows} are there");
        report(pace, &window, posted_at.elapsed(), &mut figures);
    }
    figures.finish(asked)
}

/// Waits until nothing is left to do; how many there are.
async fn all_processed(database: &tokio_postgres::Client) -> anyhow::Result<i64> {
    let question = "SELECT count(*), count(*) FILTER (WHERE state = 'done') FROM webhooks";
    loop {
        let row = database.query_one(question, &[]).await?;
        let (all, done): (i64, i64) = (row.get(0), row.get(1));
        if all == done {
            return Ok(all);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Microseconds to each answer.
async fn measure(address: SocketAddr, pace: Option<u32>, first: u32) -> anyhow::Result<Histogram<u64>> {
    let window = Rc::new(RefCell::new(Histogram::<u64>::new(3)?));
    let next = Rc::new(RefCell::new(first));
    let begun = Instant::now();
    let senders = (0..SENDERS).map(|_| {
        let (window, next) = (Rc::clone(&window), Rc::clone(&next));
        async move {
            let mut socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let mut answer = [0; 4096];
            loop {
                let number = next.replace_with(|number| *number + 1);
                let due = match pace {
                    Some(pace) => begun + Duration::from_secs(1) * (number - first) / pace,
                    None => Instant::now(),
                };
                if due > begun + WINDOW {
                    return anyhow::Ok(());
                }
                sleep_until(due).await;
                socket.write_all(request(address, number).as_bytes()).await?;
                let length = socket.read(&mut answer).await?;
                // The answer to a webhook has no body, and arrives whole.
                if !answer[..length].starts_with(b"HTTP/1.1 204") {
                    bail!("answered: {}", String::from_utf8_lossy(&answer[..length]));
                }
                window.borrow_mut().record(due.elapsed().as_micros() as u64)?;
            }
        }
    });
    try_join_all(senders).await?;
    Ok(window.borrow().clone())
}

/// As Twilio tells that somebody has joined a conference.
fn request(address: SocketAddr, number: u32) -> String {
    let parameters = [
        ("AccountSid", "AC00000000000000000000000000000001".to_owned()),
        ("CallSid", format!("CA{:032x}", number % 1_000)),
        ("Coaching", "false".to_owned()),
        ("ConferenceSid", format!("CF{:032x}", number % 500)),
        ("EndConferenceOnExit", "false".to_owned()),
        ("FriendlyName", "handoff".to_owned()),
        ("Hold", "false".to_owned()),
        ("Muted", "false".to_owned()),
        ("SequenceNumber", number.to_string()),
        ("StartConferenceOnEnter", "true".to_owned()),
        ("StatusCallbackEvent", "participant-join".to_owned()),
        ("Timestamp", Utc::now().to_rfc2822()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
    let signature = sign(AUTH_TOKEN, &format!("http://{address}{PATH}"), &parameters);
    format!(
        "POST {PATH} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         X-Twilio-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn report(pace: Option<u32>, window: &Histogram<u64>, caught_up: Duration, figures: &mut Figures) {
    let ms = |quantile| window.value_at_quantile(quantile) as f64 / 1_000.0;
    let rate = window.len() as f64 / WINDOW.as_secs_f64();
    let is_met = match pace {
        Some(_) => ms(0.99) <= P99_AIM_MS,
        None => rate >= RATE_AIM,
    };
    let pace = pace.map_or_else(|| "as fast as possible".to_owned(), |pace| format!("{pace} a second"));
    figures.add(format!("{pace}: acknowledged a second"), [rate]);
    figures.add(format!("{pace}: p99, ms"), [ms(0.99)]);
    figures.add(format!("{pace}: all processed, s later"), [caught_up.as_secs_f64()]);
    println!(
        "webhooks, {pace}: {rate:.0} a second acknowledged, {:.1}/{:.1}/{:.1} ms (p50/p99/most), all processed {:.1} s \
         later; aim {}",
        ms(0.5),
        ms(0.99),
        window.max() as f64 / 1_000.0,
        caught_up.as_secs_f64(),
        if is_met { "met" } else { "NOT met" },
    );
}
