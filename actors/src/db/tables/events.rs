//! Table `call_events`: what happened to a call.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::schema::call_events;
use super::text::{json, text};
use crate::db::connect::connection::Connection;
use crate::db::connect::statement::Statement;
use crate::db::write::record::Event;
use crate::wire::twilio::sid::CallSid;

/// An event as the log shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable, ToSchema)]
#[diesel(table_name = call_events, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct LoggedEvent {
    pub at: DateTime<Utc>,
    pub kind: String,
    pub data: Value,
}

/// Writes an event, unless one with its key is written already.
pub(in crate::db) fn write(event: &Event) -> QueryResult<Statement> {
    Statement::of(
        &diesel::insert_into(call_events::table)
            .values((
                call_events::call_sid.eq(event.call_sid.as_str()),
                call_events::at.eq(event.at),
                call_events::kind.eq(text(&event.kind)),
                call_events::data.eq(json(&event.data)),
                call_events::dedupe_key.eq(event.dedupe_key.as_deref().map(text)),
            ))
            .on_conflict((call_events::call_sid, call_events::dedupe_key))
            .do_nothing(),
    )
}

/// What the last event of this kind says.
pub(in crate::db) async fn last_of_kind(
    connection: &mut Connection,
    call_sid: &CallSid,
    kind: &str,
) -> QueryResult<Option<Value>> {
    call_events::table
        .filter(call_events::call_sid.eq(call_sid.as_str()).and(call_events::kind.eq(kind)))
        .order((call_events::at.desc(), call_events::id.desc()))
        .select(call_events::data)
        .first(connection)
        .await
        .optional()
}

/// The first `limit` events of a call, in order of time.
pub(in crate::db) async fn of_call(
    connection: &mut Connection,
    call_sid: &CallSid,
    limit: i64,
) -> QueryResult<Vec<LoggedEvent>> {
    call_events::table
        .filter(call_events::call_sid.eq(call_sid.as_str()))
        .order((call_events::at, call_events::id))
        .limit(limit)
        .select(LoggedEvent::as_select())
        .load(connection)
        .await
}
