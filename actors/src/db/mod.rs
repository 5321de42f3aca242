//! The one door to PostgreSQL: what happens is [recorded](Db::record) and never waited for, what is asked is answered
//! within a deadline or refused.
//!
//! [`Db`] is the handle. Behind it are a [pool](PoolStats) of connections on a runtime of their own, a queue of records
//! and the DbActor, which writes them. All of it works behind a transaction pooler: no query depends on the state of a
//! connection.

mod actor;
mod calls;
pub mod connection;
mod error;
mod events;
mod health;
mod log;
mod metrics;
pub mod migrate;
mod pool;
mod queue;
pub mod record;
mod row;
mod schema;
mod statement;
mod text;
mod turns;
mod url;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Supervisor};
use anyhow::Context;
use prometheus::Registry;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::calls::{CallDetail, CallSummary};
pub use self::error::DbError;
pub use self::events::LoggedEvent;
pub use self::health::{DbHealth, SchemaState};
pub use self::log::{CallLog, CallLogPage};
pub use self::pool::PoolStats;
pub use self::turns::LoggedTurn;
pub use self::url::BadUrl;

use self::actor::{DbActor, WriteWaiting};
use self::connection::Connection;
use self::health::Seen;
use self::metrics::Metrics;
use self::pool::{Pool, PoolLimits};
use self::queue::{Pushed, Queue};
use self::record::{Event, Record};
use self::url::Target;
use crate::wire::twilio::sid::CallSid;

/// So many records may wait; what comes when it is full is counted, logged and lost.
const QUEUE_CAPACITY: usize = 10_000;
/// A status callback is not acknowledged later than this.
const STORE_DEADLINE: Duration = Duration::from_secs(2);
/// A reader of the log gives up after this.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// A start does not wait longer than this for the database.
const START_DEADLINE: Duration = Duration::from_secs(3);

/// Where the database is and how much of it may be used. Not printable: the URLs hold a password.
#[derive(Clone)]
pub struct DbSettings {
    /// For queries; may be a transaction pooler.
    pub url: String,
    /// For migrations and whatever else needs a session; not a transaction pooler.
    pub direct_url: String,
    /// Connections at most.
    pub pool_max: u32,
    /// A connection unused for longer is closed.
    pub idle_timeout: Duration,
    /// A connection is waited for at most this long.
    pub connect_timeout: Duration,
}

/// The handle; a cheap clone. The DbActor lives as long as one of them does.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
    actor: Addr<DbActor>,
}

/// What handle and actor share, and a panic of the actor does not touch.
struct Shared {
    pool: Pool,
    queue: Arc<Queue>,
    metrics: Metrics,
    seen: Seen,
    /// Ends the writer's pause.
    try_now: Notify,
    _runtime: DbRuntime,
}

impl Db {
    /// Starts the database's runtime and, on the current arbiter, its actor. Never waits for the database.
    ///
    /// Fails if the URL is malformed, the metrics are registered already, or no thread can be had.
    pub fn start(settings: DbSettings, registry: &Registry) -> anyhow::Result<Self> {
        let target = Target::parse(&settings.url).context("the database URL")?;
        let runtime = DbRuntime::start().context("the database's threads")?;
        let limits = PoolLimits {
            max: settings.pool_max,
            idle_timeout: settings.idle_timeout,
            connect_timeout: settings.connect_timeout,
        };
        let pool = Pool::new(target, limits, runtime.handle());
        let queue = Arc::new(Queue::new(QUEUE_CAPACITY));
        let metrics = Metrics::register(registry, pool.clone(), Arc::clone(&queue))?;
        let seen = Seen::new();
        let shared =
            Arc::new(Shared { pool, queue, metrics, seen, try_now: Notify::new(), _runtime: runtime });
        let actor = Supervisor::start({
            let shared = Arc::clone(&shared);
            move |_| DbActor::new(shared)
        });
        Ok(Self { shared, actor })
    }

    /// Queues a record to be written. Never waits; when 10,000 wait already it is counted, logged and lost.
    pub fn record(&self, record: Record) {
        match self.shared.queue.push(writable_twice(record)) {
            // A full mailbox has a wake-up in it already, and a restarting actor looks for itself.
            Pushed::First => drop(self.actor.try_send(WriteWaiting)),
            Pushed::Behind => {}
            Pushed::FirstRefused => {
                tracing::error!(
                    waiting = self.shared.queue.depth(),
                    "no room for records: they are being lost"
                );
                self.shared.metrics.unwritten(1);
            }
            Pushed::Refused => self.shared.metrics.unwritten(1),
        }
    }

    /// Writes an event; it is durable when this returns `Ok`, which it does, or fails, within 2 s.
    pub async fn store_event(&self, event: Event) -> Result<(), DbError> {
        let statement = [events::write(&event)?];
        self.shared
            .ask("store_event", STORE_DEADLINE, async |connection| {
                let stored = connection.execute_together(&statement).await;
                Ok(stored.map_err(diesel::result::Error::from)?)
            })
            .await
    }

    /// A page of the call log, newest first, within 5 s. Pages count from 1; a page has 1 to 200 calls.
    pub async fn call_logs(&self, page: u32, page_size: u32) -> Result<CallLogPage, DbError> {
        self.shared
            .ask("call_logs", READ_DEADLINE, async |connection| {
                Ok(log::page(connection, page, page_size).await?)
            })
            .await
    }

    /// One call with its turns and events, within 5 s; none if it is not written (yet).
    pub async fn call_log(&self, call_sid: CallSid) -> Result<Option<CallLog>, DbError> {
        self.shared
            .ask("call_log", READ_DEADLINE, async |connection| Ok(log::call(connection, &call_sid).await?))
            .await
    }

    /// The pool right now.
    pub fn pool_stats(&self) -> PoolStats {
        self.shared.pool.stats()
    }

    /// Whether the database answers, as of the last query or probe (at most some seconds ago).
    pub fn health(&self) -> DbHealth {
        self.shared.seen.health()
    }

    /// Whether the schema fits, as of the first contact; a schema that is older is looked at again.
    pub fn schema(&self) -> SchemaState {
        self.shared.seen.schema()
    }

    /// Asks the database for its schema now, within 3 s.
    pub async fn check_schema(&self) -> Result<SchemaState, DbError> {
        self.shared.compare_schema(START_DEADLINE).await
    }

    /// Writes what waits, within `deadline`, and takes no more. Returns how many records stay unwritten; they are
    /// counted and logged.
    pub async fn finish(&self, deadline: Duration) -> usize {
        self.shared.try_now.notify_one();
        let _ = timeout(deadline, self.shared.queue.emptied()).await;
        let unwritten = self.shared.queue.close();
        if unwritten > 0 {
            self.shared.metrics.unwritten(unwritten);
            tracing::error!(records = unwritten, "records stay unwritten");
        }
        unwritten
    }
}

impl crate::call::Ledger for Db {
    fn record(&self, record: Record) {
        Self::record(self, record);
    }
}

impl Shared {
    /// Asks something of the database, within `deadline` including the wait for a connection; measured under `query`.
    async fn ask<T>(
        &self,
        query: &str,
        deadline: Duration,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let begun = Instant::now();
        let answer = async {
            let mut connection = self.pool.get(deadline).await?;
            timeout_at(begun + deadline, question(&mut connection))
                .await
                .unwrap_or_else(|_| Err(DbError::unanswered(deadline)))
        }
        .await;
        self.metrics.answered(query, &answer, begun.elapsed().as_secs_f64());
        if self.seen.learn(&answer) {
            self.try_now.notify_one();
        }
        answer
    }

    async fn compare_schema(&self, deadline: Duration) -> Result<SchemaState, DbError> {
        let state =
            self.ask("schema", deadline, async |connection| Ok(migrate::compare(connection).await?)).await?;
        self.seen.schema_is(state.clone());
        Ok(state)
    }
}

/// A flight whose answer was lost is flown again: an event gets a key, so that it is stored once all the same.
fn writable_twice(mut record: Record) -> Record {
    if let Record::Event(event) = &mut record {
        event.dedupe_key.get_or_insert_with(|| format!("{:032x}", rand::random::<u128>()));
    }
    record
}

/// The runtime the connections live on: a busy or ended arbiter does not hold them up.
struct DbRuntime(Option<Runtime>);

impl DbRuntime {
    fn start() -> std::io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("db")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    fn handle(&self) -> tokio::runtime::Handle {
        self.0.as_ref().expect("only dropping takes the runtime").handle().clone()
    }
}

impl Drop for DbRuntime {
    /// Dropping a runtime waits, which an async caller may not; this does not.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
