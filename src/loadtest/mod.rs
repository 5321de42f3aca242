//! The load tests: what the program is given to bear, what is measured meanwhile, and how it stands against
//! the thresholds.
//!
//! [`run`] carries out a [`Plan`] against a program that runs somewhere, or against an [`instance`] of its
//! own. The scenarios are [`calls`], [`webhooks`] and [`database`]; each yields one [`Scenario`], which
//! [`judge`] has judged. Requests go out when [`schedule`] says so ([`requests`]); [`watch`] looks at the
//! program once a second meanwhile. [`limit`] looks for the number of calls the machine holds, [`leaks`] at
//! what rounds of load ([`soak`]) leave behind. [`table`], [`page`] and [`compare`] show what was found.
//!
//! All of it runs on one thread, an actix system, so that its own lag can be told.

use std::time::Duration;

use actors::secret::Secret;
use anyhow::bail;
use chrono::Utc;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::child::asked_to_stop;
use crate::descriptors;
use crate::sim::phone::Reach;

pub mod calls;
pub mod compare;
pub mod database;
mod figure;
pub mod instance;
pub mod judge;
pub mod leaks;
pub mod limit;
pub mod page;
pub mod progress;
pub mod requests;
pub mod result;
pub mod schedule;
pub mod soak;
pub mod summary;
pub mod table;
pub mod tally;
pub mod target;
pub mod watch;
pub mod webhooks;

use calls::{Calls, Overload};
use instance::{Instance, Setup};
use leaks::AtRest;
use limit::Limit;
use result::{LoadTest, Scenario};
use schedule::Schedule;
use soak::Rounds;
use target::Target;

/// How long the limits of API and webhooks count a request: between two scenarios of a program that has them.
pub const LIMITS_WINDOW: Duration = Duration::from_secs(62);

/// What to put under which load.
#[derive(Debug, Clone)]
pub struct Plan {
    pub where_to: Where,
    pub work: Work,
    /// The time between two scenarios, from the end of one to the start of the next.
    pub pause: Duration,
    /// Go on for so long, in rounds on the same process.
    pub soak: Option<Duration>,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a run has one")]
pub enum Where {
    /// A program that runs.
    There { origin: Url, reach: Reach, realtime: Option<Url>, auth_token: Option<Secret> },
    /// One that is started for this.
    Private(Setup),
}

#[derive(Debug, Clone)]
pub enum Work {
    Scenarios(Vec<Load>),
    /// As many calls as the machine holds.
    FindLimit(Limit),
}

/// The load of one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Calls(Calls),
    Overload(Overload),
    Webhooks(Schedule),
    Database(Schedule),
}

/// Carries out the plan. To be called within an actix system.
///
/// # Errors
/// No load could be made at all, or it was interrupted. What fails later, and a private instance that does
/// not end well, are part of the result, beside what was found until then.
pub async fn run(plan: &Plan) -> anyhow::Result<LoadTest> {
    tokio::select! {
        done = carry_out(plan) => done,
        stopped = asked_to_stop() => {
            stopped?;
            bail!("interrupted") // a private instance is killed
        }
    }
}

async fn carry_out(plan: &Plan) -> anyhow::Result<LoadTest> {
    // Every call and every request takes some here, and without them the result says so; a private instance
    // inherits them.
    descriptors::raise();
    let started_at = Utc::now();
    let (target, instance) = match &plan.where_to {
        Where::There { origin, reach, realtime, auth_token } => {
            reach.tries_tls(origin).await.map_err(anyhow::Error::msg)?;
            (Target::new(origin.clone(), reach.clone(), realtime.clone(), auth_token.clone()), None)
        }
        Where::Private(setup) => {
            let instance = Instance::start(*setup).await?;
            (instance.target.clone(), Some(instance))
        }
    };
    let mut scenarios = Vec::new();
    let done = work(plan, &target, &mut scenarios).await;
    let ended = match instance {
        Some(instance) => instance.stop().await,
        None => Ok(()),
    };
    match done {
        Err(error) if scenarios.is_empty() && ended.is_ok() => return Err(error),
        Err(error) => scenarios.push(judge::of_what_was_left(&error)),
        Ok(()) => {}
    }
    scenarios.extend(ended.err().map(|error| judge::of_the_end(&error)));
    Ok(LoadTest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        target: target.origin.to_string(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        verdict: verdict(&plan.work, &scenarios),
        scenarios,
    })
}

/// The worst of all; of the search for a limit, the finding's, or that of what came in its place.
fn verdict(work: &Work, scenarios: &[Scenario]) -> result::Verdict {
    match work {
        Work::Scenarios(_) => scenarios.iter().map(|scenario| scenario.verdict).max(),
        Work::FindLimit(_) => scenarios.last().map(|scenario| scenario.verdict),
    }
    .unwrap_or_default()
}

/// Adds to `done` what is found, as it is found.
async fn work(plan: &Plan, target: &Target, done: &mut Vec<Scenario>) -> anyhow::Result<()> {
    let loads = match &plan.work {
        Work::FindLimit(limit) => return limit::find(target, *limit, done).await,
        Work::Scenarios(loads) => loads,
    };
    let Some(soak) = plan.soak else { return round(plan, target, loads, "", done).await };
    let mut rounds = Rounds::default();
    let leaks = soaked(plan, target, (loads, soak), &mut rounds).await;
    done.extend(rounds.into_scenarios());
    done.push(leaks?);
    Ok(())
}

/// Round after round for so long, and what they leave behind.
async fn soaked(
    plan: &Plan,
    target: &Target,
    (loads, soak): (&[Load], Duration),
    rounds: &mut Rounds,
) -> anyhow::Result<Scenario> {
    let started = Instant::now();
    let mut first = None;
    loop {
        let (mut done, label) = (Vec::new(), format!(", round {}", rounds.count() + 1));
        let ended = round(plan, target, loads, &label, &mut done).await;
        rounds.add(done);
        ended?;
        let last = AtRest::of(target).await?;
        let first = *first.get_or_insert(last);
        // A leak shows between two rounds, however long they take.
        if rounds.count() >= 2 && started.elapsed() >= soak {
            return Ok(leaks::judged(rounds.count(), first, last));
        }
        sleep(plan.pause).await;
    }
}

/// All scenarios, one after the other. `which` is added to their names in the progress.
async fn round(
    plan: &Plan,
    target: &Target,
    loads: &[Load],
    which: &str,
    done: &mut Vec<Scenario>,
) -> anyhow::Result<()> {
    for (index, load) in loads.iter().enumerate() {
        if index > 0 {
            sleep(plan.pause).await;
        }
        let label = |name: &str| format!("{name}{which}");
        done.push(match *load {
            Load::Calls(calls) => calls::run(target, calls, "calls", &label("calls")).await?,
            Load::Overload(overload) => {
                let calls = calls::overload(target, overload).await?;
                calls::run(target, calls, "overload", &label("overload")).await?
            }
            Load::Webhooks(schedule) => webhooks::run(target, schedule, &label("webhooks")).await?,
            Load::Database(schedule) => database::run(target, schedule, &label("database")).await?,
        });
    }
    Ok(())
}
