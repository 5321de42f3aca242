//! What the webhooks ask and tell.

use call_control::call_flow::resume::Written;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::connect::error::DbError;
use super::handles::Doors;
use super::tables::{calls, events, history};
use super::webhooks::{Kept, Webhook};
use super::write::record::{Aftermath, Event, NextStep, Record, TRANSFER_ASKED, TransferAsked};
use super::{SPOOL_DEADLINE, STORE_PATIENCE, spans};
use crate::wire::twilio::sid::CallSid;

/// A webhook is stored within this; behind a storm of others it may take longer than its own flight.
const STORE_DEADLINE: Duration = Duration::from_secs(5);
/// So long `after-stream` waits for what was decided.
const DECIDED_DEADLINE: Duration = Duration::from_millis(500);
/// So long `after-stream` waits for whom the agent gave the caller to, before it does without.
const ASKED_DEADLINE: Duration = Duration::from_millis(300);
/// So long a resumed call waits for its history.
const HISTORY_DEADLINE: Duration = Duration::from_secs(1);

impl Doors {
    /// Writes an event; it is durable when this returns `Ok`, in the database or in the spool. It does, or
    /// fails, within 2 s.
    pub async fn store_event(&self, event: Event) -> Result<(), DbError> {
        let span = spans::query("store_event", event.call_sid);
        let kept = self.0.keep("store_event", Record::Event(event), STORE_PATIENCE, SPOOL_DEADLINE);
        kept.instrument(span).await
    }

    /// Writes what came after the agent's part, event and outcome together; durable, and in time, as
    /// [`store_event`](Self::store_event).
    pub async fn store_aftermath(&self, aftermath: Aftermath) -> Result<(), DbError> {
        let span = spans::query("store_aftermath", aftermath.event.call_sid);
        let kept =
            self.0.keep("store_aftermath", Record::Aftermath(aftermath), STORE_PATIENCE, SPOOL_DEADLINE);
        kept.instrument(span).await
    }

    /// Stores a webhook, unless it is stored already; it is durable when this returns `Ok`, in the database
    /// or in the spool. It does, or fails, within 5 s.
    pub async fn store_webhook(&self, webhook: Webhook) -> Result<(), DbError> {
        let span = spans::storing(&webhook);
        let stored = timeout(STORE_DEADLINE, self.0.shared.inbox.store(&self.0.shared, webhook)).await;
        let kept = stored.unwrap_or_else(|_| Err(DbError::unanswered(STORE_DEADLINE)));
        if kept.inspect_err(|error| spans::failed(&span, error))? == Kept::Spooled {
            self.0.wake_the_writer();
        }
        Ok(())
    }

    /// What comes after the call's stream, if it was decided; within 500 ms. What waits to be written counts.
    pub async fn decided(&self, call_sid: CallSid) -> Result<Option<NextStep>, DbError> {
        let until = Instant::now() + DECIDED_DEADLINE;
        let waiting = self.0.shared.waiting_of(call_sid, until, DECIDED_DEADLINE).await?;
        let (latest_epoch, next_step) = history::decision(&waiting);
        if next_step.is_some() {
            return Ok(next_step);
        }
        let rest = until.saturating_duration_since(Instant::now());
        let row = self
            .0
            .shared
            .ask("decided", rest, async |connection| Ok(calls::next_step(connection, &call_sid).await?))
            .instrument(spans::query("decided", call_sid));
        let row =
            row.await?.filter(|(epoch, _)| u32::try_from(*epoch).is_ok_and(|epoch| epoch >= latest_epoch));
        Ok(row.and_then(|(_, word)| NextStep::of_word(&word?)))
    }

    /// Whom the agent gave the caller to, and why, if that is known within 300 ms; nothing otherwise. What
    /// waits to be written counts.
    pub async fn transfer_asked(&self, call_sid: CallSid) -> TransferAsked {
        let until = Instant::now() + ASKED_DEADLINE;
        let waiting = self.0.shared.waiting_of(call_sid, until, ASKED_DEADLINE).await;
        let waiting = waiting.unwrap_or_default().into_iter().rev().find_map(|record| match &*record {
            Record::Event(event) if event.kind == TRANSFER_ASKED => Some(event.data.clone()),
            _ => None,
        });
        let data = match waiting {
            Some(data) => Ok(Some(data)),
            None => {
                let rest = until.saturating_duration_since(Instant::now());
                let ask = self.0.shared.ask("transfer_asked", rest, async |connection| {
                    Ok(events::last_of_kind(connection, &call_sid, TRANSFER_ASKED).await?)
                });
                ask.instrument(spans::query("transfer_asked", call_sid)).await
            }
        };
        let data = data.unwrap_or_else(|error| {
            tracing::warn!(call.sid = %call_sid, %error, "a caller is given to whoever is first: the agent's choice is not known");
            None
        });
        data.and_then(|data| serde_json::from_value(data).ok()).unwrap_or_default()
    }

    /// What was said in a call so far, by ordinals, within 1 s. What waits to be written counts; while the
    /// database is away it may be all that is known. Fails if nothing is.
    pub async fn history(&self, call_sid: CallSid) -> Result<Written, DbError> {
        let until = Instant::now() + HISTORY_DEADLINE;
        // Before the rows: what is written meanwhile is then in both, and not in neither.
        let waiting = self.0.shared.waiting_of(call_sid, until, HISTORY_DEADLINE).await?;
        let rest = until.saturating_duration_since(Instant::now());
        let rows = self
            .0
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
