//! Which trace a span belongs to.

use std::cell::Cell;

use opentelemetry::trace::{SpanBuilder, SpanId, TraceId, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, Span};

/// The field that names a span's call.
const CALL_SID: &str = "call.sid";

thread_local! {
    /// The trace of the call that the span names which is being made on this thread.
    static OF_CALL: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Makes spans. One that has no parent and names a call begins no trace, but joins that of the call: the SDK,
/// told so by [`CallIds`], makes it a root of it.
#[derive(Debug)]
pub(super) struct CallTracer(pub(super) SdkTracer);

impl Tracer for CallTracer {
    type Span = Span;

    fn build_with_context(&self, span: SpanBuilder, parent: &Context) -> Span {
        OF_CALL.set(span.attributes.iter().flatten().find_map(trace_id));
        self.0.build_with_context(span, parent)
    }
}

/// Names the traces that a [`CallTracer`] begins or joins.
#[derive(Debug, Default)]
pub(super) struct CallIds(RandomIdGenerator);

impl IdGenerator for CallIds {
    fn new_trace_id(&self) -> TraceId {
        OF_CALL.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

fn trace_id(attribute: &KeyValue) -> Option<TraceId> {
    match &attribute.value {
        Value::String(sid) if attribute.key.as_str() == CALL_SID => {
            TraceId::from_hex(sid.as_str().strip_prefix("CA")?).ok()
        }
        _ => None,
    }
}
