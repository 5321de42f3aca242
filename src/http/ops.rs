//! What operators do to live calls.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::wire::twilio::sid::CallSid;

use super::auth::audit::{self, Deed};
use super::call_logs::{query, sid};
use super::problem::ApiError;
use crate::app::App;

/// `POST /api/ops/calls/{callSid}/hang-up`: ends a live call of this instance.
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
    let ended = end(&app, call_sid).await;
    let outcome = if ended.is_ok() { "ok" } else { "failed" };
    audit::note(&app, &request, Deed { action: "hang-up", object: Some(call_sid.as_str()), outcome }).await;
    ended?;
    tracing::info!(call.sid = %call_sid, "an operator has ended the call");
    Ok(HttpResponse::NoContent().finish())
}

/// At Twilio, where the REST API can be asked; here in any case. Without the REST API Twilio asks what comes
/// after the stream, and is told to hang up.
async fn end(app: &App, call_sid: CallSid) -> Result<(), ApiError> {
    match app.settings.twilio.api() {
        Ok(Some(twilio)) => {
            if let Err(error) = twilio.hang_up(call_sid).await {
                tracing::warn!(%error, call.sid = %call_sid, "Twilio does not end the call");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the REST API has no usable address"),
    }
    app.registry.call_over(call_sid).await.map_err(ApiError::unavailable)
}
