//! Writing what waits: in order, many at a time, and none lost that could be kept.
//!
//! While the database is well, records go from the queue straight into it. Those that it does not take at once go into
//! the spool, and from then on, until the spool is empty again, all others after them.

use std::pin::pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use rand::Rng;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::error::{DbError, Fault};
use super::log::search;
use super::record::Record;
use super::spool::{Front, SpoolFailure};
use super::statement::Statement;
use super::{Shared, calls, events, recordings, spans, turns, webhooks};

/// So many records at most go in one transaction, in one flight.
const BATCH: usize = 200;
/// So many at most leave the spool in one.
const REPLAY_BATCH: usize = 500;
/// So many at most go into the spool in one transaction.
const SPOOL_BATCH: usize = 1_000;
/// Records that the database did not take within this go into the spool.
const PATIENCE: Duration = Duration::from_secs(1);
/// A flight from the spool without an answer for so long is given up and tried again on another connection.
const DEADLINE: Duration = Duration::from_secs(10);
/// A record that is refused so often in a row, for a reason that may not be its own, is set aside.
const MOST_REFUSALS: u32 = 5;
/// The pause after the first failure; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Writes until nothing waits. While the database is away what waits is in the spool, and the writer tries again: after
/// a jittered pause, or as soon as the database is seen to be back.
pub(super) async fn write_all(shared: &Shared) {
    shared.spool.adopt().await;
    let mut pause = Pause(FIRST_PAUSE);
    let mut refusals = 0;
    loop {
        if !shared.spool.is_empty() {
            while_spooling(shared, replay(shared, &mut pause, &mut refusals)).await;
            continue;
        }
        let batch = shared.queue.front(BATCH);
        if batch.is_empty() {
            return;
        }
        let began = Instant::now();
        let flown = write_batch(shared, &batch, PATIENCE, &mut refusals).await;
        if let Some(counts) = shared.counts.get() {
            counts.handler_time.observe(began.elapsed().as_secs_f64());
        }
        shared.queue.written(flown.settled);
        if let Some(error) = flown.stopped {
            tracing::warn!(%error, waiting = shared.queue.depth(), "records wait for the database");
            if !spool_what_waits(shared).await {
                pause.wait(shared).await;
            }
        } else {
            pause.reset();
        }
    }
}

/// Moves what comes into the queue on into the spool for as long as `work` takes.
async fn while_spooling(shared: &Shared, work: impl Future<Output = ()>) {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return,
            () = shared.queue.filled() => {}
        }
        // Not to be cut short: a record is in the queue until it is known to be in the spool.
        if !spool_what_waits(shared).await && timeout(LONGEST_PAUSE, &mut work).await.is_ok() {
            return;
        }
    }
}

/// False if the spool took nothing: then all stays in the queue.
async fn spool_what_waits(shared: &Shared) -> bool {
    let batch = shared.queue.front(SPOOL_BATCH);
    let spooled = shared.spool.append(batch).await;
    shared.queue.written(spooled);
    spooled > 0
}

/// Writes the front of the spool; if that fails, waits until it may be tried again.
async fn replay(shared: &Shared, pause: &mut Pause, refusals: &mut u32) {
    let front = match shared.spool.front(REPLAY_BATCH).await {
        Ok(front) => front,
        Err(failure) => return pause.after_failure(shared, &failure).await,
    };
    let records: Vec<_> = front.records.iter().map(|(_, record)| Arc::clone(record)).collect();
    let flown = write_batch(shared, &records, DEADLINE, refusals).await;
    if let Some(through) = settled_through(&front, &flown)
        && let Err(failure) = shared.spool.settle(through).await
    {
        return pause.after_failure(shared, &failure).await;
    }
    match flown.stopped {
        Some(error) => {
            tracing::warn!(%error, waiting = shared.spool.backlog().records, "the spool waits for the database");
            pause.wait(shared).await;
        }
        None => {
            if front.unreadable > 0 {
                tracing::error!(
                    records = front.unreadable,
                    "this version cannot read some records of the spool: they are set aside for one that can"
                );
            }
            shared.inbox.wake_the_worker(); // there may have been webhooks among them
            pause.reset();
        }
    }
}

/// The order number up to which nothing of the front need wait any more.
fn settled_through(front: &Front, flown: &Flown) -> Option<u64> {
    if flown.stopped.is_none() {
        return front.last;
    }
    let last = flown.settled.checked_sub(1)?;
    Some(front.records[last].0)
}

/// The time until the next try.
struct Pause(Duration);

impl Pause {
    /// Jittered, and twice as long the next time; the database's return ends it.
    async fn wait(&mut self, shared: &Shared) {
        let jittered = self.0.mul_f64(rand::rng().random_range(0.5..1.0));
        let _ = timeout(jittered, shared.seen.back.notified()).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }

    async fn after_failure(&mut self, shared: &Shared, failure: &SpoolFailure) {
        tracing::error!(%failure, "the spool cannot be emptied");
        self.wait(shared).await;
    }

    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

/// Why a flight did not arrive.
enum Failed {
    /// A record of it can never be written.
    Record(String),
    /// The server refuses by a rule that is not ours, perhaps because of a record.
    Refused(String),
    /// It may be written later, however often the server refuses it until then.
    Database(DbError),
}

/// How far a batch came.
struct Flown {
    /// So many records at its front are written, or dropped for good.
    settled: usize,
    /// Why not all.
    stopped: Option<DbError>,
}

/// Writes the batch; if one of its records is at fault, the others one by one, and that one is set aside. `refusals` is
/// how often in a row the first one has been refused, alone and for a reason that may not be its own.
async fn write_batch(
    shared: &Shared,
    batch: &[Arc<Record>],
    deadline: Duration,
    refusals: &mut u32,
) -> Flown {
    match fly(shared, batch, deadline).await {
        Ok(()) => {
            *refusals = 0;
            return Flown { settled: batch.len(), stopped: None };
        }
        Err(Failed::Database(error)) => return Flown { settled: 0, stopped: Some(error) },
        Err(Failed::Record(_) | Failed::Refused(_)) => {}
    }
    for (settled, record) in batch.iter().enumerate() {
        match fly(shared, slice::from_ref(record), deadline).await {
            Ok(()) => {}
            Err(Failed::Database(error)) => return Flown { settled, stopped: Some(error) },
            Err(Failed::Refused(cause)) if *refusals + 1 < MOST_REFUSALS => {
                *refusals += 1;
                return Flown { settled, stopped: Some(DbError::Refused(cause)) };
            }
            Err(Failed::Record(cause) | Failed::Refused(cause)) => {
                set_aside(shared, record, cause).instrument(spans::setting_aside(record)).await;
            }
        }
        *refusals = 0;
    }
    Flown { settled: batch.len(), stopped: None }
}

/// Nobody waits for a record that the database refuses, but it is kept.
async fn set_aside(shared: &Shared, record: &Arc<Record>, cause: String) {
    let (call_sid, kind) = (record.call_sid().map(tracing::field::display), record.kind());
    match shared.spool.put_aside(Arc::clone(record), cause.clone()).await {
        Ok(()) => tracing::error!(call.sid = call_sid, kind, cause, "a refused record is set aside"),
        Err(failure) => {
            shared.metrics.unwritten(1);
            tracing::error!(call.sid = call_sid, kind, cause, %failure, "a refused record is lost");
        }
    }
}

/// One transaction, in one flight.
async fn fly(shared: &Shared, records: &[Arc<Record>], deadline: Duration) -> Result<(), Failed> {
    if records.is_empty() {
        return Ok(());
    }
    let statements = statements_of_all(records).map_err(|error| Failed::Record(error.to_string()))?;
    let flight = shared.ask("write_records", deadline, async |connection| {
        Ok(connection.execute_together(&statements).await?)
    });
    let result = spans::flown(spans::writing(records), flight).await;
    result.map_err(|error| match (error.fault(), error) {
        (Fault::Record, DbError::Refused(cause)) => Failed::Record(cause),
        (Fault::Unknown, DbError::Refused(cause)) => Failed::Refused(cause),
        (_, error) => Failed::Database(error),
    })
}

/// In order; webhooks that follow each other are one statement.
pub(super) fn statements_of_all(records: &[Arc<Record>]) -> QueryResult<Vec<Statement>> {
    let mut statements = Vec::with_capacity(records.len());
    for run in records.chunk_by(|a, b| a.webhook().is_some() && b.webhook().is_some()) {
        match &*run[0] {
            Record::Webhook(_) => {
                statements.push(webhooks::insert(run.iter().filter_map(|record| record.webhook()))?);
            }
            record => statements.extend(statements_of(record)?),
        }
    }
    Ok(statements)
}

pub(super) fn statements_of(record: &Record) -> QueryResult<Vec<Statement>> {
    Ok(match record {
        Record::Opened(opened) => vec![calls::open(opened)?, search::document(&opened.call_sid)?],
        Record::Turn(turn) => vec![
            turns::write(turn)?,
            calls::count_turn(&turn.call_sid, turn.ordinal)?,
            search::document(&turn.call_sid)?,
        ],
        Record::Event(event) => vec![events::write(event)?],
        Record::Decided(decision) => vec![calls::decide(decision)?],
        Record::Closed(closed) => vec![
            calls::close(closed)?,
            recordings::count(closed.call_sid.as_str())?,
            search::document(&closed.call_sid)?,
        ],
        Record::Webhook(webhook) => vec![webhooks::insert(std::iter::once(webhook))?],
        Record::Aftermath(aftermath) => vec![events::write(&aftermath.event)?, calls::resolve(aftermath)?],
    })
}
