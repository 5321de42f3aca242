//! What is deleted because it was kept for long enough, and table `deletions`, which says that it was.
//!
//! Each deletion and its record are one statement, and what is to be deleted is found by what is there: a run that was
//! cut off, repeated or shared with another process neither misses nor counts anything twice.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;

use super::Db;
use super::connection::Connection;
use super::error::DbError;

/// A batch that takes longer is given up; the next run is smaller by what was done.
const DEADLINE: Duration = Duration::from_secs(10);

/// The turns of calls in which nothing was said since. A call in which something was is left whole.
const TRANSCRIPTS: &str = "
    WITH old AS (
        SELECT DISTINCT call_sid FROM (
            SELECT call_sid FROM turns WHERE started_at < $1
                AND NOT EXISTS (
                    SELECT 1 FROM turns AS later WHERE later.call_sid = turns.call_sid AND later.started_at >= $1
                )
            ORDER BY started_at LIMIT $2
        ) AS oldest
    ),
    gone AS (DELETE FROM turns USING old WHERE turns.call_sid = old.call_sid RETURNING turns.call_sid)
    INSERT INTO deletions (kind, call_sid, count) SELECT 'transcript', call_sid, count(*) FROM gone GROUP BY call_sid";

/// The callers' numbers in the calls that began before.
const NUMBERS_OF_CALLS: &str = "
    WITH old AS (
        SELECT call_sid FROM calls WHERE started_at < $1 AND from_number IS NOT NULL
        ORDER BY started_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        UPDATE calls SET from_number = NULL FROM old WHERE calls.call_sid = old.call_sid RETURNING calls.call_sid
    )
    INSERT INTO deletions (kind, call_sid, count) SELECT 'number', call_sid, 1 FROM gone";

/// The callers' numbers, names and towns in what Twilio said of the calls. The condition is that of the index.
const NUMBERS_OF_EVENTS: &str = "
    WITH old AS (
        SELECT id FROM call_events
        WHERE at < $1 AND data ?| ARRAY['From', 'Caller', 'CallerName', 'ForwardedFrom']
        ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        UPDATE call_events SET data = data - ARRAY[
            'From', 'FromCity', 'FromState', 'FromZip', 'FromCountry', 'ForwardedFrom',
            'Caller', 'CallerName', 'CallerCity', 'CallerState', 'CallerZip', 'CallerCountry'
        ]
        FROM old WHERE call_events.id = old.id RETURNING call_events.call_sid
    )
    INSERT INTO deletions (kind, call_sid, count) SELECT 'number', call_sid, count(*) FROM gone GROUP BY call_sid";

impl Db {
    /// Deletes the transcripts of calls in which nothing was said since `before`, those of at most `batch` turns' calls
    /// and the oldest first, within 10 s. Answers how many calls lost theirs: none means that none is left.
    pub async fn delete_transcripts(&self, before: DateTime<Utc>, batch: u32) -> Result<usize, DbError> {
        self.delete("delete_transcripts", TRANSCRIPTS, before, batch).await
    }

    /// Deletes the callers' numbers of at most `batch` calls that began before, the oldest first, and as many events of
    /// calls, within 20 s. Answers in how many calls there was one: none means that none is left.
    pub async fn delete_numbers(&self, before: DateTime<Utc>, batch: u32) -> Result<usize, DbError> {
        let calls = self.delete("delete_numbers", NUMBERS_OF_CALLS, before, batch).await?;
        Ok(calls + self.delete("delete_numbers", NUMBERS_OF_EVENTS, before, batch).await?)
    }

    async fn delete(
        &self,
        query: &str,
        sql: &'static str,
        before: DateTime<Utc>,
        batch: u32,
    ) -> Result<usize, DbError> {
        self.shared
            .ask(query, DEADLINE, async |connection| Ok(execute(connection, sql, before, batch).await?))
            .await
    }
}

async fn execute(
    connection: &mut Connection,
    sql: &'static str,
    before: DateTime<Utc>,
    batch: u32,
) -> QueryResult<usize> {
    diesel::sql_query(sql)
        .bind::<Timestamptz, _>(before)
        .bind::<BigInt, _>(i64::from(batch))
        .execute(connection)
        .await
}
