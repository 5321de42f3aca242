//! The metrics of the jobs.

use std::time::Duration;

use chrono::Utc;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};

use super::Job;
use crate::db::JobResult;
use crate::metrics::Registrar;

/// From a look at an empty table to the deadline, in seconds.
const DURATION_BUCKETS: [f64; 8] = [0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 60.0];

pub(super) struct Metrics {
    runs: IntCounterVec,
    durations: HistogramVec,
    successes: IntGaugeVec,
}

impl Metrics {
    /// Registers the metrics; fails if the registry has them already.
    pub(super) fn register(registry: &dyn Registrar, jobs: &[Box<dyn Job>]) -> prometheus::Result<Self> {
        let runs = IntCounterVec::new(
            Opts::new(
                "switchboard_job_runs_total",
                "Runs of jobs by this process: `ok`, `failed`, `timed-out`, `panicked` or `interrupted`",
            ),
            &["job", "result"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new("switchboard_job_run_duration_seconds", "How long runs of jobs took")
                .buckets(DURATION_BUCKETS.to_vec()),
            &["job"],
        )?;
        let successes = IntGaugeVec::new(
            Opts::new(
                "switchboard_job_last_success_timestamp_seconds",
                "When this process last ran a job well, in seconds since 1970",
            ),
            &["job"],
        )?;
        for (job, result) in jobs.iter().flat_map(|job| JobResult::ALL.map(|result| (job, result))) {
            runs.with_label_values(&[job.name(), result.as_str()]);
        }
        registry.register(Box::new(runs.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(successes.clone()))?;
        Ok(Self { runs, durations, successes })
    }

    pub(super) fn ran(&self, job: &str, result: JobResult, took: Duration) {
        self.runs.with_label_values(&[job, result.as_str()]).inc();
        self.durations.with_label_values(&[job]).observe(took.as_secs_f64());
        if result == JobResult::Ok {
            self.successes.with_label_values(&[job]).set(Utc::now().timestamp());
        }
    }
}
