//! Writing what waits in the queue: in order, many at a time, and none lost that could be kept.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use rand::Rng;

use super::connection::Failure;
use super::error::DbError;
use super::record::Record;
use super::statement::Statement;
use super::{Shared, calls, events, turns};

/// So many records at most go in one transaction, in one flight.
const BATCH: usize = 200;
/// A flight without an answer for so long is given up and tried again on another connection.
const DEADLINE: Duration = Duration::from_secs(10);
/// The pause after the first failure; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Writes until nothing waits. While the database is away it waits with what it has, and tries again: after a jittered
/// pause, or as soon as the database is seen to be back.
pub(super) async fn write_all(shared: &Shared) {
    let mut pause = FIRST_PAUSE;
    loop {
        let batch = shared.queue.front(BATCH);
        if batch.is_empty() {
            return;
        }
        match write_batch(shared, &batch).await {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                tracing::warn!(%error, waiting = shared.queue.depth(), "records wait for the database");
                let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
                let _ = tokio::time::timeout(jittered, shared.try_now.notified()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Why a flight did not arrive.
enum Failed {
    /// A record of it can never be written.
    Record(String),
    /// It may be written later.
    Database(DbError),
}

/// Writes the batch; if one of its records is at fault, the others one by one without it.
async fn write_batch(shared: &Shared, batch: &[Arc<Record>]) -> Result<(), DbError> {
    match fly(shared, batch).await {
        Ok(()) => {
            shared.queue.written(batch.len());
            Ok(())
        }
        Err(Failed::Database(error)) => Err(error),
        Err(Failed::Record(_)) => {
            for record in batch {
                match fly(shared, slice::from_ref(record)).await {
                    Ok(()) => {}
                    Err(Failed::Database(error)) => return Err(error),
                    Err(Failed::Record(cause)) => {
                        shared.metrics.unwritten(1);
                        tracing::error!(call.sid = %record.call_sid(), kind = kind(record), cause, "record dropped");
                    }
                }
                shared.queue.written(1);
            }
            Ok(())
        }
    }
}

/// One transaction, in one flight.
async fn fly(shared: &Shared, records: &[Arc<Record>]) -> Result<(), Failed> {
    let mut statements = Vec::with_capacity(records.len());
    for record in records {
        statements.extend(statements_of(record).map_err(|error| Failed::Record(error.to_string()))?);
    }
    let flight = shared.ask("write_records", DEADLINE, async |connection| {
        match connection.execute_together(&statements).await {
            Err(failure) if failure.is_the_statements_own() => Ok(Some(failure)),
            result => result.map(|()| None).map_err(|failure| diesel::result::Error::from(failure).into()),
        }
    });
    match flight.await {
        Ok(None) => Ok(()),
        Ok(Some(Failure { said, .. })) => Err(Failed::Record(said)),
        Err(error) => Err(Failed::Database(error)),
    }
}

fn statements_of(record: &Record) -> QueryResult<Vec<Statement>> {
    Ok(match record {
        Record::Opened(opened) => vec![calls::open(opened)?],
        Record::Turn(turn) => vec![turns::write(turn)?, calls::count_turn(&turn.call_sid, turn.ordinal)?],
        Record::Event(event) => vec![events::write(event)?],
        Record::Closed(closed) => vec![calls::close(closed)?],
    })
}

fn kind(record: &Record) -> &'static str {
    match record {
        Record::Opened(_) => "opened",
        Record::Turn(_) => "turn",
        Record::Event(_) => "event",
        Record::Closed(_) => "closed",
    }
}
