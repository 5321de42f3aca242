//! The pool: bb8 with a fair queue in front.
//!
//! bb8 alone is unfair when all connections are in use, cannot count who waits, has one size for ever, and
//! says only "timed out" when it cannot connect. So a semaphore hands out turns, as many as there may be
//! connections; a guard counts the waiting; and each attempt to connect leaves its result in [`Seen`]: who
//! waits for a database that is away learns the cause at once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bb8::{PooledConnection, QueueStrategy};
use prometheus::Histogram;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use super::checkout::Checkout;
use super::error::DbError;
use super::health::Seen;
use super::manager::Manager;
use super::url::Target;

/// A pool may be made as large as this.
pub(in crate::db) const LARGEST: u32 = 1_000;
/// So many queries may wait for a connection; the next one is refused.
const MOST_WAITING: usize = 1_000;
/// After this long a connection is replaced, so that servers behind a changed address are found.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How often idle connections are looked through.
const REAPER_RATE: Duration = Duration::from_secs(10);
/// From an idle connection to one that is waited for in vain, in seconds.
const WAIT_BUCKETS: &[f64] = &[0.0001, 0.0005, 0.0025, 0.01, 0.05, 0.25, 1.0, 10.0];

/// The pool as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStats {
    /// Open connections, in use or not.
    pub total: usize,
    /// Open connections nobody uses.
    pub idle: usize,
    /// Queries that wait for a connection.
    pub waiting: usize,
}

/// How many connections, and for how long.
#[derive(Debug, Clone, Copy)]
pub(in crate::db) struct PoolLimits {
    pub(in crate::db) max: u32,
    pub(in crate::db) idle_timeout: Duration,
    pub(in crate::db) connect_timeout: Duration,
}

crate::metrics! {
    /// The metrics of the pool.
    pub(in crate::db) struct PoolMetrics {
        /// How long queries waited for the connection that they got.
        waits: Histogram = "switchboard_db_pool_wait_seconds" {WAIT_BUCKETS};
    }
}

/// A cheap clone.
#[derive(Clone)]
pub(in crate::db) struct Pool(Arc<Inner>);

struct Inner {
    connections: bb8::Pool<Manager>,
    turns: Arc<Semaphore>,
    /// So many turns there are, or will be once those that are given up have come back.
    size: Mutex<u32>,
    waiting: AtomicUsize,
    metrics: PoolMetrics,
    seen: Arc<Seen>,
    runtime: Handle,
    patience: Duration,
}

impl Pool {
    /// Never waits: connections are opened on `runtime` when they are first needed.
    pub(in crate::db) fn new(
        target: Target,
        limits: PoolLimits,
        seen: Arc<Seen>,
        runtime: Handle,
        metrics: PoolMetrics,
    ) -> Self {
        let manager = Manager::new(target, runtime.clone(), limits.connect_timeout, Arc::clone(&seen));
        let connections = {
            let _entered = runtime.enter();
            bb8::Pool::builder()
                .max_size(LARGEST) // the turns are fewer
                .idle_timeout(Some(limits.idle_timeout))
                .max_lifetime(Some(MAX_LIFETIME))
                .reaper_rate(REAPER_RATE)
                .connection_timeout(limits.connect_timeout)
                .queue_strategy(QueueStrategy::Lifo)
                .retry_connection(false) // each attempt's failure is told to those who wait; they decide
                .build_unchecked(manager)
        };
        Self(Arc::new(Inner {
            connections,
            turns: Arc::new(Semaphore::new(limits.max as usize)),
            size: Mutex::new(limits.max),
            waiting: AtomicUsize::new(0),
            metrics,
            seen,
            runtime,
            patience: limits.connect_timeout,
        }))
    }

    /// A connection, first come first served, within `deadline` and the connect timeout. Fails at once, with
    /// the cause, while the database is known to be away or as soon as it is.
    pub(in crate::db) async fn get(&self, deadline: Duration) -> Result<Checkout, DbError> {
        tokio::select! {
            biased;
            cause = self.0.seen.found_away() => Err(DbError::Unavailable(cause)),
            checkout = self.get_even_if_away(deadline) => checkout,
        }
    }

    /// The same for the one that finds out whether the database is back.
    pub(in crate::db) async fn get_even_if_away(&self, deadline: Duration) -> Result<Checkout, DbError> {
        let _waiting = Waiting::count(&self.0.waiting)?;
        let patience = deadline.min(self.0.patience);
        let begun = Instant::now();
        let turn = timeout_at(begun + patience, Arc::clone(&self.0.turns).acquire_owned())
            .await
            .map_err(|_| DbError::Busy(format!("no connection became free within {patience:?}")))?
            .expect("the semaphore is never closed");
        match timeout_at(begun + patience, self.connection(begun)).await {
            Ok(connection) => {
                let connection = connection?;
                self.0.metrics.waits.observe(begun.elapsed().as_secs_f64());
                Ok(Checkout::new(connection, turn, self.clone()))
            }
            Err(_) => Err(self.not_connected(patience)),
        }
    }

    /// Allows so many connections from now on, 1 to 1,000. A larger pool serves at once those who wait; a
    /// smaller one closes connections as soon as nobody uses them.
    pub(in crate::db) fn resize(&self, size: u32) {
        let size = size.clamp(1, LARGEST);
        let before =
            std::mem::replace(&mut *self.0.size.lock().unwrap_or_else(PoisonError::into_inner), size);
        if let Some(more) = size.checked_sub(before) {
            self.0.turns.add_permits(more as usize);
        } else {
            let pool = self.clone();
            self.0.runtime.spawn(async move { pool.give_up(before - size).await });
        }
    }

    /// So many connections are allowed.
    pub(in crate::db) fn size(&self) -> u32 {
        *self.0.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::db) fn stats(&self) -> PoolStats {
        let state = self.0.connections.state();
        PoolStats {
            total: state.connections as usize,
            idle: state.idle_connections as usize,
            waiting: self.0.waiting.load(Ordering::Relaxed),
        }
    }

    /// There are more connections than the pool may have.
    pub(in crate::db) fn has_too_many(&self) -> bool {
        self.0.connections.state().connections > self.size()
    }

    pub(in crate::db) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    pub(in crate::db) fn seen(&self) -> &Seen {
        &self.0.seen
    }

    /// Takes so many turns away, one by one as they come back, so that nobody waits for all of them.
    async fn give_up(&self, turns: u32) {
        for _ in 0..turns {
            let turn = self.0.turns.acquire().await.expect("the semaphore is never closed");
            if self.has_too_many()
                && self.0.connections.state().idle_connections > 0
                && let Ok(mut connection) = self.0.connections.get().await
            {
                connection.retire();
            }
            turn.forget();
        }
    }

    /// A connection of the pool; there is a turn for it. A failed attempt to connect ends the wait, unless
    /// there are other connections to hope for.
    async fn connection(&self, begun: Instant) -> Result<PooledConnection<'static, Manager>, DbError> {
        let mut connects = self.0.seen.connects();
        let mut connection = pin!(on(&self.0.runtime, self.0.connections.get_owned()));
        loop {
            tokio::select! {
                biased;
                connection = &mut connection => {
                    return connection.map_err(|_| self.not_connected(self.0.patience));
                }
                _ = connects.changed() => {
                    if let Some(cause) = connects.borrow_and_update().clone()
                        && self.0.connections.state().connections == 0
                        && !self.0.seen.is_connecting()
                        && self.0.seen.away(&cause, begun)
                    {
                        return Err(DbError::Unavailable(cause));
                    }
                }
            }
        }
    }

    fn not_connected(&self, within: Duration) -> DbError {
        let cause = self.0.seen.failed_connect().map(|cause| format!(": {cause}")).unwrap_or_default();
        DbError::Unavailable(format!("no connection within {within:?}{cause}"))
    }
}

/// One that waits, counted for as long as it does, however it ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// Fails if too many wait already.
    fn count(waiting: &'a AtomicUsize) -> Result<Self, DbError> {
        let counted = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            return Err(DbError::Busy(format!("{MOST_WAITING} queries wait for a connection already")));
        }
        Ok(counted)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Polls inside another runtime: what the future spawns and the timers it sets live there, not with the
/// caller, whose own runtime may be a busy or a short-lived thread.
async fn on<F: Future>(runtime: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = runtime.enter();
        future.as_mut().poll(context)
    })
    .await
}
