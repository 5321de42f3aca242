//! `dead-letters`: reminds whoever reads the log of the status callbacks that were given up.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::{Job, JobError, Progress};
use crate::db::Operations;

const EVERY: Duration = Duration::from_secs(60 * 60);

pub struct DeadLetterReport {
    pub db: Operations,
}

impl Job for DeadLetterReport {
    fn name(&self) -> &'static str {
        "dead-letters"
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn run(&self) -> LocalBoxFuture<'_, Result<Progress, JobError>> {
        async {
            let dead = self.db.webhook_backlog().await?.dead;
            if dead > 0 {
                tracing::warn!(dead, "status callbacks were given up: see `switchboard ops dead-letters`");
            }
            Ok(Progress::Done)
        }
        .boxed_local()
    }
}
