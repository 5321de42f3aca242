//! The HTTP client of the rest of the program, as the exporter wants one.

use actors::wire::https;
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::TAKEN_WITHIN;

/// Longer answers of a collector are none.
const MAX_ANSWER: usize = 64 * 1024;

/// Opens a connection for each batch: there is about one a second.
#[derive(Debug)]
pub(super) struct CollectorClient;

#[async_trait]
impl HttpClient for CollectorClient {
    /// Waits on the thread that it is polled on, which is the exporter's own and has no runtime.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = in_time(send(request)).flatten();
        // The exporter tells its callers only that there was an error of the network.
        answer.inspect_err(|error| tracing::debug!(%error, "no answer of the collector"))
    }
}

/// Runs `work` on a runtime of its own, and waits no longer than a batch may take: not for the look-up of a name, either.
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
