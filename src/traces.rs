//! Traces: what was done for a call and how long it took, for whoever looks into one that went wrong.
//!
//! With `OTEL_EXPORTER_OTLP_ENDPOINT` each span that has ended is sent to a collector, with what was logged
//! in it. Its trace has the call's SID for an id, without the first two letters: whatever any process does
//! for a call is one trace, nothing needs to be carried along for that, and it is found by the SID that the
//! log shows. Spans without a parent in their own process have none: a trace has several roots. Nobody waits
//! for a collector: spans that find no room, or whose batch it does not take, are counted and lost. Without
//! the variable no span is made.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actors::metrics::{MetricSet as _, Registrar};
use actors::secret::Secret;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanExporter};
use prometheus::IntCounterVec;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use self::client::CollectorClient;
use self::counted::CountedBatches;
use self::tracer::{CallIds, CallTracer};

mod client;
mod counted;
mod tracer;

/// The collector takes a batch within this, or loses it; the end of the process waits no longer, either.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);
/// The first of what was logged in one span is kept.
const MAX_NOTES: u32 = 256;

#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Where spans are sent by OTLP over HTTP (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` and `/v1/traces`).
    pub endpoint: Option<Url>,
    /// Sent along, such as an API key (`OTEL_EXPORTER_OTLP_TRACES_HEADERS`, or `OTEL_EXPORTER_OTLP_HEADERS`);
    /// the values are percent-encoded.
    pub headers: HashMap<String, Secret>,
    /// Whose traces they are (`OTEL_SERVICE_NAME`).
    pub service_name: String,
}

actors::metrics! {
    /// The metrics of the traces.
    struct TraceMetrics {
        /// Spans of calls, by what became of them: `sent`, `dropped` (there was no room) or `refused`.
        spans: IntCounterVec = "switchboard_trace_spans_total" ["result" = &["sent", "dropped", "refused"]];
    }
}

/// The logging of a process is one for all of it, and so is this.
static METRICS: LazyLock<TraceMetrics> =
    LazyLock::new(|| TraceMetrics::build().expect("names and labels are valid"));

/// Registers the metrics of the traces.
///
/// # Errors
/// The registry has them already.
pub fn register(registry: &dyn Registrar) -> prometheus::Result<()> {
    registry.register(Box::new(METRICS.clone()))
}

/// What sends spans. Its drop sends those that have ended so far, within 3 s.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts sending what `instance` does, on a thread of its own; none without a collector.
    ///
    /// # Errors
    /// The exporter does not take its settings.
    pub fn start(settings: &TraceSettings, instance: &str) -> Result<Option<Self>, ExporterBuildError> {
        let Some(endpoint) = &settings.endpoint else { return Ok(None) };
        let headers = settings.headers.iter();
        let client = CollectorClient::default();
        let rejected = client.rejected.clone();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint.as_str())
            .with_headers(headers.map(|(name, value)| (name.clone(), value.expose().to_owned())).collect())
            .with_timeout(TAKEN_WITHIN)
            .build()?;
        Ok(Some(Self::to(exporter, rejected, &settings.service_name, instance)))
    }

    fn to(
        exporter: impl SpanExporter + 'static,
        rejected: Arc<AtomicU64>,
        service_name: &str,
        instance: &str,
    ) -> Self {
        let about = [("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", instance)];
        let resource = Resource::builder()
            .with_service_name(service_name.to_owned())
            .with_attributes(about.map(|(name, value)| KeyValue::new(name, value.to_owned())))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(CountedBatches::to(exporter, rejected))
            .with_id_generator(CallIds::default())
            .with_sampler(Sampler::AlwaysOn)
            .with_max_events_per_span(MAX_NOTES)
            .with_resource(resource)
            .build();
        Self { provider }
    }

    /// Makes spans of our own that are not for developers.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(CallTracer(self.provider.tracer("switchboard")))
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(filter())
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // What a collector does not take in this time is lost, like any other span.
        let _ = self.provider.shutdown_with_timeout(TAKEN_WITHIN);
    }
}

fn filter() -> FilterFn {
    let is_ours = |metadata: &Metadata<'_>| {
        let crate_name = metadata.target().split("::").next();
        *metadata.level() <= Level::INFO && matches!(crate_name, Some("actors" | "switchboard"))
    };
    filter_fn(is_ours as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
}

#[cfg(test)]
mod tests;
