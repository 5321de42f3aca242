//! Calls that perhaps nobody has any more, and nobody wrote the end of.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::{IntervalDsl, exists, max, not, now};
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;
use tracing::Instrument as _;

use super::schema::{calls, instances, turns};
use super::text::int;
use crate::call::end::{CallEnd, Outcome, Reason};
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::handles::Operations;
use crate::db::log::search;
use crate::db::spans;
use crate::wire::twilio::sid::CallSid;

/// Who asks for longer asks again at the next run.
const DEADLINE: Duration = Duration::from_secs(5);
/// An instance that has not been heard of for so long does not come back to its calls by itself.
const SILENT_FOR_SECONDS: i32 = 60;
/// A call that goes on for so long may be one that its instance does not remember.
const LONG_HOURS: i32 = 1;
/// How a call ends that nobody has any more.
const LOST: CallEnd = CallEnd::new(Outcome::Failed, Reason::ProcessLost);

diesel::define_sql_function! {
    /// Orders by chance.
    fn random() -> Double;
}
diesel::define_sql_function! {
    #[sql_name = "greatest"]
    fn latest(a: Timestamptz, b: diesel::sql_types::Nullable<Timestamptz>) -> Timestamptz;
}

/// A call without end of which it is doubtful that anybody has it: its instance has not been heard of for a
/// minute, or the call goes on for more than an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostCall {
    pub call_sid: CallSid,
    pub epoch: u32,
    /// The last moment that is known of it: its begin, or the begin of its last turn.
    pub last_known_at: DateTime<Utc>,
    /// Its instance is alive, and may yet write the end itself.
    pub has_owner: bool,
}

impl Operations {
    /// At most `most` of these calls, any of them, within 5 s. Whether they still go on only Twilio knows.
    pub async fn lost_calls(&self, most: u32) -> Result<Vec<LostCall>, DbError> {
        self.0.shared.ask("lost_calls", DEADLINE, async |connection| Ok(find(connection, most).await?)).await
    }

    /// Writes that a call ended while nobody had it, within 5 s. False, and nothing is written, if its end is
    /// written already or another stream of it was accepted since `epoch`.
    pub async fn close_lost(
        &self,
        call_sid: CallSid,
        epoch: u32,
        ended_at: DateTime<Utc>,
    ) -> Result<bool, DbError> {
        self.0
            .shared
            .ask("close_lost", DEADLINE, async |connection| {
                let closed = close(connection, call_sid, epoch, ended_at).await?;
                if closed {
                    connection.execute_together(&[search::document(&call_sid)?]).await?;
                }
                Ok(closed)
            })
            .instrument(spans::query("close_lost", call_sid))
            .await
            .inspect(|closed| {
                if *closed {
                    self.0.shared.calls.count_end(LOST);
                }
            })
    }
}

async fn find(connection: &mut Connection, most: u32) -> QueryResult<Vec<LostCall>> {
    let owner = || {
        let heard_of = (instances::heartbeat_at + SILENT_FOR_SECONDS.seconds()).ge(now);
        exists(
            instances::table.filter(instances::instance_id.nullable().eq(calls::instance)).filter(heard_of),
        )
    };
    let for_long = (calls::started_at + LONG_HOURS.hours()).le(now);
    let last_turn = turns::table
        .filter(turns::call_sid.eq(calls::call_sid))
        .select(max(turns::started_at))
        .single_value();
    let rows: Vec<(String, i32, DateTime<Utc>, bool)> = calls::table
        .filter(calls::ended_at.is_null())
        .filter((calls::started_at + SILENT_FOR_SECONDS.seconds()).le(now))
        .filter(not(owner()).or(for_long))
        // So those about which nothing can be found out do not always stand before the others.
        .order(random())
        .limit(most.into())
        .select((calls::call_sid, calls::epoch, latest(calls::started_at, last_turn), owner()))
        .load(connection)
        .await?;
    let lost = |(call_sid, epoch, last_known_at, has_owner): (String, i32, _, _)| {
        // What is not a SID or an epoch is not in the table: its CHECKs see to that.
        let (call_sid, epoch) = (call_sid.parse().ok()?, epoch.try_into().ok()?);
        Some(LostCall { call_sid, epoch, last_known_at, has_owner })
    };
    Ok(rows.into_iter().filter_map(lost).collect())
}

async fn close(
    connection: &mut Connection,
    call_sid: CallSid,
    epoch: u32,
    ended_at: DateTime<Utc>,
) -> QueryResult<bool> {
    let as_found = calls::table
        .find(call_sid.as_str())
        .filter(calls::epoch.eq(int(epoch)))
        .filter(calls::ended_at.is_null());
    let closed = diesel::update(as_found)
        .set((
            calls::ended_at.eq(ended_at),
            calls::outcome.eq(LOST.outcome.as_str()),
            calls::reason.eq(LOST.reason.as_str()),
        ))
        .execute(connection)
        .await?;
    Ok(closed == 1)
}
