//! What the log says of a question that the database does not answer in time: which one, and the locks on
//! tables that it may have waited for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text};
use diesel_async::RunQueryDsl;
use tokio::time::timeout;

use super::connection::Connection;
use super::pool::Pool;

/// One look at the locks, and one line, within this; those in between are counted.
const APART: Duration = Duration::from_secs(30);
/// A look at the locks takes no longer, nor does the wait for its connection.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Locks of other sessions that keep readers or writers of a table waiting.
const LOCKS: &str = "SELECT string_agg(DISTINCT concat_ws(' ', relation::regclass::text, mode), ', ') AS locks \
    FROM pg_locks \
    WHERE granted AND locktype = 'relation' AND pid <> pg_backend_pid() \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
        AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct Locks {
    #[diesel(sql_type = Nullable<Text>)]
    locks: Option<String>,
}

/// Questions without an answer.
#[derive(Default)]
pub(in crate::db) struct Slow(Mutex<Told>);

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    /// Not told since then.
    others: u64,
}

impl Slow {
    /// Tells of `query`, which got no answer in time. Waits for nothing.
    pub(in crate::db) fn unanswered(&self, query: &str, pool: &Pool) {
        let Some(others) = self.is_due(Instant::now()) else { return };
        let (query, pool) = (query.to_owned(), pool.clone());
        pool.runtime().clone().spawn(async move {
            let locks = match timeout(2 * LOOK_WITHIN, look(&pool)).await {
                Ok(Some(locks)) => locks,
                Ok(None) | Err(_) => "not known".to_owned(),
            };
            tracing::warn!(query, locks, others, "the database did not answer in time");
        });
    }

    /// How many others there were since the last one that was told; none if this one is not to be told.
    fn is_due(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_some_and(|last| now.saturating_duration_since(last) < APART) {
            told.others += 1;
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.others))
    }
}

async fn look(pool: &Pool) -> Option<String> {
    let mut connection = pool.get_even_if_away(LOOK_WITHIN).await.ok()?;
    connection.limit(Some(LOOK_WITHIN));
    locks(&mut connection).await.ok()
}

/// Table and mode of each lock that may keep us waiting.
async fn locks(connection: &mut Connection) -> QueryResult<String> {
    let row: Locks = sql_query(LOCKS).get_result(connection).await?;
    Ok(row.locks.unwrap_or_else(|| "none on a table".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_without_an_answer_are_told_now_and_then_and_all_are_counted() {
        let (slow, start) = (Slow::default(), Instant::now());
        assert_eq!(slow.is_due(start), Some(0));
        assert_eq!(slow.is_due(start + APART / 2), None);
        assert_eq!(slow.is_due(start + APART / 2), None);
        assert_eq!(slow.is_due(start + APART), Some(2));
        assert_eq!(slow.is_due(start + 3 * APART), Some(0));
    }
}
