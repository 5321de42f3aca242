//! What is counted of requests: by route, as the list of routes has it, never by path.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actors::metrics::{Counted, Registrar};
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

use crate::app::App;

/// From an answer out of memory to a request that is given up, in seconds.
const DURATION_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 15.0];
/// The route of a path that leads nowhere.
const NOWHERE: &str = "none";

/// The metrics of the doors.
pub struct RequestMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    pub(super) forged: IntCounter,
}

impl RequestMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// The registry has them already.
    pub fn register(registry: &dyn Registrar) -> prometheus::Result<Self> {
        let durations = HistogramOpts::new(
            "switchboard_http_request_duration_seconds",
            "From a request's head to that of its answer, by route",
        );
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new(
                    "switchboard_http_requests_total",
                    "Requests answered, by route, method and class of status",
                ),
                &["route", "method", "status"],
            )?,
            durations: HistogramVec::new(durations.buckets(DURATION_BUCKETS.to_vec()), &["route"])?,
            in_flight: IntGauge::new(
                "switchboard_http_requests_in_flight",
                "Requests that have no answer yet",
            )?,
            forged: IntCounter::new(
                "switchboard_webhooks_forged_total",
                "Webhooks and media streams refused for their signature",
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.durations.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.forged.clone()))?;
        Ok(metrics)
    }

    /// A request of this route was answered.
    pub fn answered(&self, route: Option<&str>, method: &Method, status: StatusCode, seconds: f64) {
        let route = route.unwrap_or(NOWHERE);
        self.requests.with_label_values(&[route, method_label(method), class(status)]).inc();
        self.durations.with_label_values(&[route]).observe(seconds);
    }
}

/// Wraps all routes. The answer to a media stream's upgrade is counted, not the stream.
pub async fn count<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let Some(app) = request.app_data::<Data<App>>().cloned() else { return next.call(request).await };
    let (route, method) = (request.match_pattern(), request.method().clone());
    let _in_flight = Counted::one_of(&app.requests.in_flight);
    let began = Instant::now();
    let answer = next.call(request).await;
    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    app.requests.answered(route.as_deref(), &method, status, began.elapsed().as_secs_f64());
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
