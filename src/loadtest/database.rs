//! The third scenario: queries of the call log, several at a time.

use std::rc::Rc;

use tokio::time::Instant;

use super::judge;
use super::progress::Progress;
use super::requests::send_all;
use super::result::Scenario;
use super::schedule::Schedule;
use super::tally::Tally;
use super::target::Target;
use super::watch::watched;

const LOG: &str = "/api/call-logs?page=1";

/// Asks for the log's first page, again and again.
pub async fn run(target: &Target, schedule: Schedule) -> Scenario {
    let (started, asked) = (Instant::now(), u64::from(schedule.count));
    let tally = Rc::new(Tally::default());
    let work = send_all(schedule, &tally, |_| {
        let target = target.clone();
        async move { target.get(LOG).await }
    });
    let ((), seen) = watched(target, &tally, &Progress::of("database", asked), work).await;
    let own_lag_ms = tally.lag_ms();
    let mut checks = judge::of_all(asked, &tally, &seen, &own_lag_ms);
    checks.extend(judge::of_queries(&tally));
    let (within, at_once) = (schedule.within.as_secs_f64(), schedule.at_once);
    Scenario {
        name: "database".to_owned(),
        task: format!(
            "{asked} queries of the call log within {within} s, {at_once} at a time: P95 within 500 ms"
        ),
        seconds: started.elapsed().as_secs_f64(),
        verdict: judge::worst(&checks),
        checks,
        asked,
        errors: tally.errors(),
        response_ms: tally.response_ms(),
        distribution: tally.distribution(),
        own_lag_ms,
        samples: seen.samples,
        calls: None,
    }
}
