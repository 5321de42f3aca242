//! `GET /api/call-monitor`: the live picture.

use actix_web::web::{Data, Json};
use actors::registry::picture::Picture;

use super::problem::ApiError;
use crate::app::App;

pub async fn call_monitor(app: Data<App>) -> Result<Json<Picture>, ApiError> {
    app.registry.picture().await.map(Json).map_err(ApiError::unavailable)
}
