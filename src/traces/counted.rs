//! What becomes of spans, counted: the library would drop in silence what finds no room.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

use super::METRICS;

/// Spans that wait to be sent, or are on their way; one more is lost.
pub(super) const QUEUE: usize = 4_096;
/// Spans of one request.
const BATCH: usize = 512;
/// The first span of a request waits so long for others.
const GATHER: Duration = Duration::from_secs(1);

/// Hands spans that have ended to the thread of the exporter, some at a time, and those that find no room to
/// nobody.
#[derive(Debug)]
pub(super) struct CountedBatches {
    batches: BatchSpanProcessor,
    under_way: Arc<AtomicUsize>,
}

impl CountedBatches {
    /// `rejected`: the spans of the last batch that the collector says it did not keep.
    pub(super) fn to(exporter: impl SpanExporter + 'static, rejected: Arc<AtomicU64>) -> Self {
        let under_way = Arc::new(AtomicUsize::new(0));
        let exporter = CountedExporter {
            exporter,
            rejected,
            under_way: under_way.clone(),
            refused: AtomicBool::new(false),
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(GATHER)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        Self { batches, under_way }
    }
}

impl SpanProcessor for CountedBatches {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let room = |under_way| (under_way < QUEUE).then_some(under_way + 1);
        match self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room) {
            Ok(_) => self.batches.on_end(span),
            Err(_) => METRICS.spans.with_label_values(&["dropped"]).inc(),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// An exporter; the log tells when it begins to fail.
struct CountedExporter<E> {
    exporter: E,
    rejected: Arc<AtomicU64>,
    under_way: Arc<AtomicUsize>,
    /// Was the last batch?
    refused: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for CountedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        self.rejected.store(0, Ordering::Relaxed);
        let sent = self.exporter.export(batch).await;
        self.under_way.fetch_sub(spans as usize, Ordering::Relaxed);
        let refused = if sent.is_ok() { self.rejected.load(Ordering::Relaxed).min(spans) } else { spans };
        METRICS.spans.with_label_values(&["sent"]).inc_by(spans - refused);
        METRICS.spans.with_label_values(&["refused"]).inc_by(refused);
        let was_refused = self.refused.swap(refused > 0, Ordering::Relaxed);
        if refused > 0 && !was_refused {
            let error = sent.as_ref().err().map(ToString::to_string);
            let error = error.as_deref().unwrap_or("it answered with success and rejected them");
            tracing::warn!(error, refused, spans, "spans are lost: the collector does not take them");
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Without the exporter, whose headers hold secrets.
impl<E> fmt::Debug for CountedExporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedExporter").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}
