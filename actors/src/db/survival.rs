//! What lets a call outlive its process: who is alive, and which calls were left behind.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument as _;

use super::connect::error::DbError;
use super::connect::statement::Statement;
use super::handles::Operations;
use super::tables::instances;
use super::tables::left_behind::{self, OpenCall};
use super::write::actor::KeepAlive;
use super::write::record::Record;
use super::{Shared, spans};
use crate::wire::twilio::sid::CallSid;

/// A heartbeat that takes longer has come too late for its purpose.
const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(1);
/// So long a start waits for what waits in the spool to be written, before it asks for the calls that are
/// open.
const REPLAY_DEADLINE: Duration = Duration::from_secs(2);
/// A start does not wait longer than this for the calls that were left behind, or for one to be taken over.
const LEFT_BEHIND_DEADLINE: Duration = Duration::from_secs(2);

impl Operations {
    /// Tells the others that this instance is alive, within 1 s.
    pub async fn heartbeat(&self, instance: &str) -> Result<(), DbError> {
        self.0.shared.heartbeat(instance).await.map(drop)
    }

    /// Writes this instance's heartbeat now and every 5 s, for as long as the DbActor lives. The first call
    /// alone counts.
    pub fn beat(&self, instance: &str) {
        if let Err(error) = self.0.actor.try_send(KeepAlive { instance: instance.to_owned() }) {
            tracing::error!(%error, "others will take this instance to be gone");
        }
    }

    /// Tells the others, within 1 s, that this instance has ended: what it leaves behind is for them at once.
    pub async fn leave(&self, instance: &str) -> Result<(), DbError> {
        self.0.shared.execute("leave", HEARTBEAT_DEADLINE, instances::leave(instance)).await
    }

    /// The calls without end whose row names this instance, or one that has not been heard of for 15 s;
    /// within 4 s, of which 2 s are for the spool to be written first. At most 1,000, the newest first.
    pub async fn left_behind(&self, instance: &str) -> Result<Vec<OpenCall>, DbError> {
        let _ = timeout(REPLAY_DEADLINE, self.0.shared.spool.emptied()).await;
        self.0
            .shared
            .ask("left_behind", LEFT_BEHIND_DEADLINE, async |connection| {
                Ok(left_behind::find(connection, instance).await?)
            })
            .await
    }

    /// Makes a call that was left behind this instance's own, within 2 s. False if it has ended, was taken up
    /// again or was taken over by another since it was found: it is for one taker only.
    pub async fn take_over(&self, call: &OpenCall, instance: &str) -> Result<bool, DbError> {
        self.0
            .shared
            .ask("take_over", LEFT_BEHIND_DEADLINE, async |connection| {
                Ok(left_behind::take_over(connection, call, instance).await?)
            })
            .instrument(spans::query("take_over", call.call_sid))
            .await
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
