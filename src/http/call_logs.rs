//! `GET /api/call-logs`: the log, newest first. `GET /api/call-logs/{callSid}`: one call, turn by turn.

use std::ops::RangeInclusive;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use actors::db::{CallLog, CallLogPage};
use actors::wire::twilio::sid::CallSid;

use super::problem::ApiError;
use crate::app::App;

const PAGE_SIZES: RangeInclusive<u32> = 1..=200;
const DEFAULT_PAGE_SIZE: u32 = 50;

pub async fn list(app: Data<App>, request: HttpRequest) -> Result<Json<CallLogPage>, ApiError> {
    let (mut page, mut page_size) = (1, DEFAULT_PAGE_SIZE);
    for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        let number = value.parse::<u32>().ok();
        match name.as_ref() {
            "page" => {
                let wrong = "must be a whole number from 1";
                page = number.filter(|&n| n >= 1).ok_or(ApiError::BadRequest { field: "page", wrong })?;
            }
            "pageSize" => {
                let wrong = "must be a whole number from 1 to 200";
                page_size = number
                    .filter(|n| PAGE_SIZES.contains(n))
                    .ok_or(ApiError::BadRequest { field: "pageSize", wrong })?;
            }
            _ => {}
        }
    }
    app.db.call_logs(page, page_size).await.map(Json).map_err(ApiError::unavailable)
}

pub async fn one(app: Data<App>, call_sid: Path<String>) -> Result<Json<CallLog>, ApiError> {
    let wrong = "must be `CA` followed by 32 hexadecimal digits";
    let call_sid: CallSid = call_sid.parse().map_err(|_| ApiError::BadRequest { field: "callSid", wrong })?;
    let log = app.db.call_log(call_sid).await.map_err(ApiError::unavailable)?;
    log.map(Json).ok_or(ApiError::NotFound)
}
