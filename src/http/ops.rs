//! What operators do to live calls.

use std::time::Duration;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::wire::twilio::sid::CallSid;
use tokio::time::timeout;

use super::auth::audit::{self, Deed};
use super::call_logs::{query, sid};
use super::openapi::parameters::CallPath;
use super::problem::ApiError;
use crate::app::App;

/// The dashboard waits 5 s for all of it.
const TWILIO_WITHIN: Duration = Duration::from_secs(3);

/// `POST /api/ops/calls/{callSid}/hang-up`: ends a live call of this instance.
#[utoipa::path(
    post,
    path = "/api/ops/calls/{callSid}/hang-up",
    operation_id = "hangUp",
    tag = "calls",
    summary = "Ends a live call of this process",
    description = "The audit names who ended it.",
    params(CallPath),
    responses(
        (status = 204, description = "The call is over"),
        (status = 404, description = "This process has no such call on the line"),
    ),
)]
pub async fn hang_up(
    app: Data<App>,
    call_sid: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let call_sid = sid(&call_sid)?;
    let picture = app.registry.picture().await.map_err(ApiError::unavailable)?;
    if !picture.calls.iter().any(|call| call.call_sid == call_sid) {
        return Err(ApiError::NotFound);
    }
    let deed = Deed { action: "hang-up", object: Some(call_sid.as_str()), outcome: "ok" };
    let mut entry = audit::entry(&app, &request, &deed);
    // Whoever asked may be gone before it is done: it is done all the same, and has its entry.
    let done = actix_rt::spawn(async move {
        let ended = end(&app, call_sid).await;
        if ended.is_err() {
            entry.outcome = "failed".to_owned();
        }
        audit::keep(&app, entry).await;
        ended
    });
    done.await.map_err(ApiError::unavailable)??;
    tracing::info!(call.sid = %call_sid, "an operator has ended the call");
    Ok(HttpResponse::NoContent().finish())
}

/// At Twilio, where the REST API can be asked; here in any case, and at once if Twilio does not answer soon.
/// Without the REST API Twilio asks what comes after the stream, and is told to hang up.
async fn end(app: &App, call_sid: CallSid) -> Result<(), ApiError> {
    match app.settings.twilio.api() {
        Ok(Some(twilio)) => match timeout(TWILIO_WITHIN, twilio.hang_up(call_sid)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, call.sid = %call_sid, "Twilio does not end the call"),
            Err(_) => tracing::warn!(call.sid = %call_sid, "Twilio does not say whether it ends the call"),
        },
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the REST API has no usable address"),
    }
    app.registry.call_over(call_sid).await.map_err(ApiError::unavailable)
}
