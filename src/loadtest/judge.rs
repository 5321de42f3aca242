//! How figures stand against the thresholds. No clock, no socket.
//!
//! Response time, errors, pool and memory have the levels of the [alerts](thresholds). What a scenario expects
//! beyond these is a warning where it is not met; it is critical where more than 5 % of the requests or calls
//! did not meet it.
//!
//! **Errors.** The rate counts requests that were not answered as they should be, and calls that suffered:
//! those that failed, or were turned away where there was room. A response of the Realtime service that
//! failed and was repeated made nobody suffer: the service's failures are judged by themselves. What this
//! machine could not send for want of something is no error of the program, and a warning.
//!
//! **The pool.** What counts is the demand: connections in use and queries that wait for one, in percent of
//! the connections allowed. Above 80 % it is nearly exhausted; at 100 % it is. A group of queries that comes
//! at once fills any pool for a moment and harms nobody, so it is the demand that lasted for [`LASTING`]
//! seconds in a row.
//!
//! **The load itself.** A request counts from when it was due; how late this program was in sending it is
//! judged, too, because then the result is about this machine, not about the program under load. Its P99 is
//! taken off the delay of frames, except where the machine's limit is looked for: callers and program share
//! it.

use actors::thresholds::{self, Levels};

use super::result::{Check, Sample, Scenario, Verdict};
use super::tally::Tally;
use super::watch::Seen;
use crate::sim::report::{CallCounts, CallsReport, Percentiles, UpDown};

/// What is expected of all is not met by some of them: so many of a hundred are critical.
const CRITICAL_SHARE: f64 = 5.0;
/// For how many samples a pool has to be in demand.
const LASTING: usize = 5;
/// The response time of the call log, in milliseconds, P95.
const LOG_RESPONSE_MS: f64 = 500.0;
/// By when a status callback is processed, in milliseconds.
pub const PROCESSED_WITHIN_MS: f64 = thresholds::WEBHOOK_DELAY_MS.warning;
/// What is added to a frame's way, in milliseconds, P99. A conversation bears 400 ms one way in all (ITU-T
/// G.114), of which the telephone network and the service need their part.
const DELAY_MS: [f64; 2] = [250.0, 400.0];
/// What the program may add to a frame's way where its limit is looked for, in milliseconds, P99.
pub const QUALITY_MS: f64 = 20.0;
/// A step of that search is lost if it was as bad as can be for so many seconds.
const LATE_FOR: usize = 3;
const REALTIME: Levels = thresholds::REALTIME_FAILURE_PERCENT;
/// How late this program may be, in milliseconds, P99, where requests are judged: half of what the tightest
/// response time allows. It is also what a quick run may be, on a machine that has other things to do.
pub const LAG_MS: f64 = 250.0;
/// The same where callers are heard, and where it is their quality that is judged.
pub const LAG_OF_CALLS_MS: f64 = 50.0;
pub const LAG_OF_QUALITY_MS: f64 = QUALITY_MS;
const LAG_CRITICAL_MS: f64 = 1_000.0;

/// The worst of them.
pub fn worst<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Verdict {
    checks.into_iter().map(|check| check.verdict).max().unwrap_or(Verdict::Fine)
}

/// So many of all, in percent; not known of none.
pub fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64 * 100.0)
}

/// A figure against levels that alerts have as well.
fn against(what: &str, value: Option<f64>, unit: &str, levels: Levels) -> Check {
    Check::new(what, value, unit, levels.warning, levels.critical)
}

/// Something of which there should be none.
fn none_of(what: &str, part: u64, all: u64) -> Check {
    Check::new(what, share(part, all), "%", 0.0, CRITICAL_SHARE)
}

/// How late this program was, which may be so much before its figures are about the machine it runs on.
pub fn of_lag(own_lag_ms: &Percentiles, warning_above: f64) -> Check {
    let what = "own lag P99, beyond which the load's machine is measured";
    Check::new(what, own_lag_ms.p99, "ms", warning_above, LAG_CRITICAL_MS)
}

/// What holds for every scenario: response time, errors, pool, memory and health.
pub fn of_all(asked: u64, tally: &Tally, seen: &Seen) -> Vec<Check> {
    let ours = tally.our_error_count().min(asked);
    let mut checks = vec![
        against("response time P95", tally.response_ms().p95, "ms", thresholds::RESPONSE_MS),
        against("error rate", share(tally.error_count(), asked - ours), "%", thresholds::ERROR_PERCENT),
        against("database pool in demand", pool_demand(&seen.samples), "%", thresholds::POOL_PERCENT),
        against("memory", memory(&seen.samples), "%", thresholds::MEMORY_PERCENT),
        none_of("looks at /healthz that found it unwell", seen.unhealthy, seen.samples.len() as u64),
    ];
    if ours > 0 {
        checks.push(Check::new("not sent for want of something here", share(ours, asked), "%", 0.0, 100.0));
    }
    checks
}

/// Status callbacks: none is turned away, and each of the `accepted` is processed in time. `on_time` is null
/// where the program does not tell; `delay_p95_ms` at least as long as it was.
pub fn of_webhooks(
    asked: u64,
    too_many: u64,
    accepted: u64,
    on_time: Option<u64>,
    delay_p95_ms: Option<f64>,
) -> Vec<Check> {
    let late = on_time.and_then(|on_time| share(accepted.saturating_sub(on_time), accepted));
    vec![
        none_of("answers 429", too_many, asked),
        Check::new("not processed within 5 s", late, "%", 0.0, CRITICAL_SHARE),
        against("webhook delay P95, at most", delay_p95_ms, "ms", thresholds::WEBHOOK_DELAY_MS),
    ]
}

/// The call log: it answers soon.
pub fn of_queries(tally: &Tally) -> Check {
    let p95 = tally.response_ms().p95;
    Check::new("call log P95", p95, "ms", LOG_RESPONSE_MS, 10.0 * LOG_RESPONSE_MS)
}

/// Calls: `expected` of them are completed, with every frame, and all others are turned away politely.
pub fn of_calls(report: &CallsReport, expected: u64, frames_sent: u64, service: Service) -> Vec<Check> {
    let CallCounts { asked, completed, refused, .. } = report.calls;
    let neither = asked.saturating_sub(completed + refused);
    let faulty = report.frames.as_ref().and_then(|frames| {
        share(frames.lost + frames.reordered + frames.corrupted + frames.crossed, frames_sent)
    });
    vec![
        none_of("calls not completed", expected.saturating_sub(completed), expected),
        none_of("calls neither completed nor turned away", neither, asked),
        Check::new("frames lost, reordered, corrupted or crossed", faulty, "%", 0.0, CRITICAL_SHARE),
        Check::new("complaints of the peers", Some(report.violations as f64), "", 0.0, asked as f64),
        against("failed responses of the Realtime service", service.failed_responses, "%", REALTIME),
        against("failed connects to the Realtime service", service.failed_connects, "%", REALTIME),
    ]
}

/// All `expected` calls are active at once. `seen` is what the live picture showed; null where it did not.
pub fn of_presence(expected: u64, seen: Option<u64>) -> Check {
    let not_seen = seen.and_then(|seen| share(expected.saturating_sub(seen), expected));
    Check::new("calls never seen active at once", not_seen, "%", 0.0, CRITICAL_SHARE)
}

/// What is added to a frame's way, as far as it is more than this program itself was late: the rest may be
/// for want of a processor here, and the lag is judged by itself.
pub fn of_delay(report: &CallsReport, own_lag_ms: &Percentiles) -> Check {
    let own_lag = own_lag_ms.p99.unwrap_or_default();
    let added = added_p99(&report.added_latency_ms).map(|added| (added - own_lag).max(0.0));
    Check::new("added latency P99 beyond own lag", added, "ms", DELAY_MS[0], DELAY_MS[1])
}

/// The load could not be gone on with.
pub fn of_what_was_left(error: &anyhow::Error) -> Scenario {
    told(
        "unfinished",
        format!("the rest was not done: {error:#}"),
        Check::new("what was left", None, "", 0.0, 0.0),
    )
}

/// The program under load crashed, or would not stop.
pub fn of_the_end(error: &anyhow::Error) -> Scenario {
    let crashed = Check::new("programs that did not end well", Some(1.0), "", 0.0, 0.0);
    told("end", format!("the program did not end well: {error:#}"), crashed)
}

fn told(name: &str, task: String, check: Check) -> Scenario {
    Scenario {
        name: name.to_owned(),
        task,
        verdict: check.verdict,
        checks: vec![check],
        ..Scenario::default()
    }
}

/// What the program says of its Realtime service, in percent; null where it does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Service {
    pub failed_responses: Option<f64>,
    pub failed_connects: Option<f64>,
}

/// Where the limit is looked for, or exceeded: the calls that are taken do not suffer.
pub fn of_quality(report: &CallsReport) -> Check {
    let added = added_p99(&report.added_latency_ms);
    Check::new("added latency P99 at this size", added, "ms", QUALITY_MS, DELAY_MS[1])
}

/// A step that was [lost](is_lost), whatever its figures are over all of the time: it did not hold.
pub fn of_giving_up() -> Check {
    Check::new("times given up, as frames were late for seconds or calls failed", Some(1.0), "", 0.0, 0.0)
}

/// Whether the search for the limit need not wait for the end of a step: frames were late by more than a
/// conversation bears in each of the last seconds, of which `p99_ms` has the P99, or more than a tenth of the
/// calls failed.
pub fn is_lost(p99_ms: &[f64], failed: u64, asked: u64) -> bool {
    let last = p99_ms.last_chunk::<LATE_FOR>();
    last.is_some_and(|last| last.iter().all(|ms| *ms > DELAY_MS[1])) || failed * 10 > asked
}

/// The worse way; null unless both are known.
fn added_p99(added: &UpDown) -> Option<f64> {
    added.up.p99.zip(added.down.p99).map(|(up, down)| up.max(down))
}

/// How long at least the slowest twentieth took, of a histogram's buckets: bound and count up to it, rising.
/// Null without any, and beyond the last bound.
pub fn p95_of_buckets(buckets: &[(f64, f64)]) -> Option<f64> {
    let all = buckets.last()?.1;
    let (bound, _) = buckets.iter().find(|(_, count)| all > 0.0 && *count >= all * 0.95)?;
    Some(*bound).filter(|bound| bound.is_finite())
}

/// The highest demand that lasted, in percent of the limit.
fn pool_demand(samples: &[Sample]) -> Option<f64> {
    let demand = samples.iter().filter_map(|sample| {
        let demand = sample.pool_busy? + sample.pool_waiting?;
        share(demand, sample.pool_limit?)
    });
    let demand: Vec<f64> = demand.collect();
    let lasting = LASTING.min(demand.len()).max(1);
    let lasted = demand.windows(lasting).map(|samples| samples.iter().copied().fold(f64::INFINITY, f64::min));
    lasted.reduce(f64::max)
}

/// The most that was resident, in percent of what there is.
fn memory(samples: &[Sample]) -> Option<f64> {
    let used = samples.iter().filter_map(|sample| {
        let limit = sample.memory_limit_mib.filter(|limit| *limit > 0.0)?;
        Some(sample.memory_mib? / limit * 100.0)
    });
    used.reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::loadtest::target::Fault;
    use crate::sim::report::FrameCounts;

    fn verdict(checks: &[Check], what: &str) -> Verdict {
        checks.iter().find(|check| check.what == what).unwrap_or_else(|| panic!("{what}")).verdict
    }

    fn tally(answers_ms: &[u64], errors: usize) -> Tally {
        let tally = Tally::default();
        let failed = || Err(Fault::Theirs("500".to_owned()));
        let results = (0..answers_ms.len()).map(|index| if index < errors { failed() } else { Ok(()) });
        for (ms, result) in answers_ms.iter().zip(results) {
            tally.answered(Duration::from_millis(*ms), result);
        }
        tally
    }

    fn pool(busy: u64, waiting: u64) -> Sample {
        Sample {
            pool_busy: Some(busy),
            pool_waiting: Some(waiting),
            pool_limit: Some(20),
            ..Sample::default()
        }
    }

    fn seen(samples: Vec<Sample>) -> Seen {
        Seen { samples, unhealthy: 0 }
    }

    fn of(tally: &Tally, seen: &Seen) -> Vec<Check> {
        of_all(100, tally, seen)
    }

    #[test]
    fn the_documents_thresholds_are_those_of_every_scenario() {
        let none = seen(Vec::new());
        let response = |ms| verdict(&of(&tally(&[ms; 100], 0), &none), "response time P95");
        assert_eq!([1_990, 2_010, 5_010].map(response), [Verdict::Fine, Verdict::Warning, Verdict::Critical]);
        let errors = |errors| verdict(&of(&tally(&[1; 100], errors), &none), "error rate");
        assert_eq!([1, 2, 6].map(errors), [Verdict::Fine, Verdict::Warning, Verdict::Critical]);
        let memory = |mib| {
            let sample = Sample { memory_mib: Some(mib), memory_limit_mib: Some(100.0), ..Sample::default() };
            verdict(&of(&tally(&[1], 0), &seen(vec![Sample::default(), sample])), "memory")
        };
        assert_eq!([70.0, 71.0, 86.0].map(memory), [Verdict::Fine, Verdict::Warning, Verdict::Critical]);
    }

    #[test]
    fn a_pool_is_exhausted_by_a_demand_that_lasts() {
        let judged =
            |samples: Vec<Sample>| verdict(&of(&tally(&[1], 0), &seen(samples)), "database pool in demand");
        assert_eq!(judged(vec![pool(16, 0); 9]), Verdict::Fine);
        assert_eq!(judged(vec![pool(17, 0); 9]), Verdict::Warning);
        assert_eq!(judged(vec![pool(19, 0); 9]), Verdict::Warning, "one is left");
        assert_eq!(judged(vec![pool(20, 0); 9]), Verdict::Critical, "all are in use");
        assert_eq!(judged(vec![pool(20, 1); 9]), Verdict::Critical, "somebody waits");
        let mut moments = vec![pool(2, 0); 9];
        moments[3..7].fill(pool(20, 30));
        assert_eq!(judged(moments.clone()), Verdict::Fine, "four seconds are a moment");
        moments[7] = pool(18, 0);
        assert_eq!(judged(moments), Verdict::Warning, "five are not");
        assert_eq!(judged(Vec::new()), Verdict::Warning, "it is not known");
    }

    #[test]
    fn looks_that_find_the_program_unwell_count() {
        let unwell = Seen { samples: vec![pool(1, 0); 100], unhealthy: 1 };
        assert_eq!(
            verdict(&of(&tally(&[1], 0), &unwell), "looks at /healthz that found it unwell"),
            Verdict::Warning
        );
    }

    #[test]
    fn a_result_that_measures_the_loads_own_machine_says_so() {
        let lag = |p99| Percentiles { p99: Some(p99), ..Percentiles::default() };
        let check = of_lag(&lag(61.0), LAG_OF_CALLS_MS);
        assert_eq!(
            check.to_string(),
            "own lag P99, beyond which the load's machine is measured 61 ms (warning above 50, critical above 1,000)"
        );
        assert_eq!(check.verdict, Verdict::Warning);
        assert_eq!(of_lag(&lag(61.0), LAG_MS).verdict, Verdict::Fine);
        assert_eq!(of_lag(&lag(21.0), LAG_OF_QUALITY_MS).verdict, Verdict::Warning);
        assert_eq!(of_lag(&lag(1_001.0), LAG_MS).verdict, Verdict::Critical);
    }

    #[test]
    fn what_nobody_tells_of_the_frames_is_not_taken_for_fine() {
        let service = Service { failed_responses: Some(0.0), failed_connects: Some(0.0) };
        let mut untold = report(30, 0);
        untold.frames = None;
        untold.added_latency_ms.up = Percentiles::default();
        assert_eq!(worst(&of_calls(&untold, 30, 30_000, service)), Verdict::Warning);
        assert_eq!(of_quality(&untold).verdict, Verdict::Warning);
        assert_eq!(of_delay(&untold, &Percentiles::default()).verdict, Verdict::Warning);
    }

    #[test]
    fn a_step_that_was_given_up_did_not_hold() {
        assert_eq!(of_giving_up().verdict, Verdict::Critical);
    }

    #[test]
    fn what_could_not_be_sent_from_here_is_a_warning_at_most() {
        let tally = tally(&[1; 4], 0);
        (0..96).for_each(|_| tally.answered(Duration::ZERO, Err(Fault::Ours("no port left here"))));
        let checks = of(&tally, &seen(vec![pool(1, 0)]));
        assert_eq!(verdict(&checks, "not sent for want of something here"), Verdict::Warning);
        assert_eq!(verdict(&checks, "error rate"), Verdict::Fine);
    }

    #[test]
    fn a_step_is_lost_when_it_is_bad_for_seconds_or_when_calls_fail() {
        assert!(is_lost(&[3.0, 401.0, 500.0, 600.0], 0, 100));
        assert!(!is_lost(&[401.0, 500.0, 3.0, 401.0, 401.0], 0, 100), "it recovered");
        assert!(!is_lost(&[500.0, 500.0], 10, 100));
        assert!(is_lost(&[], 11, 100));
    }

    #[test]
    fn callbacks_are_all_taken_and_processed_in_time() {
        let judged =
            |too_many, on_time| worst(&of_webhooks(500, too_many, 500 - too_many, on_time, Some(50.0)));
        assert_eq!(judged(0, Some(500)), Verdict::Fine);
        assert_eq!(judged(1, Some(499)), Verdict::Warning);
        assert_eq!(judged(30, Some(470)), Verdict::Critical);
        assert_eq!(judged(0, Some(499)), Verdict::Warning);
        assert_eq!(judged(0, Some(400)), Verdict::Critical);
        assert_eq!(judged(0, None), Verdict::Warning);
    }

    #[test]
    fn the_call_log_has_half_a_second() {
        assert_eq!(of_queries(&tally(&[490; 10], 0)).verdict, Verdict::Fine);
        assert_eq!(of_queries(&tally(&[510; 10], 0)).verdict, Verdict::Warning);
        assert_eq!(of_queries(&tally(&[], 0)).verdict, Verdict::Warning);
    }

    fn report(completed: u64, refused: u64) -> CallsReport {
        let calls = CallCounts {
            asked: 30,
            completed,
            refused,
            failed: 30 - completed - refused,
            ..Default::default()
        };
        let spread = |p99| Percentiles { p50: Some(0.2), p95: Some(0.5), p99: Some(p99) };
        CallsReport {
            calls,
            frames: Some(FrameCounts::default()),
            added_latency_ms: UpDown { up: spread(1.0), down: spread(2.0) },
            ..CallsReport::default()
        }
    }

    fn calls(report: &CallsReport, expected: u64, seen_at_once: u64) -> Verdict {
        let service = Service { failed_responses: Some(0.0), failed_connects: Some(0.0) };
        let presence = of_presence(expected, Some(seen_at_once));
        worst(of_calls(report, expected, 30_000, service).iter().chain([&presence]))
    }

    #[test]
    fn all_calls_are_completed_and_seen_at_once() {
        assert_eq!(calls(&report(30, 0), 30, 30), Verdict::Fine);
        assert_eq!(calls(&report(29, 0), 30, 30), Verdict::Warning);
        assert_eq!(calls(&report(28, 0), 30, 30), Verdict::Critical);
        assert_eq!(calls(&report(30, 0), 30, 29), Verdict::Warning);
        assert_eq!(calls(&report(28, 2), 30, 30), Verdict::Critical, "there was room for them");
    }

    #[test]
    fn under_overload_the_ceilings_worth_is_completed_and_the_rest_is_turned_away() {
        assert_eq!(calls(&report(20, 10), 20, 20), Verdict::Fine);
        assert_eq!(calls(&report(20, 9), 20, 20), Verdict::Warning, "one was neither served nor told");
        assert_eq!(calls(&report(18, 12), 20, 18), Verdict::Critical);
    }

    #[test]
    fn a_lost_frame_a_complaint_and_a_failing_service_are_told() {
        let mut lossy = report(30, 0);
        lossy.frames = Some(FrameCounts { lost: 1, ..FrameCounts::default() });
        assert_eq!(calls(&lossy, 30, 30), Verdict::Warning);
        let mut complained = report(30, 0);
        complained.violations = 1;
        assert_eq!(calls(&complained, 30, 30), Verdict::Warning);
        let service = |percent| Service { failed_responses: Some(percent), failed_connects: Some(0.0) };
        let judged = |percent| worst(&of_calls(&report(30, 0), 30, 30_000, service(percent)));
        assert_eq!([1.0, 1.1, 6.0].map(judged), [Verdict::Fine, Verdict::Warning, Verdict::Critical]);
    }

    #[test]
    fn the_worse_way_of_a_frame_counts() {
        let mut slow = report(30, 0);
        slow.added_latency_ms.up.p99 = Some(21.0);
        assert_eq!(of_quality(&slow).verdict, Verdict::Warning);
        assert_eq!(of_quality(&report(30, 0)).verdict, Verdict::Fine);
        assert_eq!(of_delay(&slow, &Percentiles::default()).verdict, Verdict::Fine, "nobody notices");
    }

    #[test]
    fn a_delay_that_our_own_lag_explains_is_not_the_programs() {
        let mut slow = report(30, 0);
        slow.added_latency_ms.down.p99 = Some(754.0);
        let lag = |p99| Percentiles { p99: Some(p99), ..Percentiles::default() };
        assert_eq!(of_delay(&slow, &lag(2.0)).verdict, Verdict::Critical);
        assert_eq!(of_delay(&slow, &lag(567.0)).verdict, Verdict::Fine);
        assert_eq!(of_delay(&report(30, 0), &lag(567.0)).verdict, Verdict::Fine);
        assert_eq!(of_delay(&CallsReport::default(), &lag(2.0)).verdict, Verdict::Warning, "it is not known");
    }

    #[test]
    fn the_slowest_twentieth_is_found_in_buckets() {
        let buckets = [(0.1, 90.0), (1.0, 95.0), (5.0, 99.0), (f64::INFINITY, 100.0)];
        assert_eq!(p95_of_buckets(&buckets), Some(1.0));
        assert_eq!(p95_of_buckets(&[(1.0, 1.0), (f64::INFINITY, 100.0)]), None);
        assert_eq!(p95_of_buckets(&[(1.0, 0.0)]), None);
        assert_eq!(p95_of_buckets(&[]), None);
    }
}
