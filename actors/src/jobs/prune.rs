//! `prune`: deletes the rows of bookkeeping that are older than the settings want to keep.

use std::time::Duration;

use chrono::{Days, Utc};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::{Job, JobError, Progress, retention};
use crate::db::{OldRows, Operations};

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows that one statement looks at: it holds its locks for some milliseconds.
const BATCH: u32 = 1_000;

pub struct Prune {
    pub db: Operations,
    pub keep_days: u32,
}

impl Job for Prune {
    fn name(&self) -> &'static str {
        "prune"
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn run(&self) -> LocalBoxFuture<'_, Result<Progress, JobError>> {
        self.delete_old_rows().boxed_local()
    }
}

impl Prune {
    async fn delete_old_rows(&self) -> Result<Progress, JobError> {
        let Some(before) = Utc::now().checked_sub_days(Days::new(self.keep_days.into())) else {
            return Ok(Progress::Done);
        };
        let mut progress = Progress::Done;
        for rows in OldRows::ALL {
            let delete = async || self.db.prune(rows, before, BATCH).await;
            progress = progress.and(retention::in_batches(rows.as_str(), delete).await?);
        }
        Ok(progress)
    }
}
