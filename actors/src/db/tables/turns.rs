//! Table `turns`: what was said, in order.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema::turns;
use super::text::{int, text};
use crate::db::connect::connection::Connection;
use crate::db::connect::statement::Statement;
use crate::db::write::record::Turn;
use crate::wire::twilio::sid::CallSid;

/// A turn as the log shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable, ToSchema)]
#[diesel(table_name = turns, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct LoggedTurn {
    pub ordinal: i32,
    pub speaker: String,
    pub text: String,
    pub started_at: DateTime<Utc>,
    pub heard_ms: Option<i32>,
    pub cut_off: bool,
}

/// Writes a turn, or replaces what is written of it; an earlier epoch, or version under the same, replaces
/// nothing.
///
/// The epoch is compared turn by turn, not with the call's: what an earlier epoch heard and nobody heard
/// again is still worth keeping, however late it comes.
pub(in crate::db) fn write(turn: &Turn) -> QueryResult<Statement> {
    use diesel::query_dsl::methods::FilterDsl; // the WHERE of an upsert

    Statement::of(
        &diesel::insert_into(turns::table)
            .values((
                turns::call_sid.eq(turn.call_sid.as_str()),
                turns::ordinal.eq(int(turn.ordinal)),
                turns::epoch.eq(int(turn.epoch)),
                turns::speaker.eq(turn.speaker.as_str()),
                turns::text.eq(text(&turn.text)),
                turns::started_at.eq(turn.started_at),
                turns::heard_ms.eq(turn.heard_ms.map(int)),
                turns::cut_off.eq(turn.cut_off),
                turns::version.eq(int(turn.version)),
            ))
            .on_conflict((turns::call_sid, turns::ordinal))
            .do_update()
            .set((
                turns::epoch.eq(excluded(turns::epoch)),
                turns::speaker.eq(excluded(turns::speaker)),
                turns::text.eq(excluded(turns::text)),
                turns::started_at.eq(excluded(turns::started_at)),
                turns::heard_ms.eq(excluded(turns::heard_ms)),
                turns::cut_off.eq(excluded(turns::cut_off)),
                turns::version.eq(excluded(turns::version)),
            ))
            .filter(turns::epoch.lt(excluded(turns::epoch)).or(
                turns::epoch.eq(excluded(turns::epoch)).and(turns::version.le(excluded(turns::version))),
            )),
    )
}

/// The first `limit` turns of a call, in order.
pub(in crate::db) async fn of_call(
    connection: &mut Connection,
    call_sid: &CallSid,
    limit: i64,
) -> QueryResult<Vec<LoggedTurn>> {
    turns::table
        .filter(turns::call_sid.eq(call_sid.as_str()))
        .order(turns::ordinal)
        .limit(limit)
        .select(LoggedTurn::as_select())
        .load(connection)
        .await
}
