//! The pool: bb8 with a fair queue in front.
//!
//! bb8 alone is unfair when all connections are in use, cannot count who waits, and says only "timed out" when it
//! cannot connect. So a semaphore hands out turns, a guard counts the waiting, and each attempt to connect leaves its
//! result here: who waits for a database that is away learns the cause at once.

use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bb8::QueueStrategy;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Connection;
use super::error::DbError;
use super::url::Target;

/// After this long a connection is replaced, so that servers behind a changed address are found.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How often idle connections are looked through.
const REAPER_RATE: Duration = Duration::from_secs(10);
/// A connection that was silent for longer is asked for a sign of life before it is handed out.
const SILENT_FOR: Duration = Duration::from_secs(1);
/// How long that may take.
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// For so long after a failed attempt to connect, the database is taken to be away without another attempt.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// The pool as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
pub(super) struct PoolLimits {
    pub(super) max: u32,
    pub(super) idle_timeout: Duration,
    pub(super) connect_timeout: Duration,
}

#[derive(Clone)]
pub(super) struct Pool {
    connections: bb8::Pool<Manager>,
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    attempts: Arc<Attempts>,
    runtime: Handle,
    patience: Duration,
}

impl Pool {
    /// Never waits: connections are opened on `runtime` when they are first needed.
    pub(super) fn new(target: Target, limits: PoolLimits, runtime: Handle) -> Self {
        let attempts = Arc::new(watch::channel(None).0);
        let manager = Manager {
            target,
            runtime: runtime.clone(),
            deadline: limits.connect_timeout,
            attempts: Arc::clone(&attempts),
        };
        let connections = {
            let _entered = runtime.enter();
            bb8::Pool::builder()
                .max_size(limits.max)
                .idle_timeout(Some(limits.idle_timeout))
                .max_lifetime(Some(MAX_LIFETIME))
                .reaper_rate(REAPER_RATE)
                .connection_timeout(limits.connect_timeout)
                .queue_strategy(QueueStrategy::Lifo)
                .retry_connection(false) // each attempt's failure is told to those who wait; they decide
                .build_unchecked(manager)
        };
        Self {
            connections,
            turns: Arc::new(Semaphore::new(limits.max as usize)),
            waiting: Arc::default(),
            attempts,
            runtime,
            patience: limits.connect_timeout,
        }
    }

    /// A connection, first come first served, within `deadline` and the connect timeout.
    ///
    /// Fails at once while the database is known to be away: with the cause, if no connection is left to serve from.
    pub(super) async fn get(&self, deadline: Duration) -> Result<Checkout, DbError> {
        if let Some(cause) = self.known_to_be_away() {
            return Err(DbError::Unavailable(cause));
        }
        let _waiting = Waiting::count(&self.waiting);
        let patience = deadline.min(self.patience);
        let until = Instant::now() + patience;
        let turn = timeout_at(until, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| DbError::Busy(patience))?
            .expect("the semaphore is never closed");
        match timeout_at(until, self.connection()).await {
            Ok(connection) => Ok(Checkout { connection: connection?, _turn: turn }),
            Err(_) => Err(DbError::unanswered(patience)),
        }
    }

    /// All connections are in use.
    pub(super) fn is_exhausted(&self) -> bool {
        self.turns.available_permits() == 0
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.connections.state();
        PoolStats {
            total: state.connections as usize,
            idle: state.idle_connections as usize,
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// A connection of the pool; there is a turn for it. A failed attempt to connect ends the wait, unless there are
    /// other connections to hope for.
    async fn connection(&self) -> Result<bb8::PooledConnection<'static, Manager>, DbError> {
        let mut attempts = self.attempts.subscribe();
        let mut connection = pin!(on(&self.runtime, self.connections.get_owned()));
        loop {
            tokio::select! {
                biased;
                connection = &mut connection => {
                    return connection.map_err(|_| DbError::unanswered(self.patience));
                }
                _ = attempts.changed() => {
                    if let Some(failure) = &*attempts.borrow_and_update()
                        && self.connections.state().connections == 0
                    {
                        return Err(DbError::Unavailable(failure.cause.clone()));
                    }
                }
            }
        }
    }

    fn known_to_be_away(&self) -> Option<String> {
        let attempt = self.attempts.borrow();
        let failure = attempt.as_ref().filter(|failure| failure.at.elapsed() < AWAY_FOR)?;
        (self.connections.state().idle_connections == 0).then(|| failure.cause.clone())
    }
}

/// A connection for the time of a query. The connection goes back before the turn does: hence the order of the fields.
pub(super) struct Checkout {
    connection: bb8::PooledConnection<'static, Manager>,
    _turn: OwnedSemaphorePermit,
}

impl Deref for Checkout {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// One that waits, counted for as long as it does, however it ends.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn count(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the last attempt to connect went: none is well, or not tried.
type Attempts = watch::Sender<Option<FailedAttempt>>;

struct FailedAttempt {
    at: Instant,
    cause: String,
}

/// Opens connections for bb8, on the database's own runtime.
struct Manager {
    target: Target,
    runtime: Handle,
    deadline: Duration,
    attempts: Arc<Attempts>,
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = DbError;

    async fn connect(&self) -> Result<Connection, DbError> {
        let (target, deadline) = (self.target.clone(), self.deadline);
        let attempt = self.runtime.spawn(async move { timeout(deadline, Connection::open(&target)).await });
        let connection = match attempt.await {
            Ok(Ok(Ok(connection))) => Ok(connection),
            Ok(Ok(Err(cause))) => Err(cause),
            Ok(Err(_)) => Err(format!("no answer to connecting within {deadline:?}")),
            Err(_) => Err("connecting was cut short".to_owned()),
        };
        let failure = connection.as_ref().err();
        let failure = failure.map(|cause| FailedAttempt { at: Instant::now(), cause: cause.clone() });
        self.attempts.send_replace(failure);
        connection.map_err(DbError::Unavailable)
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), DbError> {
        if connection.is_spent() {
            return Err(DbError::Unavailable("the connection was closed".to_owned()));
        }
        if connection.silent_for() > SILENT_FOR {
            timeout(PING_DEADLINE, connection.ping())
                .await
                .map_err(|_| DbError::unanswered(PING_DEADLINE))??;
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_spent()
    }
}

/// Polls inside another runtime: what the future spawns and the timers it sets live there, not with the caller, whose
/// own runtime may be a busy or a short-lived thread.
async fn on<F: Future>(runtime: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = runtime.enter();
        future.as_mut().poll(context)
    })
    .await
}
