//! Sends spans to the collector, some at a time, on a thread of its own.

use std::thread::JoinHandle;
use std::time::Duration;

use actors::wire::https;
use awc::Client;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use url::Url;

use super::{QUEUE, SPANS, Span, Spans, otlp};

/// Spans of one request.
const BATCH: usize = 512;
/// The first span of a request waits so long for others.
const GATHER: Duration = Duration::from_secs(1);
/// The collector takes a batch within this, or loses it; the end of the process waits no longer, either.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

/// What sends the spans, until it is told to finish.
pub struct Exporter {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Starts sending to the collector at this address what `instance` does.
///
/// # Errors
/// There is no thread to be had.
pub fn start(endpoint: &Url, instance: &str) -> std::io::Result<(Spans, Exporter)> {
    let (queue, spans) = mpsc::channel(QUEUE);
    let (stop, stopped) = oneshot::channel();
    let sender = Sender {
        url: format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')),
        instance: instance.to_owned(),
    };
    let work = move || match actix_rt::Runtime::new() {
        Ok(runtime) => runtime.block_on(sender.run(spans, stopped)),
        Err(error) => tracing::error!(%error, "no spans are sent"),
    };
    let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(work)?;
    Ok((Spans { queue }, Exporter { stop, thread }))
}

impl Exporter {
    /// Sends what has ended so far, within 3 s.
    pub fn finish(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

struct Sender {
    url: String,
    instance: String,
}

impl Sender {
    async fn run(self, mut spans: mpsc::Receiver<Span>, mut stopped: oneshot::Receiver<()>) {
        let client = https::client();
        let mut batch = Vec::with_capacity(BATCH);
        let mut refused = false;
        loop {
            let last = tokio::select! {
                biased;
                _ = &mut stopped => true,
                () = gather(&mut spans, &mut batch) => false,
            };
            let most = if last { QUEUE } else { BATCH };
            while batch.len() < most
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            if !batch.is_empty() {
                let sent = self.send(&client, &batch).await;
                let result = if sent.is_ok() { "sent" } else { "refused" };
                SPANS.with_label_values(&[result]).inc_by(batch.len() as u64);
                batch.clear();
                if let Err(cause) = &sent
                    && !refused
                {
                    tracing::warn!(cause, "spans are lost: the collector does not take them");
                }
                refused = sent.is_err();
            }
            if last {
                return;
            }
        }
    }

    async fn send(&self, client: &Client, batch: &[Span]) -> Result<(), String> {
        let request = client.post(&self.url).send_json(&otlp::export(&self.instance, batch));
        match timeout(TAKEN_WITHIN, request).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(response.status().to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", TAKEN_WITHIN.as_secs())),
        }
    }
}

/// Waits for a span, and a moment for others.
async fn gather(spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
    if spans.recv_many(batch, BATCH).await == 0 {
        return std::future::pending().await; // nobody makes spans any more
    }
    let full = async {
        loop {
            let room = BATCH - batch.len();
            if room == 0 || spans.recv_many(batch, room).await == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = full => {}
        () = sleep(GATHER) => {}
    }
}
