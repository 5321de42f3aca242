//! What is known of the database without asking it: whether it is there, and whether its schema fits this
//! program.
//!
//! It is *away* once a probe has had no answer, or a connection could not be opened while none is open. From
//! then on whoever asks it anything fails at once with the cause, and the probe alone, one at a time, tries
//! whether it is back. Any answer proves that it is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::error::DbError;
use super::url::MISTAKE;

/// Whether the database answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbHealth {
    Healthy,
    /// It does, and takes no writes: why.
    ReadOnly(String),
    /// It does not, and why.
    Unavailable(String),
}

/// How the database's schema compares with the one this program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// The database was not reached yet.
    Unknown,
    /// These migrations have not been applied.
    Older {
        missing: Vec<String>,
    },
    /// The program's role does not own the tables: row-level security hides their rows from it.
    Hidden {
        role: String,
    },
    Fits,
    /// All known migrations have been applied, and others: a later version of this program was here.
    Newer,
}

impl SchemaState {
    /// It need not be looked at again.
    pub(in crate::db) fn is_settled(&self) -> bool {
        matches!(self, Self::Fits | Self::Newer)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Database {
    NotReachedYet,
    There,
    Away { cause: String },
}

/// Both, as last seen.
pub(in crate::db) struct Seen {
    database: watch::Sender<Database>,
    /// Why the last write was refused by a read-only server; none since one was taken.
    read_only: Mutex<Option<String>>,
    times: Mutex<Times>,
    schema: Mutex<SchemaState>,
    /// Why the last attempt to open a connection failed; none if it did not.
    failed_connect: watch::Sender<Option<String>>,
    /// Attempts to open a connection that are under way.
    connecting: AtomicUsize,
    /// The database has come back.
    pub(in crate::db) back: Notify,
    /// A question had no answer, which may be its own fault or the database's: time for a probe.
    pub(in crate::db) doubt: Notify,
}

#[derive(Default)]
struct Times {
    answered: Option<Instant>,
    lost: Option<Instant>,
}

impl Seen {
    pub(in crate::db) fn new() -> Self {
        Self {
            database: watch::Sender::new(Database::NotReachedYet),
            read_only: Mutex::default(),
            times: Mutex::default(),
            schema: Mutex::new(SchemaState::Unknown),
            failed_connect: watch::Sender::new(None),
            connecting: AtomicUsize::new(0),
            back: Notify::new(),
            doubt: Notify::new(),
        }
    }

    pub(in crate::db) fn health(&self) -> DbHealth {
        match &*self.database.borrow() {
            Database::NotReachedYet => DbHealth::Unavailable("the database was not reached yet".to_owned()),
            Database::There => self.read_only().clone().map_or(DbHealth::Healthy, DbHealth::ReadOnly),
            Database::Away { cause } => DbHealth::Unavailable(cause.clone()),
        }
    }

    pub(in crate::db) fn is_away(&self) -> bool {
        matches!(*self.database.borrow(), Database::Away { .. })
    }

    /// Returns as soon as the database is known to be away: the cause.
    pub(in crate::db) async fn found_away(&self) -> String {
        let mut database = self.database.subscribe();
        let away = database.wait_for(|database| matches!(database, Database::Away { .. })).await;
        match &*away.expect("the sender is in `self`") {
            Database::Away { cause } => cause.clone(),
            Database::NotReachedYet | Database::There => unreachable!("it was waited for"),
        }
    }

    /// Learns from how a question went. One without an answer proves nothing: it may have been too slow, or
    /// its connection alone was lost.
    pub(in crate::db) fn learn<T>(&self, result: &Result<T, DbError>) {
        match result {
            Ok(_) | Err(DbError::Refused(_)) => self.answered(),
            Err(DbError::Unavailable(_)) if !self.is_away() => self.doubt.notify_one(),
            Err(DbError::Unavailable(_) | DbError::Busy(_)) => {}
        }
    }

    /// Learns from how a write went; `written` says that it was one and was taken. A read proves nothing
    /// here.
    pub(in crate::db) fn learn_of_writes<T>(&self, result: &Result<T, DbError>, written: bool) {
        let cause = result.as_ref().err().filter(|error| error.says_read_only()).map(DbError::to_string);
        if cause.is_none() && !written {
            return;
        }
        let before = std::mem::replace(&mut *self.read_only(), cause.clone());
        match (before, cause) {
            (None, Some(cause)) => tracing::warn!(cause, "the database takes no writes"),
            (Some(_), None) => tracing::info!("the database takes writes again"),
            _ => {}
        }
    }

    /// The database answered.
    fn answered(&self) {
        self.times().answered = Some(Instant::now());
        if *self.database.borrow() == Database::There {
            return; // by far the most frequent: nobody needs to be woken
        }
        if self.database.send_replace(Database::There) != Database::There {
            tracing::info!("the database answers");
            self.back.notify_one();
        }
    }

    /// The database is away, unless it has answered anything `since` then: false.
    pub(in crate::db) fn away(&self, cause: &str, since: Instant) -> bool {
        let mut times = self.times();
        if times.answered.is_some_and(|answered| answered >= since) {
            return false;
        }
        let now = Database::Away { cause: cause.to_owned() };
        let before = self.database.send_replace(now);
        if !matches!(before, Database::Away { .. }) {
            times.lost = Some(Instant::now());
            tracing::warn!(cause, "the database is unavailable");
        }
        true
    }

    pub(in crate::db) fn has_answered_since(&self, moment: Instant) -> bool {
        self.times().answered.is_some_and(|answered| answered >= moment)
    }

    /// Whether a connection that last answered then may be dead without knowing it: the database was lost
    /// since.
    pub(in crate::db) fn was_lost_since(&self, moment: Instant) -> bool {
        self.times().lost.is_some_and(|lost| lost > moment)
    }

    /// An attempt to open a connection begins.
    pub(in crate::db) fn tries_to_connect(&self) {
        self.connecting.fetch_add(1, Ordering::Relaxed);
    }

    /// How it went; a new cause is logged.
    pub(in crate::db) fn tried_to_connect(&self, failure: Option<&str>) {
        if failure.is_none() {
            self.answered();
        }
        self.connecting.fetch_sub(1, Ordering::Relaxed);
        let before = self.failed_connect.send_replace(failure.map(str::to_owned));
        if let Some(cause) = failure.filter(|cause| before.as_deref() != Some(*cause)) {
            if cause.starts_with(MISTAKE) {
                tracing::error!(cause, "no database connection can be opened until this is mended");
            } else {
                tracing::warn!(cause, "no database connection could be opened");
            }
        }
    }

    /// Why the last attempt to open a connection failed; none if it did not.
    pub(in crate::db) fn failed_connect(&self) -> Option<String> {
        self.failed_connect.borrow().clone()
    }

    /// Another attempt to open a connection is under way.
    pub(in crate::db) fn is_connecting(&self) -> bool {
        self.connecting.load(Ordering::Relaxed) > 0
    }

    /// Changes with each attempt to open a connection.
    pub(in crate::db) fn connects(&self) -> watch::Receiver<Option<String>> {
        self.failed_connect.subscribe()
    }

    pub(in crate::db) fn schema(&self) -> SchemaState {
        self.schema.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::db) fn schema_is(&self, schema: SchemaState) {
        *self.schema.lock().unwrap_or_else(PoisonError::into_inner) = schema;
    }

    fn read_only(&self) -> MutexGuard<'_, Option<String>> {
        self.read_only.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        // Each is replaced whole: a panic elsewhere cannot leave them half changed.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_question_without_an_answer_is_a_doubt_and_a_refusal_proves_the_database_alive() {
        let seen = Seen::new();
        seen.learn::<()>(&Err(DbError::Refused("42P01".to_owned())));
        assert!(seen.back.notified().now_or_never().is_some());
        seen.learn::<()>(&Err(DbError::Busy("all in use".to_owned())));
        assert!(seen.doubt.notified().now_or_never().is_none());
        seen.learn::<()>(&Err(DbError::Unavailable("gone".to_owned())));
        assert!(seen.doubt.notified().now_or_never().is_some());
        assert_eq!(seen.health(), DbHealth::Healthy);
    }

    #[test]
    fn away_is_away_until_there_is_an_answer_but_not_after_one() {
        let seen = Seen::new();
        let before = Instant::now();
        seen.away("gone", before);
        assert_eq!(seen.health(), DbHealth::Unavailable("gone".to_owned()));
        assert_eq!(seen.found_away().now_or_never().as_deref(), Some("gone"));
        assert!(seen.was_lost_since(before));
        seen.learn(&Ok(()));
        assert_eq!(seen.health(), DbHealth::Healthy);
        assert!(seen.found_away().now_or_never().is_none());
        seen.away("a probe that began before the answer", before);
        assert_eq!(seen.health(), DbHealth::Healthy);
    }

    #[test]
    fn a_server_that_takes_no_writes_is_read_only_until_it_takes_one() {
        let seen = Seen::new();
        seen.learn(&Ok(()));
        let refused = DbError::Refused("25006 cannot execute INSERT in a read-only transaction".to_owned());
        seen.learn_of_writes::<()>(&Err(refused.clone()), false);
        assert_eq!(seen.health(), DbHealth::ReadOnly(refused.to_string()));
        seen.learn_of_writes(&Ok(()), false);
        assert_eq!(seen.health(), DbHealth::ReadOnly(refused.to_string()), "a read proves nothing");
        seen.learn_of_writes::<()>(&Err(DbError::Refused("23514 bad value".to_owned())), false);
        assert_eq!(seen.health(), DbHealth::ReadOnly(refused.to_string()), "nor does another refusal");
        seen.learn_of_writes(&Ok(()), true);
        assert_eq!(seen.health(), DbHealth::Healthy);
    }
}
