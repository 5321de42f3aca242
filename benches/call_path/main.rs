//! What a live call costs the real program, beside a bare relay of the same frames in the same run.
//!
//! Both run as processes of their own, at the same time on the same core, each with its own calls, so that whatever
//! else happens on the machine falls on both alike; this process plays the callers and the Realtime service on another
//! core. Marks are echoed when the audio before them would have been played. Measured are the CPU time of each process
//! alone, the time from one end of a call to the other, whether every frame arrives, and what each call more adds to
//! the program's memory. A process that has a core to itself wakes more often and finds colder caches, so it takes more
//! than is said here, and the program, whose code is the larger, perhaps by more than the relay.
//!
//! `cargo bench --bench call_path`; with `-- --quick` the windows are shorter. Without `--bench`, as under `cargo test`,
//! nothing is measured.

use std::ops::Range;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use switchboard::private_postgres::PrivatePostgres;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use load::{Latencies, Load, Pace, Passed};
use subject::{Kind, Subject};

mod bare;
mod caller;
mod load;
mod service;
mod subject;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as the program has it

const CALLS: u32 = 100;
/// Of windows, for each pace.
const PAIRS: usize = 5;
const WINDOW: Duration = Duration::from_secs(5);
const QUICK_WINDOW: Duration = Duration::from_secs(3);
/// Between a change of the load and the window.
const SETTLE: Duration = Duration::from_millis(500);
/// For buffers to grow as far as they will.
const MEMORY_SETTLE: Duration = Duration::from_secs(3);
const PACES: [Pace; 2] = [Pace::Realtime, Pace::Burst];
const SUBJECT_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// CPU of the program over that of the relay.
const RATIO_AIM: f64 = 1.3;
const KIB_A_CALL_AIM: f64 = 64.0;

/// Every websocket of the bench: small buffers, and each message written at once.
fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(8 << 10).write_buffer_size(0)
}

fn main() -> ExitCode {
    let service = std::env::var(bare::SERVICE);
    let result = match service {
        Ok(service) => bare::run(&service).map(|()| true),
        Err(_) if is_asked_for() => bench(),
        Err(_) => Ok(true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("call_path: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `cargo bench` passes `--bench`, and perhaps a filter for names.
fn is_asked_for() -> bool {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    std::env::args().any(|argument| argument == "--bench") && filter.is_none_or(|f| "call_path".contains(&f))
}

/// Whether no frame was lost.
fn bench() -> anyhow::Result<bool> {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let window = if is_quick { QUICK_WINDOW } else { WINDOW };
    let folder = tempfile::tempdir()?;
    let postgres = PrivatePostgres::start(folder.path())?;
    subject::migrate(postgres.url())?;
    let is_pinned = pin(LOAD_CORE) && pin(SUBJECT_CORE);
    let place = if is_pinned { "on one core, the load on another" } else { "not pinned to a core" };
    println!(
        "call_path: {CALLS} calls each, {PAIRS} windows of {window:?} for each pace; relay and program {place}"
    );

    let relay = Side::start(Kind::Relay, postgres.url(), CALLS)?;
    let program = Side::start(Kind::Program, postgres.url(), CALLS)?;
    let sides = [&relay, &program];
    for side in sides {
        side.call(0..CALLS)?;
    }
    let mut pairs = vec![];
    for number in 1..=PAIRS {
        for pace in PACES {
            let pair = measure(sides, pace, window)?;
            for (side, window) in sides.into_iter().zip(&pair) {
                println!("{number}. {pace:<9} {:<8} {window}", side.kind);
            }
            pairs.push((pace, pair));
        }
    }
    for pace in PACES {
        report_ratio(pace, pairs.iter().filter(|(of, _)| *of == pace).map(|(_, pair)| pair));
    }
    let frames = [relay.load.finish()?, program.load.finish()?];
    drop((relay, program));
    report_memory(postgres.url())?;
    Ok(report_frames(&frames.concat()))
}

/// A process and its load.
struct Side {
    kind: Kind,
    subject: Subject, // ends before its load, which would otherwise look to it like lost calls
    load: Load,
}

impl Side {
    fn start(kind: Kind, database_url: &str, calls: u32) -> anyhow::Result<Self> {
        let load = Load::start(kind, LOAD_CORE)?;
        let subject = Subject::start(kind, load.service, database_url, calls)?;
        Ok(Self { kind, subject, load })
    }

    /// Begins the calls of these numbers.
    fn call(&self, numbers: Range<u32>) -> anyhow::Result<()> {
        self.load.call(self.subject.address, numbers)
    }
}

/// What one process took for its calls.
struct Window {
    /// CPU seconds per call-minute.
    cpu: f64,
    up: Latencies,
    down: Latencies,
}

impl std::fmt::Display for Window {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |way: &Latencies, quantile| way.value_at_quantile(quantile) as f64 / 1000.0;
        write!(
            formatter,
            "{:.4} CPU s/call-minute, up {:.2}/{:.2} ms, down {:.2}/{:.2} ms (p50/p99)",
            self.cpu,
            ms(&self.up, 0.5),
            ms(&self.up, 0.99),
            ms(&self.down, 0.5),
            ms(&self.down, 0.99),
        )
    }
}

/// Both processes over one window of time.
fn measure(sides: [&Side; 2], pace: Pace, window: Duration) -> anyhow::Result<[Window; 2]> {
    sides.iter().for_each(|side| side.load.set_pace(pace));
    sleep(SETTLE);
    sides.iter().for_each(|side| side.load.forget_latencies());
    let cpu_times = || -> anyhow::Result<[Duration; 2]> {
        Ok([sides[0].subject.cpu_time()?, sides[1].subject.cpu_time()?])
    };
    let (began, before) = (Instant::now(), cpu_times()?);
    sleep(window);
    let (elapsed, after) = (began.elapsed(), cpu_times()?);
    let call_minutes = elapsed.as_secs_f64() / 60.0 * f64::from(CALLS);
    Ok([0, 1].map(|at| {
        let (up, down) = sides[at].load.latencies();
        Window { cpu: (after[at] - before[at]).as_secs_f64() / call_minutes, up, down }
    }))
}

fn report_ratio<'a>(pace: Pace, pairs: impl Iterator<Item = &'a [Window; 2]>) {
    let mut ratios: Vec<_> = pairs.map(|[relay, program]| program.cpu / relay.cpu).collect();
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    let met = verdict(median <= RATIO_AIM);
    println!(
        "{pace}: the program takes {median:.2} times the CPU of the relay ({least:.2} to {most:.2}); aim at most {RATIO_AIM}: {met}"
    );
}

/// What the second hundred calls add to the program's resident memory.
fn report_memory(database_url: &str) -> anyhow::Result<()> {
    let side = Side::start(Kind::Program, database_url, 2 * CALLS)?;
    let resident_kib = |calls: Range<u32>| -> anyhow::Result<f64> {
        side.call(calls)?;
        sleep(MEMORY_SETTLE);
        Ok(side.subject.resident_kib()? as f64)
    };
    let (one, two) = (resident_kib(0..CALLS)?, resident_kib(CALLS..2 * CALLS)?);
    let a_call = (two - one) / f64::from(CALLS);
    let met = verdict(a_call <= KIB_A_CALL_AIM);
    println!(
        "memory: {a_call:.0} KiB a call ({:.1} MiB at {CALLS} calls, {:.1} MiB at {}); aim at most {KIB_A_CALL_AIM} KiB: {met}",
        one / 1024.0,
        two / 1024.0,
        2 * CALLS
    );
    Ok(())
}

/// Whether none was lost.
fn report_frames(ways: &[Passed]) -> bool {
    let (mut sent, mut lost, mut misplaced) = (0, 0, 0);
    for passed in ways {
        sent += passed.sent;
        lost += passed.sent.saturating_sub(passed.heard);
        misplaced += passed.misplaced;
    }
    println!("frames: {sent} sent, {lost} lost, {misplaced} misplaced");
    lost + misplaced == 0
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "NOT met" }
}

/// Binds this thread, and what it starts from now on, to a core; false if there is no such core.
fn pin(core: usize) -> bool {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).is_ok()
}
