//! The third scenario: queries of the call log, several at a time.

use std::rc::Rc;

use anyhow::ensure;
use tokio::time::Instant;

use super::judge;
use super::progress::Progress;
use super::requests::send_all;
use super::result::Scenario;
use super::schedule::Schedule;
use super::summary::sum_up;
use super::tally::Tally;
use super::target::{Target, WITHOUT_TOKENS};
use super::watch::watched;

const LOG: &str = "/api/call-logs?page=1";

/// Asks for the log's first page, again and again. `label` is the progress's.
///
/// # Errors
/// The program lets nobody ask.
pub async fn run(target: &Target, schedule: Schedule, label: &str) -> anyhow::Result<Scenario> {
    let (started, asked) = (Instant::now(), u64::from(schedule.count));
    let tally = Rc::new(Tally::default());
    let work = send_all(schedule, &tally, |_| {
        let target = target.clone();
        async move { target.get(LOG).await }
    });
    let ((), seen) = watched(target, &tally, &Progress::of(label, asked), work).await;
    ensure!(!tally.is_refused(), "{LOG} is refused: {WITHOUT_TOKENS}");
    let (within, at_once) = (schedule.within.as_secs_f64(), schedule.at_once);
    let task =
        format!("{asked} queries of the call log within {within} s, {at_once} at a time: P95 within 500 ms");
    let checks = vec![judge::of_queries(&tally), judge::of_lag(&tally.lag_ms(), judge::LAG_MS)];
    Ok(sum_up(("database", task), (started, asked), &tally, seen, tally.lag_ms(), checks))
}
