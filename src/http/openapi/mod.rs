//! The description of every route (OpenAPI 3.1): `GET /api/openapi.json`, and as a page `GET /api/docs`.
//!
//! A route describes itself with the attribute `utoipa::path` on its handler, and is named in the list below.
//! The schemas are derived from the types that are written as JSON. [`common`] adds what holds for many
//! routes: who may ask, what is counted, and which errors there are. The examples are those of docs/api.md.

use std::sync::LazyLock;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::OpenApi;

mod common;
mod examples;
pub(super) mod forms;
pub(super) mod page;
pub(super) mod parameters;
pub(super) mod words;

use super::call_logs::query;
use super::pieces::Pieces;
use super::problem::{ApiError, Problem};
use super::worker::Kind;
use crate::app::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Switchboard",
        description = "Answers telephone calls with an AI. All JSON is camelCase. Times are RFC 3339 in UTC. \
            A value that is not known yet is null. Errors are `application/problem+json` (RFC 9457). \
            An unknown path is answered with 404, and a method that a route does not have with 405 and \
            `Allow`. Below `/api`, the login is checked first: without one the answer is 401 in both cases. \
            A user without the scope of a route gets 403 there instead of 405. Answers may get further \
            fields in later versions.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    tags(
        (name = "calls", description = "Live calls"),
        (name = "log", description = "Calls and what was said"),
        (name = "inbox", description = "What callers left for the staff"),
        (name = "accounts", description = "Who is logged in, and who did what"),
        (name = "alerts", description = "What is wrong, and who takes care of it"),
        (name = "ops", description = "What an operator does in an emergency"),
        (name = "process", description = "The state of the process"),
        (name = "pages", description = "Pages, and this description"),
        (name = "twilio", description = "Webhooks and the media stream, for Twilio only"),
    ),
    paths(
        super::auth::login::login,
        super::auth::login::logout,
        super::auth::login::me,
        super::auth::audit::list,
        super::monitor::call_monitor,
        super::call_logs::list,
        super::call_logs::export,
        super::call_logs::one,
        super::call_logs::listened,
        super::ops::status::status,
        super::ops::hang_up,
        super::ops::calls::transfer,
        super::ops::drain::drain,
        super::ops::drain::resume,
        super::ops::pool::read_pool,
        super::ops::pool::resize,
        super::ops::jobs::list,
        super::ops::jobs::pause,
        super::ops::jobs::resume,
        super::ops::jobs::run,
        super::ops::sessions::idle,
        super::ops::sessions::kill,
        super::ops::sessions::slow_queries,
        super::ops::webhooks::backlog,
        super::ops::webhooks::retry,
        super::ops::log_level::set,
        super::alerts::list,
        super::alerts::acknowledge,
        super::inbox::list,
        super::inbox::done,
        super::inbox::reopen,
        super::inbox::recording,
        super::health::healthz,
        super::health::readyz,
        super::metrics::metrics,
        super::dashboard::dashboard,
        json,
        page::page,
        super::voice::incoming,
        super::voice::stream,
        super::voice::after_stream,
        super::last_resort::fallback,
        super::transfer::transfer_done,
        super::transfer::queue_wait,
        super::transfer::whisper,
        super::transfer::music,
        super::last_resort::voicemail,
        super::callbacks::call_status,
        super::callbacks::stream_status,
        super::callbacks::conference_events,
        super::callbacks::recording_status,
    ),
    components(schemas(Problem)),
)]
struct Routes;

/// The whole description.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Routes::openapi();
    common::add(&mut document);
    examples::add(&mut document);
    document
}

/// As it is in docs/openapi.json.
pub(crate) fn text() -> String {
    document().to_pretty_json().expect("its keys are texts") + "\n"
}

/// `GET /api/openapi.json`: made once, on the API's thread.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    operation_id = "description",
    tag = "pages",
    summary = "This document",
    responses(
        (status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn json(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| text().into());
    query::only(request.query_string(), &[])?;
    let text = app.api.run(Kind::Query, async || TEXT.clone()).await?;
    Ok(Pieces::from(text).into_json())
}
