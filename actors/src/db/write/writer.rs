//! Writing what waits: in order, many at a time, and none lost that could be kept.
//!
//! While the database is well, records go from the queue straight into it. Those that it does not take at
//! once go into the spool, and from then on, until the spool is empty again, all others after them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use call_control::backoff::Backoff;
use diesel::QueryResult;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::pace::Pace;
use super::record::{InboxKind, Record};
use super::spool::{Front, SpoolFailure};
use crate::db::connect::error::{DbError, Fault};
use crate::db::connect::statement::Statement;
use crate::db::log::search;
use crate::db::tables::{calls, events, inbox, recordings, turns};
use crate::db::{Shared, spans, webhooks};
use crate::wire::twilio::sid::CallSid;

/// So many records at most go in one transaction, in one flight.
const BATCH: usize = 200;
/// So many at most leave the spool in one.
const REPLAY_BATCH: usize = 500;
/// So many at most go into the spool in one transaction.
const SPOOL_BATCH: usize = 1_000;
/// Records that the database did not take within this go into the spool.
const PATIENCE: Duration = Duration::from_secs(1);
/// A flight from the spool without an answer for so long is given up and tried again on another connection.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// A record that is refused so often in a row, for a reason that may not be its own, is set aside.
const MOST_REFUSALS: u32 = 5;
/// The pauses between tries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), LONGEST_PAUSE);
/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Writes until nothing waits. While the database is away what waits is in the spool, and the writer tries
/// again: after a jittered pause, or as soon as the database is seen to be back.
pub(super) async fn write_all(shared: &Shared) {
    shared.spool.adopt().await;
    let mut pause = Pause { backoff: BACKOFF, told: None };
    let mut pace = Pace::new(REPLAY_BATCH);
    let mut refusals = 0;
    loop {
        if !shared.spool.is_empty() {
            while_spooling(shared, replay(shared, &mut pause, &mut pace, &mut refusals)).await;
            continue;
        }
        // More waits than memory is for: the disk has room, and nothing is out of order there.
        if shared.queue.is_crowded() && spool_what_waits(shared).await {
            continue;
        }
        let batch = shared.queue.front(BATCH);
        if batch.is_empty() {
            return;
        }
        let began = Instant::now();
        let flown = unless_crowded(shared, write_batch(shared, &batch, PATIENCE, &mut refusals)).await;
        shared.counts.handler_time.observe(began.elapsed().as_secs_f64());
        let Some(flown) = flown else { continue };
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

/// Waits for a batch from the queue; if too much comes into the queue meanwhile, it is moved into the spool.
/// None then: the batch is in the spool, too, and is written again from there, which changes nothing.
async fn unless_crowded(shared: &Shared, batch: impl Future<Output = Flown>) -> Option<Flown> {
    let mut batch = pin!(batch);
    let mut is_moved = false;
    loop {
        let flown = tokio::select! {
            flown = &mut batch => Some(flown),
            () = shared.queue.crowded() => None,
        };
        let flown = match flown {
            Some(flown) => Some(flown),
            None if spool_what_waits(shared).await => {
                is_moved = true;
                None
            }
            None => timeout(LONGEST_PAUSE, &mut batch).await.ok(),
        };
        if let Some(flown) = flown {
            return (!is_moved).then_some(flown);
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
async fn replay(shared: &Shared, pause: &mut Pause, pace: &mut Pace, refusals: &mut u32) {
    let front = match shared.spool.front(pace.size()).await {
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
            if pause.is_news(&error) {
                let waiting = shared.spool.backlog().records;
                tracing::warn!(%error, waiting, batch = records.len(), "the spool waits for the database");
            }
            if error.says_too_slow() && !shared.seen.is_away() {
                // Not an outage: the next batch is smaller, and need not wait for long.
                pace.was_too_slow();
                pause.shorten();
            }
            pause.wait(shared).await;
        }
        None => {
            if front.unreadable > 0 {
                tracing::error!(
                    records = front.unreadable,
                    "this version cannot read some records of the spool: they are set aside for one that can"
                );
            }
            pace.arrived();
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
struct Pause {
    backoff: Backoff,
    /// The failure that was logged last; none since something was written.
    told: Option<DbError>,
}

impl Pause {
    /// Jittered, and twice as long the next time; the database's return ends it.
    async fn wait(&mut self, shared: &Shared) {
        let pause = self.backoff.pause(rand::random());
        let _ = timeout(pause, shared.seen.back.notified()).await;
    }

    async fn after_failure(&mut self, shared: &Shared, failure: &SpoolFailure) {
        tracing::error!(%failure, "the spool cannot be emptied");
        self.wait(shared).await;
    }

    /// Whether this failure is worth a line in the log: it is not the one that was logged last.
    fn is_news(&mut self, error: &DbError) -> bool {
        self.told.replace(error.clone()).as_ref() != Some(error)
    }

    fn shorten(&mut self) {
        self.backoff.reset();
    }

    fn reset(&mut self) {
        self.shorten();
        if self.told.take().is_some() {
            tracing::info!("the database takes what waits in the spool");
        }
    }
}

/// Why a flight did not arrive.
pub(super) enum Failed {
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

/// Writes the batch; if one of its records is at fault, the others one by one, and that one is set aside.
/// `refusals` is how often in a row the first one has been refused, alone and for a reason that may not be
/// its own.
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
pub(super) async fn fly(shared: &Shared, records: &[Arc<Record>], deadline: Duration) -> Result<(), Failed> {
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

/// The rows in order, then what is made of all rows of a call: once for each call, however many records are
/// about it.
fn statements_of_all(records: &[Arc<Record>]) -> QueryResult<Vec<Statement>> {
    let mut statements = rows_of_all(records)?;
    statements.extend(summaries_of(records.iter().map(|record| &**record))?);
    Ok(statements)
}

pub(in crate::db) fn statements_of(record: &Record) -> QueryResult<Vec<Statement>> {
    let mut statements = rows_of(record)?;
    statements.extend(summaries_of(std::iter::once(record))?);
    Ok(statements)
}

/// In order; webhooks that follow each other are one statement.
fn rows_of_all(records: &[Arc<Record>]) -> QueryResult<Vec<Statement>> {
    let mut statements = Vec::with_capacity(records.len());
    for run in records.chunk_by(|a, b| a.webhook().is_some() && b.webhook().is_some()) {
        match &*run[0] {
            Record::Webhook(_) => {
                statements.push(webhooks::insert(run.iter().filter_map(|record| record.webhook()))?);
            }
            record => statements.extend(rows_of(record)?),
        }
    }
    Ok(statements)
}

/// What the log shows of one call: all but the document that searches look through.
pub(in crate::db) fn rows_and_count_of(records: &[Arc<Record>]) -> QueryResult<Vec<Statement>> {
    let mut statements = rows_of_all(records)?;
    statements.extend(counts_of(&last_turns(records.iter().map(|record| &**record)))?);
    Ok(statements)
}

fn rows_of(record: &Record) -> QueryResult<Vec<Statement>> {
    Ok(match record {
        Record::Opened(opened) => vec![calls::open(opened)?],
        Record::Turn(turn) => vec![turns::write(turn)?],
        Record::Event(event) => vec![events::write(event)?],
        Record::Decided(decision) => vec![calls::decide(decision)?],
        Record::Closed(closed) => vec![calls::close(closed)?, recordings::count(closed.call_sid.as_str())?],
        Record::Webhook(webhook) => vec![webhooks::insert(std::iter::once(webhook))?],
        Record::Aftermath(aftermath) => {
            let mut statements = vec![events::write(&aftermath.event)?];
            if let Some(item) = aftermath.inbox_item() {
                statements.push(inbox::write(&item)?);
            }
            statements.push(calls::resolve(aftermath)?);
            statements
        }
        Record::Inbox(item) => {
            let mut statements = vec![inbox::write(item)?];
            if item.kind == InboxKind::Urgent {
                statements.push(calls::flag_urgent(item)?);
            }
            statements
        }
    })
}

/// The calls whose document changes with these records, each with its last turn among them; 0: none.
fn last_turns<'a>(records: impl Iterator<Item = &'a Record>) -> BTreeMap<CallSid, u32> {
    let mut last = BTreeMap::new();
    for record in records {
        let (call_sid, ordinal) = match record {
            Record::Opened(opened) => (opened.call_sid, 0),
            Record::Turn(turn) => (turn.call_sid, turn.ordinal),
            Record::Closed(closed) => (closed.call_sid, 0),
            Record::Event(_)
            | Record::Decided(_)
            | Record::Webhook(_)
            | Record::Aftermath(_)
            | Record::Inbox(_) => continue,
        };
        let known = last.entry(call_sid).or_insert(ordinal);
        *known = ordinal.max(*known);
    }
    last
}

fn counts_of(last_turns: &BTreeMap<CallSid, u32>) -> QueryResult<Vec<Statement>> {
    let with_turns = last_turns.iter().filter(|(_, ordinal)| **ordinal > 0);
    with_turns.map(|(call_sid, ordinal)| calls::count_turn(call_sid, *ordinal)).collect()
}

fn summaries_of<'a>(records: impl Iterator<Item = &'a Record>) -> QueryResult<Vec<Statement>> {
    let last_turns = last_turns(records);
    let mut statements = counts_of(&last_turns)?;
    for call_sid in last_turns.keys() {
        statements.push(search::document(call_sid)?);
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::db::write::record::{CallOpened, Speaker, Turn};

    fn sid(call: u32) -> CallSid {
        format!("CA{call:032x}").parse().unwrap()
    }

    fn turn(call: u32, ordinal: u32) -> Arc<Record> {
        Arc::new(Record::Turn(Turn {
            call_sid: sid(call),
            epoch: 1,
            ordinal,
            speaker: Speaker::Caller,
            text: "said".to_owned(),
            started_at: Utc::now(),
            heard_ms: None,
            cut_off: false,
            version: 0,
        }))
    }

    #[test]
    fn a_failure_that_repeats_itself_is_logged_once_until_something_is_written() {
        let mut pause = Pause { backoff: BACKOFF, told: None };
        let refused = |code: &str| DbError::Refused(format!("{code} not now"));
        let news = ["40001", "40001", "25006", "25006"].map(|code| pause.is_news(&refused(code)));
        assert_eq!(news, [true, false, true, false]);
        pause.shorten();
        assert!(!pause.is_news(&refused("25006")));
        pause.reset();
        assert!(pause.is_news(&refused("25006")));
    }

    #[test]
    fn a_batch_makes_the_document_of_a_call_once_and_after_all_of_its_rows() {
        let opened = Arc::new(Record::Opened(CallOpened {
            call_sid: sid(2),
            epoch: 1,
            from: String::new(),
            to: String::new(),
            started_at: Utc::now(),
            instance: String::new(),
        }));
        let records: Vec<_> = (1..=200).map(|ordinal| turn(1, ordinal)).chain([opened, turn(2, 1)]).collect();
        let statements = statements_of_all(&records).unwrap();
        let documents = statements.iter().filter(|statement| statement.sql.contains("call_search")).count();
        assert_eq!((documents, statements.len()), (2, 202 + 2 + 2));
        assert!(statements[204..].iter().all(|statement| statement.sql.contains("call_search")));
        assert_eq!(rows_and_count_of(&records).unwrap().len(), 204, "a reader needs no document");
    }
}
