//! The HTTP client of the rest of the program, as the exporter wants one.
//!
//! The clients that `opentelemetry-otlp` brings are a second HTTP stack beside `awc`: 16 more crates with
//! reqwest, 10 with hyper. They would save [`send`] and nothing else, because neither counts the spans that a
//! collector rejects, and hyper's needs a runtime as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actors::wire::https;
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::TAKEN_WITHIN;

/// Longer answers of a collector are none.
const MAX_ANSWER: usize = 64 * 1024;

/// Opens a connection for each batch: there is about one a second.
#[derive(Debug, Default)]
pub(super) struct CollectorClient {
    /// Spans of the last batch that the collector took note of and did not keep.
    pub(super) rejected: Arc<AtomicU64>,
}

#[async_trait]
impl HttpClient for CollectorClient {
    /// Waits on the thread that it is polled on, which is the exporter's own and has no runtime.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = in_time(send(request)).flatten();
        let answer = answer.and_then(|answer| {
            self.rejected.store(rejected(&answer)?, Ordering::Relaxed);
            Ok(answer)
        });
        // The exporter tells its callers only that there was an error of the network.
        answer.inspect_err(|error| tracing::debug!(%error, "no answer of the collector"))
    }
}

/// Runs `work` on a runtime of its own, and waits no longer than a batch may take: not for the look-up of a
/// name, either.
pub(super) fn in_time<T>(work: impl Future<Output = T>) -> Result<T, HttpError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = LocalSet::new().block_on(&runtime, async { timeout(TAKEN_WITHIN, work).await });
    runtime.shutdown_background();
    Ok(done?)
}

async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = request.into_parts();
    let mut request = https::client().post(head.uri.to_string());
    for (name, value) in &head.headers {
        request = request.insert_header((name.as_str(), value.as_bytes()));
    }
    let mut answer = request.send_body(body).await.map_err(|error| error.to_string())?;
    let body = answer.body().limit(MAX_ANSWER).await?;
    let mut response = Response::builder().status(answer.status().as_u16());
    for (name, value) in answer.headers() {
        response = response.header(name.as_str(), value.as_bytes());
    }
    Ok(response.body(body)?)
}

/// How many spans of a batch the collector did not keep though it answered with success (OTLP, "Partial
/// Success"). An answer that is none of a collector, such as a proxy's page, means that nothing was kept.
fn rejected(answer: &Response<Bytes>) -> Result<u64, HttpError> {
    if !answer.status().is_success() || answer.body().is_empty() {
        return Ok(0); // what is no success is judged by the exporter
    }
    let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let count = match kind.split(';').next().unwrap_or_default().trim() {
        "application/x-protobuf" => ExportTraceServiceResponse::decode(answer.body().clone())
            .map(|told| told.partial_success.map_or(0, |partial| partial.rejected_spans))
            .map_err(|_| "the collector's answer is not readable")?,
        "application/json" => serde_json::from_slice::<Value>(answer.body())
            .map(|told| {
                let count = &told["partialSuccess"]["rejectedSpans"];
                count.as_i64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0)
            })
            .map_err(|_| "the collector's answer is not readable")?,
        other => return Err(format!("not a collector: it answers with content type {other:?}").into()),
    };
    Ok(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn answer(status: u16, kind: &str, body: impl Into<Bytes>) -> Result<u64, String> {
        let answer =
            Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap();
        rejected(&answer).map_err(|error| error.to_string())
    }

    fn partial(rejected_spans: i64) -> Bytes {
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans, error_message: "full".into() });
        ExportTraceServiceResponse { partial_success }.encode_to_vec().into()
    }

    #[test]
    fn a_success_that_rejects_spans_is_counted_and_a_page_is_no_success() {
        let protobuf = "application/x-protobuf";
        assert_eq!(answer(200, protobuf, ""), Ok(0));
        assert_eq!(answer(200, "text/html", ""), Ok(0), "an empty answer rejects nothing");
        assert_eq!(answer(200, protobuf, partial(7)), Ok(7));
        assert_eq!(answer(200, protobuf, partial(-1)), Ok(0));
        let json = r#"{"partialSuccess":{"rejectedSpans":"3"}}"#;
        assert_eq!(answer(200, "application/json; charset=utf-8", json), Ok(3));
        assert_eq!(answer(200, "application/json", "{}"), Ok(0));
        assert!(answer(200, "text/html", "<html>").unwrap_err().contains("text/html"));
        assert!(answer(200, protobuf, "<html>").is_err());
        assert_eq!(answer(503, "text/html", "<html>"), Ok(0), "the exporter sees the status");
    }
}
