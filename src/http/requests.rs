//! What is counted of requests: by route, as the list of routes has it, never by path.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actors::metrics::Counted;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge};

use crate::app::App;

/// From an answer out of memory to a request that is given up, in seconds.
const DURATION_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0];
/// The route of a path that leads nowhere.
const NOWHERE: &str = "none";
/// The status of a request that got no answer.
const UNANSWERED: &str = "none";
/// Probes and scrapes. They would hide how other requests do.
const PROBES: [&str; 3] = ["/healthz", "/metrics", "/readyz"];

actors::metrics! {
    /// The metrics of the doors.
    pub struct RequestMetrics {
        /// Requests, by route, method and class of the answer's status: `none` where the handler panicked or
        /// the client left before.
        requests: IntCounterVec = "switchboard_http_requests_total" ["route", "method", "status"];
        /// Requests other than probes and scrapes, by class of the answer's status. Each class is shown from
        /// the start, so that the first failure counts.
        answers: IntCounterVec = "switchboard_http_answers_total"
            ["status" = &["1xx", "2xx", "3xx", "4xx", "5xx", UNANSWERED]];
        /// From a request's head to that of its answer, or to its end without one, by route.
        durations: HistogramVec = "switchboard_http_request_duration_seconds" ["route"] {DURATION_BUCKETS};
        /// Requests that have no answer yet.
        in_flight: IntGauge = "switchboard_http_requests_in_flight";
        /// Webhooks and media streams refused for their signature.
        pub(super) forged: IntCounter = "switchboard_webhooks_forged_total";
    }
}

impl RequestMetrics {
    /// A request of this route is over; with this status if it was answered.
    pub fn count(&self, route: Option<&str>, method: &Method, status: Option<StatusCode>, seconds: f64) {
        let (route, status) = (route.unwrap_or(NOWHERE), status.map_or(UNANSWERED, class));
        self.requests.with_label_values(&[route, method_label(method), status]).inc();
        self.durations.with_label_values(&[route]).observe(seconds);
        if !PROBES.contains(&route) {
            self.answers.with_label_values(&[status]).inc();
        }
    }
}

/// A request, counted when it is dropped: whatever ended it.
struct UnderWay {
    app: Data<App>,
    route: Option<String>,
    method: Method,
    began: Instant,
    status: Option<StatusCode>,
    /// In the metrics.
    _in_flight: Counted,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.app.requests.count(self.route.as_deref(), &self.method, self.status, seconds);
    }
}

/// Wraps all routes. The answer to a media stream's upgrade is counted, not the stream.
pub async fn count<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let Some(app) = request.app_data::<Data<App>>().cloned() else { return next.call(request).await };
    let mut under_way = UnderWay {
        route: request.match_pattern(),
        method: request.method().clone(),
        began: Instant::now(),
        status: None,
        _in_flight: Counted::one_of(&app.requests.in_flight),
        app,
    };
    let answer = next.call(request).await;
    under_way.status = Some(match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    });
    answer
}

/// Anybody can invent a method.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_end_where_answers_are_judged() {
        // Half a second for the log, two and five seconds for any answer (the load tests' limits).
        assert!([0.5, 2.0, 5.0].iter().all(|limit| DURATION_BUCKETS.contains(limit)));
    }
}
