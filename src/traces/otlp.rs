//! Spans as OTLP writes them in JSON: identifiers in hexadecimal digits, times and integers as texts (OpenTelemetry
//! Protocol, "JSON Protobuf Encoding").

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::{Fields, Note, Span, Value};

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;
/// What a note's text is called among its fields.
const MESSAGE: &str = "message";

/// The body of an export: these spans, of this instance.
pub(super) fn export(instance: &str, spans: &[Span]) -> Json {
    let about = [
        ("service.name", "switchboard"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    let about = about.map(|(name, value)| attribute(name, &Value::Text(value.to_owned())));
    json!({"resourceSpans": [{
        "resource": {"attributes": about},
        "scopeSpans": [{
            "scope": {"name": "switchboard"},
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }]})
}

fn span(span: &Span) -> Json {
    json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.id),
        "parentSpanId": span.parent_id.map_or_else(String::new, |id| format!("{id:016x}")),
        "name": span.name,
        "kind": INTERNAL,
        "startTimeUnixNano": nanos(span.began),
        "endTimeUnixNano": nanos(span.ended),
        "attributes": attributes(&span.fields),
        "events": span.notes.iter().map(note).collect::<Vec<_>>(),
        "droppedEventsCount": span.forgotten,
    })
}

fn note(note: &Note) -> Json {
    let message = note.fields.0.iter().find_map(|(name, value)| match value {
        Value::Text(text) if *name == MESSAGE => Some(text.as_str()),
        _ => None,
    });
    json!({
        "timeUnixNano": nanos(note.at),
        "name": message.unwrap_or_default(),
        "attributes": attributes(&note.fields),
    })
}

fn attributes(fields: &Fields) -> Vec<Json> {
    let named = fields.0.iter().filter(|(name, _)| *name != MESSAGE);
    named.map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Integer(integer) => json!({"intValue": integer.to_string()}),
        Value::Float(float) => json!({"doubleValue": float}),
        Value::Truth(truth) => json!({"boolValue": truth}),
    };
    json!({"key": name, "value": value})
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_span_is_written_as_the_protocol_has_it() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let message = ("message", Value::Text("the media stream is open".to_owned()));
        let exported = export(
            "here:8080",
            &[Span {
                trace_id: 0xAB,
                id: 1,
                parent_id: Some(2),
                name: "media stream",
                began: at(1),
                ended: at(3),
                fields: Fields(vec![("epoch", Value::Integer(7))]),
                notes: [Note { at: at(2), fields: Fields(vec![message, ("lost", Value::Truth(true))]) }]
                    .into(),
                forgotten: 5,
            }],
        );
        let resource = &exported["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"][2],
            json!({"key": "service.instance.id", "value": {"stringValue": "here:8080"}})
        );
        let expected = json!([{
            "traceId": "000000000000000000000000000000ab",
            "spanId": "0000000000000001",
            "parentSpanId": "0000000000000002",
            "name": "media stream",
            "kind": 1,
            "startTimeUnixNano": "1000000000",
            "endTimeUnixNano": "3000000000",
            "attributes": [{"key": "epoch", "value": {"intValue": "7"}}],
            "events": [{
                "timeUnixNano": "2000000000",
                "name": "the media stream is open",
                "attributes": [{"key": "lost", "value": {"boolValue": true}}],
            }],
            "droppedEventsCount": 5,
        }]);
        assert_eq!(resource["scopeSpans"][0]["spans"], expected);
    }
}
