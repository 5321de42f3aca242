//! The webhooks that were given up, for an operator: listed, and tried again.

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::connect::connection::Connection;
use crate::db::tables::schema::webhooks;

/// A webhook that was given up. Its parameters stay in the table: they have callers' numbers in them.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = webhooks, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    pub id: i64,
    /// The door it came through.
    pub route: String,
    pub call_sid: Option<String>,
    pub conference_sid: Option<String>,
    pub received_at: DateTime<Utc>,
    pub attempts: i32,
    pub last_error: Option<String>,
}

/// The newest `limit`, of those older than `before`, an [id](DeadLetter::id).
pub(in crate::db) async fn list(
    connection: &mut Connection,
    before: Option<i64>,
    limit: i64,
) -> QueryResult<Vec<DeadLetter>> {
    webhooks::table
        .filter(webhooks::state.eq("dead").and(webhooks::id.lt(before.unwrap_or(i64::MAX))))
        .order(webhooks::id.desc())
        .limit(limit)
        .select(DeadLetter::as_select())
        .load(connection)
        .await
}

/// Lets one, or all of them, be processed again as if for the first time; returns how many that are.
pub(in crate::db) async fn retry(connection: &mut Connection, id: Option<i64>) -> QueryResult<usize> {
    let waiting = (webhooks::state.eq("waiting"), webhooks::attempts.eq(0), webhooks::due_at.eq(now));
    let mut dead = diesel::update(webhooks::table.filter(webhooks::state.eq("dead"))).into_boxed();
    if let Some(id) = id {
        dead = dead.filter(webhooks::id.eq(id));
    }
    dead.set(waiting).execute(connection).await
}
