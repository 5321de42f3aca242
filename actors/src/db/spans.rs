//! What the database is asked about calls, and what is written of them: a span in the trace of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::Span;
use tracing::field::{Empty, display};

use super::connect::error::DbError;
use super::webhooks::Webhook;
use super::write::record::Record;
use crate::wire::twilio::sid::CallSid;

/// The field that marks a span as failed, and says why (OpenTelemetry's status).
const FAILURE: &str = "otel.status_description";

/// Something that is asked or kept of a call, `query` as in the metrics.
pub(super) fn query(query: &'static str, call_sid: CallSid) -> Span {
    tracing::info_span!("db", call.sid = %call_sid, query, otel.status_description = Empty)
}

/// A webhook that is stored, or none if it names no call.
pub(super) fn storing(webhook: &Webhook) -> Span {
    let Some(call_sid) = &webhook.call_sid else { return Span::none() };
    tracing::info_span!("db", call.sid = call_sid, query = "store_webhook", otel.status_description = Empty)
}

/// A webhook that is processed, or none if it names no call.
pub(super) fn processing(webhook: &Webhook) -> Span {
    let Some(call_sid) = &webhook.call_sid else { return Span::none() };
    let route = webhook.route.as_str();
    tracing::info_span!(
        parent: None, "webhook worker", call.sid = call_sid, route, otel.status_description = Empty
    )
}

/// Records that are written together, by call.
pub(super) fn writing(records: &[Arc<Record>]) -> Vec<Span> {
    let mut of_calls = BTreeMap::<CallSid, Vec<&str>>::new();
    for record in records {
        if let Some(call_sid) = record.call_sid() {
            of_calls.entry(call_sid).or_default().push(record.kind());
        }
    }
    let span = |(call_sid, records): (CallSid, Vec<&str>)| {
        let records = records.join(",");
        tracing::info_span!(
            parent: None, "db write", call.sid = %call_sid, records, otel.status_description = Empty
        )
    };
    of_calls.into_iter().map(span).collect()
}

/// A record that is set aside, or none if it is of no call.
pub(super) fn setting_aside(record: &Record) -> Span {
    let Some(call_sid) = record.call_sid() else { return Span::none() };
    tracing::info_span!(parent: None, "db set aside", call.sid = %call_sid, records = record.kind())
}

/// What one of these spans stands for has failed.
pub(super) fn failed(span: &Span, error: &DbError) {
    span.record(FAILURE, display(error));
}

/// The outcome of a flight that one of these spans stands for each of several calls.
pub(super) async fn flown<T>(
    spans: Vec<Span>,
    flight: impl Future<Output = Result<T, DbError>>,
) -> Result<T, DbError> {
    flight.await.inspect_err(|error| spans.iter().for_each(|span| failed(span, error)))
}
