//! `GET /api/call-monitor`: the live picture.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use actors::registry::picture::Picture;

use super::call_logs::query;
use super::problem::ApiError;
use crate::app::App;

pub async fn call_monitor(app: Data<App>, request: HttpRequest) -> Result<Json<Picture>, ApiError> {
    query::only(request.query_string(), &[])?;
    app.registry.picture().await.map(Json).map_err(ApiError::unavailable)
}
