//! Ten thousand signed calls at once on a house of twenty slots: exactly twenty are admitted, and each caller
//! is answered. How soon counts from the moment at which all of them rang.
//!
//! The program has a core to itself, the callers another one. Each window starts it anew. With
//! `BENCH_BESIDE=PROGRAM`, windows of that program, for instance an older build, take turns with it.
//!
//! `cargo bench --bench admission`. Without `--bench`, as under `cargo test`, nothing is measured.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use actors::wire::twilio::signature::sign;
use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use figures::{Asked, Figures};
use program::AUTH_TOKEN;
use subject::{Ground, Kind, Subject};

#[path = "call_path/certificate.rs"]
mod certificate;
#[path = "support/figures.rs"]
mod figures;
#[path = "call_path/place.rs"]
mod place;
#[path = "support/program.rs"]
mod program;
#[path = "call_path/subject.rs"]
#[allow(dead_code)] // `call_path` asks more of it
mod subject;

const PATH: &str = "/api/voice/incoming";
const CALLS: u32 = 10_000;
const SLOTS: u32 = 20;
/// Calls that ring at the same time share so many connections, as they do behind a proxy.
const CONNECTIONS: u32 = 500;
const WINDOWS: usize = 5;
/// A slot that nobody claims is free again after 15 s: a storm that takes longer would admit more.
const DEADLINE: Duration = Duration::from_secs(14);
/// Of the program's P99, divided by that of the one beside it.
const RATIO_AIM: f64 = 0.5;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<()> {
    let Arguments { asked } = Arguments::parse();
    if !asked.is_for("admission") {
        return Ok(());
    }
    let ground = Ground::lay()?;
    let beside = std::env::var_os("BENCH_BESIDE");
    let mut figures = Figures::of("admission");
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        own.push(window(program::serve(), &ground)?);
        if let Some(beside) = &beside {
            let mut command = Command::new(beside);
            command.arg("serve");
            others.push(window(command, &ground)?);
        }
    }
    let p50 = figures.add("p50, ms", own.iter().map(|window| window.p50));
    let p99 = figures.add("p99, ms", own.iter().map(|window| window.p99));
    println!("admission: {CALLS} calls at once, {SLOTS} admitted, answered after {p50}/{p99} ms (p50/p99)");
    if !others.is_empty() {
        let other = figures.add("beside: p99, ms", others.iter().map(|window| window.p99));
        let ratio =
            figures.add("p99 by beside", own.iter().zip(&others).map(|(own, other)| own.p99 / other.p99));
        let is_met = if ratio.median <= RATIO_AIM { "met" } else { "NOT met" };
        println!("admission: the other program's p99 {other} ms; this one's by it {ratio}; aim {is_met}");
    }
    figures.finish(&asked)
}

struct Window {
    p50: f64,
    p99: f64,
}

fn window(mut command: Command, ground: &Ground) -> anyhow::Result<Window> {
    command.stderr(Stdio::null()); // it logs each refused caller
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // It takes connections and never says a word: nobody gives a slot up within the window.
    let service = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let subject = Subject::start_as(command, Kind::Program, service.local_addr()?, ground, SLOTS)?;
    ground.place.take_for_load()?;
    let storm = runtime.block_on(async { timeout(DEADLINE, storm(subject.address())).await });
    let (admitted, latencies) = storm.context("not all were answered in time")??;
    ensure!(admitted == SLOTS, "{admitted} were admitted to {SLOTS} slots");
    let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(Window { p50: ms(0.5), p99: ms(0.99) })
}

/// How many were admitted, and microseconds to each answer.
async fn storm(address: SocketAddr) -> anyhow::Result<(u32, Histogram<u64>)> {
    let opened = (0..CONNECTIONS).map(|number| async move {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let calls = (number..CALLS).step_by(CONNECTIONS as usize);
        anyhow::Ok((socket, calls.map(|call| request(address, call)).collect::<Vec<_>>()))
    });
    let connections = try_join_all(opened).await?;
    let begun = Instant::now();
    let callers = connections.into_iter().map(|(mut socket, requests)| async move {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            socket.write_all(request.as_bytes()).await?;
            answers.push((is_admitted(&mut socket).await?, begun.elapsed()));
        }
        anyhow::Ok(answers)
    });
    let mut latencies = Histogram::new(3)?;
    let mut admitted = 0;
    for (is_admitted, after) in try_join_all(callers).await?.into_iter().flatten() {
        admitted += u32::from(is_admitted);
        latencies.record(after.as_micros() as u64)?;
    }
    Ok((admitted, latencies))
}

/// Reads one answer to its end.
async fn is_admitted(socket: &mut TcpStream) -> anyhow::Result<bool> {
    let mut answer = Vec::with_capacity(4 << 10);
    loop {
        ensure!(socket.read_buf(&mut answer).await? > 0, "the program has closed the connection");
        let text = String::from_utf8_lossy(&answer);
        if text.trim_end().ends_with("</Response>") {
            ensure!(text.starts_with("HTTP/1.1 200"), "answered: {text}");
            return Ok(text.contains("<Stream"));
        }
        if answer.len() > 64 << 10 || (text.contains("\r\n\r\n") && !text.starts_with("HTTP/1.1 200")) {
            bail!("answered: {text}");
        }
    }
}

/// As Twilio tells that a call rings.
fn request(address: SocketAddr, call: u32) -> String {
    let parameters = [
        ("AccountSid", "AC00000000000000000000000000000001".to_owned()),
        ("ApiVersion", "2010-04-01".to_owned()),
        ("CallSid", format!("CA{call:032x}")),
        ("CallStatus", "ringing".to_owned()),
        ("CallToken", "%7B%22parentCallInfoToken%22%3A%22none%22%7D".to_owned()),
        ("Called", "+15005550006".to_owned()),
        ("CalledCity", "OAKLAND".to_owned()),
        ("CalledCountry", "US".to_owned()),
        ("CalledState", "CA".to_owned()),
        ("CalledZip", "94601".to_owned()),
        ("Caller", format!("+1415{call:07}")),
        ("CallerCity", "SAN FRANCISCO".to_owned()),
        ("CallerCountry", "US".to_owned()),
        ("CallerState", "CA".to_owned()),
        ("CallerZip", "94105".to_owned()),
        ("Direction", "inbound".to_owned()),
        ("From", format!("+1415{call:07}")),
        ("StirVerstat", "TN-Validation-Passed-A".to_owned()),
        ("To", "+15005550006".to_owned()),
        ("ToCountry", "US".to_owned()),
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
