//! One connection for an operator's command: no pool, no spool, no actor, and no part in what a serving
//! process does.

use std::time::Duration;

use tokio::time::timeout;

use super::connect::connection::Connection;
use super::connect::error::DbError;
use super::connect::url::{BadUrl, Target};
use super::tables::jobs::{self, JobOrder, JobRow};

/// A person waits no longer for an answer, nor for the connection.
const DEADLINE: Duration = Duration::from_secs(10);

/// The connection. It belongs to the runtime it was opened on.
pub struct Console(Connection);

impl Console {
    /// `url` may lead through a transaction pooler.
    ///
    /// # Errors
    /// The URL is none; or the database cannot be reached within 10 s.
    pub async fn open(url: &str) -> Result<Result<Self, DbError>, BadUrl> {
        let target = Target::parse(url)?;
        let connection = within(async { Connection::open(&target).await.map_err(DbError::Unavailable) });
        Ok(connection.await.map(Self))
    }

    /// All jobs that were ever declared, by name, within 10 s.
    pub async fn jobs(&mut self) -> Result<Vec<JobRow>, DbError> {
        within(async { Ok(jobs::list(&mut self.0).await?) }).await
    }

    /// Gives an order, within 10 s; the job's row then. None if there is no such job.
    pub async fn order_job(&mut self, name: &str, order: JobOrder) -> Result<Option<JobRow>, DbError> {
        within(async { Ok(jobs::order(&mut self.0, name, order).await?) }).await
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    timeout(DEADLINE, answer).await.unwrap_or_else(|_| Err(DbError::unanswered(DEADLINE)))
}
