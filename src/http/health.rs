//! `GET /healthz`: how the process is. `GET /readyz`: whether it should be given new calls. Neither ever
//! waits.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use actors::db::{DbHealth, PoolStats, SchemaState, SpoolStats};
use actors::health::{self, CAUSES, Database, Explanation, Known, News, Refusal, State, WARNINGS};
use prometheus::IntGaugeVec;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth;
use super::full_house::FullHouse;
use super::openapi::words;
use super::problem::ApiError;
use super::settings::ApiAuth;
use crate::app::App;

/// How often the log looks whether the state has changed.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `healthy`, `degraded` (calls go on) or `draining` (takes no new calls, or is about to end by itself).
    #[schema(schema_with = words::status)]
    status: &'static str,
    /// `healthy`, `readOnly` or `unavailable`.
    #[schema(schema_with = words::database)]
    database: &'static str,
    /// Why it is unavailable or takes no writes; or why no further connection could be opened. Only for a
    /// session or token with the scope `monitor` that used the API of this process within the last 5 minutes,
    /// or with API_AUTH=off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    database_error: Option<String>,
    /// `healthy` or `failing`.
    #[schema(schema_with = words::realtime)]
    realtime: &'static str,
    /// What the service refuses of the agent, and where that is set. For whoever is shown
    /// `databaseError`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    realtime_refusal: Option<Refusal>,
    #[schema(schema_with = words::causes)]
    causes: Vec<&'static str>,
    #[schema(schema_with = words::warnings)]
    warnings: Vec<&'static str>,
    /// What each cause and warning means, and what helps. For whoever is shown `databaseError`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    advice: Vec<Explanation>,
    pool_stats: PoolStats,
    calls: Calls,
    spool: SpoolStats,
    version: &'static str,
    uptime_seconds: u64,
}

#[derive(Serialize, ToSchema)]
pub struct Calls {
    active: usize,
    limit: usize,
}

#[derive(Serialize, ToSchema)]
pub struct Ready {
    ready: bool,
}

/// How the process is now.
pub fn state(app: &App) -> State {
    let (capacity, db) = (app.registry.capacity(), app.db.status());
    let spool = db.spool_stats();
    health::assess(&Known {
        is_ending: app.is_draining() || app.is_worn_out(),
        database: match db.health() {
            DbHealth::Healthy => Database::Healthy,
            DbHealth::ReadOnly(_) => Database::ReadOnly,
            DbHealth::Unavailable(_) => Database::Unavailable,
        },
        oldest_seconds: spool.oldest_seconds,
        aside: spool.aside,
        refuses_webhooks: db.refuses_webhooks(),
        realtime: app.voice.pump.metrics.realtime.recent(),
        is_full: capacity.available == 0,
        redis_is_away: app.limits.is_alone(),
        agent_is_stale: app.agent_is_stale.load(Ordering::Relaxed),
        certificate_is_stale: app.tls.as_ref().is_some_and(|tls| tls.is_stale()),
        certificate_is_ending: app.tls.as_ref().is_some_and(|tls| tls.is_ending()),
        bypasses_validation: app.settings.twilio.bypass_validation,
        has_no_users: app.has_no_users.load(Ordering::Relaxed),
        api_is_open: app.settings.http.api_auth == ApiAuth::Off,
    })
}

fn advice(state: &State) -> Vec<Explanation> {
    state.causes.iter().chain(&state.warnings).filter_map(|name| health::explain(name)).collect()
}

actors::metrics! {
    /// Shows causes and warnings as metrics.
    pub struct HealthMetrics {
        /// Whether this keeps the process from being healthy: 1 or 0, by the names that `/healthz` has.
        causes: IntGaugeVec = "switchboard_health_causes" ["cause" = &CAUSES];
        /// Whether someone should look at this though calls are answered: 1 or 0, by the names that
        /// `/healthz` has.
        warnings: IntGaugeVec = "switchboard_health_warnings" ["warning" = &WARNINGS];
    }
}

impl HealthMetrics {
    /// What is so now.
    pub fn show(&self, causes: &[&str], warnings: &[&str]) {
        let all = [(&self.causes, causes, &CAUSES[..]), (&self.warnings, warnings, &WARNINGS[..])];
        for (gauges, present, known) in all {
            for name in known {
                gauges.with_label_values(&[name]).set(present.contains(name).into());
            }
        }
    }
}

/// Logs each change of the state, and how long the one before lasted. A full house, which comes and goes with
/// each call, is told of [apart](FullHouse).
pub async fn tell(app: Data<App>) {
    let (mut before, mut since) = (None::<State>, Instant::now());
    let mut house = FullHouse::default();
    let refused = app.voice.pump.metrics.admissions.with_label_values(&["full"]);
    loop {
        let mut now = state(&app);
        house.look(now.warnings.contains(&"full-house"), refused.get(), Instant::now());
        now.warnings.retain(|warning| *warning != "full-house");
        if before.as_ref() != Some(&now) {
            say(&app, &health::news(before.as_ref(), &now));
            let (causes, warnings) = (now.causes.join(", "), now.warnings.join(", "));
            let after_seconds = since.elapsed().as_secs();
            tracing::info!(
                status = now.status,
                causes,
                warnings,
                after_seconds,
                "the state of health changed"
            );
            (before, since) = (Some(now), Instant::now());
        }
        actix_rt::time::sleep(LOOK).await;
    }
}

/// Says each cause and warning once when it begins, with what helps, and once when it is over.
fn say(app: &App, news: &News) {
    for Explanation { name, meaning, remedy, is_critical } in &news.begun {
        let cause = cause_of(app, name);
        if *is_critical {
            tracing::error!(name, meaning, cause, remedy, "the process is not well");
        } else {
            tracing::warn!(name, meaning, cause, remedy, "the process is not well");
        }
    }
    for name in &news.over {
        tracing::info!(name, "the process has recovered");
    }
}

/// What the other side says of it, where that is known.
fn cause_of(app: &App, name: &str) -> Option<String> {
    match name {
        "database-unavailable" | "database-read-only" => match app.db.status().health() {
            DbHealth::Healthy => None,
            DbHealth::ReadOnly(cause) | DbHealth::Unavailable(cause) => Some(cause),
        },
        "realtime-refused" => {
            let refusal = app.voice.pump.metrics.realtime.refused()?;
            Some(format!("{} ({})", refusal.code, refusal.setting))
        }
        _ => None,
    }
}

/// 200 as long as the process serves.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    tag = "process",
    summary = "The state of the process",
    responses(
        (status = 200, description = "The process serves", body = Health),
    ),
)]
pub async fn healthz(app: Data<App>, request: HttpRequest) -> Json<Health> {
    Json(health(&app, auth::lets_in(&app, &request)))
}

/// How the process is now; with the texts of errors only for whoever `is_let_in`.
pub(super) fn health(app: &App, is_let_in: bool) -> Health {
    let state = state(app);
    let db = app.db.status();
    let error = match db.health() {
        DbHealth::Healthy => db.failed_connect(),
        DbHealth::ReadOnly(cause) | DbHealth::Unavailable(cause) => Some(cause),
    };
    let capacity = app.registry.capacity();
    Health {
        status: state.status,
        database: state.database.as_str(),
        database_error: error.filter(|_| is_let_in),
        realtime: if state.realtime_fails { "failing" } else { "healthy" },
        realtime_refusal: app.voice.pump.metrics.realtime.refused().filter(|_| is_let_in),
        advice: if is_let_in { advice(&state) } else { Vec::new() },
        causes: state.causes,
        warnings: state.warnings,
        pool_stats: db.pool_stats(),
        calls: Calls { active: capacity.active, limit: capacity.limit },
        spool: db.spool_stats(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.started_at.elapsed().as_secs(),
    }
}

/// 503 while draining, and until the schema is known to fit: a database outage later on alone does not take
/// live calls down.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readiness",
    tag = "process",
    summary = "Whether the process should get new calls",
    responses(
        (status = 200, description = "It should get new calls", body = Ready, example = json!({"ready": true})),
        (status = 503, description = "It should not get new calls now: `detail` says why"),
    ),
)]
pub async fn readyz(app: Data<App>) -> Result<Json<Ready>, ApiError> {
    if app.is_worn_out() {
        return Err(ApiError::NotReady("failing: this process is about to end"));
    }
    if app.is_draining() {
        return Err(ApiError::NotReady("draining: no new calls are taken"));
    }
    match app.db.status().schema() {
        SchemaState::Fits | SchemaState::Newer => Ok(Json(Ready { ready: true })),
        SchemaState::Unknown => Err(ApiError::NotReady("the database's schema is not known yet")),
        SchemaState::Hidden { .. } => Err(ApiError::NotReady(
            "the database's role does not own the tables: row-level security hides them",
        )),
        SchemaState::Older { .. } => {
            Err(ApiError::NotReady("the database's schema is older than this program"))
        }
    }
}
