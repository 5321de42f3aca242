//! What lets a call outlive its process: who is alive, what comes after a stream, which calls were left
//! behind, and what was said in them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument as _;

use super::connect::error::DbError;
use super::connect::statement::Statement;
use super::tables::history::{self, History};
use super::tables::left_behind::{self, OpenCall};
use super::tables::{calls, instances};
use super::write::actor::KeepAlive;
use super::write::record::{Decision, NextStep, Record};
use super::{Db, Shared, spans};
use crate::wire::twilio::sid::CallSid;

/// A heartbeat that takes longer has come too late for its purpose.
const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(1);
/// A decision that the database did not take within this goes into the spool; Twilio asks for it at once.
const DECIDE_PATIENCE: Duration = Duration::from_millis(300);
/// So long at most then.
const DECIDE_SPOOL_DEADLINE: Duration = Duration::from_millis(200);
/// So long a call that is handed over waits until all of it can be read by others.
const HAND_OVER_DEADLINE: Duration = Duration::from_millis(500);
/// So long `after-stream` waits for what was decided.
const DECIDED_DEADLINE: Duration = Duration::from_millis(500);
/// So long a resumed call waits for its history.
const HISTORY_DEADLINE: Duration = Duration::from_secs(1);
/// So long a start waits for what waits in the spool to be written, before it asks for the calls that are
/// open.
const REPLAY_DEADLINE: Duration = Duration::from_secs(2);
/// A start does not wait longer than this for the calls that were left behind, or for one to be taken over.
const LEFT_BEHIND_DEADLINE: Duration = Duration::from_secs(2);

impl Db {
    /// Tells the others that this instance is alive, within 1 s.
    pub async fn heartbeat(&self, instance: &str) -> Result<(), DbError> {
        self.shared.heartbeat(instance).await.map(drop)
    }

    /// Writes this instance's heartbeat now and every 5 s, for as long as the DbActor lives. The first call
    /// alone counts.
    pub fn beat(&self, instance: &str) {
        if let Err(error) = self.actor.try_send(KeepAlive { instance: instance.to_owned() }) {
            tracing::error!(%error, "others will take this instance to be gone");
        }
    }

    /// Tells the others, within 1 s, that this instance has ended: what it leaves behind is for them at once.
    pub async fn leave(&self, instance: &str) -> Result<(), DbError> {
        self.shared.execute("leave", HEARTBEAT_DEADLINE, instances::leave(instance)).await
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
            let written = timeout(HAND_OVER_DEADLINE, self.shared.queue.emptied_of(&call_sid)).await;
            // In this order: what leaves the queue is in the spool by then.
            return match written {
                Ok(()) if self.shared.spool.is_empty() => Ok(()),
                _ => Err(DbError::Unavailable("what was said waits to be written".to_owned())),
            };
        }
        self.keep("decide", decision, DECIDE_PATIENCE, DECIDE_SPOOL_DEADLINE).await
    }

    /// What comes after the call's stream, if it was decided; within 500 ms. What waits to be written counts.
    pub async fn decided(&self, call_sid: CallSid) -> Result<Option<NextStep>, DbError> {
        let until = Instant::now() + DECIDED_DEADLINE;
        let waiting = self.shared.waiting_of(call_sid, until, DECIDED_DEADLINE).await?;
        let (latest_epoch, next_step) = history::decision(&waiting);
        if next_step.is_some() {
            return Ok(next_step);
        }
        let rest = until.saturating_duration_since(Instant::now());
        let row = self
            .shared
            .ask("decided", rest, async |connection| Ok(calls::next_step(connection, &call_sid).await?))
            .instrument(spans::query("decided", call_sid));
        let row =
            row.await?.filter(|(epoch, _)| u32::try_from(*epoch).is_ok_and(|epoch| epoch >= latest_epoch));
        Ok(row.and_then(|(_, word)| NextStep::of_word(&word?)))
    }

    /// The calls without end whose row names this instance, or one that has not been heard of for 15 s;
    /// within 4 s, of which 2 s are for the spool to be written first. At most 1,000, the newest first.
    pub async fn left_behind(&self, instance: &str) -> Result<Vec<OpenCall>, DbError> {
        let _ = timeout(REPLAY_DEADLINE, self.shared.spool.emptied()).await;
        self.shared
            .ask("left_behind", LEFT_BEHIND_DEADLINE, async |connection| {
                Ok(left_behind::find(connection, instance).await?)
            })
            .await
    }

    /// Makes a call that was left behind this instance's own, within 2 s. False if it has ended, was taken up
    /// again or was taken over by another since it was found: it is for one taker only.
    pub async fn take_over(&self, call: &OpenCall, instance: &str) -> Result<bool, DbError> {
        self.shared
            .ask("take_over", LEFT_BEHIND_DEADLINE, async |connection| {
                Ok(left_behind::take_over(connection, call, instance).await?)
            })
            .instrument(spans::query("take_over", call.call_sid))
            .await
    }

    /// What was said in a call so far, by ordinals, within 1 s. What waits to be written counts; while the
    /// database is away it may be all that is known. Fails if nothing is.
    pub async fn history(&self, call_sid: CallSid) -> Result<History, DbError> {
        let until = Instant::now() + HISTORY_DEADLINE;
        // Before the rows: what is written meanwhile is then in both, and not in neither.
        let waiting = self.shared.waiting_of(call_sid, until, HISTORY_DEADLINE).await?;
        let rest = until.saturating_duration_since(Instant::now());
        let rows = self
            .shared
            .ask("history", rest, async |connection| Ok(history::read(connection, &call_sid).await?))
            .instrument(spans::query("history", call_sid))
            .await;
        match rows {
            Err(error) if waiting.is_empty() => Err(error),
            rows => Ok(history::overlay(rows.ok(), &waiting)),
        }
    }
}

impl Shared {
    /// Answers since when the instance has been heard of without a break.
    pub(super) async fn heartbeat(&self, instance: &str) -> Result<DateTime<Utc>, DbError> {
        self.ask("heartbeat", HEARTBEAT_DEADLINE, async |connection| {
            Ok(instances::heartbeat(connection, instance).await?)
        })
        .await
    }

    async fn execute(
        &self,
        query: &str,
        deadline: Duration,
        statement: QueryResult<Statement>,
    ) -> Result<(), DbError> {
        let statement = [statement?];
        self.ask(query, deadline, async |connection| Ok(connection.execute_together(&statement).await?)).await
    }

    /// The records of a call that wait to be written, in their order.
    pub(super) async fn waiting_of(
        &self,
        call_sid: CallSid,
        until: Instant,
        within: Duration,
    ) -> Result<Vec<Arc<Record>>, DbError> {
        // In this order: what leaves the queue meanwhile is in the spool by then.
        let queued = self.queue.of_call(&call_sid);
        if self.spool.is_empty() {
            return Ok(queued);
        }
        let spooled = timeout_at(until, self.spool.of_call(call_sid))
            .await
            .map_err(|_| DbError::unanswered(within))?
            .map_err(|failure| DbError::Unavailable(format!("the spool cannot be read: {failure}")))?;
        Ok(spooled.into_iter().chain(queued).collect())
    }
}
