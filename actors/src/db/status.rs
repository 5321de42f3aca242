//! How the database is, for health and metrics. Nothing here waits.

use std::sync::atomic::Ordering;

use super::connect::health::{DbHealth, SchemaState};
use super::connect::pool::PoolStats;
use super::handles::Status;
use super::write::spool::SpoolStats;

impl Status {
    /// The pool right now.
    pub fn pool_stats(&self) -> PoolStats {
        self.0.shared.pool.stats()
    }

    /// How many connections the pool may have.
    pub fn pool_size(&self) -> u32 {
        self.0.shared.pool.size()
    }

    /// Records that wait to be written, in memory or in the spool. One on its way to the spool may count as
    /// two.
    pub fn waiting_records(&self) -> usize {
        // In this order: what left the queue meanwhile is in the spool by then.
        let queued = self.0.shared.queue.depth();
        queued + self.spool_pending()
    }

    /// Records that wait in the spool.
    pub fn spool_pending(&self) -> usize {
        self.0.shared.spool.backlog().records
    }

    /// The spool right now.
    pub fn spool_stats(&self) -> SpoolStats {
        let backlog = self.0.shared.spool.backlog();
        SpoolStats {
            pending: backlog.records,
            oldest_seconds: backlog.waited_seconds(),
            aside: backlog.aside,
        }
    }

    /// Whether the database answers, as of the last query or probe (at most some seconds ago).
    pub fn health(&self) -> DbHealth {
        self.0.shared.seen.health()
    }

    /// Whether the database refuses to process webhooks here: until somebody mends that, they wait.
    pub fn refuses_webhooks(&self) -> bool {
        self.0.shared.refuses_webhooks.load(Ordering::Relaxed)
    }

    /// Why the last attempt to open a connection failed, if it did: also while others are open and serve.
    pub fn failed_connect(&self) -> Option<String> {
        self.0.shared.seen.failed_connect()
    }

    /// Whether the schema fits, as of the first contact; a schema that is older is looked at again.
    pub fn schema(&self) -> SchemaState {
        self.0.shared.seen.schema()
    }
}
