//! Table `instances`: the processes that carry calls, and when each was last heard of; by the database's own clock,
//! because theirs may differ.

use diesel::dsl::{IntervalDsl, case_when, now};
use diesel::pg::data_types::PgInterval;
use diesel::prelude::*;

use super::schema::instances;
use super::statement::Statement;
use super::text::text;

/// An instance that has not been heard of for so long is gone.
pub(super) const GONE_AFTER_SECONDS: i32 = 15;

pub(super) fn gone_after() -> PgInterval {
    GONE_AFTER_SECONDS.seconds()
}

/// It is alive. After a break its time begins anew.
pub(super) fn heartbeat(instance: &str) -> QueryResult<Statement> {
    let unbroken = (instances::heartbeat_at + gone_after()).ge(now);
    Statement::of(
        &diesel::insert_into(instances::table)
            .values(instances::instance_id.eq(text(instance)))
            .on_conflict(instances::instance_id)
            .do_update()
            .set((
                instances::started_at.eq(case_when(unbroken, instances::started_at).otherwise(now)),
                instances::heartbeat_at.eq(now),
            )),
    )
}

/// It is gone, and needs no waiting for.
pub(super) fn leave(instance: &str) -> QueryResult<Statement> {
    Statement::of(&diesel::delete(instances::table.find(text(instance))))
}
