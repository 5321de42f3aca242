//! What the metrics say, as the rules want it.

use call_control::alerts::{Figure, Sample, Timing};
use prometheus::proto::{Metric, MetricFamily};

/// The series of a metric that make up a figure, each with a sign.
struct Source {
    figure: Figure,
    metric: &'static str,
    /// Only series with this label.
    label: Option<(&'static str, &'static str)>,
    sign: f64,
}

const fn all(figure: Figure, metric: &'static str) -> Source {
    Source { figure, metric, label: None, sign: 1.0 }
}

const fn less(figure: Figure, metric: &'static str) -> Source {
    Source { figure, metric, label: None, sign: -1.0 }
}

const fn of(figure: Figure, metric: &'static str, label: &'static str, value: &'static str) -> Source {
    Source { figure, metric, label: Some((label, value)), sign: 1.0 }
}

const fn cause(figure: Figure, name: &'static str) -> Source {
    of(figure, "switchboard_health_causes", "cause", name)
}

const fn warning(figure: Figure, name: &'static str) -> Source {
    of(figure, "switchboard_health_warnings", "warning", name)
}

/// Where each figure comes from; the requests have more to them and are below.
const SOURCES: &[Source] = &[
    all(Figure::PoolDemand, "switchboard_db_pool_connections"),
    less(Figure::PoolDemand, "switchboard_db_pool_idle_connections"),
    all(Figure::PoolDemand, "switchboard_db_pool_waiting_queries"),
    all(Figure::PoolLimit, "switchboard_db_pool_limit"),
    all(Figure::MemoryUsed, "process_resident_memory_bytes"),
    all(Figure::MemoryLimit, "switchboard_memory_limit_bytes"),
    all(Figure::CallsHeld, "switchboard_calls_active"),
    all(Figure::CallsHeld, "switchboard_calls_reserved"),
    all(Figure::CallsLimit, "switchboard_calls_limit"),
    of(Figure::CallersTurnedAway, "switchboard_admissions_total", "result", "full"),
    of(Figure::CallersWithoutHeadroom, "switchboard_admissions_total", "result", "no-headroom"),
    all(Figure::CallsEnded, "switchboard_call_ends_total"),
    of(Figure::CallsFailed, "switchboard_call_ends_total", "outcome", "failed"),
    all(Figure::CallerFrames, "switchboard_caller_frames_total"),
    all(Figure::CallerFramesDropped, "switchboard_caller_frames_dropped_total"),
    all(Figure::OneWayAudio, "switchboard_one_way_audio_total"),
    all(Figure::SpoolPending, "switchboard_spool_pending_records"),
    all(Figure::SpoolOldestSeconds, "switchboard_spool_oldest_seconds"),
    all(Figure::SpoolAside, "switchboard_spool_aside_records"),
    all(Figure::SpoolFailures, "switchboard_spool_failures_total"),
    all(Figure::RecordsLost, "switchboard_db_unwritten_records_total"),
    all(Figure::WebhooksPending, "switchboard_webhooks_pending"),
    all(Figure::WebhooksDead, "switchboard_webhooks_dead"),
    of(Figure::WebhooksNotStored, "switchboard_webhooks_received_total", "result", "unavailable"),
    all(Figure::WebhooksForged, "switchboard_webhooks_forged_total"),
    of(Figure::WebhooksLimited, "switchboard_rate_limited_total", "class", "webhook"),
    all(Figure::RealtimeConnects, "switchboard_realtime_connects_total"),
    of(Figure::RealtimeConnectsFailed, "switchboard_realtime_connects_total", "result", "failed"),
    all(Figure::RealtimeResponses, "switchboard_realtime_responses_total"),
    of(Figure::RealtimeResponsesFailed, "switchboard_realtime_responses_total", "status", "failed"),
    all(Figure::RealtimeReconnects, "switchboard_realtime_reconnects_total"),
    all(Figure::ActorRestarts, "switchboard_actor_restarts_total"),
    of(Figure::JobFailures, "switchboard_job_runs_total", "result", "failed"),
    of(Figure::JobFailures, "switchboard_job_runs_total", "result", "timed-out"),
    of(Figure::JobFailures, "switchboard_job_runs_total", "result", "panicked"),
    cause(Figure::DatabaseReadOnly, "database-read-only"),
    cause(Figure::DatabaseUnavailable, "database-unavailable"),
    cause(Figure::RecordsWait, "records-wait"),
    cause(Figure::RealtimeRefused, "realtime-refused"),
    cause(Figure::RealtimeUnreachable, "realtime-unreachable"),
    cause(Figure::RealtimeResponsesFail, "realtime-responses-fail"),
    warning(Figure::WebhooksRefused, "webhooks-refused"),
    warning(Figure::AgentFileNotUsed, "agent-file-not-used"),
    warning(Figure::RedisAway, "redis-away"),
    warning(Figure::CertificateNotUsed, "certificate-not-used"),
    warning(Figure::CertificateEndsSoon, "certificate-ends-soon"),
];

/// Where each timing comes from; that of the requests is below.
const TIMINGS: &[(Timing, &str)] = &[
    (Timing::Turn, "switchboard_turn_latency_seconds"),
    (Timing::WebhookDelay, "switchboard_webhook_delay_seconds"),
];
const REQUESTS: &str = "switchboard_http_requests_total";
const DURATIONS: &str = "switchboard_http_request_duration_seconds";

/// What the metrics say now.
pub fn sample(families: &[MetricFamily]) -> Sample {
    let mut sample = Sample::default();
    for family in families {
        let name = family.name();
        for source in SOURCES.iter().filter(|source| source.metric == name) {
            for metric in family.get_metric().iter().filter(|metric| source.takes(metric)) {
                sample.add(source.figure, value(metric) * source.sign);
            }
        }
        for (timing, _) in TIMINGS.iter().filter(|(_, metric)| *metric == name) {
            family.get_metric().iter().for_each(|metric| time(&mut sample, *timing, metric));
        }
        match name {
            REQUESTS => family.get_metric().iter().for_each(|metric| requests(&mut sample, metric)),
            DURATIONS => {
                for metric in family.get_metric() {
                    if let Some(class) = label(metric, "route").and_then(Class::of) {
                        time(&mut sample, class.timing(), metric);
                    }
                }
            }
            _ => {}
        }
    }
    sample
}

impl Source {
    fn takes(&self, metric: &Metric) -> bool {
        self.label.is_none_or(|(name, value)| label(metric, name) == Some(value))
    }
}

/// Who asks. Pages, probes and paths that lead nowhere are judged by nobody.
#[derive(Clone, Copy)]
enum Class {
    Api,
    Webhook,
}

impl Class {
    fn of(route: &str) -> Option<Self> {
        if route.starts_with("/api/voice/") {
            return Some(Self::Webhook);
        }
        route.starts_with("/api/").then_some(Self::Api)
    }

    fn timing(self) -> Timing {
        match self {
            Self::Api => Timing::ApiResponse,
            Self::Webhook => Timing::WebhookResponse,
        }
    }

    /// All of them, and those that went wrong.
    fn figures(self) -> (Figure, Figure) {
        match self {
            Self::Api => (Figure::ApiRequests, Figure::ApiErrors),
            Self::Webhook => (Figure::WebhookRequests, Figure::WebhookErrors),
        }
    }
}

fn requests(sample: &mut Sample, metric: &Metric) {
    let Some(class) = label(metric, "route").and_then(Class::of) else { return };
    let (all, errors) = class.figures();
    let (status, is_webhook) = (label(metric, "status"), matches!(class, Class::Webhook));
    if is_webhook && status == Some("4xx") {
        return;
    }
    sample.add(all, value(metric));
    if status == Some("5xx") || (is_webhook && status == Some("none")) {
        sample.add(errors, value(metric));
    }
}

fn time(sample: &mut Sample, timing: Timing, metric: &Metric) {
    let histogram = metric.get_histogram();
    let buckets =
        histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    sample.timing_mut(timing).add(buckets, histogram.get_sample_count());
}

/// Of a counter or a gauge; the one that it is not is 0.
fn value(metric: &Metric) -> f64 {
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

fn label<'a>(metric: &'a Metric, name: &str) -> Option<&'a str> {
    metric.get_label().iter().find(|label| label.name() == name).map(|label| label.value())
}

/// Every metric that is read here.
pub fn metrics_read() -> impl Iterator<Item = &'static str> {
    let timings = TIMINGS.iter().map(|(_, metric)| *metric);
    SOURCES.iter().map(|source| source.metric).chain(timings).chain([REQUESTS, DURATIONS])
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;
    use crate::health::{CAUSES, WARNINGS};

    #[test]
    fn figures_are_read_from_the_metrics_by_their_labels() {
        let registry = Registry::new();
        let gauge = |name: &str, value| {
            let gauge = IntGauge::new(name, "help").unwrap();
            gauge.set(value);
            registry.register(Box::new(gauge)).unwrap();
        };
        gauge("switchboard_db_pool_connections", 20);
        gauge("switchboard_db_pool_idle_connections", 15);
        gauge("switchboard_db_pool_waiting_queries", 2);
        let requests =
            IntCounterVec::new(Opts::new(REQUESTS, "help"), &["route", "method", "status"]).unwrap();
        registry.register(Box::new(requests.clone())).unwrap();
        for (route, status, count) in [
            ("/api/call-logs", "2xx", 7),
            ("/api/call-logs", "5xx", 2),
            ("/api/audit", "4xx", 1),
            ("/api/voice/incoming", "2xx", 5),
            ("/api/voice/incoming", "4xx", 3),
            ("/api/voice/incoming", "none", 1),
            ("/healthz", "5xx", 9),
            ("none", "5xx", 9),
        ] {
            requests.with_label_values(&[route, "GET", status]).inc_by(count);
        }
        let sample = sample(&registry.gather());
        for (figure, expected) in [
            (Figure::PoolDemand, Some(7.0)),
            (Figure::ApiRequests, Some(10.0)),
            (Figure::ApiErrors, Some(2.0)),
            (Figure::WebhookRequests, Some(6.0)),
            (Figure::WebhookErrors, Some(1.0)),
            (Figure::PoolLimit, None),
        ] {
            assert_eq!(sample.get(figure), expected, "{figure:?}");
        }
    }

    #[test]
    fn times_of_all_routes_of_a_class_are_one_histogram() {
        let registry = Registry::new();
        let opts = HistogramOpts::new(DURATIONS, "help").buckets(vec![1.0, 2.0]);
        let times = HistogramVec::new(opts, &["route"]).unwrap();
        registry.register(Box::new(times.clone())).unwrap();
        for (route, seconds) in [("/api/audit", 0.5), ("/api/call-logs", 1.5), ("/api/voice/incoming", 9.0)] {
            times.with_label_values(&[route]).observe(seconds);
        }
        let sample = sample(&registry.gather());
        let mut expected = call_control::alerts::Buckets::default();
        expected.add([(1.0, 1), (2.0, 2)], 2);
        assert_eq!(*sample.timing(Timing::ApiResponse), expected);
        assert_eq!(sample.timing(Timing::WebhookResponse).all(), 1.0);
    }

    #[test]
    fn every_cause_and_warning_of_the_health_has_a_rule_or_a_reason() {
        // Others have a rule with a figure of its own; three are settings, which the start says aloud.
        const ELSEWHERE: [&str; 5] =
            ["records-set-aside", "full-house", "twilio-validation-bypassed", "api-auth-off", "no-users"];
        for name in CAUSES.iter().chain(&WARNINGS) {
            let is_read = SOURCES.iter().any(|source| source.label.is_some_and(|(_, value)| value == *name));
            assert!(is_read != ELSEWHERE.contains(name), "{name}");
        }
    }
}
