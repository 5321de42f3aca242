//! What an operator asks and orders in an emergency, by the pool of a process that serves or by a connection
//! of a command's own. A command works without a program that serves, and where the pool is used up.

use super::accounts::Accounts;
use super::connect::error::DbError;
use super::tables::jobs::{self, JobOrder, JobRow};
use super::webhooks::{self, DeadLetter, WebhookState};

mod literals;
mod sessions;
mod slow_queries;

pub use self::sessions::{IdleTransaction, IdleTransactions};
pub use self::slow_queries::{RunningQuery, SlowQueries, SlowStatement};

/// The handle. A cheap clone. Each question is answered or refused within 2 s, or 10 s for a command.
#[derive(Clone)]
pub struct Operator(Accounts);

impl Accounts {
    /// What an operator asks, by the same way.
    pub fn operator(&self) -> Operator {
        Operator(self.clone())
    }
}

impl Operator {
    /// All jobs that were ever declared, by name.
    pub async fn jobs(&self) -> Result<Vec<JobRow>, DbError> {
        self.0.ask("jobs", async |connection| Ok(jobs::list(connection).await?)).await
    }

    /// Gives an order; the job's row then. None if there is no such job.
    pub async fn order_job(&self, name: &str, order: JobOrder) -> Result<Option<JobRow>, DbError> {
        self.0.ask("order_job", async |connection| Ok(jobs::order(connection, name, order).await?)).await
    }

    /// What is to be done with the status callbacks of all instances.
    pub async fn webhooks(&self) -> Result<WebhookState, DbError> {
        self.0.ask("webhook_state", async |connection| Ok(webhooks::state(connection).await?)).await
    }

    /// The newest `limit` callbacks that were given up, of those older than `before`, an
    /// [id](DeadLetter::id).
    pub async fn dead_letters(&self, before: Option<i64>, limit: i64) -> Result<Vec<DeadLetter>, DbError> {
        self.0
            .ask("dead_letters", async |connection| {
                Ok(webhooks::dead_letters::list(connection, before, limit).await?)
            })
            .await
    }

    /// Lets one of them, or all, be processed again as if for the first time; returns how many that are.
    pub async fn retry_dead_letters(&self, id: Option<i64>) -> Result<usize, DbError> {
        self.0
            .ask("retry_dead_letters", async |connection| {
                Ok(webhooks::dead_letters::retry(connection, id).await?)
            })
            .await
    }

    /// The sessions of this database that are idle within a transaction for so many seconds or longer.
    pub async fn idle_transactions(&self, seconds: u32) -> Result<IdleTransactions, DbError> {
        self.0
            .ask("idle_transactions", async |connection| sessions::idle(connection, seconds, false).await)
            .await
    }

    /// The same, and ends those of our own role.
    pub async fn end_idle_transactions(&self, seconds: u32) -> Result<IdleTransactions, DbError> {
        self.0
            .ask("end_idle_transactions", async |connection| sessions::idle(connection, seconds, true).await)
            .await
    }

    /// The statements that cost most, and those that run for long now.
    pub async fn slow_queries(&self) -> Result<SlowQueries, DbError> {
        self.0.ask("slow_queries", slow_queries::find).await
    }
}
