//! The status callbacks that are stored: how many wait, and those that were given up.

use actix_web::web::{Bytes, Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use actors::db::webhooks::{DeadLetter, WebhookState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{audited, read, whole};
use crate::app::App;
use crate::http::auth::audit::Deed;
use crate::http::call_logs::query;
use crate::http::pieces::Pieces;
use crate::http::problem::ApiError;
use crate::http::worker::Kind;

/// So many of those that were given up are shown: the newest.
const SHOWN: i64 = 100;

/// What `GET /api/ops/webhooks` answers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookBacklog)]
pub(crate) struct Backlog {
    #[serde(flatten)]
    state: WebhookState,
    /// Records of this process that wait on disk for the database; status callbacks may be among them.
    spooled: usize,
    /// The newest 100 that were given up, without their parameters.
    dead_letters: Vec<DeadLetter>,
}

/// What `POST /api/ops/webhooks/retry` is sent.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RetryWebhooks)]
pub(crate) struct Wanted {
    /// The one to be processed again; without it, all.
    #[serde(default, deserialize_with = "whole::optional")]
    id: Option<i64>,
}

/// What it answers.
#[derive(Serialize, ToSchema)]
#[schema(as = RetriedWebhooks)]
pub struct Retried {
    retried: usize,
}

/// `GET /api/ops/webhooks`.
#[utoipa::path(
    get,
    path = "/api/ops/webhooks",
    operation_id = "webhookBacklog",
    tag = "ops",
    summary = "Status callbacks that wait, and those that were given up",
    responses(
        (status = 200, description = "Of all processes", body = Backlog),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn backlog(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let (operator, status) = (app.db.accounts().operator(), app.db.status());
    let backlog = app.api.run(Kind::Query, async move || {
        let state = operator.webhooks().await.map_err(ApiError::unavailable)?;
        let dead_letters = operator.dead_letters(None, SHOWN).await.map_err(ApiError::unavailable)?;
        let backlog = Backlog { state, spooled: status.spool_pending(), dead_letters };
        Pieces::of_json(&backlog).map_err(ApiError::unavailable)
    });
    Ok(backlog.await??.into_json())
}

/// `POST /api/ops/webhooks/retry`.
#[utoipa::path(
    post,
    path = "/api/ops/webhooks/retry",
    operation_id = "retryWebhooks",
    tag = "ops",
    summary = "Has status callbacks that were given up processed again",
    request_body(content = Wanted, description = "One by its `id`, or `{}` for all", example = json!({"id": 17})),
    responses(
        (status = 200, description = "How many are processed again", body = Retried),
    ),
)]
pub async fn retry(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<Json<Retried>, ApiError> {
    query::only(request.query_string(), &[])?;
    let Wanted { id } = read(&body, "must be JSON with nothing but a number `id`, or `{}` for all")?;
    let object = id.map_or_else(|| "all".to_owned(), |id| id.to_string());
    let deed = Deed { action: "dead-letters-retried", object: Some(&object), outcome: "ok" };
    let operator = app.db.accounts().operator();
    let retried = audited(&app, &request, &deed, async move {
        operator.retry_dead_letters(id).await.map_err(ApiError::unavailable)
    });
    Ok(Json(Retried { retried: retried.await? }))
}
