//! The first scenario: callers at once, as many as there are to be, or half as many again as there is room for.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, interval};

use super::judge::{self, Service};
use super::metrics_page::MetricsPage;
use super::progress::Progress;
use super::result::{ErrorCount, Scenario};
use super::tally::Tally;
use super::target::Target;
use super::watch::{Health, watched};
use crate::sim::phone::{self, Verdict};

/// The live picture is for people: nobody needs it more often, and it counts against the API's limit.
const LOOKS_EVERY: Duration = Duration::from_secs(5);

/// How many callers, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    pub count: u16,
    /// How long each of them stays on the line.
    pub length: Duration,
    /// The time within which all have rung.
    pub ramp: Duration,
    pub room: Room,
}

/// Who has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is room for all.
    ForAll,
    /// The same, and it is the quality that is asked for.
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

/// Half as many calls again as the ceiling of the program under load.
///
/// # Errors
/// `/healthz` does not tell the ceiling, or nobody can ring so often.
pub async fn overload(target: &Target, length: Duration, ramp: Duration) -> anyhow::Result<Calls> {
    let health: Health =
        target.json("/healthz").await.map_err(|cause| anyhow::anyhow!("/healthz: {cause}"))?;
    let ceiling = u16::try_from(health.calls.limit)?;
    let count = u16::try_from((u32::from(ceiling) * 3).div_ceil(2))?;
    Ok(Calls { count, length, ramp, room: Room::For(ceiling) })
}

/// Makes the calls. `name` is the scenario's.
///
/// # Errors
/// The calls cannot be made, whatever the program under load does: it is not on this machine, for one.
pub async fn run(target: &Target, calls: Calls, name: String) -> anyhow::Result<Scenario> {
    let Calls { count, length, ramp, room } = calls;
    let (asked, started) = (u64::from(count), Instant::now());
    let (tally, at_once) = (Rc::new(Tally::default()), Cell::new(None));
    let options = phone::Options {
        url: target.origin.clone(),
        realtime: target.realtime.clone(),
        calls: count,
        seconds: length,
        ramp,
        auth_token: target.auth_token.clone(),
        quiet: true,
        ..phone::Options::default()
    };
    let before = target.metrics().await.ok();
    let simulated = phone::simulate_observed(options, |glance| {
        tally.shows(&glance.latencies);
        tally.reaches((glance.completed + glance.refused + glance.failed) as u64, glance.failed as u64);
    });
    let work = async {
        tokio::select! {
            outcome = simulated => outcome,
            never = looks_at_the_monitor(target, &at_once) => match never {},
        }
    };
    let (outcome, seen) = watched(target, &tally, &Progress::of(&name, asked), work).await;
    let outcome = outcome?;
    let after = target.metrics().await.ok();

    for call in &outcome.calls {
        match &call.verdict {
            Verdict::Completed => {}
            Verdict::Refused if matches!(room, Room::For(_)) => {}
            Verdict::Refused => tally.erred("turned away".to_owned()),
            Verdict::Failed(why) => tally.erred(why.clone()),
        }
        call.answers.iter().for_each(|answer| tally.responded(*answer));
    }
    let (service, mut failures) =
        before.zip(after).map(|(before, after)| service(&before, &after)).unwrap_or_default();
    let expected = match room {
        Room::For(ceiling) => u64::from(ceiling),
        Room::ForAll | Room::ForQuality => asked,
    };
    let frames_sent = outcome.calls.iter().map(|call| u64::from(call.frames_sent)).sum();
    let report = outcome.report;
    let mut checks = judge::of_all(asked, &tally, &seen, &outcome.own_lag_ms);
    checks.extend(judge::of_calls(&report, expected, at_once.get(), frames_sent, service));
    checks.extend(match room {
        Room::ForAll => judge::of_delay(&report, &outcome.own_lag_ms),
        Room::ForQuality | Room::For(_) => judge::of_quality(&report),
    });
    let mut errors = tally.errors();
    errors.append(&mut failures);
    Ok(Scenario {
        name,
        task: task(calls),
        seconds: started.elapsed().as_secs_f64(),
        verdict: judge::worst(&checks),
        checks,
        asked,
        errors,
        response_ms: tally.response_ms(),
        distribution: tally.distribution(),
        own_lag_ms: outcome.own_lag_ms,
        samples: seen.samples,
        calls: Some(report),
    })
}

fn task(Calls { count, length, ramp, room }: Calls) -> String {
    let (length, ramp) = (length.as_secs_f64(), ramp.as_secs_f64());
    let calls = format!("{count} calls of {length} s, started within {ramp} s");
    match room {
        Room::ForAll | Room::ForQuality => format!("{calls}: all complete, all active at once"),
        Room::For(ceiling) => {
            format!(
                "{calls}, where there is room for {ceiling}: these do not suffer, the others are turned away"
            )
        }
    }
}

/// The most calls that were active at once, as far as the monitor tells.
async fn looks_at_the_monitor(target: &Target, most: &Cell<Option<u64>>) -> Infallible {
    let mut due = interval(LOOKS_EVERY);
    loop {
        due.tick().await;
        if let Ok(picture) = target.json::<Picture>("/api/call-monitor").await {
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
