//! `GET /metrics`: everything that is counted, as Prometheus reads it.

use actix_web::HttpResponse;
use actix_web::web::Data;
use prometheus::{Encoder as _, TextEncoder};

use super::problem::ApiError;
use crate::app::App;

pub async fn metrics(app: Data<App>) -> Result<HttpResponse, ApiError> {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    encoder.encode(&app.metrics.gather(), &mut text).map_err(ApiError::unavailable)?;
    Ok(HttpResponse::Ok().content_type(encoder.format_type()).body(text))
}
