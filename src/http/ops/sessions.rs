//! What keeps the database busy: idle transactions, which can be ended, and slow queries.
//!
//! These questions go over a connection of their own, past the pool, which may be used up by what is asked
//! about: to `DIRECT_DATABASE_URL` if it is set, past a pooler as well. Where that leads nowhere, the pool is
//! asked.

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
use crate::http::pieces::Pieces;
use crate::http::problem::ApiError;
use crate::http::worker::Kind;

/// So many connections past the pool at once.
const AT_ONCE: usize = 2;
/// One that is not open by then is no help.
const OPEN_WITHIN: Duration = Duration::from_secs(4);
/// The answer of one; with the pool's after it within the worker's 15 s.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
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
    description = "Those of the role of this program, `isOurs`. Others are listed and left alone.",
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

/// Asks on the API's thread, past the pool if there is a way; the entry of the audit goes the same way.
async fn asked<T: Send + 'static>(
    app: &App,
    entry: Option<AuditEntry>,
    question: impl AsyncFn(&Operator) -> Result<T, DbError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = TURNS
        .try_acquire()
        .map_err(|_| ApiError::NotReady("somebody else looks into the database at this moment: try again"))?;
    let settings = &app.settings;
    let url = settings.direct_database_url.clone().unwrap_or_else(|| settings.db.url.clone());
    let pool = app.db.accounts().operator();
    let noted = entry.clone();
    let answered = app.api.run(Kind::Query, async move || {
        let answered = match past_the_pool(url.expose(), noted.as_ref(), &question).await {
            Ok((answer, is_noted)) => (Ok(answer), is_noted),
            Err(cause) => {
                tracing::warn!(cause, "the database is asked by the pool: there is no way past it");
                (question(&pool).await.map_err(ApiError::unavailable), false)
            }
        };
        drop(turn);
        answered
    });
    let (answer, is_noted) = answered.await?;
    if let Some(mut entry) = entry.filter(|_| !is_noted) {
        if answer.is_err() {
            entry.outcome = "failed".to_owned();
        }
        audit::keep(app, entry).await;
    }
    answer
}

/// The answer, and whether the entry is written.
async fn past_the_pool<T>(
    url: &str,
    entry: Option<&AuditEntry>,
    question: &impl AsyncFn(&Operator) -> Result<T, DbError>,
) -> Result<(T, bool), String> {
    let opened = timeout(OPEN_WITHIN, Accounts::connect(url)).await;
    let connected = opened.map_err(|_| format!("no connection within {OPEN_WITHIN:?}"))?;
    let accounts = connected.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let answer = timeout(ANSWERED_WITHIN, async {
        let answer = question(&accounts.operator()).await?;
        let is_noted = match entry {
            Some(entry) => accounts.audit(entry).await.is_ok(),
            None => true,
        };
        Ok::<_, DbError>((answer, is_noted))
    });
    let answer = answer.await.map_err(|_| format!("no answer within {ANSWERED_WITHIN:?}"))?;
    answer.map_err(|error| error.to_string())
}
