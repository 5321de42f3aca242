use chrono::DateTime;

use super::*;
use crate::loadtest::judge;
use crate::loadtest::result::{Bucket, ErrorCount, Sample};
use crate::loadtest::tally::Tally;
use crate::loadtest::watch::Seen;

const TOLD: Sample = Sample {
    at_seconds: 0.0,
    response_p95_ms: Some(12.5),
    errors: 0,
    active_calls: Some(19),
    calls_limit: Some(20),
    pool_busy: Some(3),
    pool_waiting: Some(0),
    pool_limit: Some(20),
    memory_mib: Some(61.0),
    memory_limit_mib: Some(100.0),
};

fn samples(count: u32, sample: impl Fn(f64) -> Sample) -> Vec<Sample> {
    (0..count).map(f64::from).map(|at| Sample { at_seconds: at, ..sample(at) }).collect()
}

fn scenario(samples: Vec<Sample>) -> Scenario {
    Scenario {
        name: "webhooks".to_owned(),
        task: "20 webhooks".to_owned(),
        seconds: 60.0,
        verdict: Verdict::Fine,
        checks: vec![
            Check::new("response time P95", Some(12.5), "ms", 2_000.0, 5_000.0),
            Check::new("memory", Some(61.0), "%", 70.0, 85.0),
            Check::new("database pool in demand", Some(15.0), "%", 80.0, 100.0),
        ],
        asked: 20,
        errors: Vec::new(),
        upstream: Vec::new(),
        response_ms: Percentiles { p50: Some(10.0), p95: Some(12.5), p99: Some(40.0) },
        distribution: vec![Bucket { up_to_ms: 10.0, count: 11 }, Bucket { up_to_ms: 20.0, count: 9 }],
        own_lag_ms: Percentiles::default(),
        samples,
        calls: None,
    }
}

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

/// The text of the page's figure of this title.
fn figure_in<'a>(page: &'a str, title: &str) -> &'a str {
    let figures = page.split("<figure>").skip(1);
    let mut named = figures.filter(|figure| figure.starts_with(&format!("<figcaption>{title}<")));
    named.next().unwrap_or_else(|| panic!("no figure {title:?}")).split("</figure>").next().unwrap()
}

#[test]
fn every_plot_has_its_marks() {
    let page = html(&test(vec![scenario(samples(60, |_| TOLD))]));
    let marks = |title, color: &str| figure_in(&page, title).contains(&format!("\"{color}\""));
    let (main, second, limit) = ("#0072B2", "#009E73", "#595959");
    assert!(marks("Response time (ms)", main));
    assert!(marks("Distribution of the response time", main));
    assert!(marks("Database connections", main) && marks("Database connections", second));
    assert!(marks("Database connections", limit));
    assert!(marks("Memory (MiB)", main) && marks("Memory (MiB)", limit));
    assert!(marks("Memory (MiB)", "#B97A00") && marks("Memory (MiB)", "#B5331F"));
    assert!(marks("Calls", main) && marks("Calls", limit));
    assert!(!page.contains("Errors a second"), "no plot of nothing");
}

#[test]
fn whatever_a_result_says_it_is_text() {
    let hostile = "<b onload='x'>\"&</b>".to_owned();
    let mut scenario = scenario(samples(2, |_| TOLD));
    scenario.name = hostile.clone();
    scenario.task = hostile.clone();
    scenario.errors = vec![ErrorCount { cause: hostile.clone(), count: 1 }];
    scenario.upstream = scenario.errors.clone();
    for (check, value) in scenario.checks.iter_mut().zip([None, Some(71.0), Some(101.0)]) {
        *check = Check::new(hostile.clone() + &check.what, value, &check.unit, 70.0, 100.0);
    }
    scenario.checks.push(Check::new("unit", Some(1.0), &hostile, 0.0, 2.0));
    let page = html(&LoadTest { version: hostile.clone(), target: hostile, ..test(vec![scenario]) });
    assert!(!page.contains("<b ") && !page.contains("</b>"), "{page}");
    assert!(page.contains("&lt;b onload="), "{page}");
}

#[test]
fn a_result_of_nulls_alone_is_a_page() {
    let mut scenario = scenario(samples(30, |_| Sample::default()));
    scenario.checks = vec![Check::new("response time P95", None, "ms", 2_000.0, 5_000.0)];
    scenario.errors = vec![ErrorCount { cause: "timeout".to_owned(), count: 0 }];
    scenario.response_ms = Percentiles::default();
    scenario.distribution = Vec::new();
    scenario.calls = Some(CallsReport::default());
    let page = html(&test(vec![scenario]));
    assert!(!page.contains("<svg"), "{page}");
    assert_eq!(page.matches("Not known.").count(), 5, "{page}");
    assert!(page.contains("response time P95 is unknown"), "{page}");
    assert!(!page.contains("NaN") && !page.contains(">inf"), "{page}");
}

#[test]
fn of_calls_the_latency_is_the_frames() {
    let mut scenario = scenario(samples(9, |_| TOLD));
    scenario.checks.push(Check::new("added latency P99", Some(12.0), "ms", 30.0, 400.0));
    scenario.calls = Some(CallsReport::default());
    let page = html(&test(vec![scenario]));
    let latency = figure_in(&page, "Latency added to frames (ms)");
    assert!(latency.contains("\"#B97A00\"") && latency.contains("warning above 30 ms"), "{latency}");
    assert!(page.contains("Frames lost"), "{page}");
}

#[test]
fn the_judges_thresholds_are_those_that_are_drawn() {
    let busy = Sample { response_p95_ms: Some(1_800.0), ..TOLD };
    let seen = Seen { samples: samples(9, |_| busy.clone()), unhealthy: 0 };
    let tally = Tally::default();
    let mut scenario = scenario(seen.samples.clone());
    scenario.checks = judge::of_all(20, &tally, &seen);
    scenario.checks.push(judge::of_queries(&tally));
    let page = html(&test(vec![scenario]));
    for (title, level) in [
        ("Response time (ms)", "warning above 500 ms"),
        ("Database connections", "warning above 80 %"),
        ("Memory (MiB)", "critical above 85 %"),
    ] {
        assert!(figure_in(&page, title).contains(level), "{title}");
    }
}

#[test]
fn a_finding_without_requests_is_its_checks() {
    let leaks = Scenario {
        name: "leaks".to_owned(),
        checks: vec![Check::new("slots still held", Some(0.0), "", 0.0, 0.0)],
        ..Scenario::default()
    };
    let page = html(&test(vec![leaks]));
    assert!(page.contains("slots still held"), "{page}");
    assert!(!page.contains("Percentiles") && !page.contains("No samples"), "{page}");
}

#[test]
fn a_scenario_without_samples_has_no_empty_plots() {
    let page = html(&test(vec![scenario(Vec::new())]));
    assert!(page.contains("No samples were taken"), "{page}");
    assert!(!page.contains("<svg") && !page.contains("<figure>"), "{page}");
}

#[test]
fn one_sample_is_a_point() {
    let page = html(&test(vec![scenario(vec![TOLD])]));
    assert!(figure_in(&page, "Response time (ms)").contains("<circle"), "{page}");
}

#[test]
fn an_hour_stays_under_a_mebibyte() {
    let hour = |at: f64| Sample {
        response_p95_ms: Some(10.0 + (at * 0.7).sin()),
        memory_mib: Some(60.0 + at / 100.0),
        active_calls: Some(at as u64 % 20),
        errors: at as u64 % 3,
        ..TOLD
    };
    let page = html(&test(vec![scenario(samples(3_600, hour)), scenario(samples(3_600, hour))]));
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    assert!(figure_in(&page, "Response time (ms)").contains("Each point is the highest of 9 samples."));
}

#[test]
fn what_was_breached_stands_at_the_top() {
    let mut scenario = scenario(Vec::new());
    scenario.checks[0] = Check::new("response time P95", Some(2_300.0), "ms", 2_000.0, 5_000.0);
    scenario.checks[1] = Check::new("memory", Some(91.0), "%", 70.0, 85.0);
    let page = html(&test(vec![scenario]));
    assert!(page.contains("webhooks: response time P95 is 2,300 ms, above 2,000 ms"), "{page}");
    assert!(page.contains("webhooks: memory is 91 %, above 85 %"), "{page}");
    assert!(!page.contains("webhooks: database pool"), "{page}");
}

#[test]
fn a_threshold_far_above_is_said_and_not_drawn() {
    let page = html(&test(vec![scenario(samples(9, |_| TOLD))]));
    let latency = figure_in(&page, "Response time (ms)");
    assert!(!latency.contains("#B97A00"), "{latency}");
    assert!(latency.contains("reaches: warning above 2,000 ms, critical above 5,000 ms"), "{latency}");

    let page = html(&test(vec![scenario(samples(9, |_| Sample { response_p95_ms: Some(1_800.0), ..TOLD }))]));
    let latency = figure_in(&page, "Response time (ms)");
    assert!(latency.contains("\"#B97A00\"") && latency.contains("\"#B5331F\""), "{latency}");
}

#[test]
fn a_machines_memory_does_not_press_the_line_flat() {
    let of_machine = |_| Sample { memory_limit_mib: Some(24_101.0), ..TOLD };
    let page = html(&test(vec![scenario(samples(9, of_machine))]));
    let memory = figure_in(&page, "Memory (MiB)");
    assert!(!memory.contains("#595959"), "{memory}");
    assert!(memory.contains("0.25 % of the limit of 24,101 MiB at most."), "{memory}");
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = html(&test(vec![scenario(samples(9, |_| TOLD))]));
    for loading in ["<script", "<link", "<img", "src=", "url(", "@import"] {
        assert!(!page.contains(loading), "{loading}");
    }
}
