//! The database's metrics.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};
use tokio::sync::watch;

use super::connect::error::DbError;
use super::connect::health::DbHealth;
use super::connect::pool::Pool;
use super::write::queue::Queue;
use super::write::spool::{Backlog, Spool};
use crate::metrics::Registrar;

/// From a local answer to the longest deadline, in seconds.
const DURATION_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What is counted as it happens.
pub(super) struct Metrics {
    /// Queries by name and result: `ok`, `unavailable`, `busy` or `refused`.
    queries: IntCounterVec,
    /// Seconds from asking for a connection to the answer.
    durations: HistogramVec,
    /// Rows read or written, by query.
    rows: IntCounterVec,
    /// Records that could not be kept: no room for them, or refused by the database.
    unwritten: IntCounter,
}

impl Metrics {
    /// Registers the metrics; fails if the registry has them already.
    pub(super) fn register(
        registry: &dyn Registrar,
        pool: Pool,
        queue: Arc<Queue>,
        spool: &Spool,
    ) -> prometheus::Result<Self> {
        let queries = IntCounterVec::new(
            Opts::new(
                "switchboard_db_queries_total",
                "Queries by name and result: `ok`, `unavailable`, `busy` or `refused`",
            ),
            &["query", "result"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "switchboard_db_query_duration_seconds",
                "Seconds from asking for a connection to the answer",
            )
            .buckets(DURATION_BUCKETS.to_vec()),
            &["query"],
        )?;
        let rows = IntCounterVec::new(
            Opts::new("switchboard_db_query_rows_total", "Rows read or written, by query"),
            &["query"],
        )?;
        let unwritten = IntCounter::new(
            "switchboard_db_unwritten_records_total",
            "Records that could not be kept: no room for them, or refused by the database",
        )?;
        registry.register(Box::new(queries.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(rows.clone()))?;
        registry.register(Box::new(unwritten.clone()))?;
        registry.register(Box::new(spool.failures.clone()))?;
        registry.register(Box::new(pool.waits().clone()))?;
        registry.register(Box::new(Gauges::new(pool, queue, spool.watch())?))?;
        Ok(Self { queries, durations, rows, unwritten })
    }

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

/// What is read when it is scraped.
struct Gauges {
    pool: Pool,
    queue: Arc<Queue>,
    backlog: watch::Receiver<Backlog>,
    up: IntGauge,
    limit: IntGauge,
    total: IntGauge,
    idle: IntGauge,
    waiting: IntGauge,
    depth: IntGauge,
    spooled: IntGauge,
    oldest: IntGauge,
    aside: IntGauge,
}

impl Gauges {
    fn new(pool: Pool, queue: Arc<Queue>, backlog: watch::Receiver<Backlog>) -> prometheus::Result<Self> {
        Ok(Self {
            pool,
            queue,
            backlog,
            up: IntGauge::new("switchboard_db_up", "Whether the database answers: 1, or 0")?,
            limit: IntGauge::new("switchboard_db_pool_limit", "Database connections allowed")?,
            total: IntGauge::new("switchboard_db_pool_connections", "Open database connections")?,
            idle: IntGauge::new("switchboard_db_pool_idle_connections", "Open connections nobody uses")?,
            waiting: IntGauge::new(
                "switchboard_db_pool_waiting_queries",
                "Queries waiting for a connection",
            )?,
            depth: IntGauge::new("switchboard_db_queue_depth", "Records waiting in memory to be written")?,
            spooled: IntGauge::new(
                "switchboard_spool_pending_records",
                "Records waiting on disk to be written",
            )?,
            oldest: IntGauge::new(
                "switchboard_spool_oldest_seconds",
                "For how long the oldest record on disk has been waiting there; 0 when none is",
            )?,
            aside: IntGauge::new(
                "switchboard_spool_aside_records",
                "Records on disk that the database refuses, tried again every few minutes, or that this version cannot read",
            )?,
        })
    }

    fn all(&self) -> [&IntGauge; 9] {
        let Self { up, limit, total, idle, waiting, depth, spooled, oldest, aside, .. } = self;
        [up, limit, total, idle, waiting, depth, spooled, oldest, aside]
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.pool.stats();
        self.up.set(i64::from(!matches!(self.pool.seen().health(), DbHealth::Unavailable(_))));
        self.limit.set(i64::from(self.pool.size()));
        self.total.set(stats.total as i64);
        self.idle.set(stats.idle as i64);
        self.waiting.set(stats.waiting as i64);
        self.depth.set(self.queue.depth() as i64);
        let backlog = self.backlog.borrow().clone();
        self.spooled.set(backlog.records as i64);
        self.oldest.set(backlog.waited_seconds());
        self.aside.set(backlog.aside as i64);
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
