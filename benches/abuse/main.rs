//! What 20 live calls suffer while strangers abuse the program's connections.
//!
//! For each attack the real program runs anew, with PostgreSQL and the simulated service of `call_path`, and
//! has as many calls as it takes. The latency of their frames from one end to the other, the program's
//! memory, and how soon further webhooks are answered are measured without the attack and then with it. A
//! webhook has a connection of its own. The program has a core to itself; callers and attackers share another
//! one, on which the callers go first.
//!
//! `cargo bench --bench abuse`; with `-- --attack idle` only those whose name has this in it. Without
//! `--bench`, as under `cargo test`, nothing is measured.

use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use switchboard::descriptors;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use attacks::{Attack, Running};
use figures::{Asked, Figures};
use load::{Load, Pace, ms};
use probe::{Answers, Probe};
use subject::{Ground, Kind, Subject};

mod attacks;
#[path = "../call_path/caller.rs"]
mod caller;
#[path = "../call_path/certificate.rs"]
mod certificate;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../call_path/load.rs"]
#[allow(dead_code)] // `call_path` asks more of it
mod load;
#[path = "../call_path/place.rs"]
mod place;
mod probe;
#[path = "../support/program.rs"]
mod program;
#[path = "../call_path/service.rs"]
mod service;
#[path = "../call_path/subject.rs"]
#[allow(dead_code)]
mod subject;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as the program has it

const CALLS: u32 = 20;
/// For buffers to grow as far as they will without an attack.
const SETTLE: Duration = Duration::from_secs(3);
const BEFORE: Duration = Duration::from_secs(2);
const DURING: Duration = Duration::from_secs(6);
/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// From one end of a call to the other, at the 99th percentile: what is added to it is less.
const P99_MS_AIM: f64 = 20.0;
/// How much memory an attack may take.
const GROWTH_MIB_AIM: f64 = 32.0;

#[derive(Parser)]
struct Arguments {
    /// Only attacks whose name has this in it
    #[arg(long)]
    attack: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

/// Every websocket of the bench: small buffers, and each message written at once.
fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(8 << 10).write_buffer_size(0)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.asked.is_for("abuse") {
        return ExitCode::SUCCESS;
    }
    match bench(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("abuse: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no call failed and no frame was lost.
fn bench(arguments: &Arguments) -> anyhow::Result<bool> {
    descriptors::raise();
    let ground = Ground::lay()?;
    println!("abuse: {CALLS} calls, {BEFORE:?} without each attack and {DURING:?} with it, {}", ground.place);
    println!(
        "{:<22} {:>15} {:>15} {:>17} {:>17} {:>10} {:>7} {:>6} {:>6}  aim",
        "attack", "frames, ms", "attacked", "webhooks, ms", "attacked", "MiB", "growth", "failed", "lost"
    );
    let mut figures = Figures::of("abuse");
    let mut is_whole = true;
    let wanted = |attack: &Attack| {
        arguments.attack.as_ref().is_none_or(|name| attack.as_str().contains(name.as_str()))
    };
    for attack in Attack::ALL.into_iter().filter(wanted) {
        let outcome = suffer(attack, &ground)?;
        outcome.report(attack, &mut figures);
        is_whole &= outcome.failed == 0 && outcome.lost == 0;
    }
    figures.finish(&arguments.asked)?;
    Ok(is_whole)
}

/// What was measured over some time.
struct Window {
    /// Of frames both ways, in microseconds.
    frames: Histogram<u64>,
    webhooks: Answers,
    /// The program's memory, at the most.
    resident_kib: u64,
}

impl Window {
    fn measure(subject: &Subject, load: &Load, probe: &Probe, length: Duration) -> anyhow::Result<Self> {
        load.forget_latencies();
        probe.take();
        let end = Instant::now() + length;
        let mut resident_kib = 0;
        while Instant::now() < end {
            resident_kib = resident_kib.max(subject.resident_kib()?);
            sleep(LOOK);
        }
        let latencies = load.latencies();
        let mut frames = latencies.up;
        frames.add(&latencies.down)?;
        Ok(Self { frames, webhooks: probe.take(), resident_kib })
    }
}

/// What became of the calls.
struct Outcome {
    before: Window,
    during: Window,
    /// Ends of calls.
    failed: u32,
    lost: u64,
}

fn suffer(attack: Attack, ground: &Ground) -> anyhow::Result<Outcome> {
    let load = Load::start(Kind::Program, ground.place, ground.tls.clone())?;
    let subject = Subject::start_as(command(attack), Kind::Program, load.service, ground, CALLS)?;
    load.set_pace(Pace::Realtime);
    load.call(subject.address(), 0..CALLS)?;
    let probe = Probe::start(subject.address(), ground.place)?;
    sleep(SETTLE);
    let before = Window::measure(&subject, &load, &probe, BEFORE)?;
    let running = Running::start(attack, subject.address(), ground.place)?;
    let during = Window::measure(&subject, &load, &probe, DURING)?;
    drop(running);
    drop(probe);
    let lost = load.settle().iter().map(|way| way.sent.saturating_sub(way.heard)).sum();
    let failed = load.faults();
    if let Err(fault) = load.check() {
        eprintln!("{}: {fault:#}", attack.as_str());
    }
    drop(subject); // before its load, which would otherwise look to it like lost calls
    Ok(Outcome { before, during, failed, lost })
}

/// The program, with the descriptors that the attack leaves it. It logs what it is meant to log, and nobody
/// reads it.
fn command(attack: Attack) -> Command {
    let mut serve = program::serve();
    if let Some(descriptors) = attack.descriptors() {
        let mut command = Command::new("sh");
        let script = format!(r#"ulimit -n {descriptors}; exec "$0" "$@""#);
        command.arg("-c").arg(script).arg(serve.get_program()).args(serve.get_args());
        serve = command;
    }
    serve.stderr(Stdio::null());
    serve
}

impl Outcome {
    fn report(&self, attack: Attack, figures: &mut Figures) {
        let Self { before, during, failed, lost } = self;
        let name = attack.as_str();
        let growth = (during.resident_kib as f64 - before.resident_kib as f64) / 1024.0;
        let p99 = ms(&during.frames, 0.99);
        figures.add(format!("{name}: p99 of frames, ms"), [p99]);
        figures.add(format!("{name}: p99 of webhooks, ms"), [ms(&during.webhooks.latencies, 0.99)]);
        figures.add(format!("{name}: memory, MiB more"), [growth]);
        let is_met = p99 <= P99_MS_AIM
            && growth < GROWTH_MIB_AIM
            && during.webhooks.missed == 0
            && *failed == 0
            && *lost == 0;
        let pair = |latencies| format!("{:.1}/{:.1}", ms(latencies, 0.5), ms(latencies, 0.99));
        let webhooks = match &during.webhooks {
            Answers { latencies, missed: 0 } => pair(latencies),
            Answers { latencies, missed } => format!("{} ({missed} not)", pair(latencies)),
        };
        println!(
            "{name:<22} {:>15} {:>15} {:>17} {webhooks:>17} {:>10.1} {growth:>+7.1} {failed:>6} {lost:>6}  {}",
            pair(&before.frames),
            pair(&during.frames),
            pair(&before.webhooks.latencies),
            before.resident_kib as f64 / 1024.0,
            if is_met { "met" } else { "NOT met" },
        );
    }
}
