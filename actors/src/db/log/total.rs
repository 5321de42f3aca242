//! How many calls there are, without counting a million.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Integer, Json};
use diesel_async::RunQueryDsl;
use serde_json::Value;

use super::list::Calls;
use crate::db::connect::connection::Connection;
use crate::db::tables::schema::calls;

/// Counted up to here.
const COUNTED: i64 = 10_000;
/// When the planner expects so many times as many, it is believed.
const BELIEVED: i64 = 2 * COUNTED;

/// A number of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) calls: i64,
    pub(super) is_exact: bool,
}

/// How many calls the query has: exact up to 10,000, beyond them what the planner expects. `query` makes it
/// each time.
pub(super) async fn of<'a>(connection: &mut Connection, query: impl Fn() -> Calls<'a>) -> QueryResult<Total> {
    let expected = expected(connection, query().select(calls::call_sid)).await?;
    if expected > BELIEVED {
        return Ok(Total { calls: expected, is_exact: false });
    }
    // One more than is counted, to know that there are too many.
    let counted = query().limit(COUNTED + 1).select(1.into_sql::<Integer>());
    let calls: i64 = Count(counted).get_result(connection).await?;
    let is_exact = calls <= COUNTED;
    Ok(Total { calls: if is_exact { calls } else { calls.max(expected) }, is_exact })
}

/// How many rows the planner expects.
pub(super) async fn expected(
    connection: &mut Connection,
    query: impl QueryFragment<Pg> + Send,
) -> QueryResult<i64> {
    let plan: Value = Explain(query).get_result(connection).await?;
    Ok(plan[0]["Plan"]["Plan Rows"].as_f64().map_or(0, |rows| rows as i64))
}

/// `EXPLAIN (FORMAT JSON)` of a query.
struct Explain<Q>(Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explain<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("EXPLAIN (FORMAT JSON) ");
        self.0.walk_ast(out)
    }
}

impl<Q> Query for Explain<Q> {
    type SqlType = Json;
}

impl<Q> QueryId for Explain<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// The number of a query's rows.
struct Count<Q>(Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Count<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT count(*) FROM (");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(") AS counted");
        Ok(())
    }
}

impl<Q> Query for Count<Q> {
    type SqlType = BigInt;
}

impl<Q> QueryId for Count<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
