//! The one door to PostgreSQL: what happens is [recorded](Records::record) and never waited for, what is
//! asked is answered within a deadline or refused.
//!
//! [`Db`] starts and ends it all, and gives each asker a [handle](handles) of its own. Behind it are a
//! [pool](PoolStats) of connections on a runtime of their own, a queue of records, a spool on disk for those
//! that the database does not take at once, and the DbActor, which writes them. All of it works behind a
//! transaction pooler: no query depends on the state of a connection.

mod accounts;
mod alerts;
mod ask;
mod claim;
mod connect;
mod doors;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod handles;
mod inbox;
mod inspection;
mod log;
mod metrics;
mod operations;
mod operator;
mod records;
mod runtime;
mod spans;
mod status;
mod survival;
mod tables;
pub mod webhooks;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::{Addr, Supervisor};
use anyhow::Context;
use tokio::sync::watch;
use tokio::time::timeout;

pub use self::accounts::{
    Accounts, AddError, AuditEntry, AuditFilter, AuditRow, ListedToken, ListedUser, NewSession, SessionUser,
    Token, User,
};
pub use self::alerts::AlertLog;
pub use self::connect::connection::Connection;
pub use self::connect::error::DbError;
pub use self::connect::health::{DbHealth, SchemaState};
pub use self::connect::migrate;
pub use self::connect::pool::PoolStats;
pub use self::connect::url::BadUrl;
pub use self::handles::{Doors, LogReader, Operations, Records, Status};
pub use self::inbox::Inbox;
pub use self::inspection::{Address, Inspection, inspect};
pub use self::log::{
    BadCursor, BadSort, CallFilter, CallLog, CallLogPage, CallQuery, Cursor, Sort, SortKey, Start,
};
pub use self::operator::{
    IdleTransaction, IdleTransactions, Operator, RunningQuery, SlowQueries, SlowStatement,
};
pub use self::tables::alerts::{Acknowledged, AlertRow};
pub use self::tables::bills::TwilioBill;
pub use self::tables::calls::{CallDetail, CallSummary};
pub use self::tables::conferences::{ConferenceEvent, LoggedConference, LoggedParticipant};
pub(crate) use self::tables::events::TOOL;
pub use self::tables::events::{LoggedEvent, LoggedTool};
pub use self::tables::inbox::{BadInboxCursor, InboxCounts, InboxCursor, InboxRow};
pub use self::tables::jobs::{JobLease, JobOrder, JobResult, JobRow, JobRun};
pub use self::tables::left_behind::OpenCall;
pub use self::tables::lost_calls::LostCall;
pub use self::tables::prune::OldRows;
pub use self::tables::recordings::LoggedRecording;
pub use self::tables::retention::OldRecording;
pub use self::tables::turns::LoggedTurn;
pub use self::write::record;
pub use self::write::spool::{SpoolError, SpoolStats};
#[cfg(feature = "fault-injection")]
pub use self::write::spool::{append_to_spool, aside_in_spool};

use self::connect::error::Fault;
use self::connect::health::Seen;
use self::connect::pool::{LARGEST as LARGEST_POOL, Pool, PoolLimits, PoolMetrics};
use self::connect::slow::Slow;
use self::connect::url::Target;
use self::metrics::Metrics;
use self::runtime::DbRuntime;
use self::write::actor::{DbActor, WriteWaiting};
use self::write::queue::Queue;
use self::write::record::{Aftermath, Record};
use self::write::spool::{Spool, SpoolMetrics};
use self::write::writer;
use crate::metrics::{ActorMetrics, MetricSet as _, Metrics as CallMetrics, Registrar};
use crate::secret::Secret;
use crate::supervise::{Life, Lifeline};

/// So many bytes of records may wait in memory, of one call as many as are free. What is too much for memory
/// goes into the spool; what comes faster than the disk takes it is counted, logged and lost.
const QUEUE_BYTES: usize = 64 << 20;
/// An event that the database did not take within this goes into the spool.
const STORE_PATIENCE: Duration = Duration::from_secs(1);
/// The spool takes a record within this, or did not take it.
const SPOOL_DEADLINE: Duration = Duration::from_secs(1);
/// A start does not wait longer than this for the database.
const START_DEADLINE: Duration = Duration::from_secs(3);

/// Where the database is and how much of it may be used.
#[derive(Debug, Clone)]
pub struct DbSettings {
    /// `DATABASE_URL` or `SUPABASE_URL`; may be a transaction pooler.
    pub url: Secret,
    /// Connections at most (`DB_POOL_MAX`).
    pub pool_max: u32,
    /// A connection unused for longer is closed (`DB_POOL_IDLE_TIMEOUT_MS`).
    pub idle_timeout: Duration,
    /// A connection is waited for at most this long (`DB_POOL_CONNECT_TIMEOUT_MS`).
    pub connect_timeout: Duration,
    /// The folder of all processes' spools on this machine (`SPOOL_DIR`): records wait there while the
    /// database is away.
    pub spool_dir: PathBuf,
    /// Names this process' spool in it: `INSTANCE_ID`.
    pub instance: String,
}

/// Why there is no database to talk to, not even one that is away.
#[derive(Debug, thiserror::Error)]
pub enum DbStartError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the database URL is of no use: {0}")]
    Url(#[from] BadUrl),
    /// A setting is out of range, the metrics are registered already, or no thread can be had.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

/// Starts and ends the database's part, and gives out [handles]. A cheap clone; the DbActor lives as
/// long as one of them, or a handle, does.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
    actor: Addr<DbActor>,
    lifeline: Lifeline,
    /// Dropped after the address: its last clone is the actor's end.
    _handles: watch::Sender<()>,
}

/// What handle and actor share, and a panic of the actor does not touch.
struct Shared {
    pool: Pool,
    queue: Arc<Queue>,
    spool: Arc<Spool>,
    inbox: webhooks::Inbox,
    metrics: Metrics,
    webhooks: webhooks::Metrics,
    seen: Arc<Seen>,
    slow: Slow,
    places: log::Places,
    /// Where the actor is counted.
    counts: ActorMetrics,
    /// Where the calls are counted whose end is written here.
    calls: CallMetrics,
    /// This process has its name for itself.
    claimed: AtomicBool,
    /// The database refuses the worker of the webhooks.
    refuses_webhooks: AtomicBool,
    runtime: DbRuntime,
}

impl Db {
    /// As [`start_counted`](Self::start_counted), for a program that shows no metrics of calls.
    pub fn start(settings: DbSettings, registry: &dyn Registrar) -> Result<Self, DbStartError> {
        let calls = CallMetrics::build().context("the metrics of the calls")?;
        Self::start_counted(settings, calls, registry)
    }

    /// Opens the spool, starts the database's runtime and, on the current arbiter, its actor. Never waits for
    /// the database; what waits in the spool, and in those of processes that are gone, is written as soon as
    /// it is there.
    ///
    /// `calls` counts the actor, and the calls whose end is found here.
    pub fn start_counted(
        settings: DbSettings,
        calls: CallMetrics,
        registry: &dyn Registrar,
    ) -> Result<Self, DbStartError> {
        let waits = [settings.idle_timeout, settings.connect_timeout];
        if !(1..=LARGEST_POOL).contains(&settings.pool_max) || waits.iter().any(Duration::is_zero) {
            return Err(anyhow::anyhow!(
                "the database's pool has a size of 1 to {LARGEST_POOL} and timeouts above 0"
            )
            .into());
        }
        let target = Target::parse(settings.url.expose())?;
        if !target.ignored.is_empty() {
            let parameters = target.ignored.join(", ");
            tracing::info!(
                parameters,
                "the database URL says what is meant for other clients; DB_POOL_MAX sizes the pool"
            );
        }
        let runtime = DbRuntime::start().context("the database's threads")?;
        let limits = PoolLimits {
            max: settings.pool_max,
            idle_timeout: settings.idle_timeout,
            connect_timeout: settings.connect_timeout,
        };
        let seen = Arc::new(Seen::new());
        let pool_metrics = PoolMetrics::register(registry).context("the metrics of the pool")?;
        let pool = Pool::new(target, limits, Arc::clone(&seen), runtime.handle(), pool_metrics);
        let queue = Arc::new(Queue::new(QUEUE_BYTES));
        let spool_metrics = SpoolMetrics::register(registry).context("the metrics of the spool")?;
        let spool = Spool::open(&settings.spool_dir, &settings.instance, runtime.handle(), spool_metrics)?;
        let spool = Arc::new(spool);
        let metrics = Metrics::register(registry).context("the database's metrics")?;
        metrics::register_readings(registry, pool.clone(), Arc::clone(&queue), spool.watch())
            .context("the database's metrics")?;
        let webhooks = webhooks::Metrics::register(registry).context("the metrics of the webhooks")?;
        let inbox = webhooks::Inbox::new(runtime.handle());
        let places = log::Places::default();
        let shared = Arc::new(Shared {
            pool,
            queue,
            spool,
            inbox,
            metrics,
            webhooks,
            seen,
            slow: Slow::default(),
            places,
            counts: calls.of_actor("db"),
            calls,
            claimed: AtomicBool::new(false),
            refuses_webhooks: AtomicBool::new(false),
            runtime,
        });
        let (handles, closed) = watch::channel(());
        let life = Life::begin("db");
        let lifeline = life.line();
        let actor = Supervisor::start({
            let shared = Arc::clone(&shared);
            move |_| DbActor::new(shared, closed, life)
        });
        Ok(Self { shared, actor, lifeline, _handles: handles })
    }

    /// The runtime its connections live on.
    pub fn runtime(&self) -> tokio::runtime::Handle {
        self.shared.runtime.handle()
    }

    /// Ends when the actor has panicked too often, or is gone: the process cannot go on then.
    pub fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }

    /// Processes the webhooks that are stored, by this or another instance, from now on until the last handle
    /// is gone.
    pub fn process_webhooks(&self) {
        let worker = webhooks::run(Arc::clone(&self.shared), self._handles.subscribe());
        self.shared.runtime.handle().spawn(worker);
    }

    /// Asks the database for its schema now, within 3 s.
    pub async fn check_schema(&self) -> Result<SchemaState, DbError> {
        let state = self
            .shared
            .ask("schema", START_DEADLINE, async |connection| Ok(migrate::compare(connection).await?));
        let state = state.await?;
        self.shared.seen.schema_is(state.clone());
        Ok(state)
    }

    /// Writes what waits, within `deadline`, and takes no more. Returns how many records stay unwritten:
    /// those in the spool are written after the next start, the others, if there are any, are counted and
    /// logged as lost.
    pub async fn finish(&self, deadline: Duration) -> usize {
        let shared = &self.shared;
        shared.seen.back.notify_one();
        let _ = timeout(deadline, shared.emptied()).await;
        let left = shared.queue.close();
        // One that the writer is just moving may be spooled twice: writing it twice changes nothing.
        let spooled = if left.is_empty() { 0 } else { shared.spool_now(left.clone(), SPOOL_DEADLINE).await };
        let lost = left.len() - spooled;
        if lost > 0 {
            shared.metrics.unwritten(lost);
            tracing::error!(records = lost, "records are lost: neither the database nor the spool took them");
        }
        self.status().spool_pending() + lost
    }

    /// Writes a record now; into the spool if that is not empty, or if the database does not take it within
    /// `patience` for a reason other than the record itself. It is durable when this returns `Ok`.
    async fn keep(
        &self,
        query: &str,
        record: Record,
        patience: Duration,
        spool_deadline: Duration,
    ) -> Result<(), DbError> {
        let record = writable_twice(record);
        let failed = if self.shared.spool.is_empty() {
            let statements = writer::statements_of(&record)?;
            let flight = self.shared.ask(query, patience, async |connection| {
                Ok(connection.execute_together(&statements).await?)
            });
            match flight.await {
                Ok(()) => return Ok(()),
                Err(error) if error.fault() == Fault::Record => return Err(error),
                Err(error) => error,
            }
        } else {
            DbError::Unavailable("others wait for it in the spool, which takes no more".to_owned())
        };
        if self.shared.spool_now(vec![Arc::new(record)], spool_deadline).await == 0 {
            return Err(failed);
        }
        self.wake_the_writer();
        Ok(())
    }

    fn wake_the_writer(&self) {
        // A full mailbox has a wake-up in it already, and a restarting actor looks for itself.
        drop(self.actor.try_send(WriteWaiting));
    }
}

/// A flight whose answer was lost is flown again: an event gets a key, so that it is stored once all the
/// same.
fn writable_twice(mut record: Record) -> Record {
    if let Record::Event(event) | Record::Aftermath(Aftermath { event, .. }) = &mut record {
        event.dedupe_key.get_or_insert_with(|| format!("{:032x}", rand::random::<u128>()));
    }
    record
}
