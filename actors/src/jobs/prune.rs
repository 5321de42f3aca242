//! `prune`: deletes the rows of bookkeeping that are older than the settings want to keep.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::retention::{self, Retentions};
use super::{Job, JobError, Progress};
use crate::db::{OldRows, Operations};

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows that one statement looks at: it holds its locks for some milliseconds.
const BATCH: u32 = 1_000;
/// How many days a session is kept after it has expired.
const SESSION_DAYS: u32 = 1;

pub struct Prune {
    pub db: Operations,
    pub keep: Retentions,
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
        let mut progress = Progress::Done;
        for rows in OldRows::ALL {
            let Some(before) = retention::ago(days(rows, &self.keep)) else { continue };
            let delete = async || self.db.prune(rows, before, BATCH).await;
            progress = progress.and(retention::in_batches(rows.as_str(), delete).await?);
        }
        Ok(progress)
    }
}

/// For how many days the rows of a table are kept; none: for ever.
fn days(rows: OldRows, keep: &Retentions) -> Option<u32> {
    match rows {
        OldRows::Webhooks
        | OldRows::CallEvents
        | OldRows::Deletions
        | OldRows::Instances
        | OldRows::Alerts
        | OldRows::Inbox => keep.event_days,
        OldRows::Sessions => Some(SESSION_DAYS),
        OldRows::Audit => keep.audit_days,
    }
}
