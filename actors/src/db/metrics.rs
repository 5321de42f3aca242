//! The database's metrics.

use std::sync::Arc;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge};
use tokio::sync::watch;

use super::connect::error::DbError;
use super::connect::health::DbHealth;
use super::connect::pool::Pool;
use super::write::queue::Queue;
use super::write::spool::Backlog;
use crate::metrics::{MetricSet as _, Registrar};

/// From a local answer to the longest deadline, in seconds.
const DURATION_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

crate::metrics! {
    /// What is counted as it happens.
    pub(super) struct Metrics {
        /// Queries by name and result: `ok`, `unavailable`, `busy` or `refused`.
        queries: IntCounterVec = "switchboard_db_queries_total" ["query", "result"];
        /// Seconds from asking for a connection to the answer.
        durations: HistogramVec = "switchboard_db_query_duration_seconds" ["query"] {DURATION_BUCKETS};
        /// Rows read or written, by query.
        rows: IntCounterVec = "switchboard_db_query_rows_total" ["query"];
        /// Records that could not be kept: no room for them, or refused by the database.
        unwritten: IntCounter = "switchboard_db_unwritten_records_total";
    }
}

impl Metrics {
    pub(super) fn answered<T>(&self, query: &str, result: &Result<T, DbError>, rows: u64, seconds: f64) {
        let result = match result {
            Ok(_) => "ok",
            Err(DbError::Unavailable(_)) => "unavailable",
            Err(DbError::Busy(_)) => "busy",
            Err(DbError::Refused(_)) => "refused",
        };
        self.queries.with_label_values(&[query, result]).inc();
        self.durations.with_label_values(&[query]).observe(seconds);
        self.rows.with_label_values(&[query]).inc_by(rows);
    }

    pub(super) fn unwritten(&self, records: usize) {
        self.unwritten.inc_by(records as u64);
    }
}

crate::metrics! {
    /// What is read when it is scraped.
    struct Readings {
        /// Whether the database answers: 1, or 0.
        up: IntGauge = "switchboard_db_up";
        /// Database connections allowed.
        limit: IntGauge = "switchboard_db_pool_limit";
        /// Open database connections.
        total: IntGauge = "switchboard_db_pool_connections";
        /// Open connections nobody uses.
        idle: IntGauge = "switchboard_db_pool_idle_connections";
        /// Queries waiting for a connection.
        waiting: IntGauge = "switchboard_db_pool_waiting_queries";
        /// Records waiting in memory to be written.
        depth: IntGauge = "switchboard_db_queue_depth";
        /// Records waiting on disk to be written.
        spooled: IntGauge = "switchboard_spool_pending_records";
        /// For how long the oldest record on disk has been waiting there; 0 when none is.
        oldest: IntGauge = "switchboard_spool_oldest_seconds";
        /// Records on disk that the database refuses, tried again every few minutes, or that this version
        /// cannot read.
        aside: IntGauge = "switchboard_spool_aside_records";
    }
}

/// Registers what is read of pool, queue and spool.
pub(super) fn register_readings(
    registry: &dyn Registrar,
    pool: Pool,
    queue: Arc<Queue>,
    backlog: watch::Receiver<Backlog>,
) -> prometheus::Result<()> {
    Readings::build()?.register_read(registry, move |readings| {
        let stats = pool.stats();
        readings.up.set(i64::from(!matches!(pool.seen().health(), DbHealth::Unavailable(_))));
        readings.limit.set(i64::from(pool.size()));
        readings.total.set(stats.total as i64);
        readings.idle.set(stats.idle as i64);
        readings.waiting.set(stats.waiting as i64);
        readings.depth.set(queue.depth() as i64);
        let backlog = backlog.borrow().clone();
        readings.spooled.set(backlog.records as i64);
        readings.oldest.set(backlog.waited_seconds());
        readings.aside.set(backlog.aside as i64);
    })
}
