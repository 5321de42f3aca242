//! A result for a person: one table on stdout.

use std::fmt::{self, Display, Formatter};

use super::figure::{figure, known};
use super::result::{Check, ErrorCount, LoadTest, Scenario, Verdict};
use crate::sim::report::{CallsReport, FrameCounts, Percentiles};

/// The table of a result.
pub struct Table<'a>(pub &'a LoadTest);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let test = self.0;
        writeln!(f, "{}", test.target)?;
        test.scenarios.iter().try_for_each(|scenario| write_scenario(f, scenario))?;
        writeln!(f)?;
        writeln!(f, "verdict: {}", test.verdict)?;
        if test.verdict == Verdict::Fine {
            return Ok(()); // also where a limit was looked for, and steps broke as they should
        }
        for scenario in test.scenarios.iter().filter(|scenario| scenario.verdict != Verdict::Fine) {
            for check in scenario.breached() {
                writeln!(f, "breached in {}: {check}", scenario.name)?;
            }
        }
        Ok(())
    }
}

fn write_scenario(f: &mut Formatter<'_>, scenario: &Scenario) -> fmt::Result {
    writeln!(f)?;
    writeln!(f, "{} ({}): {}", scenario.name, scenario.verdict, scenario.task)?;
    if scenario.asked > 0 {
        row(f, "asked", scenario.asked)?;
        let word = if scenario.calls.is_some() { "answer after (ms)" } else { "response time (ms)" };
        row(f, word, spread(&scenario.response_ms))?;
        row(f, "own lag (ms)", spread(&scenario.own_lag_ms))?;
    }
    if let Some(calls) = &scenario.calls {
        write_calls(f, calls)?;
    }
    for error in &scenario.errors {
        row(f, "errors", format_args!("{} {}", error.count, error.cause))?;
    }
    for failure in &scenario.upstream {
        let ErrorCount { cause, count } = failure;
        let note = "calls that suffered by it are errors";
        row(f, "not in the error rate", format_args!("{count} {cause} ({note})"))?;
    }
    scenario.checks.iter().try_for_each(|check| write_check(f, check))
}

fn write_calls(f: &mut Formatter<'_>, report: &CallsReport) -> fmt::Result {
    let calls = &report.calls;
    let frames =
        |count: fn(&FrameCounts) -> u64| known(report.frames.as_ref().map(|frames| count(frames) as f64));
    row(f, "calls completed", calls.completed)?;
    row(f, "  turned away", calls.refused)?;
    row(f, "  failed", calls.failed)?;
    row(f, "frames lost", frames(|frames| frames.lost))?;
    let others = frames(|frames| frames.reordered + frames.corrupted + frames.crossed);
    row(f, "  reordered, corrupted, crossed", others)?;
    row(f, "added latency up (ms)", spread(&report.added_latency_ms.up))?;
    row(f, "added latency down (ms)", spread(&report.added_latency_ms.down))?;
    row(f, "first audio (ms)", spread(&report.first_audio_ms))?;
    row(f, "barge-in reaction (ms)", spread(&report.barge_in_ms))?;
    row(f, "longest silence of a call (ms)", spread(&report.silence_ms))?;
    row(f, "gaps in the agent's audio", report.gaps)?;
    row(f, "the service's own lag (ms)", spread(&report.realtime_lag_ms))?;
    row(f, "processors, of the program", known(report.bridge_cores))?;
    row(f, "  of the load test", known(report.own_cores))?;
    row(f, "CPU seconds per call-minute", known(report.cpu_seconds_per_call_minute))?;
    row(f, "memory per call (KiB)", known(report.memory_kib_per_call))
}

fn write_check(f: &mut Formatter<'_>, check: &Check) -> fmt::Result {
    let Check { what, value, unit, warning_above, critical_above, verdict } = check;
    let value = format!("{} {unit}", known(*value));
    writeln!(
        f,
        "  {verdict:<9}{what:<64}{value:>12}   (above {}, {})",
        figure(*warning_above),
        figure(*critical_above)
    )
}

fn row(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "  {name:<32}{value}")
}

fn spread(percentiles: &Percentiles) -> String {
    let Percentiles { p50, p95, p99 } = percentiles;
    format!("p50 {}   p95 {}   p99 {}", known(*p50), known(*p95), known(*p99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_breached_stands_at_the_end() {
        let checks = vec![
            Check::new("call log P95", Some(731.25), "ms", 500.0, 5_000.0),
            Check::new("error rate", Some(0.0), "%", 1.0, 5.0),
            Check::new("memory", None, "%", 70.0, 85.0),
        ];
        let scenario = Scenario {
            name: "database".to_owned(),
            verdict: Verdict::Warning,
            checks,
            ..Scenario::default()
        };
        let test = LoadTest {
            version: "1".to_owned(),
            started_at: chrono::Utc::now(),
            target: "http://127.0.0.1:1/".to_owned(),
            cpus: 2,
            verdict: Verdict::Warning,
            scenarios: vec![scenario],
        };
        let said = Table(&test).to_string();
        let end = "verdict: warning\n\
            breached in database: call log P95 731 ms (warning above 500, critical above 5,000)\n\
            breached in database: memory unknown (warning above 70, critical above 85)\n";
        assert!(said.ends_with(end), "{said}");
    }
}
