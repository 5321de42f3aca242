//! JobRunner: does what is to be done now and then, shared with all other processes that run one.
//!
//! Started by [`Jobs::start`] under a Supervisor on the arbiter of the caller, where the jobs run, one at a
//! time; ends with [`Jobs::stop`] or its handle. What is due, paused or asked for stands in [table
//! `jobs`](crate::db::JobRow): the runner takes a row by a lease that is longer than a run may last, so each
//! job runs at most once at a time, and one whose process is gone is taken up again when the lease is over.
//! Nothing is sent to this actor: its mailbox stays empty.
//!
//! A job does a bounded part of its work in a run and is due again at once when there is more. One that
//! fails, panics or is cut off says so in its row, in the log and in a metric, which `serve` alone shows, and
//! is tried again within 5 minutes; the runner goes on. While the database is away nothing runs, and the
//! runner looks again ever more rarely, up to once a minute. A panic of the runner itself restarts it after a
//! second; it has no state.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::Span;

use crate::db::{DbError, JobLease, JobResult, JobRun, Operations};
use crate::metrics::{ActorMetrics, Registrar};
use crate::supervise::{self, Work, Worker};
use crate::wire::twilio::rest::RestError;
use crate::wire::twilio::sid::CallSid;

mod dead_letters;
mod metrics;
mod prices;
mod prune;
mod reconcile;
mod retention;
mod rhythm;

pub use dead_letters::DeadLetterReport;
pub use prices::Prices;
pub use prune::Prune;
pub use reconcile::Reconcile;
pub use retention::{Retention, Retentions};

use metrics::Metrics;

/// A run that takes longer is cut off.
const RUN_DEADLINE: Duration = Duration::from_secs(60);
/// How long a run keeps others away; with room to say how it went.
const LEASE: Duration = Duration::from_secs(90);
/// An ending process waits so long for the word of a run it cut off.
pub const STOP_DEADLINE: Duration = Duration::from_secs(3);
const _: () = assert!(RUN_DEADLINE.as_secs() + 10 < LEASE.as_secs());

/// Something to be done now and then. Each run is repeatable: what it did before it failed need not be
/// undone.
pub trait Job {
    /// Names it in its row and in metrics; never changes.
    fn name(&self) -> &'static str;

    /// The time from one run's end to the next.
    fn every(&self) -> Duration;

    /// Does a bounded part of the work. May be dropped at any await.
    fn run(&self) -> LocalBoxFuture<'_, Result<Progress, JobError>>;
}

/// What a run left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// There was more than one run may do.
    More,
}

impl Progress {
    /// Of two parts of a run.
    fn and(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

/// Why a run failed. None of its texts holds personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    #[error("the database: {0}")]
    Database(#[from] DbError),
    #[error("Twilio: {0}")]
    Twilio(#[from] RestError),
    /// Some of it went wrong; the rest is done.
    #[error("{failed} of {of} failed; the first: {first}")]
    Partly { failed: usize, of: usize, first: RestError },
}

/// What a job does about one call, as a span of its trace.
fn span(job: &'static str, call_sid: CallSid) -> Span {
    tracing::info_span!("job", call.sid = %call_sid, job)
}

/// The results of a run's parts. What went wrong at Twilio is told once; the database's absence ends the run.
fn all_of<T>(results: Vec<Result<T, JobError>>) -> Result<Vec<T>, JobError> {
    let of = results.len();
    let (mut done, mut failures) = (Vec::with_capacity(of), Vec::new());
    for result in results {
        match result {
            Ok(part) => done.push(part),
            Err(JobError::Twilio(error)) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    let failed = failures.len();
    if failed == 0 { Ok(done) } else { Err(JobError::Partly { failed, of, first: failures.swap_remove(0) }) }
}

/// The handle: the runner lives as long as it.
pub struct Jobs(Worker);

impl Jobs {
    /// Starts the runner with the jobs that this process can do, on the current arbiter. It is counted in
    /// `counts`.
    ///
    /// # Errors
    /// `registry` has its metrics already.
    pub fn start(
        jobs: Vec<Box<dyn Job>>,
        db: Operations,
        instance: &str,
        counts: ActorMetrics,
        registry: &dyn Registrar,
    ) -> prometheus::Result<Self> {
        let metrics = Metrics::of_jobs(registry, &jobs)?;
        let desk = Rc::new(Desk { jobs, db, instance: instance.to_owned(), metrics });
        let work: Work = Box::new(move |stopped| {
            let desk = Rc::clone(&desk);
            async move { desk.work(stopped).await }.boxed_local()
        });
        Ok(Self(Worker::start("jobs", work, counts)))
    }

    /// Ends the runner; a run under way is cut off and free for another process. Returns when that is
    /// written, within 3 s.
    pub async fn stop(self) {
        self.0.stop(STOP_DEADLINE).await;
    }
}

/// Where jobs are taken up and done.
struct Desk {
    jobs: Vec<Box<dyn Job>>,
    db: Operations,
    instance: String,
    metrics: Metrics,
}

impl Desk {
    /// Until it is told to stop.
    async fn work(&self, mut stopped: watch::Receiver<()>) {
        let mut stop = std::pin::pin!(async move { drop(stopped.changed().await) }.shared());
        if self.jobs.is_empty() {
            return stop.await;
        }
        let mut declared = false;
        let mut away = 0;
        loop {
            supervise::fault_point!("jobs");
            let found = self.next(&mut declared, stop.clone()).await;
            let pause = match &found {
                Ok(true) => Duration::ZERO,
                Ok(false) => rhythm::poll(rand::random()),
                Err(_) => rhythm::poll_away(away, rand::random()),
            };
            away = if found.is_ok() { 0 } else { away + 1 };
            // A database that is away is logged where it is noticed.
            if let Err(error @ DbError::Refused(_)) = found {
                tracing::error!(%error, "no job can be taken up");
            }
            if stop.as_mut().now_or_never().is_some() {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.as_mut() => return,
            }
        }
    }

    /// Takes the next job that is due, if one is, and does it.
    async fn next(&self, declared: &mut bool, stop: impl Future<Output = ()>) -> Result<bool, DbError> {
        if !*declared {
            let rhythms: Vec<_> = self.jobs.iter().map(|job| (job.name(), job.every())).collect();
            self.db.declare_jobs(&self.instance, &rhythms).await?;
            *declared = true;
        }
        let names: Vec<_> = self.jobs.iter().map(|job| job.name()).collect();
        let Some(lease) = self.db.lease_job(&names, &self.instance, LEASE).await? else { return Ok(false) };
        if let Some(job) = self.jobs.iter().find(|job| job.name() == lease.name) {
            self.run(job.as_ref(), lease, stop).await?;
        }
        Ok(true)
    }

    async fn run(
        &self,
        job: &dyn Job,
        lease: JobLease,
        stop: impl Future<Output = ()>,
    ) -> Result<(), DbError> {
        let begun = Instant::now();
        let Attempt { result, progress, error } = attempt(job, RUN_DEADLINE, stop).await;
        let took = begun.elapsed();
        self.metrics.ran(job.name(), result, took);
        if result.is_failure() {
            tracing::error!(
                job = job.name(),
                result = result.as_str(),
                elapsed_ms = took.as_millis(),
                error = error.as_deref(),
                "a job failed"
            );
        }
        let next_in = rhythm::next_in(job.every(), result, progress, rand::random());
        let run = JobRun { lease, instance: self.instance.clone(), result, error, took, next_in };
        // If this is not written, the lease runs out, and the run counts as lost.
        if !self.db.job_ran(&run).await? {
            tracing::warn!(job = job.name(), "a job's lease was lost while it ran");
        }
        Ok(())
    }
}

/// How a run went.
struct Attempt {
    result: JobResult,
    progress: Progress,
    error: Option<String>,
}

/// Runs a job until it ends, its deadline, or `stop`.
async fn attempt(job: &dyn Job, deadline: Duration, stop: impl Future<Output = ()>) -> Attempt {
    let run = AssertUnwindSafe(async { job.run().await }).catch_unwind();
    let ended = tokio::select! {
        ended = timeout(deadline, run) => ended,
        () = stop => return Attempt { result: JobResult::Interrupted, progress: Progress::More, error: None },
    };
    let (result, error) = match ended {
        Ok(Ok(Ok(progress))) => return Attempt { result: JobResult::Ok, progress, error: None },
        Ok(Ok(Err(error))) => (JobResult::Failed, error.to_string()),
        Ok(Err(panic)) => (JobResult::Panicked, supervise::message(&*panic)),
        Err(_) => (JobResult::TimedOut, format!("not done within {deadline:?}")),
    };
    Attempt { result, progress: Progress::Done, error: Some(error) }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const DEADLINE: Duration = Duration::from_millis(200);

    enum Sample {
        Ends(Result<Progress, JobError>),
        Panics,
        Hangs,
    }

    impl Job for Sample {
        fn name(&self) -> &'static str {
            "sample"
        }

        fn every(&self) -> Duration {
            Duration::from_secs(1)
        }

        fn run(&self) -> LocalBoxFuture<'_, Result<Progress, JobError>> {
            match self {
                Self::Ends(result) => ready(result.clone()).boxed_local(),
                Self::Panics => panic!("on purpose"),
                Self::Hangs => pending().boxed_local(),
            }
        }
    }

    async fn result_of(sample: Sample) -> (JobResult, Option<String>) {
        let Attempt { result, error, .. } = attempt(&sample, DEADLINE, pending()).await;
        (result, error)
    }

    #[tokio::test]
    async fn a_run_ends_well_or_says_what_was_wrong() {
        let away = JobError::Database(DbError::Unavailable("away".to_owned()));
        assert_eq!(result_of(Sample::Ends(Ok(Progress::Done))).await, (JobResult::Ok, None));
        let failed = (JobResult::Failed, Some(away.to_string()));
        assert_eq!(result_of(Sample::Ends(Err(away))).await, failed);
        assert_eq!(result_of(Sample::Panics).await, (JobResult::Panicked, Some("on purpose".to_owned())));
    }

    #[tokio::test]
    async fn a_run_that_hangs_is_cut_off() {
        assert_eq!(result_of(Sample::Hangs).await.0, JobResult::TimedOut);
    }

    #[tokio::test]
    async fn a_run_that_is_told_to_stop_is_due_again_at_once() {
        let Attempt { result, progress, .. } = attempt(&Sample::Hangs, DEADLINE, ready(())).await;
        assert_eq!((result, progress), (JobResult::Interrupted, Progress::More));
        assert!(!result.is_failure());
    }
}
