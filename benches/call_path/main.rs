//! What a live call costs the real program, beside a bare relay of the same frames in the same run.
//!
//! Both run as processes of their own, at the same time on the same core, each with its own calls, so that
//! whatever else happens on the machine falls on both alike; this process plays the callers and the Realtime
//! service on another core. With them runs a relay that sends marks as the program must, which tells what of
//! the difference is theirs; and the program with a second HTTP worker, whose calls have their stream on
//! another thread than their actor, and on a core of its own where there is a third one. After them a relay
//! and a program that reach the service by TLS, and the program with and without its flight recorder.
//!
//! So the CPU time of each process is measured. The time from one end of a call to the other is measured
//! while only one of them has anything to do, by turns: one that kept the core for long would delay the other
//! alike. A turn is too short for the program to take the silence before it for a hole.
//!
//! Marks are echoed when the audio before them would have been played. Measured are also whether every frame
//! arrives, and what each call more adds to the program's memory. A process that has a core to itself wakes
//! more often and finds colder caches, so it takes more CPU than is said here, and the program, whose code is
//! the larger, perhaps by more than the relay.
//!
//! `cargo bench --bench call_path`; with `-- --quick` the windows are shorter; with `-- --calls 1000` the
//! program has so many calls and a core to itself; with `-- --recorder` only the flight recorder is measured.
//! Without `--bench`, as under `cargo test`, nothing is
//! measured.

use std::ops::Range;
use std::process::ExitCode;
use std::slice;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use switchboard::descriptors;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use figures::{Asked, Figures};
use load::{Latencies, Load, Pace, Passed, ms};
use subject::{Ground, Kind, Subject};

mod across;
mod bare;
mod caller;
mod certificate;
#[path = "../support/figures.rs"]
mod figures;
mod load;
mod place;
#[path = "../support/program.rs"]
mod program;
mod service;
mod subject;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as the program has it

const CALLS: u32 = 100;
/// Who runs at the same time, the first one being what the others are compared with; how many windows they
/// have for each pace; and how many times the CPU of the first one they may take.
type Group = (&'static [Kind], usize, f64);
const GROUPS: [Group; 3] = [
    (&[Kind::Relay, Kind::RelayMarks, Kind::Program, Kind::Across], 5, RATIO_AIM),
    (&[Kind::RelayTls, Kind::ProgramTls], 3, RATIO_AIM),
    RECORDER,
];
const RECORDER: Group = (&[Kind::Program, Kind::Recorded], 9, RECORDER_AIM);
const ALONE_WINDOWS: usize = 9;
/// Windows of latency for each pace, and turns that each process has in one of them: each a fifth of a window
/// long.
const LATENCY_WINDOWS: usize = 3;
const TURNS: usize = 4;
const WINDOW: Duration = Duration::from_secs(2);
const QUICK_WINDOW: Duration = Duration::from_secs(1);
/// Between a change of the load and the window.
const SETTLE: Duration = Duration::from_millis(500);
/// Between the begin of a turn and what is measured of it.
const TURN_SETTLE: Duration = Duration::from_millis(100);
/// For buffers to grow as far as they will.
const MEMORY_SETTLE: Duration = Duration::from_secs(3);
const PACES: [Pace; 2] = [Pace::Realtime, Pace::Burst];
/// CPU of the program over that of the relay.
const RATIO_AIM: f64 = 1.1;
/// CPU of the program that records over that of one that does not.
const RECORDER_AIM: f64 = 1.03;
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
    /// Only what the flight recorder costs
    #[arg(long, conflicts_with = "calls")]
    recorder: bool,
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
            let arguments = Arguments::parse();
            if arguments.asked.is_for("call_path") { bench(&arguments) } else { Ok(true) }
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
fn bench(arguments: &Arguments) -> anyhow::Result<bool> {
    descriptors::raise(); // a call has two here, and two in its subject
    let (window, quick) = if arguments.quick { (QUICK_WINDOW, "-quick") } else { (WINDOW, "") };
    let bench = match arguments.calls {
        Some(calls) => format!("call_path-{calls}{quick}"),
        None if arguments.recorder => format!("call_path-recorder{quick}"),
        None => format!("call_path{quick}"),
    };
    let ground = Ground::lay()?;
    let (mut figures, mut passed) = (Figures::of(bench), vec![]);
    if let Some(calls) = arguments.calls {
        println!("call_path: {calls} calls of the program alone, windows of {window:?}, {}", ground.place);
        passed.extend(alone(&ground, calls, window, &mut figures)?);
    } else if arguments.recorder {
        println!("call_path: {CALLS} calls each, windows of {window:?}, {}", ground.place);
        passed.extend(compare(&ground, RECORDER, window, &mut figures)?);
    } else {
        println!("call_path: {CALLS} calls each, windows of {window:?}, {}", ground.place);
        for group in GROUPS {
            passed.extend(compare(&ground, group, window, &mut figures)?);
        }
        passed.extend(added_latency(&ground, window / 5, &mut figures)?);
        passed.extend(memory(&ground, &mut figures)?);
    }
    figures.finish(&arguments.asked)?;
    Ok(report_frames(&passed))
}

/// The program with so many calls.
fn alone(
    ground: &Ground,
    calls: u32,
    window: Duration,
    figures: &mut Figures,
) -> anyhow::Result<[Passed; 2]> {
    let side = Side::start(Kind::Program, ground, calls)?;
    side.load.set_pace(Pace::Burst);
    side.call(0..calls)?;
    let (effort, sides) = (Effort::begin(), [side]);
    let (mut cpu, mut p99s) = (vec![], vec![]);
    for number in 1..=ALONE_WINDOWS {
        for window in measure(&sides, Pace::Burst, SETTLE, window)? {
            let Window { cpu: seconds, latencies } = window;
            println!("{number}. {seconds:.4} CPU s/call-minute, {latencies}");
            cpu.push(seconds);
            p99s.push(ms(&latencies.up, 0.99).max(ms(&latencies.down, 0.99)));
        }
    }
    effort.report(&sides)?;
    figures.add("CPU s/call-minute", cpu);
    let p99 = figures.add("p99 of the slower way, ms", p99s);
    println!("p99 {p99} ms; aim under {ALONE_MS_AIM} ms: {}", verdict(p99.median < ALONE_MS_AIM));
    sides[0].load.finish()
}

/// Runs these at once, and reports what CPU the others take beside the first one; answers what passed both
/// ways of each.
fn compare(
    ground: &Ground,
    (kinds, rounds, aim): Group,
    window: Duration,
    figures: &mut Figures,
) -> anyhow::Result<Vec<Passed>> {
    let mut sides = vec![];
    for &kind in kinds {
        let side = Side::start(kind, ground, CALLS)?;
        side.call(0..CALLS)?;
        sides.push(side);
    }
    let effort = Effort::begin();
    let mut measured = PACES.map(|pace| (pace, vec![]));
    for number in 1..=rounds {
        for (pace, round) in &mut measured {
            let cpu: Vec<_> =
                measure(&sides, *pace, SETTLE, window)?.iter().map(|window| window.cpu).collect();
            let each: Vec<_> = kinds.iter().zip(&cpu).map(|(kind, cpu)| format!("{kind} {cpu:.4}")).collect();
            println!("{number}. {pace:<9} CPU s/call-minute: {}", each.join(", "));
            round.push(cpu);
        }
    }
    effort.report(&sides)?;
    for (pace, rounds) in &measured {
        for (at, kind) in kinds.iter().enumerate().skip(1) {
            let name = format!("{pace}, {kind}");
            figures.add(format!("{name}: CPU s/call-minute"), rounds.iter().map(|cpu| cpu[at]));
            let ratios = rounds.iter().map(|cpu| cpu[at] / cpu[0]);
            let first = if kinds[0].is_bare() { "relay" } else { "program" };
            let ratio = figures.add(format!("{name}: CPU over the {first}'s"), ratios);
            let met = verdict(ratio.median <= aim);
            println!("{name}: {ratio} times the CPU of the {first}, aim at most {aim}: {met}");
        }
    }
    finish(&sides)
}

/// What the program adds to the relay's latency, by turns of this length, each with nothing to do while the
/// other is measured; answers what passed both ways of each.
fn added_latency(ground: &Ground, turn: Duration, figures: &mut Figures) -> anyhow::Result<Vec<Passed>> {
    let start = |kind| {
        let side = Side::start(kind, ground, CALLS)?;
        side.call(0..CALLS)?;
        side.load.set_quiet(true);
        anyhow::Ok(side)
    };
    let sides = [start(Kind::Relay)?, start(Kind::Program)?];
    let effort = Effort::begin();
    for pace in PACES {
        let (mut up, mut down) = (vec![], vec![]);
        for number in 1..=LATENCY_WINDOWS {
            let [relay, program] = by_turns(&sides, pace, turn)?;
            println!("{number}. {pace:<9} relay {relay}; program {program}");
            up.push(ms(&program.up, 0.99) - ms(&relay.up, 0.99));
            down.push(ms(&program.down, 0.99) - ms(&relay.down, 0.99));
        }
        let up = figures.add(format!("{pace}: added to p99 up, ms"), up);
        let down = figures.add(format!("{pace}: added to p99 down, ms"), down);
        let met = verdict(up.median.max(down.median) < ADDED_MS_AIM);
        println!(
            "{pace}: the program adds {up} ms to p99 up and {down} ms down, aim under {ADDED_MS_AIM} ms: {met}"
        );
    }
    effort.report(&sides)?;
    finish(&sides)
}

/// A process and its load.
struct Side {
    subject: Subject, // ends before its load, which would otherwise look to it like lost calls
    load: Load,
}

impl Side {
    fn start(kind: Kind, ground: &Ground, calls: u32) -> anyhow::Result<Self> {
        let load = Load::start(kind, ground.place, ground.tls.clone())?;
        let subject = Subject::start(kind, load.service, ground, calls)?;
        Ok(Self { subject, load })
    }

    /// Begins the calls of these numbers.
    fn call(&self, numbers: Range<u32>) -> anyhow::Result<()> {
        self.load.call(self.subject.address(), numbers)
    }
}

/// Ends the load, and answers what passed both ways of each.
fn finish(sides: &[Side]) -> anyhow::Result<Vec<Passed>> {
    let passed: anyhow::Result<Vec<_>> = sides.iter().map(|side| side.load.finish()).collect();
    Ok(passed?.concat())
}

/// What the load itself takes: where that is most of its CPU, or it speaks late, the latencies are its own.
struct Effort {
    began: Instant,
    cpu_time: Duration,
}

impl Effort {
    fn begin() -> Self {
        Self { began: Instant::now(), cpu_time: own_cpu_time() }
    }

    fn report(&self, sides: &[Side]) -> anyhow::Result<()> {
        let share = (own_cpu_time() - self.cpu_time).as_secs_f64() / self.began.elapsed().as_secs_f64();
        let mut lag = sides[0].load.lag();
        for side in &sides[1..] {
            lag.add(side.load.lag())?;
        }
        println!("the load: {:.0} % of its CPU, {:.2} ms late (p99)", share * 100.0, ms(&lag, 0.99));
        Ok(())
    }
}

/// CPU time of this process: of the load's threads, as nothing else has much to do.
fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// What one process took for its calls.
struct Window {
    /// CPU seconds per call-minute.
    cpu: f64,
    latencies: Latencies,
}

/// All processes over one window of time, at this pace for so long before it.
fn measure(sides: &[Side], pace: Pace, settle: Duration, window: Duration) -> anyhow::Result<Vec<Window>> {
    sides.iter().for_each(|side| side.load.set_pace(pace));
    sleep(settle);
    sides.iter().for_each(|side| side.load.forget_latencies());
    let cpu_times = || sides.iter().map(|side| side.subject.cpu_time()).collect::<anyhow::Result<Vec<_>>>();
    let (began, before) = (Instant::now(), cpu_times()?);
    sleep(window);
    let (elapsed, after) = (began.elapsed(), cpu_times()?);
    sides.iter().try_for_each(|side| side.load.check())?;
    let windows = sides.iter().zip(after.iter().zip(before)).map(|(side, (after, before))| {
        let call_minutes = elapsed.as_secs_f64() / 60.0 * f64::from(side.load.calls());
        Window {
            cpu: after.saturating_sub(before).as_secs_f64() / call_minutes,
            latencies: side.load.latencies(),
        }
    });
    Ok(windows.collect())
}

/// Latencies of both, over several turns; the other one is quiet meanwhile.
fn by_turns(sides: &[Side; 2], pace: Pace, turn: Duration) -> anyhow::Result<[Latencies; 2]> {
    let mut latencies = [Latencies::none(), Latencies::none()];
    for _ in 0..TURNS {
        for (side, latencies) in sides.iter().zip(&mut latencies) {
            side.load.set_quiet(false);
            for window in measure(slice::from_ref(side), pace, TURN_SETTLE, turn)? {
                latencies.add(&window.latencies)?;
            }
            side.load.set_quiet(true);
        }
    }
    Ok(latencies)
}

/// What the second hundred calls add to the program's resident memory.
fn memory(ground: &Ground, figures: &mut Figures) -> anyhow::Result<[Passed; 2]> {
    let side = Side::start(Kind::Program, ground, 2 * CALLS)?;
    let resident_kib = |calls: Range<u32>| -> anyhow::Result<f64> {
        side.call(calls)?;
        sleep(MEMORY_SETTLE);
        Ok(side.subject.resident_kib()? as f64)
    };
    let (one, two) = (resident_kib(0..CALLS)?, resident_kib(CALLS..2 * CALLS)?);
    let a_call = (two - one) / f64::from(CALLS);
    figures.add("memory, KiB a call", [a_call]);
    let met = verdict(a_call <= KIB_A_CALL_AIM);
    println!(
        "memory: {a_call:.0} KiB a call ({:.1} MiB at {CALLS} calls, {:.1} MiB at {}); aim at most {KIB_A_CALL_AIM} KiB: {met}",
        one / 1024.0,
        two / 1024.0,
        2 * CALLS
    );
    side.load.finish()
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
