//! How many calls the machine holds: steps of doubling size until one does not hold, then between the last that did and
//! the first that did not.

use std::time::Duration;

use super::calls::{self, Calls, Room};
use super::figure::figure;
use super::judge;
use super::result::{Check, Scenario, Verdict};
use super::target::Target;

/// The first step, which is also what the document asks for.
const TARGET: u16 = 20;
/// No step is larger.
pub const MOST: u16 = 2_000;
/// Callers ring at this rate at most, in calls a second: it is the talking that is measured, not the ringing.
const RINGS_PER_SECOND: u16 = 10;

/// The search, without the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Search {
    /// The largest step that held, 0 before any.
    holds: u16,
    /// The smallest that did not.
    breaks: Option<u16>,
}

impl Search {
    /// The size of the next step; none when it is known well enough, to a tenth.
    fn next(self) -> Option<u16> {
        match self.breaks {
            None if self.holds >= MOST => None,
            None => Some(self.holds.saturating_mul(2).clamp(TARGET, MOST)),
            Some(breaks) => {
                let gap = breaks - self.holds;
                (self.holds > 0 && gap > (breaks / 10).max(1)).then(|| self.holds + gap / 2)
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

/// Looks for the limit with calls of this length. Answers all steps, and at the end the finding.
///
/// # Errors
/// As [`calls::run`].
pub async fn find(target: &Target, length: Duration) -> anyhow::Result<Vec<Scenario>> {
    let mut search = Search { holds: 0, breaks: None };
    let mut steps: Vec<Scenario> = Vec::new();
    let mut broken = String::new();
    while let Some(size) = search.next() {
        let ramp = Duration::from_secs_f64(f64::from(size) / f64::from(RINGS_PER_SECOND));
        let calls = Calls { count: size, length: length + ramp, ramp, room: Room::ForQuality };
        let mut step = calls::run(target, calls, format!("calls {size}")).await?;
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
    }
    steps.push(finding(search, &broken, &steps));
    Ok(steps)
}

/// What of a step did not hold, the gravest first; none if all did.
fn gave_way(step: &Scenario) -> Option<String> {
    let mut broken: Vec<_> = step.breached().collect();
    broken.sort_by_key(|check| std::cmp::Reverse(check.verdict));
    let mut broken: Vec<_> = broken.into_iter().map(ToString::to_string).collect();
    if broken.is_empty() {
        return None;
    }
    if let Some(lag) = step.own_lag_ms.p99.filter(|lag| *lag > judge::QUALITY_MS) {
        broken.push(format!(
            "the callers themselves were late by {} ms, so they may be what gave way",
            figure(lag)
        ));
    }
    Some(broken.join("; "))
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

    /// The sizes that are tried on a machine that holds so many, and what is found.
    fn tried(machine_holds: u16) -> (Vec<u16>, Search) {
        let mut search = Search { holds: 0, breaks: None };
        let mut sizes = Vec::new();
        while let Some(size) = search.next() {
            sizes.push(size);
            search.found(size, size <= machine_holds);
            assert!(sizes.len() < 50, "it ends: {sizes:?}");
        }
        (sizes, search)
    }

    #[test]
    fn steps_double_until_one_breaks_and_then_close_in() {
        let (sizes, found) = tried(130);
        assert_eq!(sizes, [20, 40, 80, 160, 120, 140, 130]);
        assert_eq!(found, Search { holds: 130, breaks: Some(140) });
    }

    #[test]
    fn the_search_ends_also_where_nothing_holds_and_where_all_does() {
        assert_eq!(tried(5), (vec![20], Search { holds: 0, breaks: Some(20) }));
        let (sizes, found) = tried(u16::MAX);
        assert_eq!(sizes.last(), Some(&MOST));
        assert_eq!(found, Search { holds: MOST, breaks: None });
    }

    #[test]
    fn what_is_found_is_within_a_tenth() {
        for machine_holds in 20..=MOST {
            let (_, found) = tried(machine_holds);
            assert!(found.holds <= machine_holds);
            assert!(
                found
                    .breaks
                    .is_none_or(|breaks| breaks > machine_holds && breaks - found.holds <= breaks / 10 + 1)
            );
        }
    }

    #[test]
    fn what_gave_way_is_said_with_its_figure() {
        let check = |what, value| Check::new(what, Some(value), "ms", 20.0, 400.0);
        let checks = vec![check("own lag P99", 1.0), check("added latency P99", 31.0), check("worse", 500.0)];
        let step = Scenario { checks, ..Scenario::default() };
        let said = gave_way(&step).unwrap();
        let expected = "worse 500 ms (warning above 20, critical above 400); added latency P99 31 ms (warning above 20, critical above 400)";
        assert_eq!(said, expected);
        assert_eq!(gave_way(&Scenario::default()), None);
    }
}
