//! Traces: what was done for a call and how long it took, for whoever looks into one that went wrong.
//!
//! With `OTEL_EXPORTER_OTLP_ENDPOINT` each span that has ended is sent to a collector, with what was logged in it. Its
//! trace has the call's SID for an id, without the first two letters: whatever any process does for a call is one trace,
//! nothing needs to be carried along for that, and it is found by the SID that the log shows. Nobody waits for a
//! collector: spans that find no room, or whose batch it does not take, are counted and lost. Without the variable no
//! span is made.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use actors::metrics::Registrar;
use prometheus::{IntCounterVec, Opts};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

pub use self::exporter::{Exporter, start};

mod exporter;
mod otlp;

/// Spans that wait to be sent; one more is lost.
const QUEUE: usize = 4_096;
/// The newest of what was logged in one span is kept.
const MAX_NOTES: usize = 64;
/// The field that names a span's trace.
const CALL_SID: &str = "call.sid";

/// The logging of a process is one for all of it, and so is this.
static SPANS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Spans of calls, by what became of them: `sent`, `dropped` (there was no room) or `refused`";
    IntCounterVec::new(Opts::new("switchboard_trace_spans_total", help), &["result"])
        .expect("the name is valid")
});

/// Registers the metrics of the traces.
///
/// # Errors
/// The registry has them already.
pub fn register(registry: &dyn Registrar) -> prometheus::Result<()> {
    registry.register(Box::new(SPANS.clone()))
}

/// Which spans and events are meant: our own, and none that are for developers.
pub fn filter() -> FilterFn {
    let is_ours = |metadata: &Metadata<'_>| {
        let crate_name = metadata.target().split("::").next();
        *metadata.level() <= Level::INFO && matches!(crate_name, Some("actors" | "switchboard"))
    };
    filter_fn(is_ours as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
}

/// Writes spans down and hands them over when they end; for [`tracing_subscriber`].
pub struct Spans {
    queue: mpsc::Sender<Span>,
}

/// A span, and what is known of it.
#[derive(Debug)]
struct Span {
    trace_id: u128,
    id: u64,
    parent_id: Option<u64>,
    name: &'static str,
    began: SystemTime,
    ended: SystemTime,
    fields: Fields,
    notes: VecDeque<Note>,
    /// Older ones that were not kept.
    forgotten: u32,
}

/// Something that was logged in a span.
#[derive(Debug)]
struct Note {
    at: SystemTime,
    fields: Fields,
}

/// What was said with a span or a note.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Truth(bool),
}

impl Fields {
    /// The trace that they name.
    fn trace_id(&self) -> Option<u128> {
        self.0.iter().find_map(|(name, value)| match value {
            Value::Text(sid) if *name == CALL_SID => u128::from_str_radix(sid.strip_prefix("CA")?, 16).ok(),
            _ => None,
        })
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), Value::Text(value.to_owned())));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), Value::Integer(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), Value::Float(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), Value::Truth(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push((field.name(), Value::Text(format!("{value:?}"))));
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Span>().map(|parent| (parent.trace_id, parent.id))
        });
        let began = SystemTime::now();
        let trace_id = fields.trace_id().or(parent.map(|(trace_id, _)| trace_id));
        span.extensions_mut().insert(Span {
            trace_id: trace_id.unwrap_or_else(rand::random),
            id: rand::random(),
            parent_id: parent.map(|(_, id)| id),
            name: attributes.metadata().name(),
            began,
            ended: began,
            fields,
            notes: VecDeque::new(),
            forgotten: 0,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(span) = span.extensions_mut().get_mut::<Span>() {
            values.record(&mut span.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else { return };
        if let Some(span) = span.extensions_mut().get_mut::<Span>() {
            let mut fields = Fields::default();
            event.record(&mut fields);
            if span.notes.len() == MAX_NOTES {
                span.notes.pop_front();
                span.forgotten += 1;
            }
            span.notes.push_back(Note { at: SystemTime::now(), fields });
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(span) = span.extensions_mut().remove::<Span>() else { return };
        let ended = SystemTime::now().max(span.began + Duration::from_nanos(1));
        if self.queue.try_send(Span { ended, ..span }).is_err() {
            SPANS.with_label_values(&["dropped"]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const SID: &str = "CA0123456789ABCDEF0123456789abcdef";

    fn layer(room: usize) -> (Spans, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(room);
        (Spans { queue }, spans)
    }

    #[test]
    fn a_call_is_a_trace_with_its_sid_for_an_id() {
        let (layer, mut ended) = layer(8);
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter()));
        tracing::subscriber::with_default(subscriber, || {
            let call =
                tracing::info_span!(parent: None, "call", call.sid = %SID, outcome = tracing::field::Empty);
            let stream = tracing::info_span!(parent: &call, "media stream", epoch = 1_u32);
            tracing::info!(parent: &stream, digits = 2, "a note");
            tracing::debug!(parent: &stream, "for developers");
            let elsewhere = tracing::info_span!(target: "elsewhere", parent: &call, "of another crate");
            call.record("outcome", "completed");
            drop((stream, call, elsewhere));
        });
        let stream = ended.try_recv().unwrap();
        let call = ended.try_recv().unwrap();
        assert!(ended.try_recv().is_err(), "there is no third span");
        assert_eq!((call.name, stream.name), ("call", "media stream"));
        assert_eq!(call.trace_id, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(stream.trace_id, call.trace_id);
        assert_eq!((call.parent_id, stream.parent_id), (None, Some(call.id)));
        assert_eq!(call.fields.0[1], ("outcome", Value::Text("completed".to_owned())));
        assert_eq!(stream.fields.0, [("epoch", Value::Integer(1))]);
        assert_eq!(stream.notes.len(), 1);
        assert_eq!(stream.notes[0].fields.0.len(), 2, "the message and what was said with it");
        assert!(call.ended > call.began);
    }

    #[test]
    fn of_a_long_call_the_last_notes_are_kept() {
        let (layer, mut ended) = layer(1);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let call = tracing::info_span!("call", call.sid = SID);
            (0..MAX_NOTES + 3).for_each(|number| tracing::info!(parent: &call, number, "a note"));
        });
        let call = ended.try_recv().unwrap();
        assert_eq!((call.notes.len(), call.forgotten), (MAX_NOTES, 3));
        assert!(call.notes[0].fields.0.contains(&("number", Value::Integer(3))));
    }

    #[test]
    fn a_span_that_finds_no_room_is_counted_and_lost() {
        let (layer, mut ended) = layer(1);
        let dropped = SPANS.with_label_values(&["dropped"]);
        let before = dropped.get();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            (0..3).for_each(|_| drop(tracing::info_span!("call", call.sid = SID)));
        });
        assert!(ended.try_recv().is_ok() && ended.try_recv().is_err());
        assert_eq!(dropped.get() - before, 2);
    }
}
