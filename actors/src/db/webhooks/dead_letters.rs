//! The webhooks that were given up, for an operator: listed, and tried again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tokio::time::timeout;

use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::connect::url::{BadUrl, Target};
use crate::db::tables::schema::webhooks;

const DEADLINE: Duration = Duration::from_secs(10);

/// A webhook that was given up. Its parameters stay in the table: they have callers' numbers in them.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = webhooks, check_for_backend(diesel::pg::Pg))]
pub struct DeadLetter {
    pub id: i64,
    /// The door it came through.
    pub route: String,
    pub call_sid: Option<String>,
    pub conference_sid: Option<String>,
    pub received_at: DateTime<Utc>,
    pub attempts: i32,
    pub last_error: Option<String>,
}

/// A connection of an operator's own, beside the program that serves. Each question is answered within 10 s.
pub struct DeadLetters(Connection);

impl DeadLetters {
    /// `url` may lead through a transaction pooler.
    ///
    /// # Errors
    /// The URL is none; or the database cannot be reached within 10 s.
    pub async fn connect(url: &str) -> Result<Result<Self, DbError>, BadUrl> {
        let target = Target::parse(url)?;
        let connection = within(async { Connection::open(&target).await.map_err(DbError::Unavailable) });
        Ok(connection.await.map(Self))
    }

    /// The newest `limit`, of those older than `before`, an [id](DeadLetter::id).
    pub async fn list(&mut self, before: Option<i64>, limit: i64) -> Result<Vec<DeadLetter>, DbError> {
        let list = webhooks::table
            .filter(webhooks::state.eq("dead").and(webhooks::id.lt(before.unwrap_or(i64::MAX))))
            .order(webhooks::id.desc())
            .limit(limit)
            .select(DeadLetter::as_select())
            .load(&mut self.0);
        within(async { Ok(list.await?) }).await
    }

    /// Lets one, or all of them, be processed again as if for the first time; returns how many that are.
    pub async fn retry(&mut self, id: Option<i64>) -> Result<usize, DbError> {
        let waiting = (webhooks::state.eq("waiting"), webhooks::attempts.eq(0), webhooks::due_at.eq(now));
        let mut dead = diesel::update(webhooks::table.filter(webhooks::state.eq("dead"))).into_boxed();
        if let Some(id) = id {
            dead = dead.filter(webhooks::id.eq(id));
        }
        let retried = dead.set(waiting).execute(&mut self.0);
        within(async { Ok(retried.await?) }).await
    }
}

async fn within<T>(question: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    timeout(DEADLINE, question).await.unwrap_or_else(|_| Err(DbError::unanswered(DEADLINE)))
}
