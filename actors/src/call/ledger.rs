//! What a call writes down and counts.

use std::sync::PoisonError;

use chrono::{TimeZone, Utc};
use futures_util::future::BoxFuture;

use super::conversation::CallResult;
use super::turns::TurnUpdate;
use super::{CallActor, LiveStatus};
use crate::db::record::{Event, NextStep, Record, Turn};
use crate::wire::twilio::sid::CallSid;

/// Where the facts of a call go.
pub trait Ledger: Send + Sync {
    /// Never waits.
    fn record(&self, record: Record);

    /// What comes after the call's stream, for whichever process Twilio asks; within half a second.
    fn decide(&self, call_sid: CallSid, epoch: u32, next: NextStep) -> BoxFuture<'static, ()>;
}

impl CallActor {
    pub(super) fn count_result(&self, result: &CallResult) {
        let metrics = &self.setup.metrics;
        if let Some(first_audio_ms) = result.first_audio_ms {
            metrics.first_audio.observe(f64::from(first_audio_ms) / 1000.0);
        }
        metrics.count_tokens(&result.usage);
    }

    pub(super) fn write_turn(&mut self, turn: TurnUpdate) {
        self.turns_written += 1;
        let started_at = Utc.timestamp_millis_opt(turn.started_at as i64).single();
        self.setup.ledger.record(Record::Turn(Turn {
            call_sid: self.identity.call_sid,
            epoch: self.epoch(),
            ordinal: turn.ordinal,
            speaker: turn.speaker,
            text: turn.text,
            started_at: started_at.unwrap_or(self.identity.started_at),
            heard_ms: turn.heard_ms,
            cut_off: turn.cut_off,
            version: self.turns_written,
        }));
    }

    pub(super) fn write_event(&self, kind: &'static str, data: serde_json::Value) {
        tracing::info!(call.sid = %self.identity.call_sid, kind, "noted in the call's log");
        self.setup.ledger.record(Record::Event(Event {
            call_sid: self.identity.call_sid,
            at: Utc::now(),
            kind: kind.to_owned(),
            data,
            dedupe_key: None,
        }));
    }

    /// Shows the live picture where the call stands, and counts what has passed since.
    pub(super) fn publish(&mut self) {
        let Some(conversation) = &self.conversation else { return };
        let summary = conversation.live().summary();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = &self.setup.metrics;
        if summary.answers != status.summary.answers {
            let last_turn_ms = summary.last_turn_ms.unwrap_or_default();
            metrics.turn_latency.observe(f64::from(last_turn_ms) / 1000.0);
        }
        *status = LiveStatus { summary, restarts: self.restarted };
        drop(status);
        let counts = self.uplink.counts();
        metrics.frames_up.inc_by(counts.frames - self.counted.frames);
        metrics.frames_dropped.inc_by(counts.dropped - self.counted.dropped);
        metrics.gaps.inc_by(counts.gaps - self.counted.gaps);
        metrics.gap_milliseconds.inc_by(counts.gap_ms - self.counted.gap_ms);
        self.counted = counts;
    }
}
