//! What is deleted because it was kept for long enough, and table `deletions`, which says that it was.
//!
//! Each deletion and its record are one statement, and what is to be deleted is found by what is there: a run
//! that was cut off, repeated or shared with another process neither misses nor counts anything twice.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use super::lost_calls::random;
use super::schema::recordings;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::connect::statement::Statement;
use crate::db::handles::Operations;

/// A batch that takes longer is given up; the next run is smaller by what was done.
const DEADLINE: Duration = Duration::from_secs(10);

/// The turns of calls in which nothing was said since, and the documents by which they are found. A call in
/// which something was is left whole.
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
    words AS (DELETE FROM call_search USING old WHERE call_search.call_sid = old.call_sid),
    gone AS (DELETE FROM turns USING old WHERE turns.call_sid = old.call_sid RETURNING turns.call_sid)
    INSERT INTO deletions (kind, call_sid, count) SELECT 'transcript', call_sid, count(*) FROM gone GROUP BY call_sid";

/// What callers asked for in the inbox. The item itself stays.
const TEXTS_OF_INBOX: &str = "
    WITH old AS (
        SELECT id FROM inbox WHERE at < $1 AND text <> '' ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
    ),
    gone AS (UPDATE inbox SET text = '' FROM old WHERE inbox.id = old.id RETURNING inbox.call_sid)
    INSERT INTO deletions (kind, call_sid, count) SELECT 'transcript', call_sid, count(*) FROM gone GROUP BY call_sid";

/// Why callers were given to a person, in the agent's words. The condition is that of the index.
const REASONS_OF_TRANSFERS: &str = "
    WITH old AS (
        SELECT id FROM call_events WHERE at < $1 AND kind = 'transfer-asked' AND data ? 'reason'
        ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        UPDATE call_events SET data = data - 'reason' FROM old WHERE call_events.id = old.id
        RETURNING call_events.call_sid
    )
    INSERT INTO deletions (kind, call_sid, count) SELECT 'transcript', call_sid, count(*) FROM gone GROUP BY call_sid";

/// The callers' numbers and names in the inbox. The condition is that of the index.
const NUMBERS_OF_INBOX: &str = "
    WITH old AS (
        SELECT id FROM inbox WHERE at < $1 AND (from_number IS NOT NULL OR name IS NOT NULL)
        ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        UPDATE inbox SET from_number = NULL, name = NULL FROM old WHERE inbox.id = old.id RETURNING inbox.call_sid
    )
    INSERT INTO deletions (kind, call_sid, count) SELECT 'number', call_sid, count(*) FROM gone GROUP BY call_sid";

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

/// Deletes the callers' numbers, names and towns in what a table has of Twilio's words. The condition is that
/// of the index.
macro_rules! forget_callers {
    ($table:literal, $at:literal, $words:literal, $and:literal) => {
        concat!(
            "WITH old AS (
                SELECT id FROM ",
            $table,
            "
                WHERE ",
            $at,
            " < $1 AND ",
            $words,
            " ?| ARRAY['From', 'Caller', 'CallerName', 'ForwardedFrom']",
            $and,
            "
                ORDER BY ",
            $at,
            " LIMIT $2 FOR UPDATE SKIP LOCKED
            ),
            gone AS (
                UPDATE ",
            $table,
            " SET ",
            $words,
            " = ",
            $words,
            " - ARRAY[
                    'From', 'FromCity', 'FromState', 'FromZip', 'FromCountry', 'ForwardedFrom',
                    'Caller', 'CallerName', 'CallerCity', 'CallerState', 'CallerZip', 'CallerCountry'
                ]
                FROM old WHERE ",
            $table,
            ".id = old.id RETURNING ",
            $table,
            ".call_sid
            )
            INSERT INTO deletions (kind, call_sid, count)
            SELECT 'number', call_sid, count(*) FROM gone GROUP BY call_sid"
        )
    };
}

/// In what Twilio said of the calls.
const NUMBERS_OF_EVENTS: &str = forget_callers!("call_events", "at", "data", "");

/// In the webhooks that are processed or given up.
const NUMBERS_OF_WEBHOOKS: &str =
    forget_callers!("webhooks", "received_at", "body", " AND state IN ('done', 'dead')");

/// A recording that is deleted at Twilio.
const RECORDING: &str = "
    WITH gone AS (
        UPDATE recordings SET deleted_at = now(), url = NULL WHERE recording_sid = $1 AND deleted_at IS NULL
        RETURNING call_sid
    )
    INSERT INTO deletions (kind, call_sid, count) SELECT 'recording', call_sid, 1 FROM gone";

/// A recording that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = super::schema::recordings, check_for_backend(diesel::pg::Pg))]
pub struct OldRecording {
    pub recording_sid: String,
    pub call_sid: Option<String>,
}

impl Operations {
    /// Deletes the transcripts of calls in which nothing was said since `before`, those of at most `batch`
    /// turns' calls and the oldest first, and the texts of at most as many items of the inbox and of reasons
    /// for transfers, within 30 s.
    /// Answers how many deletions that were: none means that none is left.
    pub async fn delete_transcripts(&self, before: DateTime<Utc>, batch: u32) -> Result<usize, DbError> {
        let mut deletions = 0;
        for sql in [TRANSCRIPTS, TEXTS_OF_INBOX, REASONS_OF_TRANSFERS] {
            deletions += self.delete("delete_transcripts", sql, before, batch).await?;
        }
        Ok(deletions)
    }

    /// Deletes the callers' numbers of at most `batch` calls that began before, the oldest first, and as many
    /// in what Twilio told of them and in the inbox, within 40 s. Answers how many deletions that were: none
    /// means that none is left.
    pub async fn delete_numbers(&self, before: DateTime<Utc>, batch: u32) -> Result<usize, DbError> {
        let mut deletions = 0;
        for sql in [NUMBERS_OF_CALLS, NUMBERS_OF_EVENTS, NUMBERS_OF_WEBHOOKS, NUMBERS_OF_INBOX] {
            deletions += self.delete("delete_numbers", sql, before, batch).await?;
        }
        Ok(deletions)
    }

    /// At most `batch` of the recordings that began before and are not deleted, any of them, within 10 s.
    pub async fn old_recordings(
        &self,
        before: DateTime<Utc>,
        batch: u32,
    ) -> Result<Vec<OldRecording>, DbError> {
        self.0
            .shared
            .ask("old_recordings", DEADLINE, async |connection| {
                let old = recordings::table
                    .filter(recordings::deleted_at.is_null().and(recordings::first_event_at.lt(before)))
                    // So those that cannot be deleted do not always stand before the others.
                    .order(random())
                    .limit(batch.into())
                    .select(OldRecording::as_select());
                Ok(old.load(connection).await?)
            })
            .await
    }

    /// Writes that a recording is deleted at Twilio, within 10 s.
    pub async fn recording_deleted(&self, recording: &OldRecording) -> Result<(), DbError> {
        let mut statements =
            vec![Statement::of(&diesel::sql_query(RECORDING).bind::<Text, _>(&recording.recording_sid))?];
        if let Some(call_sid) = &recording.call_sid {
            statements.push(super::recordings::lock_call(call_sid)?);
            statements.push(super::recordings::count(call_sid)?);
        }
        self.0
            .shared
            .ask("recording_deleted", DEADLINE, async |connection| {
                Ok(connection.execute_together(&statements).await?)
            })
            .await
    }

    /// Runs a statement that deletes what is older than `$1` of at most `$2` rows, within 10 s.
    pub(super) async fn delete(
        &self,
        query: &str,
        sql: &'static str,
        before: DateTime<Utc>,
        batch: u32,
    ) -> Result<usize, DbError> {
        self.0
            .shared
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
