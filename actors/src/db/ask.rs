//! How the database is asked: on a connection of the pool, within a deadline, measured, and what its answer
//! says of its health is noted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tracing::Span;

use super::connect::checkout::Checkout;
use super::record::Record;
use super::{Connection, DbError, Shared, spans};

/// No question is answered for so long: a probe of the database would have been, meanwhile.
const AWAY_AFTER: Duration = Duration::from_secs(4);
/// The server itself gives a statement up so long after we did: it outlives us.
const SERVER_GRACE: Duration = Duration::from_secs(1);

impl Shared {
    /// Asks something of the database, within `deadline` including the wait for a connection; measured under
    /// `query`. Fails at once while the database is known to be away.
    pub(super) async fn ask<T>(
        &self,
        query: &str,
        deadline: Duration,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.put(query, deadline, self.pool.get(deadline), question).await
    }

    /// The same, but asks also a database that is known to be away.
    pub(super) async fn probe<T>(
        &self,
        query: &str,
        deadline: Duration,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.put(query, deadline, self.pool.get_even_if_away(deadline), question).await
    }

    async fn put<T>(
        &self,
        query: &str,
        deadline: Duration,
        connection: impl Future<Output = Result<Checkout, DbError>>,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let begun = Instant::now();
        let (mut rows, mut written) = (0, false);
        let answer = async {
            let mut connection = connection.await?;
            connection.limit(Some(deadline + SERVER_GRACE));
            let answer = timeout_at(begun + deadline, question(&mut connection)).await;
            rows = connection.take_rows();
            written = connection.take_written();
            let answer = answer.unwrap_or_else(|_| Err(DbError::unanswered(deadline)));
            if answer.as_ref().is_err_and(DbError::says_read_only) {
                // The primary may have become a standby: a new connection may lead to the new primary.
                connection.retire();
            }
            answer
        }
        .await;
        self.metrics.answered(query, &answer, rows, begun.elapsed().as_secs_f64());
        self.seen.learn(&answer);
        self.seen.learn_of_writes(&answer, written);
        if let Err(error) = &answer {
            spans::failed(&Span::current(), error);
            if error.says_too_slow() {
                self.slow.unanswered(query, &self.pool);
            }
        }
        if let Err(DbError::Unavailable(cause)) = &answer
            && begun.elapsed() >= AWAY_AFTER
        {
            self.seen.away(cause, begun);
        }
        answer
    }

    /// Returns when nothing waits, neither in memory nor in the spool.
    pub(super) async fn emptied(&self) {
        while self.queue.depth() > 0 || !self.spool.is_empty() {
            // What leaves the queue may be in the spool, but not the other way round.
            self.queue.emptied().await;
            self.spool.emptied().await;
        }
    }

    /// How many of the records, from the first, are in the spool within `deadline`.
    pub(super) async fn spool_now(&self, records: Vec<Arc<Record>>, deadline: Duration) -> usize {
        timeout(deadline, self.spool.append(records)).await.unwrap_or(0)
    }
}
