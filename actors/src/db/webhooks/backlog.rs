//! What is still to be done with the webhooks that are stored.

use diesel::sql_types::BigInt;
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

use crate::db::connection::Connection;

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

pub(super) async fn count(connection: &mut Connection) -> QueryResult<WebhookBacklog> {
    sql_query(
        "SELECT
             (SELECT count(*) FROM (SELECT FROM webhooks WHERE state IN ('waiting', 'leased') LIMIT 100000) AS p) AS pending,
             (SELECT count(*) FROM (SELECT FROM webhooks WHERE state = 'dead' LIMIT 100000) AS d) AS dead",
    )
    .get_result(connection)
    .await
}
