//! What calls write.

use std::time::Duration;

use chrono::Utc;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::connect::error::DbError;
use super::handles::Records;
use super::write::queue::Pushed;
use super::write::record::{Decision, NextStep, Record};
use super::{spans, writable_twice};
use crate::wire::twilio::sid::CallSid;

/// A decision that the database did not take within this goes into the spool; Twilio asks for it at once.
const DECIDE_PATIENCE: Duration = Duration::from_millis(300);
/// So long at most then.
const DECIDE_SPOOL_DEADLINE: Duration = Duration::from_millis(200);
/// So long a call that is handed over waits until all of it can be read by others.
const HAND_OVER_DEADLINE: Duration = Duration::from_millis(500);

impl Records {
    /// Queues a record to be written. Never waits; when too many of its call, or of all, wait in memory
    /// already, because the spool is full, it is counted, logged and lost.
    pub fn record(&self, record: Record) {
        match self.0.shared.queue.push(writable_twice(record)) {
            Pushed::First => self.0.wake_the_writer(),
            Pushed::Behind => {}
            Pushed::FirstRefused => {
                tracing::error!(
                    waiting = self.0.shared.queue.depth(),
                    "no room for records: they are being lost"
                );
                self.0.shared.metrics.unwritten(1);
            }
            Pushed::Refused => self.0.shared.metrics.unwritten(1),
        }
    }

    /// Records what comes after the call's stream, within 500 ms; into the spool if the database is away. An
    /// older epoch changes nothing, and a stream of a later epoch makes it void.
    ///
    /// [`HandedOver`](NextStep::HandedOver) comes after all that was recorded of the call before: an error
    /// says that another process cannot read all of it yet.
    pub async fn decide(&self, call_sid: CallSid, epoch: u32, next_step: NextStep) -> Result<(), DbError> {
        let decision = Record::Decided(Decision { call_sid, epoch, next_step, decided_at: Utc::now() });
        if next_step == NextStep::HandedOver {
            self.record(decision);
            let written = timeout(HAND_OVER_DEADLINE, self.0.shared.queue.emptied_of(&call_sid)).await;
            // In this order: what leaves the queue is in the spool by then.
            return match written {
                Ok(()) if self.0.shared.spool.is_empty() => Ok(()),
                _ => Err(DbError::Unavailable("what was said waits to be written".to_owned())),
            };
        }
        self.0.keep("decide", decision, DECIDE_PATIENCE, DECIDE_SPOOL_DEADLINE).await
    }
}

impl crate::call::Ledger for Records {
    fn record(&self, record: Record) {
        Self::record(self, record);
    }

    fn decide(&self, call_sid: CallSid, epoch: u32, next: NextStep) -> BoxFuture<'static, ()> {
        let records = self.clone();
        let deciding = async move {
            if let Err(error) = Self::decide(&records, call_sid, epoch, next).await {
                tracing::warn!(call.sid = %call_sid, %error, "only this process knows what comes next");
            }
        };
        Box::pin(deciding.instrument(spans::query("decide", call_sid)))
    }
}
