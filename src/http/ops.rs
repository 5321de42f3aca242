//! What operators do: to live calls, and to a process that has trouble.

pub mod calls;
pub mod drain;
pub mod jobs;
pub mod log_level;
pub mod pool;
pub mod sessions;
pub mod status;
pub mod webhooks;
mod whole;

use std::future::Future;
use std::time::Duration;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::wire::twilio::sid::CallSid;
use serde::de::DeserializeOwned;
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
    let ending = app.clone();
    audited(&app, &request, &deed, async move { end(&ending, call_sid).await }).await?;
    tracing::info!(call.sid = %call_sid, "an operator has ended the call");
    Ok(HttpResponse::NoContent().finish())
}

/// Does something of which the audit has an entry afterwards. Whoever asked may be gone before it is done: it
/// is done all the same, and has its entry.
async fn audited<T: 'static>(
    app: &Data<App>,
    request: &HttpRequest,
    deed: &Deed<'_>,
    act: impl Future<Output = Result<T, ApiError>> + 'static,
) -> Result<T, ApiError> {
    let mut entry = audit::entry(app, request, deed);
    let app = app.clone();
    let done = actix_rt::spawn(async move {
        let done = act.await;
        if done.is_err() {
            entry.outcome = "failed".to_owned();
        }
        audit::keep(&app, entry).await;
        done
    });
    done.await.map_err(ApiError::unavailable)?
}

/// What is posted as a JSON object; `wrong` says what it must be.
fn read<T: DeserializeOwned>(body: &[u8], wrong: &'static str) -> Result<T, ApiError> {
    let object = Some(body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
    let read = object.and_then(|object| serde_json::from_slice(object).ok());
    read.ok_or(ApiError::BadRequest { field: "body", wrong })
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
