//! What a live call costs the real program, beside a bare relay of the same frames in the same run.
//!
//! Both run as processes of their own, at the same time on the same core, each with its own calls, so that whatever
//! else happens on the machine falls on both alike; this process plays the callers and the Realtime service on another
//! core. With them runs a relay that sends marks as the program must, which tells what of the difference is theirs; and
//! the program with a second HTTP worker, whose calls have their stream on another thread than their actor. After them
//! a relay and a program that reach the service by TLS.
//!
//! Marks are echoed when the audio before them would have been played. Measured are the CPU time of each process
//! alone, the time from one end of a call to the other, whether every frame arrives, and what each call more adds to
//! the program's memory. A process that has a core to itself wakes more often and finds colder caches, so it takes more
//! than is said here, and the program, whose code is the larger, perhaps by more than the relay.
//!
//! `cargo bench --bench call_path`; with `-- --quick` the windows are shorter; with `-- --calls 1000` the program has so many
//! calls and a core to itself. Without `--bench`, as under `cargo test`, nothing is measured.

use std::ops::Range;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use figures::{Asked, Figures};
use load::{Latencies, Load, Pace, Passed};
use subject::{Ground, Kind, Subject};

mod across;
mod bare;
mod caller;
mod certificate;
#[path = "../support/figures.rs"]
mod figures;
mod load;
#[path = "../support/program.rs"]
mod program;
mod service;
mod subject;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as the program has it

const CALLS: u32 = 100;
/// Who runs at the same time, the relay first; and how many windows they have for each pace.
const GROUPS: [(&[Kind], usize); 2] = [
    (&[Kind::Relay, Kind::RelayMarks, Kind::Program, Kind::Across], 5),
    (&[Kind::RelayTls, Kind::ProgramTls], 3),
];
const ALONE_WINDOWS: usize = 9;
const WINDOW: Duration = Duration::from_millis(2_500);
const QUICK_WINDOW: Duration = Duration::from_secs(1);
/// Between a change of the load and the window.
const SETTLE: Duration = Duration::from_millis(500);
/// For buffers to grow as far as they will.
const MEMORY_SETTLE: Duration = Duration::from_secs(3);
const PACES: [Pace; 2] = [Pace::Realtime, Pace::Burst];
const SUBJECT_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// CPU of the program over that of the relay.
const RATIO_AIM: f64 = 1.1;
/// What the program adds to the relay's latency, at the 99th percentile.
const ADDED_MS_AIM: f64 = 1.0;
/// The same from one end to the other, where the program is alone with as many calls as a core takes.
const ALONE_MS_AIM: f64 = 5.0;
const KIB_A_CALL_AIM: f64 = 64.0;

#[derive(Parser)]
struct Arguments {
    /// Shorter windows
    #[arg(long)]
    quick: bool,
    /// Only so many calls of the program alone, in pieces of 200 ms
    #[arg(long)]
    calls: Option<u32>,
    #[command(flatten)]
    asked: Asked,
}

/// Every websocket of the bench: small buffers, and each message written at once.
fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(8 << 10).write_buffer_size(0)
}

fn main() -> ExitCode {
    let result = match std::env::var(subject::KIND) {
        Ok(kind) if kind == Kind::Across.as_str() => across::run().map(|()| true),
        Ok(kind) => bare::run(kind == Kind::RelayMarks.as_str()).map(|()| true),
        Err(_) => {
            let Arguments { quick, calls, asked } = Arguments::parse();
            let window = if quick { QUICK_WINDOW } else { WINDOW };
            match calls {
                _ if !asked.is_for("call_path") => Ok(true),
                Some(calls) => alone(window, calls),
                None => bench(window, &asked),
            }
        }
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

/// Whether no frame was lost.
fn bench(window: Duration, asked: &Asked) -> anyhow::Result<bool> {
    let ground = Ground::lay()?;
    let place = take_place();
    println!("call_path: {CALLS} calls each, windows of {window:?}, all at once {place}");

    let mut figures = Figures::of("call_path");
    let mut passed = vec![];
    for (kinds, rounds) in GROUPS {
        passed.extend(compare(&ground, kinds, rounds, window, &mut figures)?);
    }
    report_memory(&ground, &mut figures)?;
    figures.finish(asked)?;
    Ok(report_frames(&passed))
}

/// The program with so many calls; whether no frame was lost.
fn alone(window: Duration, calls: u32) -> anyhow::Result<bool> {
    let ground = Ground::lay()?;
    let place = take_place();
    println!("call_path: {calls} calls of the program alone, windows of {window:?}, {place}");
    let side = Side::start(Kind::Program, &ground, calls)?;
    side.load.set_pace(Pace::Burst);
    side.call(0..calls)?;
    let (sides, mut p99s) = ([side], vec![]);
    for number in 1..=ALONE_WINDOWS {
        for window in measure(&sides, Pace::Burst, window)? {
            println!("{number}. {:<9} {:<12} {window}", Pace::Burst, Kind::Program);
            p99s.push(ms(&window.up, 0.99).max(ms(&window.down, 0.99)));
        }
    }
    p99s.sort_by(f64::total_cmp);
    let p99 = p99s[p99s.len() / 2];
    println!(
        "p99 {p99:.2} ms, the median of the windows; aim under {ALONE_MS_AIM} ms: {}",
        verdict(p99 < ALONE_MS_AIM)
    );
    Ok(report_frames(&sides[0].load.finish()?))
}

/// Runs these at once, and reports what the others take beside the first one; answers what passed both ways of each.
fn compare(
    ground: &Ground,
    kinds: &[Kind],
    rounds: usize,
    window: Duration,
    figures: &mut Figures,
) -> anyhow::Result<Vec<Passed>> {
    let mut sides = vec![];
    for &kind in kinds {
        let side = Side::start(kind, ground, CALLS)?;
        side.call(0..CALLS)?;
        sides.push(side);
    }
    let mut measured = PACES.map(|pace| (pace, vec![]));
    for number in 1..=rounds {
        for (pace, round) in &mut measured {
            let windows = measure(&sides, *pace, window)?;
            for (kind, window) in kinds.iter().zip(&windows) {
                println!("{number}. {pace:<9} {kind:<12} {window}");
            }
            round.push(windows);
        }
    }
    for (pace, rounds) in &measured {
        for (at, &kind) in kinds.iter().enumerate().skip(1) {
            let beside = rounds.iter().map(|windows| (&windows[0], &windows[at]));
            report_beside(*pace, kind, &beside.collect::<Vec<_>>(), figures);
        }
    }
    let mut passed = vec![];
    for side in &sides {
        passed.extend(side.load.finish()?);
    }
    Ok(passed)
}

/// A process and its load.
struct Side {
    subject: Subject, // ends before its load, which would otherwise look to it like lost calls
    load: Load,
}

impl Side {
    fn start(kind: Kind, ground: &Ground, calls: u32) -> anyhow::Result<Self> {
        let load = Load::start(kind, LOAD_CORE, ground.tls.clone())?;
        let subject = Subject::start(kind, load.service, ground, calls)?;
        Ok(Self { subject, load })
    }

    /// Begins the calls of these numbers.
    fn call(&self, numbers: Range<u32>) -> anyhow::Result<()> {
        self.load.call(self.subject.address(), numbers)
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

fn ms(way: &Latencies, quantile: f64) -> f64 {
    way.value_at_quantile(quantile) as f64 / 1000.0
}

/// All processes over one window of time.
fn measure(sides: &[Side], pace: Pace, window: Duration) -> anyhow::Result<Vec<Window>> {
    sides.iter().for_each(|side| side.load.set_pace(pace));
    sleep(SETTLE);
    sides.iter().for_each(|side| side.load.forget_latencies());
    let cpu_times = || sides.iter().map(|side| side.subject.cpu_time()).collect::<anyhow::Result<Vec<_>>>();
    let (began, before) = (Instant::now(), cpu_times()?);
    sleep(window);
    let (elapsed, after) = (began.elapsed(), cpu_times()?);
    let windows = sides.iter().zip(after.iter().zip(before)).map(|(side, (after, before))| {
        let (up, down) = side.load.latencies();
        let call_minutes = elapsed.as_secs_f64() / 60.0 * f64::from(side.load.calls());
        Window { cpu: after.saturating_sub(before).as_secs_f64() / call_minutes, up, down }
    });
    Ok(windows.collect())
}

/// What `kind` takes beside the relay, in windows of both.
fn report_beside(pace: Pace, kind: Kind, windows: &[(&Window, &Window)], figures: &mut Figures) {
    let of = |figure: fn(&Window, &Window) -> f64| {
        let mut each: Vec<_> = windows.iter().map(|(relay, other)| figure(relay, other)).collect();
        each.sort_by(f64::total_cmp);
        each
    };
    let median = |figure: fn(&Window, &Window) -> f64| {
        let each = of(figure);
        each[each.len() / 2]
    };
    let ratios = of(|relay, other| other.cpu / relay.cpu);
    let (least, ratio, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    let up = median(|relay, other| ms(&other.up, 0.99) - ms(&relay.up, 0.99));
    let down = median(|relay, other| ms(&other.down, 0.99) - ms(&relay.down, 0.99));
    println!(
        "{pace}, {kind}: {ratio:.2} times the CPU of the relay ({least:.2} to {most:.2}), aim at most {RATIO_AIM}: {}; \
         p99 {up:+.2} ms up and {down:+.2} ms down, aim under {ADDED_MS_AIM} ms: {}",
        verdict(ratio <= RATIO_AIM),
        verdict(up.max(down) < ADDED_MS_AIM)
    );
    figures.add(format!("{pace}, {kind}: CPU over the relay's"), ratio);
    figures.add(format!("{pace}, {kind}: CPU s/call-minute"), median(|_, other| other.cpu));
    figures.add(format!("{pace}, {kind}: p99 up, ms"), median(|_, other| ms(&other.up, 0.99)));
    figures.add(format!("{pace}, {kind}: p99 down, ms"), median(|_, other| ms(&other.down, 0.99)));
}

/// What the second hundred calls add to the program's resident memory.
fn report_memory(ground: &Ground, figures: &mut Figures) -> anyhow::Result<()> {
    let side = Side::start(Kind::Program, ground, 2 * CALLS)?;
    let resident_kib = |calls: Range<u32>| -> anyhow::Result<f64> {
        side.call(calls)?;
        sleep(MEMORY_SETTLE);
        Ok(side.subject.resident_kib()? as f64)
    };
    let (one, two) = (resident_kib(0..CALLS)?, resident_kib(CALLS..2 * CALLS)?);
    let a_call = (two - one) / f64::from(CALLS);
    figures.add("memory, KiB a call", a_call);
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

/// Binds this process, from which the subjects are started, to their core; answers where subjects and load are.
fn take_place() -> &'static str {
    let is_pinned = pin(LOAD_CORE) && pin(SUBJECT_CORE); // there are both
    if is_pinned { "on one core, the load on another" } else { "not pinned to a core" }
}

/// Binds this thread, and what it starts from now on, to a core; false if there is no such core.
fn pin(core: usize) -> bool {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).is_ok()
}
