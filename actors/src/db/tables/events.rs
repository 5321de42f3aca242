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

/// The kind of an event that is a function call of the agent.
pub(crate) const TOOL: &str = "tool";

/// A tool that the agent called, as the log shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedTool {
    /// When its answer was known.
    pub at: DateTime<Utc>,
    /// `unknown`: the agent has no tool of the name that was called.
    pub name: String,
    /// `ok`, or why it did not do what it was asked for.
    pub outcome: String,
    /// How long it took.
    pub ms: u64,
}

impl LoggedTool {
    /// Those among the events of a call.
    pub(in crate::db) fn among(events: &[LoggedEvent]) -> Vec<Self> {
        let tools = events.iter().filter(|event| event.kind == TOOL);
        let text = |event: &LoggedEvent, key: &str| event.data[key].as_str().unwrap_or_default().to_owned();
        tools
            .map(|event| Self {
                at: event.at,
                name: text(event, "name"),
                outcome: text(event, "outcome"),
                ms: event.data["ms"].as_u64().unwrap_or_default(),
            })
            .collect()
    }
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
