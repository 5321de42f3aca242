//! The doors: the one list of routes.

use actix_web::guard::{Any, Get, Head};
use actix_web::middleware::from_fn;
use actix_web::web::{self, PayloadConfig, ServiceConfig};
use actix_web::{Handler, Resource, Responder};

mod auth;
mod call_logs;
mod dashboard;
mod health;
mod metrics;
mod monitor;
pub mod problem;

use problem::ApiError;

/// A webhook is a few KiB; the media stream has limits of its own.
const BODY_LIMIT: usize = 64 << 10;

/// All routes, for [`actix_web::App::configure`]; they want [`App`](crate::app::App) as [`web::Data`].
pub fn routes(config: &mut ServiceConfig) {
    let api = web::scope("/api")
        .wrap(from_fn(auth::gate))
        .service(get("/call-monitor", monitor::call_monitor))
        .service(get("/call-logs", call_logs::list))
        .service(get("/call-logs/{callSid}", call_logs::one));
    let all = web::scope("")
        .wrap(from_fn(problem::envelope))
        .app_data(PayloadConfig::new(BODY_LIMIT))
        .service(get("/healthz", health::healthz))
        .service(get("/readyz", health::readyz))
        .service(get("/metrics", metrics::metrics))
        .service(api)
        .service(get("/", dashboard::dashboard).wrap(from_fn(auth::gate)))
        .default_service(web::to(async || Err::<&str, _>(ApiError::NotFound)));
    config.service(all);
}

/// A resource to be read; other methods are told so.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::route().guard(Any(Get()).or(Head())).to(handler))
        .default_service(web::to(async || Err::<&str, _>(ApiError::MethodNotAllowed("GET, HEAD"))))
}

#[cfg(test)]
mod tests;
