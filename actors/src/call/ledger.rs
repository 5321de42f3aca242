//! What a call writes down and counts.

use std::sync::PoisonError;
use std::time::Instant;

use chrono::{TimeZone, Utc};
use futures_util::future::BoxFuture;

use super::conversation::Input;
use super::measure::Echo;
use super::turns::TurnUpdate;
use super::{CallActor, LiveStatus};
use crate::db::record::{Event, NextStep, Record, Turn};
use crate::wire::realtime::events::ServerEvent;
use crate::wire::twilio::sid::CallSid;

/// Where the facts of a call go.
pub trait Ledger: Send + Sync {
    /// Never waits.
    fn record(&self, record: Record);

    /// What comes after the call's stream, for whichever process Twilio asks; within half a second.
    fn decide(&self, call_sid: CallSid, epoch: u32, next: NextStep) -> BoxFuture<'static, ()>;
}

impl CallActor {
    /// Measures what came of the caller's line, before the conversation is told.
    pub(super) fn measure_input(&mut self, input: &Input<'_>, at: Instant) {
        let metrics = &self.setup.metrics;
        match input {
            Input::Service(ServerEvent::SpeechStarted) => self.measure.caller_speaks(at),
            Input::StreamOpened => self.measure.stream_opened(),
            Input::Mark(mark) => match self.measure.mark_echoed(*mark, at) {
                Some(Echo::RoundTrip(time)) => metrics.mark_round_trip.observe(time.as_secs_f64()),
                Some(Echo::Silence(time)) => metrics.clear_to_silence.observe(time.as_secs_f64()),
                None => {}
            },
            _ => {}
        }
    }

    /// The agent was told to be silent.
    pub(super) fn count_interruption(&mut self) {
        let metrics = &self.setup.metrics;
        metrics.barge_ins.inc();
        if let Some(reaction) = self.measure.cleared(Instant::now()) {
            metrics.barge_in_reaction.observe(reaction.as_secs_f64());
        }
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
        let shown = LiveStatus { summary, restarts: self.restarted };
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let LiveStatus { summary: before, .. } = std::mem::replace(&mut *status, shown);
        drop(status);
        let metrics = &self.setup.metrics;
        if let (None, Some(first_audio_ms)) = (before.first_audio_ms, summary.first_audio_ms) {
            metrics.first_audio.observe(f64::from(first_audio_ms) / 1000.0);
        }
        if summary.answers != before.answers {
            let last_turn_ms = summary.last_turn_ms.unwrap_or_default();
            metrics.turn_latency.observe(f64::from(last_turn_ms) / 1000.0);
        }
        let reconnects = summary.reconnects.saturating_sub(before.reconnects);
        metrics.realtime_reconnects.inc_by(u64::from(reconnects));
        if summary.errors != before.errors {
            metrics.count_errors(summary.errors, before.errors);
        }
        if summary.usage != before.usage {
            let used = summary.usage - before.usage;
            metrics.count_tokens(&used);
            metrics.cost_dollars.inc_by(used.cost_usd(&self.setup.endpoint.model).unwrap_or_default());
        }
        let counts = self.uplink.counts();
        metrics.frames_up.inc_by(counts.frames - self.counted.frames);
        metrics.frames_dropped.inc_by(counts.dropped - self.counted.dropped);
        metrics.gaps.inc_by(counts.gaps - self.counted.gaps);
        metrics.gap_seconds.inc_by((counts.gap_ms - self.counted.gap_ms) as f64 / 1000.0);
        self.counted = counts;
        self.measure.flush();
    }
}
