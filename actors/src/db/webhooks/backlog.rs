//! What is still to be done with the webhooks that are stored.

use std::time::Duration;

use diesel::sql_types::{BigInt, Nullable};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::handles::Operations;

const DEADLINE: Duration = Duration::from_secs(5);

/// How many webhooks are not processed. Each counts up to 100,000: beyond, it is that many at least.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct WebhookBacklog {
    /// Waiting, or being processed.
    #[diesel(sql_type = BigInt)]
    pub pending: i64,
    /// Given up.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
}

/// The same for an operator. Each counts up to 100,000.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize, ToSchema)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct WebhookState {
    /// Waiting, or being processed.
    #[diesel(sql_type = BigInt)]
    pub pending: i64,
    /// Given up.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
    /// How long the oldest of those that are pending has waited; null if there is none.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub oldest_seconds: Option<i64>,
}

impl Operations {
    /// What is to be done with the webhooks, of all instances, within 5 s.
    pub async fn webhook_backlog(&self) -> Result<WebhookBacklog, DbError> {
        self.0.shared.ask("webhook_backlog", DEADLINE, async |connection| Ok(count(connection).await?)).await
    }
}

pub(super) async fn count(connection: &mut Connection) -> QueryResult<WebhookBacklog> {
    sql_query(
        "SELECT
             (SELECT count(*) FROM (SELECT FROM webhooks WHERE state IN ('waiting', 'leased') LIMIT 100000) AS p) AS pending,
             (SELECT count(*) FROM (SELECT FROM webhooks WHERE state = 'dead' LIMIT 100000) AS d) AS dead",
    )
    .get_result(connection)
    .await
}

pub(in crate::db) async fn state(connection: &mut Connection) -> QueryResult<WebhookState> {
    sql_query(
        "SELECT count(*) AS pending,
             extract(epoch FROM now() - min(least(received_at, now())))::bigint AS oldest_seconds,
             (SELECT count(*) FROM (SELECT FROM webhooks WHERE state = 'dead' LIMIT 100000) AS d) AS dead
         FROM (SELECT received_at FROM webhooks WHERE state IN ('waiting', 'leased') LIMIT 100000) AS p",
    )
    .get_result(connection)
    .await
}
