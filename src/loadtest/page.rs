//! The result of a load test as one HTML page, which can be mailed: nothing in it is loaded from elsewhere,
//! and nothing in it runs. It is read on a screen, on a telephone, in the dark and on paper.

mod plot;
mod plots;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::plots::Plot;
use super::figure::{UNKNOWN, figure, known};
use super::result::{Check, LoadTest, Scenario, Verdict};
use crate::sim::report::{CallsReport, FrameCounts, Percentiles};

const STYLE: &str = include_str!("page/style.css");
/// The browser holds the page to its word.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page. Its size is bounded by the number of scenarios (some 100 KiB each), whatever their length.
pub fn html(test: &LoadTest) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "Load test of " (test.target) ": " (test.verdict) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (head(test))
                    @for (place, scenario) in test.scenarios.iter().enumerate() {
                        (section(place, scenario))
                    }
                }
            }
        }
    };
    page.into_string()
}

fn head(test: &LoadTest) -> Markup {
    html! {
        header {
            h1 { "Load test" }
            (pill(test.verdict))
        }
        section {
            dl {
                div { dt { "Target" } dd { (test.target) } }
                div { dt { "Started" } dd { (test.started_at.format("%Y-%m-%d %H:%M:%S UTC")) } }
                div { dt { "Version" } dd { (test.version) } }
                div { dt { "Load from" } dd { (test.cpus) " processors" } }
            }
            @if test.scenarios.is_empty() {
                p.empty { "No scenario was run." }
            } @else {
                (overview(&test.scenarios))
            }
            (breaches(&test.scenarios))
        }
    }
}

fn overview(scenarios: &[Scenario]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "Scenario" }
                        th { "Verdict" }
                        th.number { "Asked" }
                        th.number { "Errors" }
                        th.number { "P95 (ms)" }
                    }
                }
                tbody {
                    @for (place, scenario) in scenarios.iter().enumerate() {
                        tr {
                            th scope="row" { a href={ "#scenario-" (place) } { (scenario.name) } }
                            td { (pill(scenario.verdict)) }
                            @if scenario.asked > 0 {
                                td.number { (figure(scenario.asked as f64)) }
                                td.number { (figure(errors(scenario) as f64)) }
                                td.number { (known(scenario.response_ms.p95)) }
                            } @else {
                                td colspan="3" {}
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Every figure that is not fine, in a sentence.
fn breaches(scenarios: &[Scenario]) -> Markup {
    let breached =
        scenarios.iter().flat_map(|scenario| scenario.breached().map(move |check| (scenario, check)));
    html! {
        ul.breaches {
            @for (scenario, check) in breached {
                li {
                    (pill(check.verdict)) " " (scenario.name) ": " (check.what) " "
                    @match (check.value, check.verdict) {
                        (None, _) => { "is " (UNKNOWN) }
                        (Some(value), Verdict::Critical) => {
                            "is " (with_unit(value, check)) ", above " (with_unit(check.critical_above, check))
                        }
                        (Some(value), _) => {
                            "is " (with_unit(value, check)) ", above " (with_unit(check.warning_above, check))
                        }
                    }
                }
            }
        }
    }
}

fn section(place: usize, scenario: &Scenario) -> Markup {
    html! {
        section id={ "scenario-" (place) } {
            header {
                h2 { (scenario.name) }
                (pill(scenario.verdict))
            }
            p { (scenario.task) }
            p.quiet { (figure(scenario.seconds)) " s" }
            (checks(&scenario.checks))
            @if scenario.asked > 0 {
                (measured(scenario))
            }
        }
    }
}

/// Of a scenario that asked something of the program, and did not only look at it.
fn measured(scenario: &Scenario) -> Markup {
    html! {
        (errors_by_cause(scenario))
        (percentiles(scenario))
        @if let Some(calls) = &scenario.calls {
            (calls_report(calls))
        }
        @if scenario.samples.is_empty() {
            p.empty { "No samples were taken: there is nothing to plot." }
        } @else {
            div.plots {
                @for plot in plots::of(scenario) { (figure_of(&plot)) }
            }
        }
    }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        h3 { "Checks" }
        @if checks.is_empty() {
            p.empty { "Nothing was checked." }
        } @else {
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "Figure" }
                            th { "Verdict" }
                            th.number { "Value" }
                            th.number { "Warning above" }
                            th.number { "Critical above" }
                        }
                    }
                    tbody {
                        @for check in checks {
                            tr {
                                th scope="row" { (check.what) }
                                td { (pill(check.verdict)) }
                                td.number {
                                    @match check.value {
                                        Some(value) => { (with_unit(value, check)) }
                                        None => { (UNKNOWN) }
                                    }
                                }
                                td.number { (with_unit(check.warning_above, check)) }
                                td.number { (with_unit(check.critical_above, check)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn errors_by_cause(scenario: &Scenario) -> Markup {
    html! {
        h3 { "Errors" }
        @for failure in &scenario.upstream {
            p.quiet {
                (figure(failure.count as f64)) " × " (failure.cause)
                ": not in the error rate, in which the calls are that suffered by it."
            }
        }
        @if scenario.errors.is_empty() {
            p.empty { "None." }
        } @else {
            div.scroll {
                table {
                    thead { tr { th { "Cause" } th.number { "Count" } th.number { "Of all asked" } } }
                    tbody {
                        @for error in &scenario.errors {
                            tr {
                                th scope="row" { (error.cause) }
                                td.number { (figure(error.count as f64)) }
                                td.number { (figure(error.count as f64 / scenario.asked as f64 * 100.0)) " %" }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn percentiles(scenario: &Scenario) -> Markup {
    let mut rows = Vec::new();
    match &scenario.calls {
        None => rows.push(("response time", &scenario.response_ms)),
        Some(calls) => rows.extend([
            ("answer, after the caller's last word", &scenario.response_ms),
            ("added latency, caller to agent", &calls.added_latency_ms.up),
            ("added latency, agent to caller", &calls.added_latency_ms.down),
            ("first audio", &calls.first_audio_ms),
            ("reaction to an interruption", &calls.barge_in_ms),
            ("longest silence of a call", &calls.silence_ms),
            ("the simulated Realtime service's own lag", &calls.realtime_lag_ms),
        ]),
    }
    rows.push(("this generator's own lag", &scenario.own_lag_ms));
    html! {
        h3 { "Percentiles (ms)" }
        div.scroll {
            table {
                thead { tr { th {} th.number { "P50" } th.number { "P95" } th.number { "P99" } } }
                tbody {
                    @for (name, Percentiles { p50, p95, p99 }) in rows {
                        tr {
                            th scope="row" { (name) }
                            @for value in [p50, p95, p99] { td.number { (known(*value)) } }
                        }
                    }
                }
            }
        }
    }
}

fn calls_report(report: &CallsReport) -> Markup {
    let (calls, frames) = (&report.calls, report.frames.as_ref());
    let count = |value: u64| figure(value as f64);
    let of_frames = |value: fn(&FrameCounts) -> u64| known(frames.map(|frames| value(frames) as f64));
    let figures = [
        ("Completed", count(calls.completed)),
        ("Refused", count(calls.refused)),
        ("Failed", count(calls.failed)),
        ("Fallback", count(calls.fallback)),
        ("Gaps in the agent's audio", count(report.gaps)),
        ("Frames lost", of_frames(|frames| frames.lost)),
        ("Frames reordered", of_frames(|frames| frames.reordered)),
        ("Frames corrupted", of_frames(|frames| frames.corrupted)),
        ("Frames crossed", of_frames(|frames| frames.crossed)),
        ("Violations", count(report.violations)),
        ("Processors, of the program", known(report.bridge_cores)),
        ("Processors, of the load test", known(report.own_cores)),
        ("CPU seconds per call-minute", known(report.cpu_seconds_per_call_minute)),
        ("Memory per call (KiB)", known(report.memory_kib_per_call)),
    ];
    html! {
        h3 { "As the callers heard it" }
        dl {
            @for (name, value) in figures { div { dt { (name) } dd { (value) } } }
        }
    }
}

fn figure_of(plot: &Plot) -> Markup {
    html! {
        figure {
            figcaption { (plot.title) }
            @if plot.svg.is_empty() {
                p.empty { "Not known." }
            } @else {
                div role="img" aria-label=(plot.title) { (PreEscaped(plot.svg.as_str())) }
                p.legend {
                    @for (ink, name) in &plot.legend {
                        span { i class=(ink.name()) {} (name) }
                    }
                }
            }
            @for note in &plot.notes { p.quiet { (note) } }
        }
    }
}

fn pill(verdict: Verdict) -> Markup {
    html! { span class={ "pill " (verdict) } { (verdict) } }
}

fn errors(scenario: &Scenario) -> u64 {
    scenario.errors.iter().map(|error| error.count).sum()
}

fn with_unit(value: f64, check: &Check) -> String {
    match check.unit.as_str() {
        "" => figure(value),
        unit => format!("{} {unit}", figure(value)),
    }
}

#[cfg(test)]
mod tests;
