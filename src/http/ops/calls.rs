//! A live call goes to a person.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::registry::picture::CallState;

use super::audited;
use crate::app::App;
use crate::http::auth::audit::Deed;
use crate::http::call_logs::{query, sid};
use crate::http::openapi::parameters::CallPath;
use crate::http::problem::ApiError;
use crate::http::transfer::has_people;

/// `POST /api/ops/calls/{callSid}/transfer`: gives a live call of this instance to the destinations of the
/// settings, and to no number of the request.
#[utoipa::path(
    post,
    path = "/api/ops/calls/{callSid}/transfer",
    operation_id = "transfer",
    tag = "calls",
    summary = "Gives a live call of this process to a person",
    description = "The agent's part ends. The destinations of the agent file are rung in its order, then \
        HUMAN_FALLBACK_NUMBER. The audit names who did it.",
    params(CallPath),
    responses(
        (status = 204, description = "The person is about to be rung"),
        (status = 404, description = "This process has no such call on the line"),
        (status = 409, description = "There is no destination, or the caller's stream is not open"),
    ),
)]
pub async fn transfer(
    app: Data<App>,
    call_sid: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let call_sid = sid(&call_sid)?;
    if !has_people(&app) {
        return Err(ApiError::Conflict(
            "there is no person to give the call to: set HUMAN_FALLBACK_NUMBER, or give the agent file [[destinations]]",
        ));
    }
    let picture = app.registry.picture().await.map_err(ApiError::unavailable)?;
    let call = picture.calls.iter().find(|call| call.call_sid == call_sid).ok_or(ApiError::NotFound)?;
    if !matches!(call.state, CallState::Connecting | CallState::Live | CallState::Reconnecting) {
        return Err(ApiError::Conflict("the caller is not on the line: try again, or end the call"));
    }
    let deed = Deed { action: "transfer", object: Some(call_sid.as_str()), outcome: "ok" };
    let registry = app.registry.clone();
    audited(&app, &request, &deed, async move {
        registry.to_person(call_sid).await.map_err(ApiError::unavailable)
    })
    .await?;
    tracing::info!(call.sid = %call_sid, "an operator has given the call to a person");
    Ok(HttpResponse::NoContent().finish())
}
