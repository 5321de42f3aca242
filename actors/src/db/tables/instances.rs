//! Table `instances`: the processes that carry calls, and when each was last heard of; by the database's own
//! clock, because theirs may differ.

use chrono::{DateTime, Utc};
use diesel::dsl::{IntervalDsl, case_when, now};
use diesel::pg::data_types::PgInterval;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use super::schema::instances;
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::db::connect::statement::Statement;

/// An instance that has not been heard of for so long is gone.
pub(in crate::db) const GONE_AFTER_SECONDS: i32 = 15;

pub(in crate::db) fn gone_after() -> PgInterval {
    GONE_AFTER_SECONDS.seconds()
}

/// It is alive. After a break its time begins anew. Answers since when it has been heard of without a break.
pub(in crate::db) async fn heartbeat(
    connection: &mut Connection,
    instance: &str,
) -> QueryResult<DateTime<Utc>> {
    let unbroken = (instances::heartbeat_at + gone_after()).ge(now);
    diesel::insert_into(instances::table)
        .values(instances::instance_id.eq(text(instance)))
        .on_conflict(instances::instance_id)
        .do_update()
        .set((
            instances::started_at.eq(case_when(unbroken, instances::started_at).otherwise(now)),
            instances::heartbeat_at.eq(now),
        ))
        .returning(instances::started_at)
        .get_result(connection)
        .await
}

/// The first heartbeat of a process. It changes nothing where another process has been heard of lately under
/// this name.
const CLAIM: &str = "
    WITH claimed AS (
        INSERT INTO instances (instance_id) VALUES ($1)
        ON CONFLICT (instance_id) DO UPDATE SET
            started_at = CASE
                WHEN instances.heartbeat_at + make_interval(secs => $3) >= now() THEN instances.started_at
                ELSE now()
            END,
            heartbeat_at = now()
        WHERE instances.heartbeat_at + make_interval(secs => $3) < now() OR instances.started_at = $2
        RETURNING started_at
    )
    SELECT started_at AS ours_since, NULL::TIMESTAMPTZ AS theirs_at FROM claimed
    UNION ALL
    SELECT NULL, heartbeat_at FROM instances WHERE instance_id = $1 AND NOT EXISTS (SELECT FROM claimed)";

/// Whose a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) enum Claim {
    /// Ours, and since when it has been heard of without a break.
    Ours(DateTime<Utc>),
    /// Another process was heard of under it at this time, less than 15 s ago; none: its row is too new to be
    /// seen.
    Theirs(Option<DateTime<Utc>>),
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct Claimed {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ours_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    theirs_at: Option<DateTime<Utc>>,
}

/// Takes the name, unless another process has it. `predecessor` is since when the process was heard of whose
/// place we take; it is known to be gone.
pub(in crate::db) async fn claim(
    connection: &mut Connection,
    instance: &str,
    predecessor: Option<DateTime<Utc>>,
) -> QueryResult<Claim> {
    let row: Option<Claimed> = diesel::sql_query(CLAIM)
        .bind::<Text, _>(text(instance))
        .bind::<Nullable<Timestamptz>, _>(predecessor)
        .bind::<Integer, _>(GONE_AFTER_SECONDS)
        .get_result(connection)
        .await
        .optional()?;
    Ok(match row {
        Some(Claimed { ours_since: Some(since), .. }) => Claim::Ours(since),
        row => Claim::Theirs(row.and_then(|row| row.theirs_at)),
    })
}

/// It is gone, and needs no waiting for.
pub(in crate::db) fn leave(instance: &str) -> QueryResult<Statement> {
    Statement::of(&diesel::delete(instances::table.find(text(instance))))
}
