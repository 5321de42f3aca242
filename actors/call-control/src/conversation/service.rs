//! What the service says: of the session, of the caller's utterances and of its responses.

use serde_json::json;

use super::end::Reason;
use super::history::Said;
use super::link::LONGEST_WAIT;
use super::responses::{AfterFailure, Ended};
use super::retry_after::retry_after;
use super::{Conversation, Effect, GO_ON, ask_cancel, ask_delete, write};
use crate::Millis;
use crate::realtime::RING_MS;
use crate::realtime::events::{Response, ServerEvent, ServiceError};
use crate::realtime::requests::{CONFIGURE_ID, OUTPUT, Request, SILENCE_MS, request_number};

/// Errors of the service noted in a call's log; the rest is only counted.
const MAX_ERRORS_NOTED: u32 = 50;
/// Where a failed response does not say when to try again.
const RETRY_RESPONSE_MS: Millis = 1_000;

impl Conversation {
    pub(super) fn service(&mut self, event: &ServerEvent<'_>, now: Millis, effects: &mut Vec<Effect>) {
        self.link.heard(now);
        if let Some(response_id) = response_of(event) {
            self.responses.progress(response_id, now);
        }
        match event {
            ServerEvent::SessionCreated => {
                self.link.greeted();
                effects.push(Effect::Ask(Request::Configure));
            }
            ServerEvent::SessionUpdated if self.link.is_opening() => self.session_ready(now, effects),
            ServerEvent::SessionDiffers { part, told } => {
                let data = json!({"part": part, "told": told});
                effects.push(Effect::WriteEvent { kind: "session-differs", data });
                self.errors.fatal += 1;
                self.hand_over(Reason::RealtimeRefused, now, effects); // a person instead of noise
            }
            ServerEvent::SpeechStarted => self.speech_started(now, effects),
            ServerEvent::SpeechStopped => {
                self.interrupt_at = None;
                self.last_word_at = Some(now.saturating_sub(SILENCE_MS));
            }
            ServerEvent::Committed { item_id } => {
                self.interrupt_at = None; // a word that is over interrupts nobody any more
                self.patience.owe_since(self.quiet_ms(now));
                self.turns.committed(item_id, self.speaking_since.take().unwrap_or(now));
                self.responses.utterance_committed(now);
                self.unnoticed.noticed(now);
            }
            ServerEvent::ItemAdded { kind, .. } if kind == "function_call_output" => {
                self.responses.output_seen();
            }
            ServerEvent::TranscriptCompleted { item_id, transcript, usage, urgent } => {
                self.result.usage.transcription += *usage;
                self.transcribed(item_id, transcript, effects);
                if self.listen_for_urgency(transcript, *urgent, effects) {
                    self.warn_of_emergency(now, effects);
                }
                if self.greeting.is_due_after(transcript) {
                    self.greet_again(now, effects);
                }
            }
            ServerEvent::TranscriptFailed { item_id, code } => {
                self.transcribed(item_id, "", effects);
                effects
                    .push(Effect::WriteEvent { kind: "transcription-failed", data: json!({"code": code}) });
            }
            ServerEvent::ResponseCreated { id, number } => {
                let cancel = self.responses.created(id, *number, self.caller_interrupts(), now);
                effects.extend(cancel.map(ask_cancel));
                if self.greeting.is_pending() {
                    self.greet_again(now, effects); // this one answers a noise
                }
            }
            ServerEvent::AudioDone { item_id, .. } => self.audio_done(item_id, effects),
            ServerEvent::TranscriptDelta { item_id, delta, .. } => {
                self.turns.transcript_delta(item_id, delta)
            }
            ServerEvent::OutputItemDone { response_id, item } => {
                self.function_call(response_id, item, now, effects);
            }
            ServerEvent::ResponseDone(response) => self.response_done(response, now, effects),
            ServerEvent::Error(error) => self.service_error(error, now, effects),
            _ => {}
        }
    }

    fn speech_started(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.speaking_since = Some(now);
        self.unnoticed.noticed(now);
        self.last_word_at = None;
        self.silence.ends();
        self.farewell_interrupted(effects);
        if self.rules.barge_in_min_ms == 0 {
            self.barge_in(now, effects);
        } else {
            self.interrupt_at = Some(now + self.rules.barge_in_min_ms);
        }
    }

    fn session_ready(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let away = self.link.ready(now);
        let resumed = self.resumed.take();
        if self.turns.count() == 0 {
            self.responses.greet();
        } else {
            let said = self.history.turns().cloned();
            effects.extend(
                said.map(|Said { speaker, text, .. }| Effect::Ask(Request::Recall { speaker, text })),
            );
            let tools = self.tools.summary();
            effects.extend(tools.map(|text| Effect::Ask(Request::Note { text: text.into() })));
            effects.push(Effect::Ask(Request::Note { text: resumed.unwrap_or(GO_ON).into() }));
        }
        if resumed.is_some() {
            self.responses.want(); // the caller has heard nothing since
        } else if away > RING_MS || self.silence.is_bridged() {
            self.patience.owe();
            self.responses.break_silence(now); // their first words are lost, or they were asked to wait
        }
        effects.push(Effect::OpenGate);
    }

    fn transcribed(&mut self, item_id: &str, text: &str, effects: &mut Vec<Effect>) {
        if let Some(turn) = self.turns.transcribed(item_id, text) {
            write(&mut self.history, turn, effects);
        }
    }

    fn audio_done(&mut self, item_id: &str, effects: &mut Vec<Effect>) {
        if let Some(ordinal) = self.turns.ordinal_of(item_id) {
            self.complete(ordinal, effects);
        }
    }

    fn response_done(&mut self, response: &Response, now: Millis, effects: &mut Vec<Effect>) {
        self.result.usage += response.usage.unwrap_or_default();
        effects.extend(self.turns.unheard(response).into_iter().map(ask_delete));
        let ordinals = self.turns.response_done(response, |turn| write(&mut self.history, turn, effects));
        ordinals.into_iter().for_each(|ordinal| self.complete(ordinal, effects));
        for item in &response.output {
            self.function_call(&response.id, item, now, effects);
        }
        if response.status != "failed" {
            return self.response_ended(response, now, effects);
        }
        let error = response.status_details.as_ref().and_then(|details| details.error.as_ref());
        let error = error.cloned().unwrap_or_default();
        effects.push(Effect::WriteEvent { kind: "response-failed", data: json!({"code": error.code}) });
        if error.is_fatal() {
            self.errors.fatal += 1;
            return self.hand_over(Reason::RealtimeRefused, now, effects);
        }
        let after = match retry_delay(&error) {
            Some(delay) => self.responses.failed(&response.id, delay, now),
            None => AfterFailure::GiveUp,
        };
        self.after_failure(after, now, effects);
    }

    /// A response is completed, incomplete or cancelled. One of which nothing was to be heard has failed as
    /// well.
    fn response_ended(&mut self, response: &Response, now: Millis, effects: &mut Vec<Effect>) {
        let calls = response.output.iter().any(|item| item.is_call());
        let delay = if response.status == "cancelled" { 0 } else { RETRY_RESPONSE_MS };
        if let Ended::Silent(after) = self.responses.done(&response.id, calls, delay, now) {
            let data = json!({"status": response.status});
            effects.push(Effect::WriteEvent { kind: "response-without-sound", data });
            self.after_failure(after, now, effects);
        }
        self.last_word_at = self.last_word_at.filter(|_| self.owes()); // or nothing answers it
    }

    pub(super) fn after_failure(&mut self, after: AfterFailure, now: Millis, effects: &mut Vec<Effect>) {
        if after == AfterFailure::GiveUp {
            self.hand_over(Reason::RealtimeUnavailable, now, effects);
        }
    }

    fn service_error(&mut self, error: &ServiceError, now: Millis, effects: &mut Vec<Effect>) {
        let about = error.event_id.as_deref().unwrap_or_default();
        let number = request_number(about);
        if about.starts_with(OUTPUT) {
            self.responses.output_seen(); // it will never be in the conversation
        }
        let is_fatal = error.is_fatal() || (about == CONFIGURE_ID && !self.link.is_ready());
        let after = match error.code() {
            _ if is_fatal => AfterFailure::GiveUp,
            "conversation_already_has_active_response" => self.responses.refused(number, now),
            _ if number.is_some() => match retry_delay(error) {
                Some(delay) => self.responses.not_begun(number, delay, now),
                None => AfterFailure::GiveUp,
            },
            _ => AfterFailure::Retry,
        };
        let is_known =
            error.code() == "conversation_already_has_active_response" && !self.responses.is_first_refusal();
        if self.errors.benign < MAX_ERRORS_NOTED && !is_known {
            let data = json!({"code": error.code, "type": error.kind, "about": error.event_id});
            effects.push(Effect::WriteEvent { kind: "realtime-error", data });
        }
        if is_fatal {
            self.errors.fatal += 1;
            return self.hand_over(Reason::RealtimeRefused, now, effects);
        }
        self.errors.benign += 1;
        self.after_failure(after, now, effects);
    }
}

/// The response that this event names. What the caller does, or a sign of life, is no progress of a response.
fn response_of<'a>(event: &'a ServerEvent<'_>) -> Option<&'a str> {
    match event {
        ServerEvent::TranscriptDelta { response_id, .. } | ServerEvent::AudioDone { response_id, .. } => {
            Some(response_id)
        }
        _ => None,
    }
}

/// How long to wait after this error of a response; none if that is longer than a caller waits.
fn retry_delay(error: &ServiceError) -> Option<Millis> {
    let wait = retry_after(error.message.as_deref().unwrap_or_default()).unwrap_or(RETRY_RESPONSE_MS);
    (wait <= LONGEST_WAIT).then_some(wait)
}
