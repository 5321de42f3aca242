//! The background jobs: paused, resumed, run now.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::db::{JobOrder, JobRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::audited;
use crate::app::App;
use crate::http::auth::audit::Deed;
use crate::http::call_logs::query;
use crate::http::openapi::parameters::JobPath;
use crate::http::pieces::Pieces;
use crate::http::problem::ApiError;
use crate::http::worker::Kind;

/// No job has a longer name.
const LONGEST: usize = 64;

/// What `GET /api/ops/jobs` answers.
#[derive(Serialize, ToSchema)]
#[schema(as = JobList)]
pub(crate) struct Jobs {
    jobs: Vec<JobRow>,
}

/// `GET /api/ops/jobs`.
#[utoipa::path(
    get,
    path = "/api/ops/jobs",
    operation_id = "jobs",
    tag = "ops",
    summary = "The background jobs and their last results",
    responses(
        (status = 200, description = "All jobs", body = Jobs),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn list(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let operator = app.db.accounts().operator();
    let jobs = app.api.run(Kind::Query, async move || {
        let jobs = operator.jobs().await.map_err(ApiError::unavailable)?;
        Pieces::of_json(&Jobs { jobs }).map_err(ApiError::unavailable)
    });
    Ok(jobs.await??.into_json())
}

/// `POST /api/ops/jobs/{name}/pause`.
#[utoipa::path(
    post,
    path = "/api/ops/jobs/{name}/pause",
    operation_id = "pauseJob",
    tag = "ops",
    summary = "Runs a job no more until it is resumed",
    description = "A run under way goes on. It holds for all processes.",
    params(JobPath),
    responses(
        (status = 200, description = "The job", body = JobRow),
        (status = 404, description = "There is no such job"),
    ),
)]
pub async fn pause(
    app: Data<App>,
    name: Path<String>,
    request: HttpRequest,
) -> Result<Json<JobRow>, ApiError> {
    order(&app, &name, &request, "job-paused", JobOrder::Pause).await
}

/// `POST /api/ops/jobs/{name}/resume`.
#[utoipa::path(
    post,
    path = "/api/ops/jobs/{name}/resume",
    operation_id = "resumeJob",
    tag = "ops",
    summary = "Runs a job again when it is due",
    params(JobPath),
    responses(
        (status = 200, description = "The job", body = JobRow),
        (status = 404, description = "There is no such job"),
    ),
)]
pub async fn resume(
    app: Data<App>,
    name: Path<String>,
    request: HttpRequest,
) -> Result<Json<JobRow>, ApiError> {
    order(&app, &name, &request, "job-resumed", JobOrder::Resume).await
}

/// `POST /api/ops/jobs/{name}/run`.
#[utoipa::path(
    post,
    path = "/api/ops/jobs/{name}/run",
    operation_id = "runJob",
    tag = "ops",
    summary = "Has whichever process is first run a job now",
    description = "A job that is paused runs when it is resumed.",
    params(JobPath),
    responses(
        (status = 200, description = "The job", body = JobRow),
        (status = 404, description = "There is no such job"),
    ),
)]
pub async fn run(app: Data<App>, name: Path<String>, request: HttpRequest) -> Result<Json<JobRow>, ApiError> {
    order(&app, &name, &request, "job-run", JobOrder::RunNow).await
}

async fn order(
    app: &Data<App>,
    name: &str,
    request: &HttpRequest,
    action: &'static str,
    order: JobOrder,
) -> Result<Json<JobRow>, ApiError> {
    query::only(request.query_string(), &[])?;
    if name.len() > LONGEST {
        return Err(ApiError::NotFound);
    }
    let (operator, job) = (app.db.accounts().operator(), name.to_owned());
    let deed = Deed { action, object: Some(name), outcome: "ok" };
    let ordered = audited(app, request, &deed, async move {
        let row = operator.order_job(&job, order).await.map_err(ApiError::unavailable)?;
        row.ok_or(ApiError::NotFound)
    });
    Ok(Json(ordered.await?))
}
