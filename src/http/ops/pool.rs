//! The pool of database connections: how it is, and another size until the next start.

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{audited, read, whole};
use crate::app::App;
use crate::http::auth::audit::Deed;
use crate::http::call_logs::query;
use crate::http::problem::ApiError;

/// No operator needs more: the account's limit is far below.
const LARGEST: u32 = 100;
const NOTE: &str = "all processes together share what the database's account allows, 25 connections with the \
    smallest one; the next start has DB_POOL_MAX again";

/// The pool now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PoolNow)]
pub struct Pool {
    /// Connections that it may have.
    pub(super) size: u32,
    /// `DB_POOL_MAX`: the size at the next start.
    pub(super) configured: u32,
    /// Open connections.
    pub(super) total: usize,
    /// Open connections that nobody uses.
    pub(super) idle: usize,
    /// Queries that wait for a connection.
    pub(super) waiting: usize,
}

impl Pool {
    pub(super) fn of(app: &App) -> Self {
        let db = app.db.status();
        let stats = db.pool_stats();
        Self {
            size: db.pool_size(),
            configured: app.settings.db.pool_max,
            total: stats.total,
            idle: stats.idle,
            waiting: stats.waiting,
        }
    }

    /// It is as large as it may be, and no connection is free.
    pub(super) fn is_used_up(&self) -> bool {
        self.idle == 0 && self.total >= self.size as usize
    }
}

/// What `POST /api/ops/pool` answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResizedPool)]
pub struct Resized {
    #[serde(flatten)]
    pool: Pool,
    /// What the new size means for others, and how long it holds.
    note: &'static str,
}

/// What `POST /api/ops/pool` is sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PoolSize)]
pub(crate) struct Wanted {
    #[serde(deserialize_with = "whole::number")]
    #[schema(minimum = 1, maximum = 100)]
    size: u32,
}

/// `GET /api/ops/pool`.
#[utoipa::path(
    get,
    path = "/api/ops/pool",
    operation_id = "pool",
    tag = "ops",
    summary = "The pool of database connections",
    responses(
        (status = 200, description = "The pool of this process", body = Pool),
    ),
)]
pub async fn read_pool(app: Data<App>, request: HttpRequest) -> Result<Json<Pool>, ApiError> {
    query::only(request.query_string(), &[])?;
    Ok(Json(Pool::of(&app)))
}

/// `POST /api/ops/pool`: another size, until the next start.
#[utoipa::path(
    post,
    path = "/api/ops/pool",
    operation_id = "resizePool",
    tag = "ops",
    summary = "Gives the pool another size, until the next start",
    description = "All processes together share the connections that the database's account allows, 25 with the smallest one.",
    request_body(content = Wanted, description = "1 to 100 connections", example = json!({"size": 25})),
    responses(
        (status = 200, description = "The pool of this process", body = Resized),
    ),
)]
pub async fn resize(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<Json<Resized>, ApiError> {
    query::only(request.query_string(), &[])?;
    let Wanted { size } = read(&body, "must be JSON with the number `size`")?;
    if !(1..=LARGEST).contains(&size) {
        return Err(ApiError::BadRequest { field: "size", wrong: "must be a whole number from 1 to 100" });
    }
    let object = size.to_string();
    let deed = Deed { action: "pool-resized", object: Some(&object), outcome: "ok" };
    let operations = app.db.operations();
    audited(&app, &request, &deed, async move {
        operations.resize_pool(size);
        Ok(())
    })
    .await?;
    tracing::info!(size, "an operator has resized the database's pool");
    Ok(Json(Resized { pool: Pool::of(&app), note: NOTE }))
}
