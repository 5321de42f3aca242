//! The metrics of the jobs.

use std::time::Duration;

use chrono::Utc;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::Job;
use crate::db::JobResult;
use crate::metrics::{MetricSet as _, Registrar};

/// From a look at an empty table to the deadline, in seconds.
const DURATION_BUCKETS: &[f64] = &[0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 60.0];

crate::metrics! {
    /// The metrics of the jobs.
    pub(super) struct Metrics {
        /// Runs of jobs by this process: `ok`, `failed`, `timed-out`, `panicked` or `interrupted`.
        runs: IntCounterVec = "switchboard_job_runs_total" ["job", "result"];
        /// How long runs of jobs took.
        durations: HistogramVec = "switchboard_job_run_duration_seconds" ["job"] {DURATION_BUCKETS};
        /// When this process last ran a job well, in seconds since 1970.
        successes: IntGaugeVec = "switchboard_job_last_success_timestamp_seconds" ["job"];
    }
}

impl Metrics {
    /// The metrics, with the runs of these jobs shown from the start.
    pub(super) fn of_jobs(registry: &dyn Registrar, jobs: &[Box<dyn Job>]) -> prometheus::Result<Self> {
        let metrics = Self::register(registry)?;
        for (job, result) in jobs.iter().flat_map(|job| JobResult::ALL.map(|result| (job, result))) {
            metrics.runs.with_label_values(&[job.name(), result.as_str()]);
        }
        Ok(metrics)
    }

    pub(super) fn ran(&self, job: &str, result: JobResult, took: Duration) {
        self.runs.with_label_values(&[job, result.as_str()]).inc();
        self.durations.with_label_values(&[job]).observe(took.as_secs_f64());
        if result == JobResult::Ok {
            self.successes.with_label_values(&[job]).set(Utc::now().timestamp());
        }
    }
}
