//! Which plots a scenario has.

use super::plot::{Ink, Level, Line, apart, distribution, over_time};
use crate::loadtest::figure::figure;
use crate::loadtest::result::{Check, Scenario};

/// A level or a limit further above the highest figure than so many times would press the line flat: it is
/// said, not drawn.
const FITS: f64 = 4.0;

/// The names of the checks whose thresholds are drawn begin with these.
const RESPONSE_TIME: [&str; 2] = ["response time", "call log"];
const ADDED_LATENCY: [&str; 1] = ["added latency"];

/// One plot with its text.
pub struct Plot {
    pub title: &'static str,
    /// Empty if there is nothing to draw.
    pub svg: String,
    pub legend: Vec<(Ink, String)>,
    pub notes: Vec<String>,
}

/// The plots of a scenario with samples.
pub fn of(scenario: &Scenario) -> Vec<Plot> {
    let mut plots = vec![latency(scenario), spread(scenario), pool(scenario), memory(scenario)];
    if scenario.calls.is_some() || scenario.samples.iter().any(|sample| sample.active_calls > Some(0)) {
        plots.push(calls(scenario));
    }
    if scenario.samples.iter().any(|sample| sample.errors > 0) {
        plots.push(errors(scenario));
    }
    plots
}

/// What a sample has of it: the requests', or, of calls, what is added to the way of the frames.
fn latency(scenario: &Scenario) -> Plot {
    let (title, judged) = match scenario.calls {
        Some(_) => ("Latency added to frames (ms)", &ADDED_LATENCY[..]),
        None => ("Response time (ms)", &RESPONSE_TIME[..]),
    };
    let line = Line::of(Ink::Main, "P95 of each second", &scenario.samples, |sample| sample.response_p95_ms);
    let (levels, said) = fitting(time_levels(scenario, judged), line.highest());
    plotted(title, scenario, vec![line], levels, 1.0, said)
}

fn spread(scenario: &Scenario) -> Plot {
    let highest =
        scenario.distribution.iter().filter(|bucket| bucket.count > 0).map(|bucket| bucket.up_to_ms);
    let (levels, said) = fitting(time_levels(scenario, &RESPONSE_TIME), highest.reduce(f64::max));
    let svg = distribution(&scenario.distribution, &levels).unwrap_or_default();
    let mut legend = vec![(Ink::Main, "share of all".to_owned())];
    legend.extend(levels.into_iter().map(|level| (level.ink, level.name)));
    let title = match scenario.calls {
        Some(_) => "Time to the answer",
        None => "Distribution of the response time",
    };
    Plot { title, svg, legend, notes: said }
}

fn pool(scenario: &Scenario) -> Plot {
    let samples = &scenario.samples;
    let limit = Line::of(Ink::Limit, "limit", samples, |sample| count(sample.pool_limit));
    let mut levels = Vec::new();
    if let Some(limit) = limit.highest() {
        levels = share_levels(scenario, "pool", limit);
        levels.retain(|level| level.at < limit); // at the limit is the limit's own line
    }
    let lines = vec![
        limit,
        Line::of(Ink::Second, "waiting", samples, |sample| count(sample.pool_waiting)),
        Line::of(Ink::Main, "busy", samples, |sample| count(sample.pool_busy)),
    ];
    plotted("Database connections", scenario, lines, levels, 5.0, Vec::new())
}

fn memory(scenario: &Scenario) -> Plot {
    let used = Line::of(Ink::Main, "resident", &scenario.samples, |sample| sample.memory_mib);
    let limit = Line::of(Ink::Limit, "limit", &scenario.samples, |sample| sample.memory_limit_mib);
    let (mut lines, mut levels, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    if let (Some(most), Some(allowed)) = (used.highest(), limit.highest()) {
        let percent = figure(most / allowed * 100.0);
        notes.push(format!("{percent} % of the limit of {} MiB at most.", figure(allowed)));
        if allowed <= most * FITS {
            levels = share_levels(scenario, "memory", allowed);
            lines.push(limit);
        }
    }
    lines.push(used);
    plotted("Memory (MiB)", scenario, lines, levels, 1.0, notes)
}

fn calls(scenario: &Scenario) -> Plot {
    let samples = &scenario.samples;
    let lines = vec![
        Line::of(Ink::Limit, "ceiling", samples, |sample| count(sample.calls_limit)),
        Line::of(Ink::Main, "active", samples, |sample| count(sample.active_calls)),
    ];
    plotted("Calls", scenario, lines, Vec::new(), 5.0, Vec::new())
}

fn errors(scenario: &Scenario) -> Plot {
    let line = Line::of(Ink::Main, "errors", &scenario.samples, |sample| count(Some(sample.errors)));
    plotted("Errors a second", scenario, vec![line], Vec::new(), 5.0, Vec::new())
}

/// Lines over the scenario's time; none of them is drawn if only limits are known.
fn plotted(
    title: &'static str,
    scenario: &Scenario,
    lines: Vec<Line>,
    levels: Vec<Level>,
    least: f64,
    mut notes: Vec<String>,
) -> Plot {
    if !lines.iter().any(|line| line.ink != Ink::Limit && line.highest().is_some()) {
        return Plot { title, svg: String::new(), legend: Vec::new(), notes };
    }
    let samples = &scenario.samples;
    let seconds = samples.iter().map(|sample| sample.at_seconds).fold(scenario.seconds, f64::max);
    let svg = over_time(&lines, &levels, seconds, least);
    let drawn = lines.into_iter().filter(|line| line.highest().is_some()).map(|line| (line.ink, line.name));
    let mut legend: Vec<_> = drawn.collect();
    legend.reverse(); // drawn last is on top
    legend.extend(levels.into_iter().map(|level| (level.ink, level.name)));
    if apart(samples) > 1 {
        notes.push(format!("Each point is the highest of {} samples.", apart(samples)));
    }
    Plot { title, svg, legend, notes }
}

/// The thresholds of the strictest check of these names.
fn time_levels(scenario: &Scenario, judged: &[&str]) -> Vec<Level> {
    let named = |check: &&Check| check.unit == "ms" && judged.iter().any(|name| check.what.starts_with(name));
    let checks = scenario.checks.iter().filter(named);
    let strictest = checks.min_by(|one, other| one.warning_above.total_cmp(&other.warning_above));
    strictest.map_or_else(Vec::new, |check| levels(check, |threshold| threshold, " ms"))
}

/// The thresholds of a check in percent that has `of` in its name, as shares of `limit`.
fn share_levels(scenario: &Scenario, of: &str, limit: f64) -> Vec<Level> {
    let check = scenario.checks.iter().find(|check| check.unit == "%" && check.what.contains(of));
    check.map_or_else(Vec::new, |check| levels(check, |percent| limit * percent / 100.0, " %"))
}

fn levels(check: &Check, at: impl Fn(f64) -> f64, unit: &str) -> Vec<Level> {
    let level = |ink: Ink, threshold: f64| Level {
        ink,
        name: format!("{} above {}{unit}", ink.name(), figure(threshold)),
        at: at(threshold),
    };
    vec![level(Ink::Warning, check.warning_above), level(Ink::Critical, check.critical_above)]
}

/// The levels to draw, and what to say about the others.
fn fitting(levels: Vec<Level>, highest: Option<f64>) -> (Vec<Level>, Vec<String>) {
    let Some(highest) = highest else { return Default::default() };
    let (drawn, far): (Vec<_>, Vec<_>) = levels.into_iter().partition(|level| level.at <= highest * FITS);
    let said = match &far[..] {
        [] => Vec::new(),
        far => {
            let names: Vec<_> = far.iter().map(|level| level.name.as_str()).collect();
            vec![format!("Further up than this plot reaches: {}.", names.join(", "))]
        }
    };
    (drawn, said)
}

fn count(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}
