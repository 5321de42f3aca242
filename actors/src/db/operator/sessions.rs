//! Sessions that hold a connection, and perhaps locks, without doing anything.

use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use super::literals::without_literals;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;

/// Only a session of the role that asks is ended: it is the one that the server surely lets it end. The
/// longest idle come first.
const IDLE: &str = "SELECT pid, coalesce(usename::text, '') AS role, usename = current_user AS is_ours,
        coalesce(application_name, '') AS application,
        greatest(extract(epoch FROM now() - state_change), 0)::bigint AS idle_seconds,
        greatest(extract(epoch FROM now() - xact_start), 0)::bigint AS transaction_seconds,
        coalesce(query, '') AS last_query,
        CASE WHEN $2 AND usename = current_user THEN pg_terminate_backend(pid) ELSE false END AS ended
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND state IN ('idle in transaction', 'idle in transaction (aborted)')
        AND state_change <= now() - make_interval(secs => $1)
    ORDER BY state_change LIMIT 200";
/// The server shows what a session does only to its role, to members of it and of `pg_read_all_stats`.
const HIDDEN: &str = "SELECT count(*) AS hidden FROM pg_stat_activity
    WHERE datname = current_database() AND usename <> current_user AND state IS NULL";

/// A session that is idle within a transaction.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize, ToSchema)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct IdleTransaction {
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    #[diesel(sql_type = Text)]
    pub role: String,
    /// It is of the role that asks, which may end it. Others are left alone.
    #[diesel(sql_type = Bool)]
    pub is_ours: bool,
    /// As the client names itself; may be empty.
    #[diesel(sql_type = Text)]
    pub application: String,
    #[diesel(sql_type = BigInt)]
    pub idle_seconds: i64,
    #[diesel(sql_type = BigInt)]
    pub transaction_seconds: i64,
    /// Without literals.
    #[diesel(sql_type = Text)]
    pub last_query: String,
    /// The server was told to end it.
    #[diesel(sql_type = Bool)]
    pub ended: bool,
}

/// What was found, and what cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IdleTransactions {
    /// The longest idle first, at most 200.
    pub sessions: Vec<IdleTransaction>,
    /// Sessions of other roles that the server does not let us look into.
    pub hidden: i64,
}

#[derive(QueryableByName)]
struct Hidden {
    #[diesel(sql_type = BigInt)]
    hidden: i64,
}

/// Finds the sessions that are idle within a transaction for `seconds`; ends those of our role if `ends`.
pub(super) async fn idle(
    connection: &mut Connection,
    seconds: u32,
    ends: bool,
) -> Result<IdleTransactions, DbError> {
    let mut sessions = read(connection, seconds, ends).await?;
    for session in &mut sessions {
        session.last_query = without_literals(&session.last_query);
    }
    let Hidden { hidden } = sql_query(HIDDEN).get_result(connection).await?;
    Ok(IdleTransactions { sessions, hidden })
}

async fn read(connection: &mut Connection, seconds: u32, ends: bool) -> QueryResult<Vec<IdleTransaction>> {
    sql_query(IDLE)
        .bind::<diesel::sql_types::Double, _>(f64::from(seconds))
        .bind::<Bool, _>(ends)
        .load(connection)
        .await
}
