//! `prices`: what Twilio charges for calls that are over. It knows that only some minutes later, so each call
//! is asked for after 3, 6, 12, … minutes, until there is a price or a day has passed.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tracing::Instrument as _;

use super::{Job, JobError, Progress};
use crate::db::{Operations, TwilioBill};
use crate::wire::twilio::rest::{Call, TwilioApi};
use crate::wire::twilio::sid::CallSid;

const EVERY: Duration = Duration::from_secs(60);
/// Calls of one run.
const BATCH: u32 = 100;
/// At once; Twilio limits the requests of an account.
const AT_ONCE: usize = 4;

pub struct Prices {
    pub db: Operations,
    pub twilio: TwilioApi,
}

impl Job for Prices {
    fn name(&self) -> &'static str {
        "prices"
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn run(&self) -> LocalBoxFuture<'_, Result<Progress, JobError>> {
        self.ask().boxed_local()
    }
}

impl Prices {
    async fn ask(&self) -> Result<Progress, JobError> {
        let calls = self.db.unpriced_calls(BATCH).await?;
        let of = calls.len();
        let asked = stream::iter(calls)
            .map(|call| self.one(call).instrument(super::span(self.name(), call)))
            .buffer_unordered(AT_ONCE);
        super::all_of(asked.collect().await)?;
        Ok(if of == BATCH as usize { Progress::More } else { Progress::Done })
    }

    async fn one(&self, call_sid: CallSid) -> Result<(), JobError> {
        let answer = self.twilio.call(call_sid).await;
        // Also where the answer is none: what always fails is to be asked for ever more rarely, too.
        let bill = answer.as_ref().ok().and_then(Option::as_ref).map(bill);
        self.db.bill(call_sid, bill.as_ref()).await?;
        answer?;
        Ok(())
    }
}

fn bill(call: &Call) -> TwilioBill {
    TwilioBill {
        twilio_duration_seconds: call.duration.and_then(|duration| duration.as_secs().try_into().ok()),
        twilio_price_unit: call.price_unit.clone().filter(|_| call.price.is_some()),
        twilio_price: call.price,
    }
}
