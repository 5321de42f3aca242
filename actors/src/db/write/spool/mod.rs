//! The spool: where records wait on disk while the database does not take them. First in, first out.
//!
//! One folder a process, `SPOOL_DIR/<INSTANCE_ID>/`, held by a lock for as long as the process lives; a
//! process that starts takes in what the folders of dead ones hold. A record is durable when
//! [`Spool::append`] has counted it. It holds 256 MiB of records; full, or with a failing disk, it takes
//! none: that is logged and counted, and the records stay in memory as far as there is room; a webhook is
//! then refused, and Twilio tries again. A record that the database refuses is set aside, so that it holds
//! nobody up, and tried again from time to time.
//!
//! All work on files is done on blocking threads of the database's runtime, never on a call's.

mod folder;
mod store;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use prometheus::IntCounter;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use utoipa::ToSchema;

use self::folder::Folder;
use self::store::Store;
#[cfg(feature = "fault-injection")]
pub use self::store::foreign::{append_to_spool, aside_in_spool};
pub(in crate::db) use self::store::{Front, Numbered};
use super::record::Record;
use crate::wire::twilio::sid::CallSid;

/// So much may wait in it.
const CAPACITY_BYTES: u64 = 256 << 20;
/// So many tasks may wait for the disk; one more fails at once.
const TASKS: usize = 64;

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool {} is in use by another process; give this one an INSTANCE_ID of its own", .0.display())]
    Locked(PathBuf),
    #[error("the spool {} cannot be used: {cause}; set SPOOL_DIR to a folder of this program's own", .folder.display())]
    Unusable { folder: PathBuf, cause: String },
}

/// Why the spool did not do what was asked. Nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::db) struct SpoolFailure(pub(super) String);

/// The spool as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpoolStats {
    /// Records that wait for the database.
    pub pending: usize,
    /// For how long the first of them has been waiting; 0 if none is.
    pub oldest_seconds: i64,
    /// Records that the database refuses, and is asked to take again from time to time, or that this version
    /// cannot read.
    pub aside: usize,
}

/// What waits in the spool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::db) struct Backlog {
    pub(in crate::db) records: usize,
    /// When the first of them came.
    pub(in crate::db) oldest: Option<DateTime<Utc>>,
    /// Records that the database refuses or this version cannot read.
    pub(in crate::db) aside: usize,
    /// Those of them that the database refuses.
    pub(in crate::db) refused: usize,
    /// What another process left is still to be taken in.
    adopting: bool,
}

impl Backlog {
    pub(in crate::db) fn is_empty(&self) -> bool {
        self.records == 0 && !self.adopting
    }

    /// For how long the first of them has been waiting.
    pub(in crate::db) fn waited_seconds(&self) -> i64 {
        self.oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds().max(0))
    }
}

pub(in crate::db) struct Spool {
    inner: Arc<Inner>,
    runtime: Handle,
    tasks: Arc<Semaphore>,
    refusing: AtomicBool,
    metrics: SpoolMetrics,
}

crate::metrics! {
    /// The metrics of the spool.
    pub(in crate::db) struct SpoolMetrics {
        /// Times that the spool took or gave nothing: it was full, or its disk failed.
        failures: IntCounter = "switchboard_spool_failures_total";
    }
}

/// What a task on a blocking thread holds, and with it the lock, until it is done.
struct Inner {
    store: Mutex<Store>,
    backlog: watch::Sender<Backlog>,
    folder: Folder,
}

impl Spool {
    /// Opens the folder of `instance` below `root` and holds it. Blocks, briefly: for a program's start.
    pub(in crate::db) fn open(
        root: &Path,
        instance: &str,
        runtime: Handle,
        metrics: SpoolMetrics,
    ) -> Result<Self, SpoolError> {
        let folder = Folder::hold(root, instance)?;
        let unusable = |SpoolFailure(cause)| SpoolError::Unusable { folder: folder.path().to_owned(), cause };
        let store = Store::open_or_replace(folder.records(), CAPACITY_BYTES).map_err(unusable)?;
        folder.move_in_what_the_dead_left();
        let adopting = !folder.adopted().is_empty();
        let backlog = Backlog { adopting, ..store.backlog() };
        if !backlog.is_empty() {
            tracing::info!(records = backlog.records, adopting, "records wait in the spool");
        }
        let inner = Inner { store: Mutex::new(store), backlog: watch::Sender::new(backlog), folder };
        Ok(Self {
            inner: Arc::new(inner),
            runtime,
            tasks: Arc::new(Semaphore::new(TASKS)),
            refusing: AtomicBool::new(false),
            metrics,
        })
    }

    pub(in crate::db) fn backlog(&self) -> Backlog {
        self.inner.backlog.borrow().clone()
    }

    /// The backlog for those who do not keep the spool open.
    pub(in crate::db) fn watch(&self) -> watch::Receiver<Backlog> {
        self.inner.backlog.subscribe()
    }

    pub(in crate::db) fn is_empty(&self) -> bool {
        self.inner.backlog.borrow().is_empty()
    }

    /// Returns when nothing waits.
    pub(in crate::db) async fn emptied(&self) {
        let mut backlog = self.inner.backlog.subscribe();
        backlog.wait_for(Backlog::is_empty).await.expect("the sender is in `self`");
    }

    /// Appends the records, or as many of them as there is room for; returns how many. Those are durable.
    pub(in crate::db) async fn append(&self, records: Vec<Arc<Record>>) -> usize {
        let appended = self.run(move |store| store.append(&records)).await;
        match appended {
            Ok(appended) => {
                if self.refusing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the spool takes records again");
                }
                appended
            }
            Err(failure) => {
                if !self.refusing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%failure, "the spool takes no records");
                }
                0
            }
        }
    }

    /// The oldest records, at most `limit`. They stay until they are [settled](Self::settle).
    pub(in crate::db) async fn front(&self, limit: usize) -> Result<Front, SpoolFailure> {
        self.run(move |store| store.front(limit)).await
    }

    /// The records up to the one of this number need not wait any more.
    pub(in crate::db) async fn settle(&self, through: u64) -> Result<(), SpoolFailure> {
        self.run(move |store| store.settle(through)).await
    }

    /// Keeps a record that the database refuses out of the others' way.
    pub(in crate::db) async fn put_aside(
        &self,
        record: Arc<Record>,
        cause: String,
    ) -> Result<(), SpoolFailure> {
        self.run(move |store| store.put_aside(&record, &cause)).await
    }

    /// The refused records that were set aside first, from this order number on; at most `limit`.
    pub(in crate::db) async fn refused(
        &self,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Numbered>, SpoolFailure> {
        self.run(move |store| store.refused(from, limit)).await
    }

    /// The refused records of these order numbers, in order, are written at last.
    pub(in crate::db) async fn drop_refused(&self, orders: Vec<u64>) -> Result<(), SpoolFailure> {
        self.run(move |store| store.drop_refused(&orders)).await
    }

    /// What waits of one call, in order.
    pub(in crate::db) async fn of_call(&self, call_sid: CallSid) -> Result<Vec<Arc<Record>>, SpoolFailure> {
        self.run(move |store| store.of_call(&call_sid)).await
    }

    /// Takes in what other processes left; does nothing if that is done. What cannot be taken in now is left
    /// for the next start.
    pub(in crate::db) async fn adopt(&self) {
        if !self.inner.backlog.borrow().adopting {
            return;
        }
        for file in self.inner.folder.adopted() {
            let adopted = self.run({
                let file = file.clone();
                move |store| store.take_in(&file)
            });
            match adopted.await {
                Ok(0) => {}
                Ok(records) => tracing::info!(records, "took over what another process had spooled"),
                Err(failure) => {
                    tracing::error!(%failure, file = %file.display(), "a spool was not taken over")
                }
            }
        }
        self.inner.backlog.send_modify(|backlog| backlog.adopting = false);
    }

    /// Since when the process has been heard of that held the folder last, this one included. Reads a small
    /// file.
    pub(in crate::db) fn heard_since(&self) -> Option<DateTime<Utc>> {
        self.inner.folder.heard_since()
    }

    /// Says so in the folder. A failure costs a successor a wait, and is logged.
    pub(in crate::db) async fn remember(&self, since: DateTime<Utc>) {
        let inner = Arc::clone(&self.inner);
        let remembered = self.runtime.spawn_blocking(move || inner.folder.remember(since)).await;
        let failure = match remembered {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(failure, "a process that is started in place of this one will have to wait");
    }

    async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Store) -> Result<T, SpoolFailure> + Send + 'static,
    ) -> Result<T, SpoolFailure> {
        let result = match Arc::clone(&self.tasks).try_acquire_owned() {
            Ok(turn) => {
                let inner = Arc::clone(&self.inner);
                let task = self.runtime.spawn_blocking(move || {
                    let _turn = turn;
                    inner.work(task)
                });
                task.await.unwrap_or_else(|error| Err(SpoolFailure(error.to_string())))
            }
            Err(_) => Err(SpoolFailure("too much waits for its disk".to_owned())),
        };
        if result.is_err() {
            self.metrics.failures.inc();
        }
        result
    }
}

impl Inner {
    fn work<T>(&self, task: impl FnOnce(&mut Store) -> Result<T, SpoolFailure>) -> Result<T, SpoolFailure> {
        let mut store = self.store.lock().unwrap_or_else(|poisoned| {
            self.store.clear_poison();
            let mut store = poisoned.into_inner();
            store.close(); // what a panic left behind is not known: the file is opened anew
            store
        });
        let result = task(&mut store);
        let now = store.backlog();
        self.backlog.send_if_modified(|backlog| {
            let now = Backlog { adopting: backlog.adopting, ..now };
            let changed = *backlog != now;
            *backlog = now;
            changed
        });
        result
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::db) fn fuzz_record(data: &[u8]) {
    store::fuzz_record(data);
}
