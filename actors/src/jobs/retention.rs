//! `retention`: deletes transcripts and callers' numbers that were kept for as long as the settings say.

use std::time::Duration;

use chrono::{DateTime, Days, Utc};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::{Job, JobError, Progress};
use crate::db::Db;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows that one statement looks for: it holds its locks for some milliseconds.
const BATCH: u32 = 500;
/// Statements of a run.
const BATCHES: u32 = 20;

/// For how many days each is kept; none: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retentions {
    pub transcript_days: Option<u32>,
    pub number_days: Option<u32>,
}

pub struct Retention {
    pub db: Db,
    pub keep: Retentions,
}

impl Job for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn run(&self) -> LocalBoxFuture<'_, Result<Progress, JobError>> {
        self.delete_what_is_old().boxed_local()
    }
}

impl Retention {
    async fn delete_what_is_old(&self) -> Result<Progress, JobError> {
        let mut progress = Progress::Done;
        if let Some(before) = ago(self.keep.transcript_days) {
            let delete = async || self.db.delete_transcripts(before, BATCH).await;
            progress = progress.and(in_batches("transcripts", delete).await?);
        }
        if let Some(before) = ago(self.keep.number_days) {
            let delete = async || self.db.delete_numbers(before, BATCH).await;
            progress = progress.and(in_batches("numbers", delete).await?);
        }
        Ok(progress)
    }
}

/// Until nothing is left or it is enough for a run.
async fn in_batches(
    what: &str,
    mut delete: impl AsyncFnMut() -> Result<usize, crate::db::DbError>,
) -> Result<Progress, JobError> {
    let mut calls = 0;
    let mut progress = Progress::More;
    for _ in 0..BATCHES {
        let deleted = delete().await?;
        calls += deleted;
        if deleted == 0 {
            progress = Progress::Done;
            break;
        }
    }
    if calls > 0 {
        tracing::info!(what, calls, "kept for long enough, and deleted");
    }
    Ok(progress)
}

/// The moment so many days ago; none for none, and for more days than there were.
fn ago(days: Option<u32>) -> Option<DateTime<Utc>> {
    Utc::now().checked_sub_days(Days::new(days?.into()))
}
