//! The first scenario: callers at once, as many as there are to be, or half as many again as there is room
//! for.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::ops::{ControlFlow, Range};
use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::judge::{self, Service};
use super::progress::Progress;
use super::result::{Check, ErrorCount, Scenario};
use super::summary::sum_up;
use super::tally::Tally;
use super::target::{Target, WITHOUT_TOKENS};
use super::watch::{Health, watched};
use crate::descriptors;
use crate::sim::metrics_page::MetricsPage;
use crate::sim::phone::report::percentiles;
use crate::sim::phone::{self, CallDetail, Glance, Outcome, Verdict};

const MONITOR: &str = "/api/call-monitor";
/// The live picture is for people: nobody needs it more often, and it counts against the API's limit.
const LOOKS_EVERY: Duration = Duration::from_secs(5);
/// For so long at least all have to be on the line for a look to find them there.
const SHORTEST_PLATEAU: Duration = Duration::from_secs(2);

/// Descriptors of this process that a call may take: the media stream, requests about it, and, where the
/// Realtime service is simulated here, the other end of its session.
const DESCRIPTORS_OF_A_CALL: u64 = 4;
/// Those that are there whoever calls.
const OTHER_DESCRIPTORS: u64 = 64;

/// How many callers, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    pub count: u16,
    /// How long each of them stays on the line; where the quality is asked for, how long all are there
    /// together.
    pub length: Duration,
    /// The time within which all have rung.
    pub ramp: Duration,
    pub room: Room,
    /// On a machine that has other things to do: this program may be later than it may be otherwise.
    pub quick: bool,
}

/// As many calls as half as many again as the ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    pub length: Duration,
    pub ramp: Duration,
    pub quick: bool,
}

/// Who has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is room for all.
    ForAll,
    /// The same, and it is the quality that is asked for while all are on the line: ringing and hanging up do
    /// not count. It is not gone on with when it is lost.
    ForQuality,
    /// There is room for fewer: the ceiling.
    For(u16),
}

/// What of `GET /api/call-monitor` is looked at.
#[derive(Deserialize)]
struct Picture {
    capacity: Capacity,
}

#[derive(Deserialize)]
struct Capacity {
    active: u64,
}

/// As many calls as this process has file descriptors for.
pub fn most() -> u16 {
    u16::try_from(descriptors::allowed().saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_OF_A_CALL)
        .unwrap_or(u16::MAX)
}

impl Calls {
    /// From when the last has rung to when the first hangs up, since the start; none if it is too short to be
    /// seen.
    fn plateau(&self) -> Option<Range<Duration>> {
        let end = match self.room {
            Room::ForQuality => self.ramp + self.length,
            Room::ForAll | Room::For(_) => self.length,
        };
        (self.ramp + SHORTEST_PLATEAU <= end).then_some(self.ramp..end)
    }

    /// How late this program may be before its figures are about itself, in milliseconds, P99.
    fn most_lag_ms(&self) -> f64 {
        match self.room {
            _ if self.quick => judge::LAG_MS,
            Room::ForAll => judge::LAG_OF_CALLS_MS,
            Room::ForQuality | Room::For(_) => judge::LAG_OF_QUALITY_MS,
        }
    }

    /// When the monitor is looked at first, so that one of the looks is in the middle of the plateau.
    fn first_look(&self) -> Duration {
        let middle = self.plateau().map_or(Duration::ZERO, |plateau| (plateau.start + plateau.end) / 2);
        let looks_before = middle.as_millis() / LOOKS_EVERY.as_millis();
        middle - LOOKS_EVERY * looks_before as u32 // of a day, at most
    }
}

/// Half as many calls again as the ceiling of the program under load.
///
/// # Errors
/// `/healthz` does not tell the ceiling, or nobody can ring so often.
pub async fn overload(target: &Target, overload: Overload) -> anyhow::Result<Calls> {
    let Overload { length, ramp, quick } = overload;
    let health: Health =
        target.json("/healthz").await.map_err(|fault| anyhow::anyhow!("/healthz: {fault}"))?;
    let ceiling = u16::try_from(health.calls.limit)?;
    let count = u16::try_from((u32::from(ceiling) * 3).div_ceil(2))?;
    Ok(Calls { count, length, ramp, room: Room::For(ceiling), quick })
}

/// Makes the calls. `name` is the scenario's, `label` the progress's.
///
/// # Errors
/// The calls cannot be made, whatever the program under load does: it is not on this machine, this process
/// has too few file descriptors, or nobody may look at the monitor.
pub async fn run(target: &Target, calls: Calls, name: &str, label: &str) -> anyhow::Result<Scenario> {
    let Calls { count, room, .. } = calls;
    ensure!(
        count <= most(),
        "this process has file descriptors for {} calls, and {count} are asked for: raise `ulimit -n`",
        most()
    );
    let is_refused = target.get(MONITOR).await.is_err_and(|fault| fault.is_refusal());
    // Nobody may look through a proxy, which is where TLS ends. `/metrics` also tells how many calls are
    // active.
    ensure!(!is_refused || target.origin.scheme() == "https", "{MONITOR} is refused: {WITHOUT_TOKENS}");
    let (started, tally) = (Instant::now(), Rc::new(Tally::default()));
    let (at_once, given_up) = (Cell::new(None), Cell::new(false));
    let before = target.metrics().await.ok();
    let p99_ms = RefCell::new(Vec::new());
    let simulated = phone::simulate_observed(options(target, calls), |glance| {
        let Glance { completed, refused, failed, latencies, .. } = glance;
        tally.shows(&latencies);
        tally.reaches((completed + refused + failed) as u64, failed as u64);
        p99_ms.borrow_mut().push(percentiles(&latencies).p99.unwrap_or_default());
        if room == Room::ForQuality && judge::is_lost(&p99_ms.borrow(), failed as u64, u64::from(count)) {
            given_up.set(true);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let looking = looks_at_the_monitor(target, calls.first_look(), &at_once);
    let work = async {
        tokio::select! {
            outcome = simulated => outcome,
            never = looking, if !is_refused => match never {},
        }
    };
    let (outcome, seen) = watched(target, &tally, &Progress::of(label, u64::from(count)), work).await;
    let (outcome, given_up) = (outcome?, given_up.get());
    let after = target.metrics().await.ok();

    outcome.calls.iter().for_each(|call| counts(call, room, &tally));
    let (service, upstream) =
        before.zip(after).map(|(before, after)| service(&before, &after)).unwrap_or_default();
    let seen_active = || seen.samples.iter().filter_map(|sample| sample.active_calls).max();
    let present = at_once.get().or_else(seen_active);
    let checks = checks(calls, &outcome, service, present, given_up);
    let asked = outcome.report.calls.asked; // fewer have rung if it was given up
    let mut task = task(calls);
    if given_up {
        task += &format!(". Given up when {asked} had rung");
    }
    let summary = sum_up((name, task), (started, asked), &tally, seen, outcome.own_lag_ms, checks);
    Ok(Scenario { upstream, calls: Some(outcome.report), ..summary })
}

/// What the simulated network is asked for.
fn options(target: &Target, calls: Calls) -> phone::Options {
    phone::Options {
        url: target.origin.clone(),
        reach: target.reach.clone(),
        realtime: target.realtime.clone(),
        calls: calls.count,
        seconds: calls.length,
        ramp: calls.ramp,
        together: calls.room == Room::ForQuality,
        auth_token: target.auth_token.clone(),
        quiet: true,
        ..phone::Options::default()
    }
}

/// Counts what became of a call, and how long its caller waited for answers.
fn counts(call: &CallDetail, room: Room, tally: &Tally) {
    match &call.verdict {
        Verdict::Completed => {}
        Verdict::Refused if matches!(room, Room::For(_)) => {}
        Verdict::Refused => tally.erred("turned away".to_owned()),
        Verdict::WithPerson => tally.erred("a person had to take the call".to_owned()),
        Verdict::Failed(why) => tally.erred(why.clone()),
    }
    call.answers.iter().for_each(|answer| tally.responded(*answer));
}

/// Judges the calls by what is asked for. `present` is how many were active at once, as far as that is known.
fn checks(
    calls: Calls,
    outcome: &Outcome,
    service: Service,
    present: Option<u64>,
    given_up: bool,
) -> Vec<Check> {
    let report = &outcome.report;
    let expected = match calls.room {
        Room::For(ceiling) => u64::from(ceiling),
        Room::ForAll | Room::ForQuality => report.calls.asked,
    };
    let frames = outcome.calls.iter().map(|call| call.counted.len() as u64).sum();
    let mut checks = judge::of_calls(report, expected, frames, service);
    if given_up {
        checks.push(judge::of_giving_up());
    } else if calls.plateau().is_some() {
        checks.push(judge::of_presence(expected, present));
    }
    checks.push(match calls.room {
        Room::ForAll => judge::of_delay(report, &outcome.own_lag_ms),
        Room::ForQuality | Room::For(_) => judge::of_quality(report),
    });
    checks.push(judge::of_lag(&outcome.own_lag_ms, calls.most_lag_ms()));
    checks
}

fn task(calls: Calls) -> String {
    let (length, ramp) = (calls.length.as_secs_f64(), calls.ramp.as_secs_f64());
    let made = format!("{} calls of {length} s, started within {ramp} s", calls.count);
    let seen = match calls.plateau() {
        Some(_) => "all active at once",
        None => "too short for whether all are active at once to be seen",
    };
    match calls.room {
        Room::ForAll => format!("{made}: all complete, {seen}"),
        Room::ForQuality => {
            format!("{} calls, started within {ramp} s, and {length} s of them together: {seen}", calls.count)
        }
        Room::For(ceiling) => format!(
            "{made}, where there is room for {ceiling}: these do not suffer, the others are turned away"
        ),
    }
}

/// The most calls that were active at once, as far as the monitor tells.
async fn looks_at_the_monitor(target: &Target, first: Duration, most: &Cell<Option<u64>>) -> Infallible {
    let mut due = interval_at(Instant::now() + first, LOOKS_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        due.tick().await;
        // An answer that takes longer must not move the next look.
        let picture = timeout(LOOKS_EVERY / 2, target.json::<Picture>(MONITOR)).await;
        if let Ok(Ok(picture)) = picture {
            most.set(most.get().max(Some(picture.capacity.active)));
        }
    }
}

/// How the Realtime service did in the meantime, as the program under load has counted it.
fn service(before: &MetricsPage, after: &MetricsPage) -> (Service, Vec<ErrorCount>) {
    let more =
        |name, labels: &[(&str, &str)]| (after.count(name, labels) - before.count(name, labels)) as u64;
    let [responses, connects] =
        ["switchboard_realtime_responses_total", "switchboard_realtime_connects_total"];
    let failed_responses = more(responses, &[("status", "failed")]);
    let failed_connects = more(connects, &[("result", "failed")]);
    let service = Service {
        failed_responses: judge::share(failed_responses, more(responses, &[])),
        failed_connects: judge::share(failed_connects, more(connects, &[])),
    };
    let errors =
        [("Realtime response failed", failed_responses), ("Realtime connect failed", failed_connects)];
    let errors = errors.into_iter().filter(|(_, count)| *count > 0);
    (service, errors.map(|(cause, count)| ErrorCount { cause: cause.to_owned(), count }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(length: f64, ramp: f64, room: Room) -> Calls {
        Calls {
            count: 20,
            length: Duration::from_secs_f64(length),
            ramp: Duration::from_secs_f64(ramp),
            room,
            quick: false,
        }
    }

    #[test]
    fn one_look_at_the_monitor_is_while_all_are_on_the_line() {
        for tenths in 0..=400_u32 {
            let ramp = f64::from(tenths) / 10.0;
            for length in [ramp + 2.0, ramp + 3.7, ramp + 60.0, 300.0] {
                let calls = calls(length, ramp, Room::ForAll);
                let plateau = calls.plateau().unwrap();
                let mut look = calls.first_look();
                assert!(look < LOOKS_EVERY);
                while look < plateau.start {
                    look += LOOKS_EVERY;
                }
                let middle = (plateau.start + plateau.end) / 2;
                let looks: Vec<_> =
                    (0..).map(|n| look + n * LOOKS_EVERY).take_while(|l| *l < plateau.end).collect();
                assert!(
                    looks.iter().any(|look| look.abs_diff(middle) < Duration::from_millis(2)),
                    "{calls:?}"
                );
            }
        }
    }

    #[test]
    fn calls_that_are_over_before_all_have_rung_are_not_judged_by_who_was_seen() {
        let short = calls(8.0, 7.0, Room::ForAll);
        assert_eq!(short.plateau(), None);
        assert!(task(short).ends_with("too short for whether all are active at once to be seen"));
        let together = calls(8.0, 7.0, Room::ForQuality).plateau().unwrap();
        assert_eq!(together, Duration::from_secs(7)..Duration::from_secs(15));
    }

    #[test]
    fn the_service_is_judged_by_what_came_since() {
        let page = |failed: u32, completed: u32| {
            MetricsPage::new(format!(
                "switchboard_realtime_responses_total{{status=\"failed\"}} {failed}\n\
                 switchboard_realtime_responses_total{{status=\"completed\"}} {completed}\n"
            ))
        };
        let (service, errors) = service(&page(10, 10), &page(16, 104));
        assert_eq!((service.failed_responses, service.failed_connects), (Some(6.0), None));
        assert_eq!(errors, [ErrorCount { cause: "Realtime response failed".to_owned(), count: 6 }]);
    }
}
