//! `GET /metrics`: everything that is counted, as Prometheus reads it.
//!
//! It is put together on a thread of its own: the worker, and with it the audio of its calls, goes on meanwhile.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data};
use prometheus::{Registry, TextEncoder};

use super::health;
use super::pieces::Pieces;
use super::problem::ApiError;
use crate::app::App;

pub async fn metrics(app: Data<App>) -> Result<HttpResponse, ApiError> {
    let state = health::state(&app);
    app.health_metrics.show(&state.causes, &state.warnings);
    let text = web::block(move || encode(&app.metrics)).await.map_err(ApiError::unavailable)?;
    let text = text.map_err(ApiError::unavailable)?;
    Ok(HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(Pieces::from(Bytes::from(text))))
}

/// All that is registered, in Prometheus' text format.
///
/// # Errors
/// A metric of no kind that the format knows.
pub fn encode(metrics: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&metrics.gather())
}
