//! `GET /healthz`: how the process is. `GET /readyz`: whether it should be given new calls. Neither ever waits.

use actix_web::web::{Data, Json};
use actors::db::{DbHealth, PoolStats, SchemaState, SpoolStats};
use serde::Serialize;

use super::problem::ApiError;
use crate::app::App;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `healthy`, `degraded` (the database is away; calls go on) or `draining` (about to end, also by itself).
    status: &'static str,
    /// `healthy` or `unavailable`.
    database: &'static str,
    /// Why it is unavailable; or why no further connection could be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_error: Option<String>,
    pool_stats: PoolStats,
    calls: Calls,
    spool: SpoolStats,
    version: &'static str,
    uptime_seconds: u64,
}

#[derive(Serialize)]
struct Calls {
    active: usize,
    limit: usize,
}

#[derive(Serialize)]
pub struct Ready {
    ready: bool,
}

/// 200 as long as the process serves.
pub async fn healthz(app: Data<App>) -> Json<Health> {
    let (database, database_error) = match app.db.health() {
        DbHealth::Healthy => ("healthy", app.db.failed_connect()),
        DbHealth::Unavailable(cause) => ("unavailable", Some(cause)),
    };
    let status = match (app.is_draining() || app.is_worn_out(), database) {
        (true, _) => "draining",
        (false, "healthy") => "healthy",
        (false, _) => "degraded",
    };
    let capacity = app.registry.capacity();
    Json(Health {
        status,
        database,
        database_error,
        pool_stats: app.db.pool_stats(),
        calls: Calls { active: capacity.active, limit: capacity.limit },
        spool: app.db.spool_stats(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.started_at.elapsed().as_secs(),
    })
}

/// 503 while draining, and until the schema is known to fit: a database outage later on alone does not take live calls down.
pub async fn readyz(app: Data<App>) -> Result<Json<Ready>, ApiError> {
    if app.is_worn_out() {
        return Err(ApiError::NotReady("failing: this process is about to end"));
    }
    if app.is_draining() {
        return Err(ApiError::NotReady("draining: no new calls are taken"));
    }
    match app.db.schema() {
        SchemaState::Fits | SchemaState::Newer => Ok(Json(Ready { ready: true })),
        SchemaState::Unknown => Err(ApiError::NotReady("the database's schema is not known yet")),
        SchemaState::Older { .. } => {
            Err(ApiError::NotReady("the database's schema is older than this program"))
        }
    }
}
