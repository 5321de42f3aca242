//! What keeps the database busy: idle transactions, which can be ended, and slow queries.
//!
//! These questions go over a connection of their own, [past the pool](past_pool), which may be used up by
//! what is asked about. Where no such connection can be opened, the pool is asked.

use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use actors::db::{Accounts, AuditEntry, DbError, IdleTransactions, Operator, SlowQueries};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{read, whole};
use crate::app::App;
use crate::http::auth::audit::{self, Deed};
use crate::http::call_logs::query;
use crate::http::past_pool;
use crate::http::pieces::Pieces;
use crate::http::problem::ApiError;
use crate::http::worker::Kind;

/// So many connections past the pool at once.
const AT_ONCE: usize = 2;
/// The answer of one.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// The entry of the audit after it; all together stays below the worker's 15 s.
const NOTED_WITHIN: Duration = Duration::from_secs(2);
const IDLE_SECONDS: u32 = 30;
const MOST_SECONDS: u32 = 24 * 3_600;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// What `POST /api/ops/idle-transactions/kill` is sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = KillIdleTransactions)]
pub(crate) struct Wanted {
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(minimum = 1, maximum = 86400)]
    older_than_seconds: Option<u32>,
}

/// `GET /api/ops/idle-transactions`.
#[utoipa::path(
    get,
    path = "/api/ops/idle-transactions",
    operation_id = "idleTransactions",
    tag = "ops",
    summary = "Sessions of the database that are idle within a transaction",
    responses(
        (status = 200, description = "The longest idle first", body = IdleTransactions),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn idle(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let found = asked(&app, None, async |operator: &Operator| operator.idle_transactions(0).await);
    in_json(&app, found.await?).await
}

/// `POST /api/ops/idle-transactions/kill`: ends those of our own role.
#[utoipa::path(
    post,
    path = "/api/ops/idle-transactions/kill",
    operation_id = "killIdleTransactions",
    tag = "ops",
    summary = "Ends sessions that are idle within a transaction",
    description = "Those of the same role as this program, `isOurs`, whoever opened them. Others are listed and left alone.",
    request_body(content = Wanted, description = "Idle for 30 s or longer, or for as long as it says", example = json!({"olderThanSeconds": 30})),
    responses(
        (status = 200, description = "What was found, and what of it was `ended`", body = IdleTransactions),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn kill(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let wrong = "must be JSON with nothing but a number `olderThanSeconds`, or `{}` for 30";
    let seconds = read::<Wanted>(&body, wrong)?.older_than_seconds.unwrap_or(IDLE_SECONDS);
    if !(1..=MOST_SECONDS).contains(&seconds) {
        let wrong = "must be a whole number from 1 to 86400";
        return Err(ApiError::BadRequest { field: "olderThanSeconds", wrong });
    }
    let object = format!("{seconds} s");
    let deed = Deed { action: "idle-transactions-ended", object: Some(&object), outcome: "ok" };
    let entry = audit::entry(&app, &request, &deed);
    let ending = app.clone();
    // Whoever asked may be gone before it is done: it is done all the same, and has its entry.
    let done = actix_rt::spawn(async move {
        let ends = async move |operator: &Operator| operator.end_idle_transactions(seconds).await;
        asked(&ending, Some(entry), ends).await
    });
    let found = done.await.map_err(ApiError::unavailable)??;
    let ended = found.sessions.iter().filter(|session| session.ended).count();
    tracing::info!(ended, found = found.sessions.len(), seconds, "an operator has ended idle transactions");
    in_json(&app, found).await
}

/// `GET /api/ops/slow-queries`.
#[utoipa::path(
    get,
    path = "/api/ops/slow-queries",
    operation_id = "slowQueries",
    tag = "ops",
    summary = "The statements that cost the database most, and those that run for long now",
    description = "Texts have no literals. `statements` needs the extension `pg_stat_statements`. The audit names who asked.",
    responses(
        (status = 200, description = "What the database works at", body = SlowQueries),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn slow_queries(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let deed = Deed { action: "slow-queries-read", object: None, outcome: "ok" };
    let entry = audit::entry(&app, &request, &deed);
    let found = asked(&app, Some(entry), async |operator: &Operator| operator.slow_queries().await);
    in_json(&app, found.await?).await
}

async fn in_json<T: Serialize + Send + 'static>(app: &App, found: T) -> Result<HttpResponse, ApiError> {
    let encoded = app.api.run(Kind::Query, async move || Pieces::of_json(&found)).await?;
    Ok(encoded.map_err(ApiError::unavailable)?.into_json())
}

/// Asks on the API's thread, past the pool if there is a way. The entry of the audit is written afterwards:
/// the same way if that is still open, else as [any other](audit::keep).
async fn asked<T: Send + 'static>(
    app: &App,
    entry: Option<AuditEntry>,
    question: impl AsyncFn(&Operator) -> Result<T, DbError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = TURNS
        .try_acquire()
        .map_err(|_| ApiError::NotReady("somebody else looks into the database at this moment: try again"))?;
    let url = past_pool::url(&app.settings);
    let (pool, noted) = (app.db.accounts(), entry.clone());
    let answered = app.api.run(Kind::Query, async move || {
        let opened = past_pool::open(&url).await;
        let asks = async |way: &Accounts| question(&way.operator()).await;
        let (answer, way) = once(opened, pool, ANSWERED_WITHIN, asks).await;
        let is_noted = match (way, noted) {
            (Some(way), Some(entry)) => note(&way, of(entry, answer.is_ok())).await,
            _ => false,
        };
        drop(turn);
        (answer, is_noted)
    });
    // A worker that refuses or panics may have ended sessions before.
    let (answer, is_noted) = answered.await.unwrap_or_else(|refused| (Err(refused), false));
    if let Some(entry) = entry.filter(|_| !is_noted) {
        audit::keep(app, of(entry, answer.is_ok())).await;
    }
    answer
}

/// The entry with what came of the deed.
fn of(mut entry: AuditEntry, is_done: bool) -> AuditEntry {
    if !is_done {
        entry.outcome = "failed".to_owned();
    }
    entry
}

/// Whether the entry is written.
async fn note(way: &Accounts, entry: AuditEntry) -> bool {
    matches!(timeout(NOTED_WITHIN, way.audit(&entry)).await, Ok(Ok(())))
}

/// Asks past the pool, or by the pool if no connection was opened. A question that was sent is never
/// repeated: it may have been carried out without an answer. Also returns the way past the pool, if it can be
/// used again.
async fn once<W, T>(
    opened: Result<W, String>,
    pool: W,
    within: Duration,
    ask: impl AsyncFn(&W) -> Result<T, DbError>,
) -> (Result<T, ApiError>, Option<W>) {
    match opened {
        Ok(way) => match timeout(within, ask(&way)).await {
            Ok(answer) => (answer.map_err(ApiError::unavailable), Some(way)),
            Err(_) => (Err(ApiError::unavailable(format!("no answer within {within:?}"))), None),
        },
        Err(cause) => {
            tracing::warn!(cause, "the database is asked by the pool: there is no way past it");
            (ask(&pool).await.map_err(ApiError::unavailable), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[actix_rt::test]
    async fn a_question_that_was_sent_past_the_pool_is_never_repeated_over_the_pool() {
        let asked = RefCell::new(Vec::new());
        let asks = async |way: &&'static str| {
            asked.borrow_mut().push(*way);
            if *way == "hangs" { std::future::pending().await } else { Ok::<_, DbError>(()) }
        };
        let (answer, way) = once(Ok("hangs"), "pool", Duration::ZERO, asks).await;
        assert!(answer.is_err() && way.is_none());
        assert_eq!(asked.take(), ["hangs"]);

        let (answer, way) = once(Ok("past"), "pool", Duration::MAX, asks).await;
        assert!(answer.is_ok() && way == Some("past"));
        let (answer, way) = once(Err("refused".to_owned()), "pool", Duration::MAX, asks).await;
        assert!(answer.is_ok() && way.is_none());
        assert_eq!(asked.take(), ["past", "pool"]);
    }
}
