//! `switchboard replay FILE`: takes the inputs of a recorded call again, and says whether the same comes of
//! them.

use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use actors::call::recorder::replay::{End, Player, ReplayError, Step, replay};
use clap::Args;
use serde_json::{Value, json};

use super::accounts::print_json;
use super::{FAILED, FINE, USAGE};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The recording; the setting FLIGHT_RECORDER makes one of each call
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print no effects, only whether they are the same
    #[arg(long)]
    check: bool,
    /// Print the inputs as well, marked with `<`; the effects are marked with `>`
    #[arg(long, conflicts_with = "check")]
    inputs: bool,
    /// Print the result as a JSON object, and no effects
    #[arg(long, conflicts_with_all = ["check", "inputs"])]
    json: bool,
}

/// What a replay came to.
#[derive(Debug, Default)]
struct Tally {
    inputs: u64,
    /// Inputs that were lost in a panic.
    lost: u64,
    difference: Option<Difference>,
}

/// The first input of which something else comes.
#[derive(Debug)]
struct Difference {
    line: u64,
    at_ms: u64,
    input: String,
    recorded: Vec<String>,
    now: Vec<String>,
    panic: Option<String>,
}

impl Difference {
    fn of(step: &Step<'_>) -> Self {
        Self {
            line: step.number,
            at_ms: step.at,
            input: step.input.to_owned(),
            recorded: step.recorded.iter().map(|effect| (*effect).to_owned()).collect(),
            now: step.now.clone(),
            panic: step.panic.clone(),
        }
    }
}

pub fn run(arguments: &Arguments) -> u8 {
    let mut tally = Tally::default();
    let began = Instant::now();
    match take_again(arguments, &mut tally) {
        Ok(player) => tell(arguments, &player, &tally, began.elapsed()),
        Err(error) => {
            eprintln!("switchboard: {}: {error}", arguments.file.display());
            if let ReplayError::Read(error) = &error
                && error.kind() == io::ErrorKind::BrokenPipe
            {
                return FAILED;
            }
            USAGE
        }
    }
}

fn take_again(arguments: &Arguments, tally: &mut Tally) -> Result<Player, ReplayError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let is_shown = !arguments.check && !arguments.json;
    let mut shown = Ok(());
    let player = replay(&arguments.file, |_, step| {
        tally.inputs += 1;
        tally.lost += u64::from(step.is_lost);
        if is_shown {
            shown = show(step, arguments.inputs, &mut out);
        }
        if !step.is_same() {
            tally.difference = Some(Difference::of(step));
        }
        if tally.difference.is_some() || shown.is_err() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    shown.and_then(|()| out.flush())?;
    Ok(player)
}

fn show(step: &Step<'_>, inputs: bool, out: &mut impl io::Write) -> io::Result<()> {
    let at = seconds(step.at);
    let (input, effect) = if inputs { ("< ", "> ") } else { ("", "") };
    if inputs || step.is_lost {
        writeln!(out, "{at} {input}{}", step.input)?;
    }
    if step.is_lost {
        return Ok(()); // the call went on without it
    }
    step.now.iter().try_for_each(|done| writeln!(out, "{at} {effect}{done}"))
}

fn seconds(ms: u64) -> String {
    format!("{:>5}.{:03}", ms / 1_000, ms % 1_000)
}

fn tell(arguments: &Arguments, player: &Player, tally: &Tally, took: Duration) -> u8 {
    if arguments.json {
        print_json(&told_as_json(player, tally, took));
    } else {
        println!("{}", told(player, tally, took));
    }
    if tally.difference.is_some() { FAILED } else { FINE }
}

fn told(player: &Player, tally: &Tally, took: Duration) -> String {
    let header = player.header();
    let call = format!(
        "{} inputs in {} s of call {}, recorded by version {}",
        tally.inputs,
        seconds(player.lasted()).trim_start(),
        header.call_sid,
        header.version,
    );
    let Some(difference) = &tally.difference else {
        let lost = match tally.lost {
            0 => String::new(),
            lost => format!("\n{lost} inputs led to a panic then, and do not now"),
        };
        let end = match player.end() {
            Some(End::Complete) => String::new(),
            Some(End::Incomplete(why)) => format!("\nthe recording ends before the call: {why}"),
            None => "\nthe recording was cut off: the process did not end it".to_owned(),
        };
        let times = player.lasted() as f64 / (took.as_secs_f64() * 1e3).max(f64::MIN_POSITIVE);
        return format!(
            "same: {call}; replayed in {:.1} ms, {times:.0} times as fast{lost}{end}",
            took.as_secs_f64() * 1e3
        );
    };
    let Difference { line, at_ms, input, recorded, now, panic } = difference;
    let mut told =
        format!("different: line {line}, {} s into the call, after {call}", seconds(*at_ms).trim_start());
    let mut column = |title: &str, values: &[String]| {
        for (index, value) in values.iter().enumerate() {
            told += &format!("\n  {:<9} {value}", if index == 0 { title } else { "" });
        }
        if values.is_empty() {
            told += &format!("\n  {title:<9} nothing");
        }
    };
    column("input", std::slice::from_ref(input));
    column("recorded", recorded);
    match panic {
        Some(panic) => column("now", &[format!("a panic: {panic}")]),
        None => column("now", now),
    }
    told
}

fn told_as_json(player: &Player, tally: &Tally, took: Duration) -> Value {
    let difference = tally.difference.as_ref().map(|difference| {
        let Difference { line, at_ms, input, recorded, now, panic } = difference;
        json!({
            "line": line, "atMs": at_ms, "input": input, "recorded": recorded, "now": now, "panic": panic,
        })
    });
    let incomplete = match player.end() {
        Some(End::Complete) => None,
        Some(End::Incomplete(why)) => Some(why.as_str()),
        None => Some("it was cut off"),
    };
    json!({
        "result": if difference.is_some() { "different" } else { "same" },
        "callSid": player.header().call_sid,
        "version": player.header().version,
        "mode": player.header().mode,
        "inputs": tally.inputs,
        "lostInputs": tally.lost,
        "lastedMs": player.lasted(),
        "tookMs": took.as_secs_f64() * 1e3,
        "incomplete": incomplete,
        "difference": difference,
    })
}
