//! Looks at the program under load once a second, while a scenario runs: `/metrics` and `/healthz`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::progress::Progress;
use super::result::Sample;
use super::tally::Tally;
use super::target::{Fault, Target};
use crate::sim::metrics_page::MetricsPage;

const EVERY: Duration = Duration::from_secs(1);
/// Who does not answer so soon is not healthy, and what it would have said is not known.
const PATIENCE: Duration = Duration::from_secs(5);
const MIB: f64 = 1024.0 * 1024.0;

/// What was seen of the program in one scenario.
#[derive(Debug, Default)]
pub struct Seen {
    pub samples: Vec<Sample>,
    /// How often `/healthz` did not say `healthy`.
    pub unhealthy: u64,
}

/// What of `GET /healthz` is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    pub status: String,
    pool_stats: PoolStats,
    pub calls: Calls,
}

#[derive(Debug, Deserialize)]
struct PoolStats {
    total: u64,
    idle: u64,
    waiting: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Calls {
    pub active: u64,
    pub limit: u64,
}

/// Runs `work` and watches meanwhile.
pub async fn watched<T>(
    target: &Target,
    tally: &Rc<Tally>,
    progress: &Progress,
    work: impl Future<Output = T>,
) -> (T, Seen) {
    let seen = RefCell::new(Seen::default());
    let started = Instant::now();
    let watching = async {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            // A page of metrics that is long in coming says nothing of the health.
            let (metrics, health) =
                join(soon(target.metrics()), soon(target.json::<Health>("/healthz"))).await;
            let sample = sample(started.elapsed(), tally, metrics.ok().as_ref(), health.as_ref().ok());
            progress.show(tally, &sample);
            let mut seen = seen.borrow_mut();
            seen.unhealthy += u64::from(match health {
                Ok(health) => health.status != "healthy",
                Err(fault) => matches!(fault, Fault::Theirs(_)),
            });
            seen.samples.push(sample);
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = watching => unreachable!("it watches until the work is done"),
    };
    (done, seen.into_inner())
}

async fn soon<T>(asked: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Fault::Theirs("timeout".to_owned())))
}

/// What is on neither page is not known.
fn sample(at: Duration, tally: &Tally, metrics: Option<&MetricsPage>, health: Option<&Health>) -> Sample {
    let metric = |name| metrics.and_then(|page| page.sum(name, &[]));
    let number = |name| metric(name).map(|value| value as u64);
    let connections = number("switchboard_db_pool_connections");
    let idle = number("switchboard_db_pool_idle_connections");
    let busy = connections.zip(idle).map(|(all, idle)| all.saturating_sub(idle));
    let second = tally.second();
    Sample {
        at_seconds: at.as_secs_f64(),
        response_p95_ms: second.response_p95_ms,
        errors: second.errors,
        active_calls: number("switchboard_calls_active").or(health.map(|health| health.calls.active)),
        calls_limit: number("switchboard_calls_limit").or(health.map(|health| health.calls.limit)),
        pool_busy: busy
            .or(health.map(|Health { pool_stats: pool, .. }| pool.total.saturating_sub(pool.idle))),
        pool_waiting: number("switchboard_db_pool_waiting_queries")
            .or(health.map(|health| health.pool_stats.waiting)),
        pool_limit: number("switchboard_db_pool_limit"),
        memory_mib: metric("process_resident_memory_bytes").map(|bytes| bytes / MIB),
        memory_limit_mib: metric("switchboard_memory_limit_bytes").map(|bytes| bytes / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        let health = r#"{"status":"healthy","database":"healthy","poolStats":{"total":7,"idle":4,"waiting":1},
            "calls":{"active":3,"limit":20},"spool":{"pending":0},"version":"1","uptimeSeconds":1}"#;
        serde_json::from_str(health).unwrap()
    }

    #[test]
    fn what_the_metrics_do_not_tell_the_health_page_may() {
        let seen = sample(Duration::from_secs(2), &Tally::default(), None, Some(&health()));
        assert_eq!((seen.pool_busy, seen.pool_waiting, seen.pool_limit), (Some(3), Some(1), None));
        assert_eq!((seen.active_calls, seen.calls_limit, seen.memory_mib), (Some(3), Some(20), None));
    }

    #[test]
    fn a_sample_has_what_the_metrics_tell() {
        let page = "switchboard_calls_active 5\nswitchboard_calls_limit 20\nswitchboard_db_pool_connections 10\n\
            switchboard_db_pool_idle_connections 4\nswitchboard_db_pool_waiting_queries 2\nswitchboard_db_pool_limit 20\n\
            process_resident_memory_bytes 52428800\nswitchboard_memory_limit_bytes 1073741824\n";
        let page = MetricsPage::new(page.to_owned());
        let seen = sample(Duration::ZERO, &Tally::default(), Some(&page), Some(&health()));
        assert_eq!((seen.active_calls, seen.pool_busy, seen.pool_waiting), (Some(5), Some(6), Some(2)));
        assert_eq!((seen.memory_mib, seen.memory_limit_mib), (Some(50.0), Some(1024.0)));
    }
}
