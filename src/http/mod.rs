//! The doors: the one list of routes.

use std::future::ready;

use actix_web::guard::{Any, Get, Head};
use actix_web::middleware::from_fn;
use actix_web::web::{self, PayloadConfig, ServiceConfig};
use actix_web::{FromRequest, Handler, Resource, Responder, Route};

mod alerts;
pub mod auth;
mod call_logs;
mod callbacks;
mod dashboard;
mod full_house;
pub mod health;
pub(crate) mod inbox;
mod last_resort;
pub mod limits;
pub mod metrics;
pub mod monitor;
pub(crate) mod openapi;
mod ops;
mod past_pool;
mod pieces;
pub mod problem;
pub mod requests;
mod security;
pub mod settings;
pub(crate) mod transfer;
pub mod voice;
pub mod worker;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_log_question(data: &[u8]) {
    call_logs::query::fuzz(data);
}

use crate::connections::in_turn;
use problem::ApiError;

/// A webhook is a few KiB; the media stream has limits of its own.
const BODY_LIMIT: usize = 64 << 10;

/// All routes, for [`actix_web::App::configure`]; they want [`App`](crate::app::App) as [`web::Data`].
pub fn routes(config: &mut ServiceConfig) {
    let api = web::scope("/api")
        .wrap(from_fn(auth::admit))
        .wrap(from_fn(limits::api))
        .wrap(from_fn(auth::identify))
        .service(post("/auth/login", auth::login::login))
        .service(post("/auth/logout", auth::login::logout))
        .service(get("/auth/me", auth::login::me))
        .service(get("/call-monitor", monitor::call_monitor))
        .service(get("/call-logs", call_logs::list))
        .service(get("/call-logs.csv", call_logs::export))
        .service(get("/call-logs/{callSid}", call_logs::one))
        .service(post("/call-logs/{callSid}/voicemail/listened", call_logs::listened))
        .service(get("/ops/status", ops::status::status))
        .service(post("/ops/calls/{callSid}/hang-up", ops::hang_up))
        .service(post("/ops/calls/{callSid}/transfer", ops::calls::transfer))
        .service(post("/ops/drain", ops::drain::drain))
        .service(post("/ops/resume", ops::drain::resume))
        .service(both("/ops/pool", ops::pool::read_pool, ops::pool::resize))
        .service(get("/ops/jobs", ops::jobs::list))
        .service(post("/ops/jobs/{name}/pause", ops::jobs::pause))
        .service(post("/ops/jobs/{name}/resume", ops::jobs::resume))
        .service(post("/ops/jobs/{name}/run", ops::jobs::run))
        .service(get("/ops/idle-transactions", ops::sessions::idle))
        .service(post("/ops/idle-transactions/kill", ops::sessions::kill))
        .service(get("/ops/slow-queries", ops::sessions::slow_queries))
        .service(get("/ops/webhooks", ops::webhooks::backlog))
        .service(post("/ops/webhooks/retry", ops::webhooks::retry))
        .service(post("/ops/log-level", ops::log_level::set))
        .service(get("/alerts", alerts::list))
        .service(post("/alerts/{id}/acknowledge", alerts::acknowledge))
        .service(get("/inbox", inbox::list))
        .service(post("/inbox/{id}/done", inbox::done))
        .service(post("/inbox/{id}/reopen", inbox::reopen))
        .service(get("/inbox/{id}/recording", inbox::recording))
        .service(get("/audit", auth::audit::list))
        .service(get("/openapi.json", openapi::json))
        .service(get("/docs", openapi::page::page));
    let twilio = web::scope("/api/voice")
        .service(post("/incoming", voice::incoming))
        .service(only("GET", "/stream", web::get().to(voice::stream)))
        .service(post("/after-stream", voice::after_stream))
        .service(post("/fallback", last_resort::fallback))
        .service(post("/transfer-done", transfer::transfer_done))
        .service(post("/queue-wait", transfer::queue_wait))
        .service(post("/whisper", transfer::whisper))
        .service(post("/voicemail", last_resort::voicemail))
        .service(post("/call-status", callbacks::call_status))
        .service(post("/stream-status", callbacks::stream_status))
        .service(post("/conference-events", callbacks::conference_events))
        .service(post("/recording-status", callbacks::recording_status));
    let all = web::scope("")
        .wrap(from_fn(problem::envelope))
        .wrap(from_fn(requests::count))
        .wrap(from_fn(in_turn))
        .app_data(PayloadConfig::new(BODY_LIMIT))
        .service(get("/healthz", health::healthz))
        .service(get("/readyz", health::readyz))
        .service(get("/metrics", metrics::metrics))
        .service(twilio)
        .service(api)
        .service(get("/hold-music.wav", transfer::music))
        .service(get("/", dashboard::dashboard))
        .default_service(web::to(async || Err::<&str, _>(ApiError::NotFound)));
    config.service(all);
}

/// The only route of an address that is for the metrics alone.
pub fn metrics_routes(config: &mut ServiceConfig) {
    let all = web::scope("")
        .wrap(from_fn(problem::envelope))
        .wrap(from_fn(requests::count))
        .wrap(from_fn(in_turn))
        .service(get("/metrics", metrics::page))
        .default_service(web::to(async || Err::<&str, _>(ApiError::NotFound)));
    config.service(all);
}

/// A resource to be read; other methods are told so.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only("GET, HEAD", path, web::route().guard(Any(Get()).or(Head())).to(handler))
}

/// A resource that takes what is posted; other methods are told so.
fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only("POST", path, web::post().to(handler))
}

/// A resource to be read, which takes what is posted as well; other methods are told so.
fn both<F, Args, G, More>(path: &str, reads: F, takes: G) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
    G: Handler<More>,
    More: FromRequest + 'static,
    G::Output: Responder + 'static,
{
    only("GET, HEAD, POST", path, web::route().guard(Any(Get()).or(Head())).to(reads))
        .route(web::post().to(takes))
}

fn only(methods: &'static str, path: &str, route: Route) -> Resource {
    let refusal = web::to(move || ready(Err::<&str, _>(ApiError::MethodNotAllowed(methods))));
    web::resource(path).route(route).default_service(refusal)
}

#[cfg(test)]
pub(crate) mod tests;
