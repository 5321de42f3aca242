//! Which trace a span belongs to.

use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span};

/// The field that names a span's call.
const CALL_SID: &str = "call.sid";

/// Puts a span that has no parent here, and names a call, into the trace of that call.
#[derive(Debug)]
pub(super) struct CallTracer(pub(super) SdkTracer);

impl Tracer for CallTracer {
    type Span = Span;

    fn build_with_context(&self, span: SpanBuilder, parent: &Context) -> Span {
        let of_call = span.attributes.iter().flatten().find_map(trace_id);
        match of_call {
            Some(trace_id) if !parent.has_active_span() => {
                // Another process may have spans of the trace, and nobody knows which would be the parent: it has none.
                let (parent_id, sampled) = (SpanId::INVALID, TraceFlags::SAMPLED);
                let trace = SpanContext::new(trace_id, parent_id, sampled, true, TraceState::default());
                self.0.build_with_context(span, &parent.with_remote_span_context(trace))
            }
            _ => self.0.build_with_context(span, parent),
        }
    }
}

/// The trace of the call that is named.
fn trace_id(attribute: &KeyValue) -> Option<TraceId> {
    match &attribute.value {
        Value::String(sid) if attribute.key.as_str() == CALL_SID => {
            TraceId::from_hex(sid.as_str().strip_prefix("CA")?).ok()
        }
        _ => None,
    }
}
