//! The result of a run for a person: one table on stdout.

use std::fmt::{self, Display, Formatter};

use super::report::Outcome;
use super::script::Verdict;
use crate::sim::report::{FrameCounts, Percentiles};

/// Complaints and failures that are written out; the rest is only counted.
const WRITTEN_OUT: usize = 10;

/// The table of an outcome.
pub struct Table<'a>(pub &'a Outcome);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = &self.0.report;
        let calls = &report.calls;
        let frames = |count: fn(&FrameCounts) -> u64| {
            report.frames.as_ref().map_or_else(unknown, |frames| count(frames).to_string())
        };
        let mut row = |name: &str, value: String| writeln!(f, "{name:<32}{value}");
        row("calls asked", calls.asked.to_string())?;
        row("  completed", calls.completed.to_string())?;
        row("  with a person", calls.with_person.to_string())?;
        row("  refused", calls.refused.to_string())?;
        row("  failed", calls.failed.to_string())?;
        row("requests for the fallback URL", calls.fallback.to_string())?;
        row("frames lost", frames(|frames| frames.lost))?;
        row("  reordered", frames(|frames| frames.reordered))?;
        row("  corrupted", frames(|frames| frames.corrupted))?;
        row("  crossed", frames(|frames| frames.crossed))?;
        row("added latency up (ms)", spread(&report.added_latency_ms.up))?;
        row("added latency down (ms)", spread(&report.added_latency_ms.down))?;
        row("first audio (ms)", format!("p50 {}", figure(report.first_audio_ms.p50)))?;
        row("barge-in reaction (ms)", format!("p50 {}", figure(report.barge_in_ms.p50)))?;
        row("answer after (ms)", spread(&report.turn_ms))?;
        row("longest silence of a call (ms)", spread(&report.silence_ms))?;
        row("gaps in the agent's audio", report.gaps.to_string())?;
        let cpu = report.cpu_seconds_per_call_minute.map_or_else(unknown, |cpu| format!("{cpu:.3}"));
        row("CPU seconds per call-minute", cpu)?;
        row("memory per call (KiB)", figure(report.memory_kib_per_call))?;
        row("violations", report.violations.to_string())?;
        row("the simulator's own lag (ms)", spread(&self.0.own_lag_ms))?;
        let failed = self.0.calls.iter().filter_map(|call| match &call.verdict {
            Verdict::Failed(why) => Some(format!("call {} failed: {why}", call.number)),
            Verdict::Completed | Verdict::WithPerson | Verdict::Refused => None,
        });
        let [network, realtime] =
            [("network", &self.0.violations), ("realtime", &self.0.realtime_violations)].map(
                |(side, violations)| {
                    let line = move |violation: &crate::sim::report::Violation| {
                        format!("{side} {}: {}: {}", violation.source, violation.kind, violation.detail)
                    };
                    violations.iter().map(line)
                },
            );
        failed.chain(network).chain(realtime).take(WRITTEN_OUT).try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn spread(percentiles: &Percentiles) -> String {
    let Percentiles { p50, p95, p99 } = percentiles;
    format!("p50 {}   p95 {}   p99 {}", figure(*p50), figure(*p95), figure(*p99))
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(unknown, |value| format!("{value:.1}"))
}

fn unknown() -> String {
    "-".to_owned()
}
