//! `GET /api/call-logs`: the log, filtered, searched, sorted, page after page. `GET /api/call-logs.csv`: all of that at
//! once. `GET /api/call-logs/{callSid}`: one call, turn by turn.

mod csv;
pub(super) mod query;

use actix_web::http::header::{self, ContentDisposition};
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::db::{CallLog, CallLogPage};
use actors::wire::twilio::sid::CallSid;

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
) -> Result<Json<CallLog>, ApiError> {
    query::only(request.query_string(), &[])?;
    let wrong = "must be `CA` followed by 32 hexadecimal digits";
    let call_sid: CallSid = call_sid.parse().map_err(|_| ApiError::BadRequest { field: "callSid", wrong })?;
    let log = app.db.call_log(call_sid).await.map_err(ApiError::unavailable)?;
    log.map(Json).ok_or(ApiError::NotFound)
}
