//! `retention`: deletes transcripts, recordings and callers' numbers that were kept for as long as the
//! settings say.
//!
//! A recording is deleted at Twilio first: where that fails, its row stays, and the next run tries again.

use std::time::Duration;

use chrono::{DateTime, Days, Utc};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use super::{Job, JobError, Progress};
use crate::db::{DbError, OldRecording, Operations};
use crate::wire::twilio::rest::TwilioApi;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows that one statement looks for: it holds its locks for some milliseconds.
const BATCH: u32 = 500;
/// Statements of a run.
const BATCHES: u32 = 20;

/// Recordings of a run.
const RECORDINGS: u32 = 100;
/// At once; Twilio limits the requests of an account.
const AT_ONCE: usize = 4;

/// For how many days each is kept; none: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retentions {
    pub transcript_days: Option<u32>,
    /// Needs the way to Twilio.
    pub recording_days: Option<u32>,
    pub number_days: Option<u32>,
    /// Callbacks that were dealt with, events of calls, notes of deletions, instances that are gone.
    pub event_days: Option<u32>,
    /// Who did what, and who opened what.
    pub audit_days: Option<u32>,
}

impl Retentions {
    /// Something of what callers said or left is not kept for ever.
    pub fn is_personal(&self) -> bool {
        Self { event_days: None, audit_days: None, ..*self } != Self::default()
    }
}

pub struct Retention {
    pub db: Operations,
    pub twilio: Option<TwilioApi>,
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
        if let (Some(before), Some(twilio)) = (ago(self.keep.recording_days), &self.twilio) {
            progress = progress.and(self.delete_recordings(twilio, before).await?);
        }
        Ok(progress)
    }

    async fn delete_recordings(
        &self,
        twilio: &TwilioApi,
        before: DateTime<Utc>,
    ) -> Result<Progress, JobError> {
        let old = self.db.old_recordings(before, RECORDINGS).await?;
        let of = old.len();
        let deleted = stream::iter(old)
            .map(|recording| self.delete_recording(twilio, recording))
            .buffer_unordered(AT_ONCE);
        super::all_of(deleted.collect().await)?;
        if of > 0 {
            tracing::info!(what = "recordings", deletions = of, "kept for long enough, and deleted");
        }
        Ok(if of == RECORDINGS as usize { Progress::More } else { Progress::Done })
    }

    async fn delete_recording(&self, twilio: &TwilioApi, recording: OldRecording) -> Result<(), JobError> {
        // What is not a SID of Twilio's is not there.
        if let Ok(sid) = recording.recording_sid.parse() {
            twilio.delete_recording(sid).await?; // also where it was deleted before
        }
        Ok(self.db.recording_deleted(&recording).await?)
    }
}

/// Until nothing is left or it is enough for a run.
pub(super) async fn in_batches(
    what: &str,
    mut delete: impl AsyncFnMut() -> Result<usize, DbError>,
) -> Result<Progress, JobError> {
    let mut deletions = 0;
    let mut progress = Progress::More;
    for _ in 0..BATCHES {
        let deleted = delete().await?;
        deletions += deleted;
        if deleted == 0 {
            progress = Progress::Done;
            break;
        }
    }
    if deletions > 0 {
        tracing::info!(what, deletions, "kept for long enough, and deleted");
    }
    Ok(progress)
}

/// The moment so many days ago; none for none, and for more days than there were.
pub(super) fn ago(days: Option<u32>) -> Option<DateTime<Utc>> {
    Utc::now().checked_sub_days(Days::new(days?.into()))
}
