//! The Prometheus metrics of the calls and of the actors. Every other part declares its own beside its code,
//! with [`metrics!`](crate::metrics!) as well.
//!
//! No label is of a call, a number or anything else that a peer can choose: what there is to count does not
//! grow with what is sent to us.

mod declare;

use prometheus::{Counter, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

pub use self::declare::{Kind, MetricSet, Registrar};
use crate::call::account::Account;
use crate::call::conversation::Errors;
use crate::call::end::CallEnd;
use crate::health::RealtimeLog;
use crate::wire::realtime::rendering::RenderError;
use crate::wire::realtime::usage::Usage;
use crate::wire::twilio::stream::StreamFault;

/// Seconds; speech is judged between a tenth of a second and a few seconds.
const SPEECH: &[f64] = &[0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0];
/// Seconds; what a program does at once, or not quite.
const AT_ONCE: &[f64] = &[0.000_01, 0.000_05, 0.000_25, 0.001, 0.005, 0.02, 0.1, 0.5];
/// Seconds; from the next room to a bad mobile network.
const NETWORK: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0];
/// Seconds; from an answer at once to the longest that a tool may take.
const TOOL: &[f64] = &[0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0];
/// Seconds; from a wrong number to an hour.
const CALL: &[f64] = &[5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0];

const ERROR_CODES: &[&str] = &[
    "account_deactivated",
    "billing_hard_limit_reached",
    "conversation_already_has_active_response",
    "inference_rate_limit_exceeded",
    "insufficient_quota",
    "invalid_api_key",
    "invalid_value",
    "model_not_found",
    "none",
    "other",
    "rate_limit_exceeded",
    "response_cancel_not_active",
    "server_error",
    "session_expired",
    "unknown_parameter",
];
const RESPONSES: &[&str] = &["completed", "cancelled", "incomplete", "failed", "other"];
const ACTORS: &[&str] = &["alerts", "call", "registry", "db", "jobs", "pump"];

crate::metrics! {
    /// The metrics of the calls.
    pub struct Metrics {
        /// Calls whose media stream is open or waited for again.
        pub calls_active: IntGauge = "switchboard_calls_active";
        /// Slots held for a stream that has not come yet.
        pub calls_reserved: IntGauge = "switchboard_calls_reserved";
        /// The ceiling of concurrent calls.
        pub calls_limit: IntGauge = "switchboard_calls_limit";
        /// Calls that asked for a slot, by result: `admitted`, `full`, `no-headroom` (the account at the
        /// Realtime service does not carry another call) or `draining`.
        pub admissions: IntCounterVec = "switchboard_admissions_total"
            ["result" = &["admitted", "full", "no-headroom", "draining"]];
        /// Ended calls, by outcome and reason of the agent's part; what a person or a voicemail box did for
        /// the caller after it is in the call's log.
        pub call_ends: IntCounterVec = "switchboard_call_ends_total" ["outcome", "reason"];
        /// Calls that a drain did not wait for: handed over before their end.
        pub drain_forced_ends: IntCounter = "switchboard_drain_forced_ends_total";
        /// Duration of ended calls.
        pub call_duration: Histogram = "switchboard_call_duration_seconds" {CALL};
        /// From the start of the stream to the first audio sent to the caller.
        pub first_audio: Histogram = "switchboard_first_audio_seconds" {SPEECH};
        /// From the caller's last word, as the service heard it, to the first audio of the answer.
        pub turn_latency: Histogram = "switchboard_turn_latency_seconds" {SPEECH};
        /// Interruptions of the agent by the caller.
        pub barge_ins: IntCounter = "switchboard_barge_ins_total";
        /// From the service's word that the caller speaks to the clear on the caller's stream.
        pub barge_in_reaction: Histogram = "switchboard_barge_in_reaction_seconds" {AT_ONCE};
        /// From a clear to the echo of the last mark it overtook: the caller hears the agent no more.
        pub clear_to_silence: Histogram = "switchboard_clear_to_silence_seconds" {NETWORK};
        /// Answers that the service was told to forget from where the caller stopped hearing them.
        pub truncations: IntCounter = "switchboard_truncations_total";
        /// From the moment at which a piece of audio would be played, had it no way to go, to the echo of its
        /// mark.
        pub mark_round_trip: Histogram = "switchboard_mark_round_trip_seconds" {NETWORK};
        /// 20 ms frames of callers passed up.
        pub frames_up: IntCounter = "switchboard_caller_frames_total";
        /// Pieces of the agent's audio passed down.
        pub deltas_down: IntCounter = "switchboard_agent_deltas_total";
        /// Caller frames that found no room while the service could not take them.
        pub frames_dropped: IntCounter = "switchboard_caller_frames_dropped_total";
        /// Holes in the callers' audio; up to 10 s of each are filled with silence.
        pub gaps: IntCounter = "switchboard_caller_gaps_total";
        /// Length of the holes in the callers' audio.
        pub gap_seconds: Counter = "switchboard_caller_gap_seconds_total";
        /// Callers of whom nothing came for 3 s though their stream was open.
        pub one_way_audio: IntCounter = "switchboard_one_way_audio_total";
        /// Media streams closed because of what they sent, by fault.
        pub stream_faults: IntCounterVec = "switchboard_stream_faults_total" ["fault" = StreamFault::LABELS];
        /// Errors of the Realtime service: `benign`, `fatal` (they ended the agent's part of the call),
        /// `malformed` (an event that is none) or `other-session` (a session that is not configured as we
        /// asked).
        pub realtime_errors: IntCounterVec = "switchboard_realtime_errors_total"
            ["severity" = &["benign", "fatal", "malformed", "other-session"]];
        /// Errors of the Realtime service and responses that failed, by the code that it gives: one that is
        /// known, `none` or `other`.
        pub realtime_error_codes: IntCounterVec = "switchboard_realtime_error_codes_total"
            ["code" = ERROR_CODES];
        /// Realtime sockets that were to be opened, by result: `connected` or `failed`.
        pub realtime_connects: IntCounterVec = "switchboard_realtime_connects_total"
            ["result" = &["connected", "failed"]];
        /// Responses of the Realtime service that ended, by how: `completed`, `cancelled`, `incomplete`,
        /// `failed` or `other`.
        pub realtime_responses: IntCounterVec = "switchboard_realtime_responses_total" ["status" = RESPONSES];
        /// Realtime sessions that took the place of a lost one.
        pub realtime_reconnects: IntCounter = "switchboard_realtime_reconnects_total";
        /// Media streams that took the place of a lost one.
        pub stream_reconnects: IntCounter = "switchboard_stream_reconnects_total";
        /// Actors that live: `alerts`, `call`, `registry`, `db`, `jobs`, and `pump`, the reader of one media
        /// stream.
        pub actors_live: IntGaugeVec = "switchboard_actors_live" ["actor" = ACTORS];
        /// Open sockets to the Realtime service that calls hold.
        pub realtime_sockets: IntGauge = "switchboard_realtime_sockets";
        /// Messages that `call` or `registry` was given and has not handled yet, without the marks and digits
        /// of media streams; `switchboard_db_queue_depth` counts the records of `db`.
        pub messages_waiting: IntGaugeVec = "switchboard_actor_messages_waiting"
            ["actor" = &["call", "registry"]];
        /// How long `call` and `registry` took for a message, and `db` for the records that it wrote at once.
        pub handler_time: HistogramVec = "switchboard_actor_handler_seconds"
            ["actor" = &["call", "registry", "db"]] {AT_ONCE};
        /// Restarts of actors after a panic, by actor.
        pub restarts: IntCounterVec = "switchboard_actor_restarts_total"
            ["actor" = &["alerts", "call", "registry", "db", "jobs"]];
        /// Panics caught in actors, by actor.
        pub panics: IntCounterVec = "switchboard_actor_panics_total" ["actor" = ACTORS];
        /// Tokens of the Realtime service, by direction (`input`, `cached` or `output`) and kind (`text` or
        /// `audio`).
        pub tokens: IntCounterVec = "switchboard_realtime_tokens_total"
            ["direction" = &["input", "cached", "output"], "kind" = &["text", "audio"]];
        /// Tokens that the account may use at the Realtime service in a minute, as it told last.
        pub token_limit: IntGauge = "switchboard_realtime_token_limit";
        /// Of these, what was left when it told.
        pub tokens_remaining: IntGauge = "switchboard_realtime_tokens_remaining";
        /// What calls cost at the Realtime service, in US dollars by its list prices.
        pub cost_dollars: Counter = "switchboard_realtime_cost_dollars_total";
        /// Function calls of the agent that came to an end, by tool and outcome: `ok`, or why it did not do
        /// what it was asked for. The tool is `unknown` where the agent has none of that name.
        pub tool_calls: IntCounterVec = "switchboard_tool_calls_total" ["tool", "outcome"];
        /// From the function call to the tool's answer, or until it was given up.
        pub tool_time: Histogram = "switchboard_tool_seconds" {TOOL};
        /// Phrases in the agent's own voice that new calls can be bridged with.
        pub phrases_at_hand: IntGauge = "switchboard_phrases_at_hand";
    }
    beside {
        /// What came of the last requests to the Realtime service.
        pub realtime: RealtimeLog;
        /// What is left to the account at the Realtime service.
        pub account: Account;
    }
}

/// What is counted of the actors of one kind.
#[derive(Clone)]
pub struct ActorMetrics {
    actor: &'static str,
    live: IntGauge,
    waiting: IntGaugeVec,
    pub handler_time: Histogram,
    pub restarts: IntCounter,
    pub panics: IntCounter,
}

impl ActorMetrics {
    /// An actor lives, until what this answers is dropped.
    pub fn lives(&self) -> Counted {
        Counted::one_of(&self.live)
    }

    /// A message waits, until what this answers is dropped.
    pub fn waits(&self) -> Counted {
        Counted::one_of(&self.waiting.with_label_values(&[self.actor]))
    }
}

/// One of what a gauge counts, for as long as it is there, whatever ends it.
pub struct Counted(IntGauge);

impl Counted {
    pub fn one_of(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Counts a response that ended with this status.
    pub fn count_response(&self, status: &str) {
        let known = RESPONSES.iter().find(|known| **known == status);
        self.realtime_responses.with_label_values(&[known.unwrap_or(&"other")]).inc();
    }

    /// Counts an error of the service by its code.
    pub fn count_error_code(&self, code: &str) {
        let code = if code.is_empty() { "none" } else { code };
        let known = ERROR_CODES.iter().find(|known| **known == code);
        self.realtime_error_codes.with_label_values(&[known.unwrap_or(&"other")]).inc();
    }

    /// Notes that the service did not speak a phrase, which tries key, model and voice before the first call
    /// does.
    pub fn note_unspoken(&self, error: &RenderError) {
        match error {
            RenderError::Connect(cause) => self.realtime.note_unconnected(cause),
            RenderError::Failed(cause) => {
                self.count_error_code(cause.code());
                self.realtime.note_error(cause, error.is_fatal());
            }
            _ => {}
        }
    }

    /// Counts the errors that the service has made since `before`.
    pub fn count_errors(&self, errors: Errors, before: Errors) {
        let count = |severity, errors: u32, before| {
            self.realtime_errors
                .with_label_values(&[severity])
                .inc_by(u64::from(errors.saturating_sub(before)));
        };
        count("benign", errors.benign, before.benign);
        count("fatal", errors.fatal, before.fatal);
    }

    /// Counts the end of a call.
    pub fn count_end(&self, end: CallEnd) {
        if end.reason.is_of_the_agent() {
            self.realtime.note_handed_over();
        }
        self.call_ends.with_label_values(&end.labels()).inc();
    }

    /// Those of the actors of this kind: `call`, `registry`, `db` or `jobs`.
    pub fn of_actor(&self, actor: &'static str) -> ActorMetrics {
        ActorMetrics {
            actor,
            live: self.actors_live.with_label_values(&[actor]),
            waiting: self.messages_waiting.clone(),
            handler_time: self.handler_time.with_label_values(&[actor]),
            restarts: self.restarts.with_label_values(&[actor]),
            panics: self.panics.with_label_values(&[actor]),
        }
    }

    /// Counts what a finished response, or a whole call, has used.
    pub fn count_tokens(&self, usage: &Usage) {
        let input = &usage.input_token_details;
        let cached = &input.cached_tokens_details;
        for (direction, kind, tokens) in [
            ("input", "text", input.text_tokens.saturating_sub(cached.text_tokens)),
            ("input", "audio", input.audio_tokens.saturating_sub(cached.audio_tokens)),
            ("cached", "text", cached.text_tokens),
            ("cached", "audio", cached.audio_tokens),
            ("output", "text", usage.output_token_details.text_tokens),
            ("output", "audio", usage.output_token_details.audio_tokens),
        ] {
            self.tokens.with_label_values(&[direction, kind]).inc_by(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_status_nobody_knows_is_no_label_of_its_own() {
        let metrics = Metrics::build().unwrap();
        ["completed", "enlightened", "bored"].into_iter().for_each(|status| metrics.count_response(status));
        let counted = |status| metrics.realtime_responses.with_label_values(&[status]).get();
        assert_eq!((counted("completed"), counted("other")), (1, 2));
    }

    #[test]
    fn a_code_nobody_knows_is_no_label_of_its_own() {
        let metrics = Metrics::build().unwrap();
        ["insufficient_quota", "", "x1", "x2"].into_iter().for_each(|code| metrics.count_error_code(code));
        let counted = |code| metrics.realtime_error_codes.with_label_values(&[code]).get();
        assert_eq!(["insufficient_quota", "none", "other"].map(counted), [1, 1, 2]);
    }

    #[test]
    fn every_metric_says_what_it_is() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.calls_limit.set(20);
        metrics.barge_ins.inc();
        let families = registry.gather();
        assert!(families.iter().all(|family| family.help().len() > 10));
        assert!(families.iter().any(|family| family.name() == "switchboard_barge_ins_total"));
    }

    #[test]
    fn what_can_be_known_of_a_metric_is_there_before_anything_happens() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let series = |name: &str| {
            let families = registry.gather();
            families.iter().find(|family| family.name() == name).map_or(0, |family| family.get_metric().len())
        };
        for (name, count) in [
            ("switchboard_admissions_total", 4),
            ("switchboard_stream_faults_total", 9),
            ("switchboard_realtime_tokens_total", 6),
            ("switchboard_actor_handler_seconds", 3),
            ("switchboard_call_ends_total", 0), // not every reason goes with every outcome
        ] {
            assert_eq!(series(name), count, "{name}");
        }
        metrics.stream_faults.with_label_values(&[StreamFault::Overflow.label()]).inc();
        ["call", "registry", "db"].iter().for_each(|actor| drop(metrics.of_actor(actor)));
        assert_eq!(series("switchboard_stream_faults_total"), 9);
        assert_eq!(series("switchboard_actor_handler_seconds"), 3);
    }

    #[test]
    fn what_is_counted_while_it_is_there_is_not_counted_after_a_panic() {
        let metrics = Metrics::build().unwrap();
        let live = || metrics.actors_live.with_label_values(&["call"]).get();
        let actor = metrics.of_actor("call");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _lives = actor.lives();
            assert_eq!(live(), 1);
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(live(), 0);
    }
}
