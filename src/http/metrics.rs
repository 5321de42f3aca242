//! `GET /metrics`: everything that is counted, as Prometheus reads it.
//!
//! It is put together on a thread of its own: the worker, and with it the audio of its calls, goes on
//! meanwhile. One thread does this at a time. All requests that come meanwhile share the next result.

use std::sync::Arc;
use std::time::Instant;

use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use prometheus::{Registry, TextEncoder};
use tokio::sync::Mutex;

use super::pieces::Pieces;
use super::problem::ApiError;
use super::{auth, health};
use crate::app::App;

/// The last scrape. A request waits while another request's scrape is put together.
#[derive(Default)]
pub struct Scraped(Arc<Mutex<Option<Scrape>>>);

struct Scrape {
    begun_at: Instant,
    text: Bytes,
}

impl Scraped {
    /// A scrape that began after this was called. `encode` may run for a request that is gone.
    async fn get(
        &self,
        encode: impl FnOnce() -> prometheus::Result<String> + Send + 'static,
    ) -> Result<Bytes, ApiError> {
        let asked_at = Instant::now();
        let mut last = self.0.clone().lock_owned().await;
        if let Some(scrape) = last.as_ref().filter(|scrape| scrape.begun_at >= asked_at) {
            return Ok(scrape.text.clone());
        }
        let put_together = web::block(move || {
            let begun_at = Instant::now();
            let text = Bytes::from(encode()?);
            *last = Some(Scrape { begun_at, text: text.clone() });
            Ok(text)
        });
        let text: prometheus::Result<Bytes> = put_together.await.map_err(ApiError::unavailable)?;
        text.map_err(ApiError::unavailable)
    }
}

/// On the main port; nothing is there where the metrics have an address of their own.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "process",
    summary = "The metrics",
    description = "In the text format of Prometheus. Open to everybody, unless METRICS_AUTH is `token`: then a session or token with the scope `metrics` is needed.",
    responses(
        (status = 200, description = "All metrics", content_type = "text/plain", body = String),
        (status = 401, description = "With METRICS_AUTH=token: nobody is logged in"),
        (status = 403, description = "With METRICS_AUTH=token: the scope `metrics` is missing"),
        (status = 404, description = "The metrics have an address of their own"),
        (status = 429, description = "With METRICS_AUTH=token: too many wrong tokens"),
        (status = 503, description = "It cannot be looked up who asks, or there was no answer within 20 s"),
    ),
)]
pub async fn metrics(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    if app.settings.http.metrics_addr.is_some() {
        return Err(ApiError::NotFound);
    }
    page(app, request).await
}

/// On an address of its own.
pub async fn page(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    auth::may_read_metrics(&app, &request).await?;
    let state = health::state(&app);
    app.health_metrics.show(&state.causes, &state.warnings);
    let shared = app.clone();
    let text = app.scraped.get(move || encode(&shared.metrics)).await?;
    Ok(HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(Pieces::from(text)))
}

/// All that is registered, in Prometheus' text format.
///
/// # Errors
/// A metric of no kind that the format knows.
pub fn encode(metrics: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&metrics.gather())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use futures_util::future::join_all;
    use futures_util::{join, poll};

    use super::*;

    #[actix_rt::test]
    async fn requests_that_come_during_a_scrape_share_the_next_one() {
        let scraped = Scraped::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let (begins, has_begun) = tokio::sync::oneshot::channel();
        let (release, held) = channel();
        let count = begun.clone();
        let first = scraped.get(move || {
            begins.send(()).expect("the others wait for it");
            held.recv().expect("the test lets it go on");
            Ok(count.fetch_add(1, Ordering::SeqCst).to_string())
        });
        let others = async {
            has_begun.await.expect("a scrape begins");
            let mut others = join_all((0..40).map(|_| {
                let count = begun.clone();
                scraped.get(move || Ok(count.fetch_add(1, Ordering::SeqCst).to_string()))
            }));
            assert!(poll!(&mut others).is_pending(), "they have asked");
            release.send(()).expect("the scrape waits");
            others.await
        };
        let (first, others) = join!(first, others);
        assert_eq!(first.expect("a scrape"), "0");
        for other in others {
            assert_eq!(other.expect("a scrape"), "1", "it began after it was asked for");
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        let later = scraped.get(|| Ok("later".to_owned())).await;
        assert_eq!(later.expect("a scrape"), "later", "nothing old is shown");
    }
}
