//! `GET /api/call-logs`: the log, filtered, searched, sorted, page after page. `GET /api/call-logs.csv`: all of that at
//! once. `GET /api/call-logs/{callSid}`: one call, turn by turn.

mod csv;
pub(super) mod query;
mod voicemail;

use actix_web::http::header::{self, ContentDisposition};
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::db::{CallLog, CallLogPage};
use actors::wire::twilio::sid::CallSid;
use serde::Serialize;

use self::voicemail::Voicemail;
use super::problem::ApiError;
use crate::app::App;

pub async fn list(app: Data<App>, request: HttpRequest) -> Result<Json<CallLogPage>, ApiError> {
    let query = query::page(request.query_string())?;
    app.db.find_calls(query).await.map(Json).map_err(ApiError::unavailable)
}

/// The body is made as it is sent. If the database goes away meanwhile, the connection is cut: half a list is not to be
/// taken for a whole one.
pub async fn export(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (filter, sort) = query::export(request.query_string())?;
    let rows = csv::begin(app.db.export_calls(filter, sort)).await.map_err(ApiError::unavailable)?;
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, ContentDisposition::attachment("call-logs.csv")))
        .streaming(rows))
}

pub async fn one(
    app: Data<App>,
    call_sid: Path<String>,
    request: HttpRequest,
) -> Result<Json<OneCall>, ApiError> {
    query::only(request.query_string(), &[])?;
    let log = log_of(&app, sid(&call_sid)?).await?;
    Ok(Json(OneCall { voicemail: voicemail::of(&log.events), log }))
}

/// `POST /api/call-logs/{callSid}/voicemail/listened`: somebody has listened to the message.
pub async fn listened(
    app: Data<App>,
    call_sid: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    voicemail::from_our_page(&request)?;
    let call_sid = sid(&call_sid)?;
    let left = voicemail::of(&log_of(&app, call_sid).await?.events).ok_or(ApiError::NotFound)?;
    app.db.store_event(voicemail::heard(call_sid, &left)).await.map_err(ApiError::unavailable)?;
    Ok(HttpResponse::NoContent().finish())
}

/// One call, with the message that its caller has left.
#[derive(Serialize)]
pub struct OneCall {
    #[serde(flatten)]
    log: CallLog,
    #[serde(skip_serializing_if = "Option::is_none")]
    voicemail: Option<Voicemail>,
}

fn sid(text: &str) -> Result<CallSid, ApiError> {
    let wrong = "must be `CA` followed by 32 hexadecimal digits";
    text.parse().map_err(|_| ApiError::BadRequest { field: "callSid", wrong })
}

async fn log_of(app: &App, call_sid: CallSid) -> Result<CallLog, ApiError> {
    let log = app.db.call_log(call_sid).await.map_err(ApiError::unavailable)?;
    log.ok_or(ApiError::NotFound)
}
