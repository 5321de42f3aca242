//! The calls that a process left behind, for a starting one to take up.

use chrono::{DateTime, Utc};
use diesel::dsl::{exists, not, now};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::instances::gone_after;
use super::schema::{calls, instances};
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::wire::twilio::sid::CallSid;

/// So many are answered at most, the newest: no house has as many lines.
const MOST: i64 = 1_000;

/// A call without end whose process is gone. Whether it is still on the line only Twilio knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OpenCall {
    pub call_sid: CallSid,
    pub epoch: u32,
    pub from: Option<String>,
    pub to: Option<String>,
    pub started_at: DateTime<Utc>,
    /// The `INSTANCE_ID` that its row names.
    pub instance: String,
}

/// The open calls that name this instance, or one that is gone.
pub(in crate::db) async fn find(connection: &mut Connection, instance: &str) -> QueryResult<Vec<OpenCall>> {
    type Row = (String, i32, Option<String>, Option<String>, DateTime<Utc>, Option<String>);

    let alive = instances::table
        .filter(instances::instance_id.nullable().eq(calls::instance))
        .filter((instances::heartbeat_at + gone_after()).ge(now));
    let rows: Vec<Row> = calls::table
        .filter(calls::ended_at.is_null().and(calls::instance.is_not_null()))
        .filter(calls::instance.eq(text(instance)).or(not(exists(alive)).nullable()))
        .order(calls::started_at.desc())
        .limit(MOST)
        .select((
            calls::call_sid,
            calls::epoch,
            calls::from_number,
            calls::to_number,
            calls::started_at,
            calls::instance,
        ))
        .load(connection)
        .await?;
    let open = |(call_sid, epoch, from, to, started_at, instance): Row| {
        // What is not a SID or an epoch is not in the table: its CHECKs see to that.
        Some(OpenCall {
            call_sid: call_sid.parse().ok()?,
            epoch: epoch.try_into().ok()?,
            from,
            to,
            started_at,
            instance: instance?,
        })
    };
    Ok(rows.into_iter().filter_map(open).collect())
}

/// Lets the call's row name `instance`, if the row is as it was found. True for one taker only.
pub(in crate::db) async fn take_over(
    connection: &mut Connection,
    call: &OpenCall,
    instance: &str,
) -> QueryResult<bool> {
    let as_found = calls::table
        .find(call.call_sid.as_str())
        .filter(calls::epoch.eq(super::text::int(call.epoch)))
        .filter(calls::instance.eq(text(&call.instance)))
        .filter(calls::ended_at.is_null());
    let taken = diesel::update(as_found).set(calls::instance.eq(text(instance))).execute(connection).await?;
    Ok(taken == 1)
}
