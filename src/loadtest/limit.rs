//! How many calls the machine holds: steps of four times the size until one does not hold, then between the
//! last that did and the first that did not. What is measured is the time in which all callers of a step are
//! on the line together; a step that is lost is not waited for.

use std::time::Duration;

use super::calls::{self, Calls, Room};
use super::figure::figure;
use super::judge;
use super::leaks;
use super::result::{Check, Scenario, Verdict};
use super::target::Target;

/// The first step, which is also what the document asks for.
const TARGET: u16 = 20;
/// No step is larger, nor larger than this machine can ring.
pub const MOST: u16 = 2_000;
/// From so many calls on they ring faster: it is the talking that is measured, not the ringing.
const MANY: u16 = 100;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How long all are on the line together.
    pub length: Duration,
    /// How exactly: to one of so many parts.
    pub parts: u16,
    /// As in [`Calls`].
    pub quick: bool,
}

/// The search, without the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Search {
    /// The largest step that held, 0 before any.
    holds: u16,
    /// The smallest that did not.
    breaks: Option<u16>,
    parts: u16,
    /// No step is larger.
    most: u16,
}

impl Search {
    fn new(parts: u16, most: u16) -> Self {
        Self { holds: 0, breaks: None, parts, most }
    }

    /// The size of the next step; none when it is known well enough.
    fn next(self) -> Option<u16> {
        match self.breaks {
            None if self.holds >= self.most => None,
            None => Some(self.holds.saturating_mul(4).max(TARGET).min(self.most)),
            Some(breaks) => {
                let gap = breaks - self.holds;
                (self.holds > 0 && gap > (breaks / self.parts).max(1)).then(|| self.holds + gap / 2)
            }
        }
    }

    fn found(&mut self, size: u16, holds: bool) {
        if holds {
            self.holds = size;
        } else {
            self.breaks = Some(size);
        }
    }
}

/// The time within which so many ring.
fn ramp(size: u16) -> Duration {
    let a_second = if size < MANY { 10.0 } else { 25.0 };
    Duration::from_secs_f64(f64::from(size) / a_second)
}

/// Looks for the limit. Adds to `steps`, which is empty, each step when it is over, and at the end the
/// finding.
///
/// # Errors
/// As [`calls::run`], and the program does not tell whether it is at rest between two steps.
pub async fn find(target: &Target, limit: Limit, steps: &mut Vec<Scenario>) -> anyhow::Result<()> {
    let mut search = Search::new(limit.parts, MOST.min(calls::most()));
    let mut broken = String::new();
    while let Some(size) = search.next() {
        let Limit { length, quick, .. } = limit;
        let calls = Calls { count: size, length, ramp: ramp(size), room: Room::ForQuality, quick };
        let label = format!("step {}: {size} calls, {} held", steps.len() + 1, search.holds);
        let mut step = calls::run(target, calls, &format!("calls {size}"), &label).await?;
        let gave_way = gave_way(&step);
        match &gave_way {
            None => eprintln!("{size} calls: held"),
            Some(what) => eprintln!("{size} calls: {what}"),
        }
        search.found(size, gave_way.is_none());
        // That a step breaks is what is looked for, and no fault of the program.
        step.verdict = if gave_way.is_some() { Verdict::Warning } else { Verdict::Fine };
        broken = gave_way.unwrap_or(broken);
        steps.push(step);
        leaks::rests(target).await?;
    }
    steps.push(finding(search, &broken, steps));
    Ok(())
}

/// What of a step did not hold, the gravest first, and who was short of the machine; none if all did.
fn gave_way(step: &Scenario) -> Option<String> {
    let mut broken: Vec<_> = step.breached().collect();
    broken.sort_by_key(|check| std::cmp::Reverse(check.verdict));
    let mut broken: Vec<_> = broken.into_iter().map(ToString::to_string).collect();
    if broken.is_empty() {
        return None;
    }
    if let Some(report) = &step.calls {
        let busy = |cores: Option<f64>| cores.map_or_else(|| "an unknown part".to_owned(), of_a_core);
        let (program, own) = (busy(report.bridge_cores), busy(report.own_cores));
        broken.push(format!("the program had {program}, the load test {own}"));
    }
    let callers = step.own_lag_ms.p99;
    let service = step.calls.as_ref().and_then(|report| report.realtime_lag_ms.p99);
    let late = [("callers", callers), ("Realtime service", service)];
    let late =
        late.into_iter().filter_map(|(who, lag)| Some((who, lag.filter(|lag| *lag > judge::QUALITY_MS)?)));
    let late: Vec<_> = late.map(|(who, lag)| format!("the simulated {who} by {} ms", figure(lag))).collect();
    if !late.is_empty() {
        broken.push(format!("late of themselves were {}: they may be what gave way", late.join(" and ")));
    }
    Some(broken.join("; "))
}

/// `0.9 of a core`, `1.3 cores`.
fn of_a_core(cores: f64) -> String {
    let noun = if cores <= 1.0 { "of a core" } else { "cores" };
    format!("{} {noun}", figure(cores))
}

fn finding(search: Search, broken: &str, steps: &[Scenario]) -> Scenario {
    let held = format!("holds {} calls with added latency P99 within {} ms", search.holds, judge::QUALITY_MS);
    let task = match search.breaks {
        Some(breaks) => format!("{held} and no lost frame; at {breaks} gave way: {broken}"),
        None => format!("{held} and no lost frame; no more were tried"),
    };
    let short = f64::from(TARGET.saturating_sub(search.holds));
    let checks = vec![Check::new("calls short of what is asked", Some(short), "", 0.0, 0.0)];
    Scenario {
        name: "limit".to_owned(),
        task,
        seconds: steps.iter().map(|step| step.seconds).sum(),
        verdict: judge::worst(&checks),
        checks,
        ..Scenario::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::report::{CallsReport, Percentiles};

    /// The sizes that are tried on a machine that holds so many, and what is found.
    fn tried(machine_holds: u16, parts: u16) -> (Vec<u16>, Search) {
        let mut search = Search::new(parts, MOST);
        let mut sizes = Vec::new();
        while let Some(size) = search.next() {
            sizes.push(size);
            search.found(size, size <= machine_holds);
            assert!(sizes.len() < 50, "it ends: {sizes:?}");
        }
        (sizes, search)
    }

    #[test]
    fn steps_quadruple_until_one_breaks_and_then_close_in() {
        let (sizes, found) = tried(700, 8);
        assert_eq!(sizes, [20, 80, 320, 1_280, 800, 560, 680, 740]);
        assert_eq!((found.holds, found.breaks), (680, Some(740)));
        assert_eq!(tried(700, 3).0, [20, 80, 320, 1_280, 800, 560]);
    }

    #[test]
    fn a_search_is_over_within_minutes() {
        let seconds = |machine_holds, parts, length: u64| {
            let steps = tried(machine_holds, parts).0;
            let step = |size: &u16| ramp(*size) + Duration::from_secs(length);
            steps.iter().map(step).sum::<Duration>().as_secs()
        };
        for machine_holds in [100, 400, 700, 1_200, MOST] {
            let thorough = seconds(machine_holds, 8, 20);
            assert!(thorough < 8 * 60, "{machine_holds}: {thorough} s");
            let quick = seconds(machine_holds, 3, 10);
            assert!(quick < 4 * 60, "{machine_holds}: {quick} s");
        }
    }

    #[test]
    fn the_search_ends_also_where_nothing_holds_and_where_all_does() {
        let (sizes, found) = tried(5, 8);
        assert_eq!((sizes, found.holds, found.breaks), (vec![20], 0, Some(20)));
        let (sizes, found) = tried(u16::MAX, 8);
        assert_eq!(sizes.last(), Some(&MOST));
        assert_eq!((found.holds, found.breaks), (MOST, None));
    }

    #[test]
    fn what_is_found_is_as_exact_as_it_is_asked_for() {
        for machine_holds in 20..=MOST {
            let (_, found) = tried(machine_holds, 8);
            assert!(found.holds <= machine_holds);
            assert!(
                found
                    .breaks
                    .is_none_or(|breaks| breaks > machine_holds && breaks - found.holds <= breaks / 8 + 1)
            );
        }
    }

    #[test]
    fn what_gave_way_is_said_with_its_figure() {
        let check = |what, value| Check::new(what, Some(value), "ms", 20.0, 400.0);
        let checks = vec![check("within", 1.0), check("added latency P99", 31.0), check("worse", 500.0)];
        let step = Scenario { checks, ..Scenario::default() };
        let said = gave_way(&step).unwrap();
        let expected = "worse 500 ms (warning above 20, critical above 400); added latency P99 31 ms (warning above 20, critical above 400)";
        assert_eq!(said, expected);
        assert_eq!(gave_way(&Scenario::default()), None);
        let given_up =
            Scenario { checks: vec![check("within", 1.0), judge::of_giving_up()], ..Scenario::default() };
        assert!(gave_way(&given_up).unwrap().starts_with("times given up"), "whatever its figures are");
    }

    #[test]
    fn who_was_short_of_the_machine_is_said_with_it() {
        let checks = vec![Check::new("added latency P99", Some(31.0), "ms", 20.0, 400.0)];
        let lag = |p99| Percentiles { p99: Some(p99), ..Percentiles::default() };
        let report = |realtime_lag_ms| CallsReport {
            bridge_cores: Some(0.9),
            own_cores: Some(1.08),
            realtime_lag_ms,
            ..CallsReport::default()
        };
        let step = |callers, service| Scenario {
            checks: checks.clone(),
            own_lag_ms: lag(callers),
            calls: Some(report(lag(service))),
            ..Scenario::default()
        };
        let said = gave_way(&step(3.0, 2.0)).unwrap();
        assert!(said.ends_with("; the program had 0.9 of a core, the load test 1.08 cores"), "{said}");
        let said = gave_way(&step(3.0, 25.0)).unwrap();
        let end =
            "late of themselves were the simulated Realtime service by 25 ms: they may be what gave way";
        assert!(said.ends_with(end), "{said}");
    }
}
