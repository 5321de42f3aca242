//! What the database works at: by `pg_stat_statements` where that is installed, and what runs now.

use diesel::sql_types::{Array, BigInt, Double, Integer, Text};
use diesel::{OptionalExtension as _, QueryResult, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use super::literals::without_literals;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;

/// The extension may be in any schema.
const SCHEMA: &str = "SELECT quote_ident(nspname) AS name
    FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'pg_stat_statements'";
/// What has run for a second or longer, or waits for a lock: a deadline of this program ends a query that
/// waits before it has run for long.
const RUNNING: &str = "SELECT pid, coalesce(usename::text, '') AS role,
        greatest(extract(epoch FROM now() - query_start), 0)::float8 AS seconds,
        concat_ws(' ', wait_event_type, wait_event) AS waits_for,
        pg_blocking_pids(pid) AS blocked_by,
        coalesce(query, '') AS query
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'
        AND (query_start <= now() - interval '1 second' OR wait_event_type = 'Lock')
    ORDER BY query_start LIMIT 50";

/// A statement, over all its runs.
#[derive(Debug, Clone, PartialEq, QueryableByName, Serialize, ToSchema)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct SlowStatement {
    #[diesel(sql_type = BigInt)]
    pub calls: i64,
    #[diesel(sql_type = Double)]
    pub mean_ms: f64,
    #[diesel(sql_type = Double)]
    pub max_ms: f64,
    #[diesel(sql_type = Double)]
    pub total_ms: f64,
    /// Without literals.
    #[diesel(sql_type = Text)]
    pub query: String,
}

/// A query that has run for a second or longer, or waits for a lock.
#[derive(Debug, Clone, PartialEq, QueryableByName, Serialize, ToSchema)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct RunningQuery {
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    #[diesel(sql_type = Text)]
    pub role: String,
    #[diesel(sql_type = Double)]
    pub seconds: f64,
    /// Such as `Lock transactionid`; empty if it waits for nothing.
    #[diesel(sql_type = Text)]
    pub waits_for: String,
    /// The sessions whose locks it waits for, by their pids.
    #[diesel(sql_type = Array<Integer>)]
    pub blocked_by: Vec<i32>,
    /// Without literals.
    #[diesel(sql_type = Text)]
    pub query: String,
}

/// What the database works at.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowQueries {
    /// `statements` are known: `pg_stat_statements` is installed and loaded.
    pub has_statements: bool,
    /// The 20 that took most time in total.
    pub statements: Vec<SlowStatement>,
    /// The longest first, at most 50.
    pub running: Vec<RunningQuery>,
}

#[derive(QueryableByName)]
struct Schema {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Finds both. An extension that is installed and not loaded counts as none.
pub(super) async fn find(connection: &mut Connection) -> Result<SlowQueries, DbError> {
    let schema: Option<Schema> = sql_query(SCHEMA).get_result(connection).await.optional()?;
    let found = match schema {
        Some(Schema { name }) => statements(connection, &name).await.map_or_else(
            |error| match DbError::from(error) {
                DbError::Refused(_) => Ok(None),
                away => Err(away),
            },
            |found| Ok(Some(found)),
        )?,
        None => None,
    };
    let has_statements = found.is_some();
    let mut statements = found.unwrap_or_default();
    let mut running: Vec<RunningQuery> = sql_query(RUNNING).load(connection).await?;
    let texts = statements.iter_mut().map(|statement| &mut statement.query);
    for text in texts.chain(running.iter_mut().map(|running| &mut running.query)) {
        *text = without_literals(text);
    }
    Ok(SlowQueries { has_statements, statements, running })
}

async fn statements(connection: &mut Connection, schema: &str) -> QueryResult<Vec<SlowStatement>> {
    let sql = format!(
        "SELECT calls, mean_exec_time AS mean_ms, max_exec_time AS max_ms, total_exec_time AS total_ms, query
        FROM {schema}.pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND query IS NOT NULL AND query <> '<insufficient privilege>'
        ORDER BY total_exec_time DESC LIMIT 20"
    );
    sql_query(sql).load(connection).await
}
