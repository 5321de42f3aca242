//! `GET /api/call-monitor`: the live picture.
//!
//! It is drawn once for all who ask within a moment: many pages cost the registry no more than one.

use std::time::{Duration, Instant};

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use actors::registry::picture::{Capacity, Picture};
use tokio::sync::Mutex;

use super::call_logs::query;
use super::pieces::Pieces;
use super::problem::ApiError;
use super::worker::Kind;
use crate::app::App;

/// A picture is shown so long, unless a call came or went meanwhile.
const SHOWN_FOR: Duration = Duration::from_millis(250);

/// The last picture. Whoever asks while it is drawn waits for it, as long as the registry may take for an
/// answer.
#[derive(Default)]
pub struct Drawn(Mutex<Option<Shown>>);

struct Shown {
    at: Instant,
    capacity: Capacity,
    /// As JSON; none if it could not be had.
    body: Option<Bytes>,
}

impl Shown {
    /// Whether it is still to be shown. That there was none is shown on, too: nobody waits for it once more.
    fn is_fresh(&self, capacity: Capacity, now: Instant) -> bool {
        let is_recent = now.saturating_duration_since(self.at) < SHOWN_FOR;
        is_recent && (self.capacity == capacity || self.body.is_none())
    }
}

#[utoipa::path(
    get,
    path = "/api/call-monitor",
    operation_id = "liveCalls",
    tag = "calls",
    summary = "The live calls",
    description = "The answer may be up to 250 ms old, unless a call came or went.",
    responses(
        (status = 200, description = "The calls on the line", body = Picture),
    ),
)]
pub async fn call_monitor(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let body = picture(&app).await.ok_or(ApiError::Unavailable)?;
    Ok(Pieces::from(body).into_json())
}

async fn picture(app: &App) -> Option<Bytes> {
    let mut last = app.drawn.0.lock().await;
    let capacity = app.registry.capacity();
    if let Some(shown) = last.as_ref().filter(|shown| shown.is_fresh(capacity, Instant::now())) {
        return shown.body.clone();
    }
    let drawn = app.registry.picture().await.map_err(|cause| cause.to_string());
    let drawn = match drawn {
        Ok(picture) => {
            let encoded = app.api.run(Kind::Picture, async move || serde_json::to_vec(&picture)).await;
            let encoded = encoded.map_err(|cause| cause.to_string());
            encoded.and_then(|encoded| encoded.map_err(|cause| cause.to_string()))
        }
        Err(cause) => Err(cause),
    };
    let body = drawn.inspect_err(|cause| tracing::warn!(cause, "the live picture cannot be had")).ok();
    let shown = last.insert(Shown { at: Instant::now(), capacity, body: body.map(Bytes::from) });
    shown.body.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_shown_for_a_moment_and_not_after_a_call_came_or_went() {
        let capacity = |active| Capacity { limit: 2, active, reserved: 0, queued: 0, available: 2 - active };
        let at = Instant::now();
        let shown = Shown { at, capacity: capacity(1), body: Some(Bytes::new()) };
        assert!(shown.is_fresh(capacity(1), at + SHOWN_FOR / 2));
        assert!(!shown.is_fresh(capacity(1), at + SHOWN_FOR));
        assert!(!shown.is_fresh(capacity(2), at));
        let none = Shown { body: None, ..shown };
        assert!(none.is_fresh(capacity(2), at));
        assert!(!none.is_fresh(capacity(2), at + SHOWN_FOR));
    }
}
