//! The whole picture of this process: what an operator looks at first.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use actors::call::account::Shown;
use actors::db::webhooks::WebhookState;
use actors::db::{AlertRow, DbHealth, JobRow};
use actors::health::Outcome;
use actors::registry::picture::Capacity;
use serde::Serialize;
use utoipa::ToSchema;

use super::log_level::LogLevel;
use super::pool::Pool;
use crate::app::App;
use crate::http::call_logs::query;
use crate::http::health::{self, Health};
use crate::http::pieces::Pieces;
use crate::http::problem::ApiError;
use crate::http::worker::Kind;

/// The actors that are started again after a panic.
const RESTARTED: [&str; 5] = ["alerts", "call", "registry", "db", "jobs"];
const UNANSWERED: &str = "the database does not answer: webhooks and jobs are not known";
const NO_CONNECTION: &str = "no connection of the pool is free: webhooks and jobs are not known";

/// What `GET /api/ops/status` answers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OpsStatus)]
pub(crate) struct Status {
    instance: String,
    /// No new calls are taken: an operator wants none, or the process is about to end.
    draining: bool,
    /// The process is about to end.
    ending: bool,
    health: Health,
    capacity: Capacity,
    pool: Pool,
    /// Of all processes; null if the database does not answer.
    webhooks: Option<WebhookState>,
    /// Of all processes; null if the database does not answer.
    jobs: Option<Vec<JobRow>>,
    realtime: Realtime,
    restarts: Vec<Restarts>,
    /// The open alerts of this process, newest first.
    alerts: Vec<AlertRow>,
    /// Null if the process does not log by a filter.
    log_level: Option<LogLevel>,
    /// What is not known, and why; null where all is.
    missing: Option<&'static str>,
}

/// What came of the last requests to the Realtime service, of the last five minutes.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RealtimeOutcomes)]
pub struct Realtime {
    answered: usize,
    connected: usize,
    failed: usize,
    refused: usize,
    not_connected: usize,
    /// Null until the service has told it.
    tokens: Option<Tokens>,
}

/// The account's tokens at the Realtime service.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccountTokens)]
pub struct Tokens {
    /// That it may use in a minute.
    limit: u64,
    /// Of these, what is left now.
    remaining: u64,
    /// What a call needs in a minute, as learnt from the last responses; null while it is not known.
    per_call: Option<u64>,
}

/// Panics of an actor since the start, and how often it was started again.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ActorRestarts)]
pub struct Restarts {
    actor: &'static str,
    restarts: u64,
    panics: u64,
}

impl Tokens {
    fn of(Shown { limit, remaining, per_call }: Shown) -> Self {
        Self { limit, remaining, per_call: (per_call > 0).then_some(per_call) }
    }
}

impl Realtime {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            let count = match outcome {
                Outcome::Answered => &mut counts.answered,
                Outcome::Connected => &mut counts.connected,
                Outcome::Failed => &mut counts.failed,
                Outcome::Refused => &mut counts.refused,
                Outcome::NotConnected => &mut counts.not_connected,
            };
            *count += 1;
        }
        counts
    }
}

/// `GET /api/ops/status`.
#[utoipa::path(
    get,
    path = "/api/ops/status",
    operation_id = "status",
    tag = "ops",
    summary = "The whole picture of this process",
    description = "Of the database at most 2 s old. While it does not answer, `missing` says what is not known.",
    responses(
        (status = 200, description = "How the process is", body = Status),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn status(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let mut status = of_this_process(&app);
    let missing = missing(app.db.status().health() == DbHealth::Healthy, &status.pool);
    let operator = app.db.accounts().operator();
    let status = app.api.run(Kind::Query, async move || {
        let (webhooks, jobs) = tokio::join!(operator.webhooks(), operator.jobs());
        status.missing = (webhooks.is_err() || jobs.is_err()).then_some(missing);
        (status.webhooks, status.jobs) = (webhooks.ok(), jobs.ok());
        Pieces::of_json(&status).map_err(ApiError::unavailable)
    });
    Ok(status.await??.into_json())
}

/// Why the database cannot be asked, if it cannot.
fn missing(is_healthy: bool, pool: &Pool) -> &'static str {
    if is_healthy && pool.is_used_up() { NO_CONNECTION } else { UNANSWERED }
}

/// What is known without the database.
fn of_this_process(app: &App) -> Status {
    let metrics = &app.voice.pump.metrics;
    let restarts = RESTARTED.map(|actor| Restarts {
        actor,
        restarts: metrics.restarts.with_label_values(&[actor]).get(),
        panics: metrics.panics.with_label_values(&[actor]).get(),
    });
    Status {
        instance: app.settings.instance_id.clone(),
        draining: app.is_draining(),
        ending: app.is_ending(),
        health: health::health(app, true),
        capacity: app.registry.capacity(),
        pool: Pool::of(app),
        webhooks: None,
        jobs: None,
        realtime: Realtime {
            tokens: metrics.account.shown().map(Tokens::of),
            ..Realtime::of(&metrics.realtime.recent())
        },
        restarts: restarts.into(),
        alerts: app.alerts.open(),
        log_level: LogLevel::now(),
        missing: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_used_up_is_told_from_a_database_that_is_away() {
        let pool = |total, idle| Pool { size: 3, configured: 3, total, idle, waiting: 11 };
        assert_eq!(missing(true, &pool(3, 0)), NO_CONNECTION);
        assert_eq!(missing(false, &pool(3, 0)), UNANSWERED);
        assert_eq!(missing(true, &pool(3, 1)), UNANSWERED);
    }

    #[test]
    fn outcomes_are_counted_by_what_came_of_the_requests() {
        let outcomes = [Outcome::Answered, Outcome::Failed, Outcome::Answered, Outcome::Refused];
        let counts = Realtime { answered: 2, failed: 1, refused: 1, ..Realtime::default() };
        assert_eq!(Realtime::of(&outcomes), counts);
    }
}
