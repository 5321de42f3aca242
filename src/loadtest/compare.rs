//! Two results side by side, for the terminal.

use std::fmt::{self, Write};

use super::figure::{figure, known};
use super::result::{LoadTest, Scenario};
use crate::sim::report::{CallsReport, FrameCounts, Percentiles};

/// The width of the first column: the longest name of a check fits.
const NAME: usize = 72;

/// The scenarios of both results: percentiles, errors, the checks' figures, what the callers heard, and how
/// much each changed in percent. What only one of them has says so.
pub fn table(old: &LoadTest, new: &LoadTest) -> String {
    let mut text = String::new();
    write(&mut text, old, new).expect("writing to a string does not fail");
    text
}

fn write(out: &mut String, old: &LoadTest, new: &LoadTest) -> fmt::Result {
    for (which, test) in [("old", old), ("new", new)] {
        let started = test.started_at.format("%Y-%m-%d %H:%M:%S UTC");
        let LoadTest { version, target, cpus, verdict, .. } = test;
        writeln!(out, "{which}: {verdict}, {started}, version {version}, {target}, from {cpus} processors")?;
    }
    for scenario in &old.scenarios {
        match find(new, scenario) {
            Some(other) => both(out, scenario, other)?,
            None => writeln!(out, "\n{}: only in the old result", scenario.name)?,
        }
    }
    for scenario in new.scenarios.iter().filter(|scenario| find(old, scenario).is_none()) {
        writeln!(out, "\n{}: only in the new result", scenario.name)?;
    }
    Ok(())
}

fn find<'a>(test: &'a LoadTest, scenario: &Scenario) -> Option<&'a Scenario> {
    test.scenarios.iter().find(|other| other.name == scenario.name)
}

fn both(out: &mut String, old: &Scenario, new: &Scenario) -> fmt::Result {
    writeln!(out, "\n{:<NAME$}{:>12}{:>12}{:>12}", new.name, "old", "new", "change")?;
    writeln!(out, "{:<NAME$}{:>12}{:>12}", "verdict", old.verdict.to_string(), new.verdict.to_string())?;
    let (old, new) = (rows(old), rows(new));
    for (name, before) in &old {
        row(out, name, Some(*before), value(&new, name))?;
    }
    for (name, after) in new.iter().filter(|(name, _)| value(&old, name).is_none()) {
        row(out, name, None, Some(*after))?;
    }
    Ok(())
}

/// A figure's name, and what it is if it could be known.
type Row = (String, Option<f64>);

fn value(rows: &[Row], name: &str) -> Option<Option<f64>> {
    rows.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
}

/// All figures of a scenario.
fn rows(scenario: &Scenario) -> Vec<Row> {
    let errors = scenario.errors.iter().map(|error| error.count).sum();
    let mut rows = vec![counted("asked", scenario.asked), counted("errors", errors)];
    rows.extend(scenario.errors.iter().map(|error| (format!("  {}", error.cause), Some(error.count as f64))));
    rows.extend(
        scenario
            .upstream
            .iter()
            .map(|failure| (format!("  not in the rate: {}", failure.cause), Some(failure.count as f64))),
    );
    let response = if scenario.calls.is_some() { "answer after" } else { "response time" };
    rows.extend(spread(response, &scenario.response_ms));
    rows.extend(scenario.calls.iter().flat_map(heard));
    rows.extend(scenario.checks.iter().map(|check| {
        let unit = if check.unit.is_empty() { String::new() } else { format!(" ({})", check.unit) };
        (format!("check: {}{unit}", check.what), check.value)
    }));
    rows.extend(spread("own lag", &scenario.own_lag_ms));
    rows
}

fn heard(report: &CallsReport) -> Vec<Row> {
    let calls = &report.calls;
    let frames = |name: &str, count: fn(&FrameCounts) -> u64| {
        (name.to_owned(), report.frames.as_ref().map(|frames| count(frames) as f64))
    };
    let mut rows = vec![
        counted("calls completed", calls.completed),
        counted("calls refused", calls.refused),
        counted("calls failed", calls.failed),
        counted("requests for the fallback URL", calls.fallback),
        counted("gaps in the agent's audio", report.gaps),
        frames("frames lost", |frames| frames.lost),
        frames("frames reordered", |frames| frames.reordered),
        frames("frames corrupted", |frames| frames.corrupted),
        frames("frames crossed", |frames| frames.crossed),
        counted("violations", report.violations),
        ("processors, of the program".to_owned(), report.bridge_cores),
        ("processors, of the load test".to_owned(), report.own_cores),
        ("CPU seconds per call-minute".to_owned(), report.cpu_seconds_per_call_minute),
        ("memory per call (KiB)".to_owned(), report.memory_kib_per_call),
    ];
    rows.extend(spread("added latency up", &report.added_latency_ms.up));
    rows.extend(spread("added latency down", &report.added_latency_ms.down));
    rows.extend(spread("first audio", &report.first_audio_ms));
    rows.extend(spread("barge-in reaction", &report.barge_in_ms));
    rows.extend(spread("longest silence of a call", &report.silence_ms));
    rows.extend(spread("the service's own lag", &report.realtime_lag_ms));
    rows
}

fn counted(name: &str, count: u64) -> Row {
    (name.to_owned(), Some(count as f64))
}

fn spread(name: &str, percentiles: &Percentiles) -> [Row; 3] {
    let Percentiles { p50, p95, p99 } = *percentiles;
    [("P50", p50), ("P95", p95), ("P99", p99)].map(|(which, value)| (format!("{name} {which} (ms)"), value))
}

/// `None` if the result does not have this figure at all, `Some(None)` if it could not be known.
fn row(out: &mut String, name: &str, old: Option<Option<f64>>, new: Option<Option<f64>>) -> fmt::Result {
    let cell = |value: Option<Option<f64>>| match value {
        None => "missing".to_owned(),
        Some(value) => known(value),
    };
    writeln!(
        out,
        "{name:<NAME$}{:>12}{:>12}{:>12}",
        cell(old),
        cell(new),
        change(old.flatten(), new.flatten())
    )
}

/// In percent of the old one, where there is one to compare with.
fn change(old: Option<f64>, new: Option<f64>) -> String {
    match (old, new) {
        (Some(old), Some(new)) if old == new => "=".to_owned(),
        (Some(old), Some(new)) if old != 0.0 => {
            let percent = (new - old) / old * 100.0;
            format!("{}{} %", if percent > 0.0 { "+" } else { "" }, figure(percent))
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::loadtest::result::{Check, ErrorCount, Verdict};

    fn test(scenarios: Vec<Scenario>) -> LoadTest {
        LoadTest {
            version: "1.2.3".to_owned(),
            started_at: DateTime::UNIX_EPOCH,
            target: "http://127.0.0.1:8080".to_owned(),
            cpus: 2,
            verdict: Verdict::Fine,
            scenarios,
        }
    }

    fn scenario(name: &str, p95: Option<f64>, errors: &[(&str, u64)]) -> Scenario {
        let error = |(cause, count): &(&str, u64)| ErrorCount { cause: (*cause).to_owned(), count: *count };
        Scenario {
            name: name.to_owned(),
            checks: vec![Check::new("response time P95", p95, "ms", 2_000.0, 5_000.0)],
            asked: 500,
            errors: errors.iter().map(error).collect(),
            response_ms: Percentiles { p50: Some(10.0), p95, p99: None },
            ..Scenario::default()
        }
    }

    /// The cells of the row that begins with `name`.
    fn cells<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
        let row = table.lines().find_map(|line| line.strip_prefix(name));
        let row = row.unwrap_or_else(|| panic!("no row {name:?} in\n{table}"));
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
    }

    #[test]
    fn each_figure_stands_beside_the_other_with_its_change() {
        let old = test(vec![scenario("webhooks", Some(200.0), &[])]);
        let new = test(vec![scenario("webhooks", Some(250.0), &[("429", 3)])]);
        let table = table(&old, &new);
        assert_eq!(cells(&table, "response time P50 (ms)"), ["10", "10", "="]);
        assert_eq!(cells(&table, "response time P95 (ms)"), ["200", "250", "+25 %"]);
        assert_eq!(cells(&table, "check: response time P95 (ms)"), ["200", "250", "+25 %"]);
        assert_eq!(cells(&table, "errors"), ["0", "3", "-"], "no percent of nothing");
        assert_eq!(cells(&table, "  429"), ["missing", "3", "-"]);
    }

    #[test]
    fn a_fall_is_negative() {
        let old = test(vec![scenario("webhooks", Some(200.0), &[("429", 4)])]);
        let table = table(&old, &test(vec![scenario("webhooks", Some(150.0), &[])]));
        assert_eq!(cells(&table, "response time P95 (ms)"), ["200", "150", "-25 %"]);
        assert_eq!(cells(&table, "errors"), ["4", "0", "-100 %"]);
        assert_eq!(cells(&table, "  429"), ["4", "missing", "-"]);
    }

    #[test]
    fn what_is_not_known_or_missing_says_so() {
        let mut before = scenario("calls", None, &[]);
        before.calls = Some(CallsReport::default());
        let mut after = scenario("calls", Some(3.0), &[]);
        after.checks.clear();
        after.calls = Some(CallsReport { gaps: 4, ..CallsReport::default() });
        let old = test(vec![before, scenario("webhooks", Some(1.0), &[])]);
        let table = table(&old, &test(vec![after, scenario("database", Some(1.0), &[])]));
        assert_eq!(cells(&table, "answer after P95 (ms)"), ["unknown", "3", "-"]);
        assert_eq!(cells(&table, "check: response time P95 (ms)"), ["unknown", "missing", "-"]);
        assert_eq!(cells(&table, "gaps in the agent's audio"), ["0", "4", "-"]);
        assert!(table.contains("\nwebhooks: only in the old result\n"), "{table}");
        assert!(table.contains("\ndatabase: only in the new result\n"), "{table}");
    }
}
