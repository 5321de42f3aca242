//! What all scenarios have in common when they are over.

use tokio::time::Instant;

use super::judge;
use super::result::{Check, Scenario};
use super::tally::Tally;
use super::watch::Seen;
use crate::sim::report::Percentiles;

/// A scenario that ran since `started` with so many requests or calls `asked`: judged as all are, and by
/// `checks` of its own.
pub fn sum_up(
    (name, task): (&str, String),
    (started, asked): (Instant, u64),
    tally: &Tally,
    seen: Seen,
    own_lag_ms: Percentiles,
    checks: Vec<Check>,
) -> Scenario {
    let mut all = judge::of_all(asked, tally, &seen);
    all.extend(checks);
    Scenario {
        name: name.to_owned(),
        task,
        seconds: started.elapsed().as_secs_f64(),
        verdict: judge::worst(&all),
        checks: all,
        asked,
        errors: tally.errors(),
        upstream: Vec::new(),
        response_ms: tally.response_ms(),
        distribution: tally.distribution(),
        own_lag_ms,
        samples: seen.samples,
        calls: None,
    }
}
