//! `GET /api/call-logs`: the log, filtered, searched, sorted, page after page. `GET /api/call-logs.csv`: all
//! of that at once. `GET /api/call-logs/{callSid}`: one call, turn by turn.

mod csv;
pub(super) mod query;
mod voicemail;

use std::pin::pin;

use actix_web::http::header::{self, ContentDisposition};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::db::{CallLog, CallLogPage, LogReader};
use actors::wire::twilio::sid::CallSid;
use futures_util::TryStreamExt as _;
use serde::Serialize;
use utoipa::ToSchema;

use self::voicemail::Voicemail;
use super::auth::audit::{self, Deed};
use super::openapi::parameters::{CallFilters, CallPages, CallPath};
use super::pieces::{self, Pieces};
use super::problem::ApiError;
use super::worker::Kind;
use crate::app::App;

#[utoipa::path(
    get,
    path = "/api/call-logs",
    operation_id = "listCalls",
    tag = "log",
    summary = "The call log, newest first",
    description = "All filters can be combined.",
    params(CallFilters, CallPages),
    responses(
        (status = 200, description = "A page of the log", body = CallLogPage),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn list(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (log, asked) = (app.db.log(), request.query_string().to_owned());
    let page = app.api.run(Kind::Query, async move || {
        let page = log.find_calls(query::page(&asked)?).await.map_err(ApiError::unavailable)?;
        Pieces::of_json(&page).map_err(ApiError::unavailable)
    });
    Ok(page.await??.into_json())
}

/// The body is made as it is read. If the database goes away meanwhile, the connection is cut: half a list is
/// not to be taken for a whole one.
#[utoipa::path(
    get,
    path = "/api/call-logs.csv",
    operation_id = "exportCalls",
    tag = "log",
    summary = "The call log as CSV (RFC 4180)",
    description = "All calls that match, in one file that is made while it is sent; with `q`, the newest 1,000 of them.",
    params(CallFilters),
    responses(
        (status = 200, description = "The file `call-logs.csv`", content_type = "text/csv", body = String, headers(("Content-Disposition" = String, description = "The name of the file"))),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn export(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (log, asked) = (app.db.log(), request.query_string().to_owned());
    let rows = app.api.stream(Kind::Export, async move |out| {
        let (filter, sort) = query::export(&asked)?;
        let mut rows = pin!(csv::begin(log.export_calls(filter, sort)).await.map_err(ApiError::unavailable)?);
        while let Some(part) = rows.try_next().await.map_err(ApiError::unavailable)? {
            out.send(part).await?;
        }
        Ok(())
    });
    let rows = rows.await?;
    audit::must(&app, &request, Deed { action: "export", object: None, outcome: "ok" }).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, ContentDisposition::attachment("call-logs.csv")))
        .streaming(pieces::streamed(rows)))
}

/// Nobody reads it of whom the audit does not know.
#[utoipa::path(
    get,
    path = "/api/call-logs/{callSid}",
    operation_id = "oneCall",
    tag = "log",
    summary = "One call with its turns and events",
    description = "At most 10,000 turns and 10,000 events: the first ones. The audit names who opened it.",
    params(CallPath),
    responses(
        (status = 200, description = "The call", body = OneCall),
        (status = 404, description = "No such call"),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn one(
    app: Data<App>,
    call_sid: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (log, asked) = (app.db.log(), request.query_string().to_owned());
    let path = call_sid.clone();
    let one = app.api.run(Kind::Query, async move || {
        query::only(&asked, &[])?;
        let log = log_of(&log, sid(&call_sid)?).await?;
        let one = OneCall { voicemail: voicemail::of(&log.events), log };
        Pieces::of_json(&one).map_err(ApiError::unavailable)
    });
    let one = one.await??;
    let opened = Deed { action: "transcript-opened", object: Some(&path), outcome: "ok" };
    audit::must(&app, &request, opened).await?;
    Ok(one.into_json())
}

/// `POST /api/call-logs/{callSid}/voicemail/listened`: somebody has listened to the message.
#[utoipa::path(
    post,
    path = "/api/call-logs/{callSid}/voicemail/listened",
    operation_id = "listened",
    tag = "log",
    summary = "Marks a message as listened to",
    params(CallPath),
    responses(
        (status = 204, description = "It is recorded, now or before"),
        (status = 404, description = "No such call, or no message"),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn listened(
    app: Data<App>,
    call_sid: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (log, doors, asked) = (app.db.log(), app.db.doors(), request.query_string().to_owned());
    let path = call_sid.clone();
    let stored = app.api.run(Kind::Query, async move || {
        query::only(&asked, &[])?;
        let call_sid = sid(&call_sid)?;
        let left = voicemail::of(&log_of(&log, call_sid).await?.events).ok_or(ApiError::NotFound)?;
        doors.store_event(voicemail::heard(call_sid, &left)).await.map_err(ApiError::unavailable)
    });
    stored.await??;
    let marked = Deed { action: "voicemail-listened", object: Some(&path), outcome: "ok" };
    audit::note(&app, &request, marked).await;
    Ok(HttpResponse::NoContent().finish())
}

/// One call, with the message that its caller has left.
#[derive(Serialize, ToSchema)]
pub struct OneCall {
    #[serde(flatten)]
    log: CallLog,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    voicemail: Option<Voicemail>,
}

pub(super) fn sid(text: &str) -> Result<CallSid, ApiError> {
    let wrong = "must be `CA` followed by 32 hexadecimal digits";
    text.parse().map_err(|_| ApiError::BadRequest { field: "callSid", wrong })
}

async fn log_of(log: &LogReader, call_sid: CallSid) -> Result<CallLog, ApiError> {
    let log = log.call_log(call_sid).await.map_err(ApiError::unavailable)?;
    log.ok_or(ApiError::NotFound)
}
