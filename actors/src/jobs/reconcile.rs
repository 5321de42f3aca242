//! `reconcile`: calls that nobody has any more and nobody wrote the end of are closed, as Twilio says.
//!
//! Twilio is asked about each by its SID (never absence from a list). One that goes on is left alone: it
//! comes back by itself, or is fetched back by a process that serves.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tracing::Instrument as _;

use super::{Job, JobError, Progress};
use crate::db::{LostCall, Operations};
use crate::wire::twilio::rest::TwilioApi;

const EVERY: Duration = Duration::from_secs(2 * 60);
/// Calls of one run.
const BATCH: u32 = 100;
/// At once; Twilio limits the requests of an account.
const AT_ONCE: usize = 4;
/// An instance that is alive writes the end of its call itself, within this time after it.
const WRITES_WITHIN: TimeDelta = TimeDelta::minutes(5);
/// A call that Twilio does not know may be too new for it; after so long it is none.
const UNKNOWN_FOR: TimeDelta = TimeDelta::days(1);

pub struct Reconcile {
    pub db: Operations,
    pub twilio: TwilioApi,
}

impl Job for Reconcile {
    fn name(&self) -> &'static str {
        "reconcile"
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn run(&self) -> LocalBoxFuture<'_, Result<Progress, JobError>> {
        self.close_what_is_over().boxed_local()
    }
}

impl Reconcile {
    async fn close_what_is_over(&self) -> Result<Progress, JobError> {
        let lost = self.db.lost_calls(BATCH).await?;
        let of = lost.len();
        let asked = stream::iter(lost)
            .map(|call| {
                let span = super::span(self.name(), call.call_sid);
                self.one(call).instrument(span)
            })
            .buffer_unordered(AT_ONCE);
        let closed = super::all_of(asked.collect().await)?.into_iter().filter(|is_closed| *is_closed).count();
        if closed > 0 {
            tracing::warn!(calls = closed, "calls that nobody had any more are closed");
        }
        Ok(if of == BATCH as usize && closed > 0 { Progress::More } else { Progress::Done })
    }

    /// Whether it is closed now.
    async fn one(&self, call: LostCall) -> Result<bool, JobError> {
        let LostCall { call_sid, epoch, last_known_at, has_owner } = call;
        let (ended_at, wait) = match self.twilio.call(call_sid).await? {
            Some(found) if found.status.is_over() => {
                let wait = if has_owner { WRITES_WITHIN } else { TimeDelta::zero() };
                (found.ended_at.unwrap_or(last_known_at).max(last_known_at), wait)
            }
            Some(_) => return Ok(false),
            None => (last_known_at, UNKNOWN_FOR),
        };
        if Utc::now() - ended_at < wait {
            return Ok(false);
        }
        Ok(self.db.close_lost(call_sid, epoch, ended_at).await?)
    }
}
