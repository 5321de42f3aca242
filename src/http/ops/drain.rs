//! Taking no new calls for a while, without ending the process.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use actors::registry::RegistryDown;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::audited;
use crate::app::App;
use crate::http::auth::audit::Deed;
use crate::http::call_logs::query;
use crate::http::problem::ApiError;

const ENDS: &str = "this process is about to end: it takes no new calls any more";
const UNANSWERED: &str = "the registry does not answer: `/readyz` answers 503 already, but a call that \
    still comes may be taken; repeat the drain, or take this process out of the load balancer and restart it";

/// One drain or resume at a time: the registry and `/readyz` say the same after each. The registry's own
/// deadline bounds both.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Whether new calls are taken.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Draining {
    draining: bool,
    /// Calls that go on.
    active: usize,
    /// Calls whose stream is awaited.
    reserved: usize,
}

fn draining(app: &App) -> Json<Draining> {
    let capacity = app.registry.capacity();
    Json(Draining { draining: app.is_draining(), active: capacity.active, reserved: capacity.reserved })
}

/// `POST /api/ops/drain`: no new calls, until `resume` or a restart.
#[utoipa::path(
    post,
    path = "/api/ops/drain",
    operation_id = "drain",
    tag = "ops",
    summary = "Takes no new calls, until it resumes or restarts",
    description = "Calls on the line go on, and the process does not end. `/readyz` answers 503. Without another instance, new callers hear that all lines are busy.",
    responses(
        (status = 200, description = "No new calls are taken", body = Draining),
    ),
)]
pub async fn drain(app: Data<App>, request: HttpRequest) -> Result<Json<Draining>, ApiError> {
    query::only(request.query_string(), &[])?;
    let deed = Deed { action: "drain", object: Some(&app.settings.instance_id), outcome: "ok" };
    let drained = app.clone();
    audited(&app, &request, &deed, async move {
        let _turn = ONE_AT_A_TIME.lock().await;
        // First: the load balancer stops sending calls even if the registry does not answer.
        drained.pauses(true);
        drained.registry.drain().await.map_err(unanswered)
    })
    .await?;
    tracing::info!(calls = app.registry.capacity().active, "an operator wants no new calls here");
    Ok(draining(&app))
}

/// `POST /api/ops/resume`: new calls again.
#[utoipa::path(
    post,
    path = "/api/ops/resume",
    operation_id = "resume",
    tag = "ops",
    summary = "Takes new calls again",
    responses(
        (status = 200, description = "New calls are taken", body = Draining),
        (status = 409, description = "The process is about to end"),
    ),
)]
pub async fn resume(app: Data<App>, request: HttpRequest) -> Result<Json<Draining>, ApiError> {
    query::only(request.query_string(), &[])?;
    let deed = Deed { action: "resume", object: Some(&app.settings.instance_id), outcome: "ok" };
    let resumed = app.clone();
    audited(&app, &request, &deed, async move { take_calls_again(&resumed).await }).await?;
    tracing::info!("an operator wants new calls here again");
    Ok(draining(&app))
}

fn unanswered(error: RegistryDown) -> ApiError {
    tracing::warn!(%error, "the registry does not answer a drain");
    ApiError::NotReady(UNANSWERED)
}

/// A signal to end may come at any time: it prevails.
async fn take_calls_again(app: &App) -> Result<(), ApiError> {
    let _turn = ONE_AT_A_TIME.lock().await;
    if app.is_ending() {
        return Err(ApiError::Conflict(ENDS));
    }
    app.registry.resume().await.map_err(ApiError::unavailable)?;
    if app.is_ending() {
        app.registry.drain().await.map_err(ApiError::unavailable)?;
        return Err(ApiError::Conflict(ENDS));
    }
    app.pauses(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_without_an_answer_of_the_registry_says_what_holds_already_and_what_to_do() {
        let ApiError::NotReady(told) = unanswered(RegistryDown) else { panic!("the reason is told") };
        assert!(
            told.contains("`/readyz` answers 503 already") && told.contains("repeat the drain"),
            "{told}"
        );
    }
}
