//! Where webhooks wait to be stored: a group is whatever waits when the previous flight returns, no timer.
//!
//! So few requests are written at once each, and a storm in few statements. 5,000 may wait; one more is
//! refused, which is told to Twilio with 503, and Twilio tries again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::Webhook;
use super::metrics::Kept;
use super::table;
use crate::db::connect::error::{DbError, Fault};
use crate::db::write::record::Record;
use crate::db::{SPOOL_DEADLINE, STORE_PATIENCE, Shared};

/// So many may wait.
const CAPACITY: usize = 5_000;
/// So many are written by one statement.
const GROUP: usize = 500;
/// So many statements are under way at once: while one waits for the disk, another one travels.
const FLIGHTS: usize = 3;

pub(in crate::db) struct Inbox {
    waiting: Mutex<Waiting>,
    /// Where the flights run: not on a call's thread.
    runtime: Handle,
    /// Something was stored: the worker has something to do.
    stored: Notify,
}

#[derive(Default)]
struct Waiting {
    letters: VecDeque<Letter>,
    flights: usize,
}

struct Letter {
    record: Arc<Record>,
    answer: oneshot::Sender<Result<Kept, DbError>>,
}

impl Inbox {
    pub(in crate::db) fn new(runtime: Handle) -> Self {
        Self { waiting: Mutex::default(), runtime, stored: Notify::new() }
    }

    /// Durable when this returns `Ok`.
    pub(in crate::db) async fn store(&self, shared: &Arc<Shared>, webhook: Webhook) -> Result<Kept, DbError> {
        let (answer, answered) = oneshot::channel();
        let letter = Letter { record: Arc::new(Record::Webhook(webhook)), answer };
        if self.take_in(letter)? {
            self.runtime.spawn(fly(Arc::clone(shared)));
        }
        answered.await.unwrap_or_else(|_| Err(DbError::Unavailable("its flight was lost".to_owned())))
    }

    /// Something was stored.
    pub(in crate::db) fn wake_the_worker(&self) {
        self.stored.notify_one();
    }

    /// Returns when something was stored since it last did.
    pub(super) async fn stored(&self) {
        self.stored.notified().await;
    }

    /// True if it needs a flight of its own.
    fn take_in(&self, letter: Letter) -> Result<bool, DbError> {
        let mut waiting = self.lock();
        if waiting.letters.len() >= CAPACITY {
            return Err(DbError::Unavailable(format!("{CAPACITY} webhooks wait to be stored")));
        }
        waiting.letters.push_back(letter);
        let is_needed = waiting.flights < FLIGHTS;
        waiting.flights += usize::from(is_needed);
        Ok(is_needed)
    }

    /// What waits, for a flight; if nothing does, the flight is over.
    fn next_group(&self, flight: &mut Flight<'_>) -> Option<Vec<Letter>> {
        let mut waiting = self.lock();
        if waiting.letters.is_empty() {
            waiting.flights -= 1;
            flight.is_over = true;
            return None;
        }
        let count = waiting.letters.len().min(GROUP);
        Some(waiting.letters.drain(..count).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that runs under the lock can leave it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flight that is counted; a panic ends it, too.
struct Flight<'a> {
    inbox: &'a Inbox,
    is_over: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.inbox.lock().flights -= 1;
        }
    }
}

async fn fly(shared: Arc<Shared>) {
    let inbox = &shared.inbox;
    let mut flight = Flight { inbox, is_over: false };
    while let Some(group) = inbox.next_group(&mut flight) {
        deliver(&shared, group).await;
    }
}

/// Answers each letter when it is known whether it is kept. Only one that is at fault itself is refused.
async fn deliver(shared: &Shared, group: Vec<Letter>) {
    let records: Vec<_> = group.iter().map(|letter| Arc::clone(&letter.record)).collect();
    let failed = match store(shared, &records).await {
        Ok(()) => {
            shared.inbox.wake_the_worker();
            return group.into_iter().for_each(|letter| answer(shared, letter, Ok(Kept::Stored)));
        }
        Err(error) if error.fault() == Fault::Record && group.len() > 1 => {
            // One of them is at fault, and is found by halves.
            let mut first = group;
            let second = first.split_off(first.len() / 2);
            Box::pin(deliver(shared, first)).await;
            return Box::pin(deliver(shared, second)).await;
        }
        Err(error) if error.fault() == Fault::Record => {
            return group.into_iter().for_each(|letter| answer(shared, letter, Err(error.clone())));
        }
        Err(failed) => failed,
    };
    let spooled = shared.spool_now(records, SPOOL_DEADLINE).await;
    for (number, letter) in group.into_iter().enumerate() {
        let result = if number < spooled { Ok(Kept::Spooled) } else { Err(failed.clone()) };
        answer(shared, letter, result);
    }
}

/// In one statement; not while others wait in the spool.
async fn store(shared: &Shared, records: &[Arc<Record>]) -> Result<(), DbError> {
    if !shared.spool.is_empty() {
        return Err(DbError::Unavailable("others wait for it in the spool, which takes no more".to_owned()));
    }
    let statement = [table::insert(records.iter().filter_map(|record| record.webhook()))?];
    let flight = shared.ask("store_webhooks", STORE_PATIENCE, async |connection| {
        Ok(connection.execute_together(&statement).await?)
    });
    flight.await
}

fn answer(shared: &Shared, letter: Letter, result: Result<Kept, DbError>) {
    if let Some(webhook) = letter.record.webhook() {
        shared.webhooks.received(webhook.route, &result);
    }
    let _ = letter.answer.send(result); // who asked may have gone
}
