//! The API's worker: the thread that computes the answers of the API.
//!
//! One HTTP worker carries the audio of all calls. It parses every request and sends every answer, but
//! anything that may take over 100 µs runs elsewhere, so that it delays no frame:
//!
//! - The calls' thread (`actix-server worker 0`) runs connections, media streams, CallActors, Realtime
//!   sockets and webhooks. It checks who may use the API and how often. It never runs queries of the log or
//!   encoding.
//! - The API's thread (`api`) runs queries of the log, search, and the CSV and JSON of the API. It never runs
//!   audio or anything that steers a call.
//! - The blocking pool makes the text of `/metrics`.
//! - The `db` thread runs database connections, the writer of records and the processing of status callbacks.
//! - The main thread runs registry, jobs and signals.
//!
//! Work of each [`Kind`] has a limit. Work beyond it is refused with 503 and `Retry-After`. Work whose client
//! has left is dropped at its next wait. A panic is a 500 of its own request; the worker goes on. The worker
//! ends when its handle is dropped, which is after the server has stopped: requests under way at a drain are
//! answered.
//!
//! Answers come back as [`Pieces`](super::pieces), because a large body in one piece would itself delay
//! frames.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_web::http::StatusCode;
use actors::metrics::{Counted, MetricSet as _, Registrar};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use prometheus::{IntCounter, IntGauge};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::problem::ApiError;

/// The name of the thread.
const THREAD: &str = "api";
/// How long an answer may take: longer than the database has for it, shorter than a request is waited for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// How long a reader may take for one part of a streamed answer, a batch of an export.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// What the work is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A query of the call log.
    Query,
    /// An export lasts as long as its reader takes.
    Export,
    /// The live picture has a limit of its own, so that slow queries do not keep it from being seen.
    Picture,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Query, Self::Export, Self::Picture];

    /// How much of it may be under way, waiting work included.
    const fn limit(self) -> usize {
        match self {
            Self::Query => 256,
            Self::Export => 16,
            Self::Picture => 4,
        }
    }
}

/// Starts as a future on the worker's thread.
type Job = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// The handle of the worker.
pub struct ApiWorker {
    jobs: mpsc::UnboundedSender<Job>, // each holds a permit: there are never more than the limits allow
    /// In the order of [`Kind::ALL`].
    permits: [Arc<Semaphore>; 3],
    metrics: WorkMetrics,
    answered_within: Duration,
}

actors::metrics! {
    /// The metrics of the worker.
    struct WorkMetrics {
        /// Answers of the API that its worker computes, or that wait for the worker.
        in_flight: IntGauge = "switchboard_api_work_in_flight";
        /// Requests to the API answered with 503 because its worker had too many under way.
        refused: IntCounter = "switchboard_api_work_refused_total";
    }
}

impl ApiWorker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread does not start, or the registry has the metrics already.
    pub fn start(metrics: &dyn Registrar) -> anyhow::Result<Self> {
        let metrics = WorkMetrics::register(metrics)?;
        let permits = Kind::ALL.map(|kind| Arc::new(Semaphore::new(kind.limit())));
        let jobs = spawn()?;
        Ok(Self { jobs, permits, metrics, answered_within: ANSWERED_WITHIN })
    }

    /// Runs `work` on the worker and waits for its answer.
    ///
    /// # Errors
    /// 503: too much work of this kind is under way, or there was no answer in time. 500: the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl AsyncFnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (mut asker, answer) = oneshot::channel();
        self.submit(kind, async move || {
            tokio::select! {
                biased;
                () = asker.closed() => {}
                answer = work() => drop(asker.send(answer)),
            }
        })?;
        match timeout(self.answered_within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(broken()),
            Err(_) => Err(ApiError::unavailable("the API's worker has not answered in time")),
        }
    }

    /// Runs `work` on the worker, which sends its answer part by part. The first part is there when this
    /// returns.
    ///
    /// # Errors
    /// As [`run`](Self::run); or the work failed before it sent anything.
    pub async fn stream(
        &self,
        kind: Kind,
        work: impl AsyncFnOnce(PartsOut) -> Result<(), ApiError> + Send + 'static,
    ) -> Result<Parts, ApiError> {
        let (out, parts) = mpsc::channel(1);
        self.submit(kind, async move || {
            let end = tokio::select! {
                biased;
                () = out.closed() => return,
                end = work(PartsOut(out.clone())) => end,
            };
            let _ = timeout(READ_WITHIN, out.send(end.map(|()| None))).await;
        })?;
        let mut parts = Parts { parts, first: None };
        match timeout(self.answered_within, parts.next()).await {
            Ok(first) => parts.first = Some(first?),
            Err(_) => return Err(ApiError::unavailable("the API's worker has not answered in time")),
        }
        Ok(parts)
    }

    fn submit(&self, kind: Kind, work: impl AsyncFnOnce() + Send + 'static) -> Result<(), ApiError> {
        let Ok(permit) = self.permits[kind as usize].clone().try_acquire_owned() else {
            self.metrics.refused.inc();
            return Err(ApiError::NotReady("the API has too much to do: try again"));
        };
        let under_way = UnderWay { _permit: permit, _counted: Counted::one_of(&self.metrics.in_flight) };
        let job: Job = Box::new(move || {
            Box::pin(async move {
                let _under_way = under_way;
                work().await;
            })
        });
        self.jobs.send(job).map_err(|_| ApiError::unavailable("the API's worker has ended"))
    }
}

/// Held until the work ends, whatever ends it.
struct UnderWay {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// The work ended without an answer.
fn broken() -> ApiError {
    tracing::error!("an answer of the API panicked");
    ApiError::Other(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What is sent of an answer; none at its end.
type Part = Result<Option<Bytes>, ApiError>;

/// Where the work sends the parts of its answer.
pub struct PartsOut(mpsc::Sender<Part>);

impl PartsOut {
    /// Waits until there is room for the part.
    ///
    /// # Errors
    /// The reader has left, or has not taken the part before it in time.
    pub async fn send(&self, part: Bytes) -> Result<(), ApiError> {
        match timeout(READ_WITHIN, self.0.send(Ok(Some(part)))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ApiError::Unavailable),
            Err(_) => Err(ApiError::unavailable("an export is not read")),
        }
    }
}

/// The parts of an answer. Only an answer that came to its end has one: half of it is not to be taken for the
/// whole.
pub struct Parts {
    parts: mpsc::Receiver<Part>,
    first: Option<Option<Bytes>>,
}

impl Parts {
    /// The next part; none after the last one.
    ///
    /// # Errors
    /// The work failed, or panicked.
    pub async fn next(&mut self) -> Part {
        match self.first.take() {
            Some(first) => Ok(first),
            None => self.parts.recv().await.unwrap_or_else(|| Err(broken())),
        }
    }
}

/// Starts the thread, which takes jobs until nobody can send any more.
fn spawn() -> io::Result<mpsc::UnboundedSender<Job>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (jobs, taken) = mpsc::unbounded_channel();
    thread::Builder::new().name(THREAD.into()).spawn(move || work(&runtime, taken))?;
    Ok(jobs)
}

/// Each job is a task of its own, so a panic ends that job alone.
fn work(runtime: &Runtime, mut jobs: mpsc::UnboundedReceiver<Job>) {
    LocalSet::new().block_on(runtime, async move {
        while let Some(job) = jobs.recv().await {
            spawn_local(async move { job().await });
        }
    });
}

#[cfg(test)]
#[path = "tests/worker.rs"]
mod tests;
