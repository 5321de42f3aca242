//! The heart of a call, without I/O: `(state, input, now) -> effects`.
//!
//! Inputs are what Twilio's stream, the Realtime service and the clock bring; effects are what the actor
//! carries out. The caller's audio does not come through here: it flows from socket to socket once the gate
//! is open.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::json;

use self::bridging::Parting;
use self::check::Written;
use self::end::{CallEnd, Outcome, Reason};
pub use self::exchange::{CallResult, Effect, Errors, Input, Next, Rules, Summary};
use self::greeting::Greeting;
use self::history::{History, Past, Said};
use self::link::{AfterLoss, LONGEST_WAIT, Link, Verdict};
use self::patience::Patience;
use self::playback::{Cut, Playback};
use self::responses::{AfterFailure, Cancel, Ended, Responses};
use self::retry_after::retry_after;
use self::silence::Silence;
use self::turns::{TakeBack, TurnUpdate, Turns};
use self::unnoticed::Unnoticed;
use crate::Millis;
use crate::conversation::state::{CallState, Speaking};
use crate::realtime::RING_MS;
use crate::realtime::events::{AudioDelta, Item, Response, ServerEvent, ServiceError};
use crate::realtime::requests::{CONFIGURE_ID, Request, SILENCE_MS, request_number};
use crate::twilio::frames::payload_bytes;

mod afterword;
mod bridging;
mod check;
pub mod end;
pub mod exchange;
pub mod greeting;
pub mod heard_part;
pub mod history;
pub mod kept;
pub mod link;
pub mod loudness;
pub mod patience;
pub mod phrases;
pub mod playback;
pub mod responses;
pub mod retry_after;
pub mod silence;
pub mod speaker;
pub mod state;
pub mod turns;
pub mod unheard;
pub mod unnoticed;
mod voice;

/// What a session is told of a call of whose history not all is known.
const START_OVER: &str = "The call was interrupted and goes on, but of what was said so far nothing is left except what \
                          stands above. Do not greet the caller again. Apologise in a few words and ask them to tell \
                          you once more what it is about.";
/// The greeting may wait so long for the caller; more of it ends the response.
const HELD_MS: u64 = 30_000;
/// So much audio may wait to be heard; more of it ends the response, never the call.
const UNHEARD_MS: u64 = 300_000;
/// What a session is told that takes the place of another.
const GO_ON: &str = "The connection was interrupted for a moment; the call goes on. Above is what was said so far. \
                     Go on exactly where you were. Do not greet the caller again and do not mention the interruption, \
                     unless you did not hear their last words: then ask them to repeat.";
/// The service names a function call twice, at its item's end and at its response's.
const MAX_CALLS_REMEMBERED: usize = 64;
/// Errors of the service noted in a call's log; the rest is only counted.
const MAX_ERRORS_NOTED: u32 = 50;
/// So many sessions in a row owed the caller an answer and were lost before a sound of it.
const MAX_FRUITLESS: u32 = 3;
/// Where a failed response does not say when to try again.
const RETRY_RESPONSE_MS: Millis = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// Admitted; the caller is not on the line yet.
    Awaited,
    Open,
    Lost,
}

#[derive(Debug, Clone, PartialEq)]
enum Held {
    Audio { ordinal: u32, payload: Bytes },
    Completed { ordinal: u32 },
}

/// One call's conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    rules: Rules,
    stream: Stream,
    link: Link,
    /// What the first session is told of a call that another process began.
    resumed: Option<&'static str>,
    /// Another process had the caller on the line.
    taken_up: bool,
    ended: bool,
    responses: Responses,
    greeting: Greeting,
    turns: Turns,
    history: History,
    playback: Playback,
    silence: Silence,
    patience: Patience,
    unnoticed: Unnoticed,
    /// Sessions in a row that were lost while they owed the caller an answer.
    fruitless: u32,
    /// The call is about to be given to a person, and the caller is being told so.
    parting: Option<Parting>,
    /// Audio made before the caller is on the line.
    held: VecDeque<Held>,
    held_bytes: u64,
    /// Since when the caller speaks.
    speaking_since: Option<Millis>,
    /// When speech that goes on becomes an interruption.
    interrupt_at: Option<Millis>,
    answered_calls: VecDeque<String>,
    errors: Errors,
    opened_at: Option<Millis>,
    /// When the caller fell silent, until they hear an answer.
    last_word_at: Option<Millis>,
    last_turn_ms: Option<u32>,
    answers: u32,
    result: CallResult,
    written: Written,
}

impl Conversation {
    /// The conversation of a call that was just admitted, and its first effect: the session is opened now, so
    /// that the greeting waits for the caller.
    pub fn begin(rules: Rules, now: Millis, effects: &mut Vec<Effect>) -> Self {
        effects.push(Effect::Connect { after: 0 });
        let link = Link::open(rules.jitter_seed, now);
        Self {
            rules,
            stream: Stream::Awaited,
            link,
            resumed: None,
            taken_up: false,
            ended: false,
            responses: Responses::default(),
            greeting: Greeting::default(),
            turns: Turns::default(),
            history: History::default(),
            playback: Playback::default(),
            silence: Silence::default(),
            patience: Patience::default(),
            unnoticed: Unnoticed::default(),
            fruitless: 0,
            parting: None,
            held: VecDeque::new(),
            held_bytes: 0,
            speaking_since: None,
            interrupt_at: None,
            answered_calls: VecDeque::new(),
            errors: Errors::default(),
            opened_at: None,
            last_word_at: None,
            last_turn_ms: None,
            answers: 0,
            result: CallResult::default(),
            written: Written::default(),
        }
    }

    /// The conversation of a call that another process began: it goes on where it was, and greets nobody
    /// again.
    pub fn resume(rules: Rules, past: &Past, now: Millis, effects: &mut Vec<Effect>) -> Self {
        Self {
            turns: Turns::after(past.last_ordinal()),
            history: History::of(past),
            resumed: match (past.is_whole, past.said.is_empty()) {
                (true, true) => None, // it was lost before the greeting was heard
                (true, false) => Some(GO_ON),
                (false, _) => Some(START_OVER),
            },
            taken_up: true,
            link: Link::reopen(rules.jitter_seed, now),
            ..Self::begin(rules, now, effects)
        }
    }

    /// Takes one input and pushes what is to be done about it. After the end only the last words are written
    /// down.
    pub fn step(&mut self, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) {
        let (had_ended, from) = (self.ended, effects.len());
        self.act(input, now, effects);
        if cfg!(debug_assertions) {
            self.check(had_ended, &effects[from..]);
        }
    }

    fn act(&mut self, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) {
        if self.ended {
            return self.afterword(input, now, effects);
        }
        if let Some(parting) = self.parting {
            return self.last_words(parting, input, now, effects);
        }
        match input {
            Input::Service(ServerEvent::Audio(delta)) => return self.audio(delta, now, effects),
            Input::Service(event) => self.service(event, now, effects),
            Input::Pong => self.link.heard(now),
            Input::StreamOpened => self.stream_opened(now, effects),
            Input::Mark(mark) => {
                for heard in self.playback.mark_played(*mark, now) {
                    self.settle(heard, effects);
                }
                return self.bridge_silence(now, effects);
            }
            Input::Digit(digit) => {
                effects.push(Effect::WriteEvent { kind: "dtmf", data: json!({"digit": digit}) });
            }
            Input::CallerInaudible => {
                effects.push(Effect::WriteEvent { kind: "one-way-audio", data: json!({}) });
            }
            Input::CallerAudible { quiet_ms } => {
                let data = json!({"quietMs": quiet_ms});
                effects.push(Effect::WriteEvent { kind: "two-way-audio", data });
            }
            Input::StreamLost => self.stream_lost(now, effects),
            Input::StreamStopped | Input::CallOver => self.caller_gone(now, effects),
            Input::Unclaimed if self.opened_at.is_none() => self.never_came(Reason::Unclaimed, now, effects),
            Input::Unclaimed => self.end(Outcome::Failed, Reason::StreamLost, Next::Human, now, effects),
            Input::Shutdown => self.end(Outcome::Failed, Reason::Shutdown, Next::Elsewhere, now, effects),
            Input::ActorFailed => self.end(Outcome::Failed, Reason::ActorFailed, Next::Human, now, effects),
            Input::ServiceLost { fatal, cause, wait } => {
                self.service_lost(*fatal, cause, *wait, now, effects);
            }
            Input::CallerLoud => self.caller_loud(now),
            Input::Tick => self.tick(now, effects),
        }
        self.ask(now, effects);
        self.bridge_silence(now, effects);
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Millis> {
        if let Some(parting) = self.parting {
            return (!self.ended).then_some(parting.until);
        }
        let link = self.link.deadline(self.is_idle());
        let response =
            self.responses.deadline(self.speaking_since.is_some()).filter(|_| self.link.is_ready());
        let filler = self.silence.deadline().filter(|_| self.rules.phrases.filler(0).is_some());
        let due = self.interrupt_at.into_iter().chain(response).chain(filler).chain(self.playback.deadline());
        let due = due.fold(link, Millis::min);
        let due = self.voice_deadlines().chain(self.patience.deadline()).fold(due, Millis::min);
        (!self.ended).then_some(due)
    }

    pub fn summary(&self) -> Summary {
        let state = match (self.is_leaving(), self.stream, self.link.is_ready()) {
            (true, ..) => CallState::Ending,
            (_, Stream::Awaited, _) => CallState::Reserved,
            (_, Stream::Lost, _) => CallState::Reconnecting,
            (_, Stream::Open, true) => CallState::Live,
            (_, Stream::Open, false) if self.link.has_been_ready() => CallState::Reconnecting,
            (_, Stream::Open, false) => CallState::Connecting,
        };
        let speaking = match (self.speaking_since, self.playback.is_playing()) {
            (Some(_), _) => Speaking::Caller,
            (None, true) => Speaking::Agent,
            (None, false) => Speaking::None,
        };
        Summary {
            state,
            speaking,
            turns: self.turns.count(),
            barge_ins: self.result.barge_ins,
            first_audio_ms: self.result.first_audio_ms,
            last_turn_ms: self.last_turn_ms,
            answers: self.answers,
            reconnects: self.link.reconnects(),
            usage: self.result.usage,
            errors: self.errors,
        }
    }

    /// Nothing but the last words is to be heard any more.
    fn is_leaving(&self) -> bool {
        self.ended || self.parting.is_some()
    }

    /// Nobody speaks, and nothing is being made or heard.
    fn is_idle(&self) -> bool {
        self.speaking_since.is_none() && !self.playback.is_playing() && !self.responses.is_due()
    }

    fn stream_opened(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.stream = Stream::Open;
        if self.rules.phrases.filler(0).is_some() {
            self.link.has_fillers();
        }
        if self.opened_at.replace(self.opened_at.unwrap_or(now)).is_some() && self.held.is_empty() {
            self.responses.break_silence(now); // what they said meanwhile is lost
        }
        self.patience.owe();
        self.held_bytes = 0;
        for held in std::mem::take(&mut self.held) {
            match held {
                Held::Audio { ordinal, payload } => self.play(ordinal, payload, now, effects),
                Held::Completed { ordinal } => self.complete(ordinal, effects),
            }
        }
    }

    /// What was being said is given up, and said again for a caller who comes back; what had not begun is
    /// held.
    fn stream_lost(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.stream = Stream::Lost;
        if self.playback.is_playing() {
            effects.extend(self.responses.cancel(now).map(ask_cancel));
            self.responses.want(); // said again to a caller who comes back
            self.stop_playing(now, effects);
        }
    }

    fn service(&mut self, event: &ServerEvent<'_>, now: Millis, effects: &mut Vec<Effect>) {
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
            ServerEvent::SpeechStarted => {
                self.speaking_since = Some(now);
                self.unnoticed.noticed(now);
                self.last_word_at = None;
                self.silence.ends();
                if self.rules.barge_in_min_ms == 0 {
                    self.barge_in(now, effects);
                } else {
                    self.interrupt_at = Some(now + self.rules.barge_in_min_ms);
                }
            }
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
            ServerEvent::TranscriptCompleted { item_id, transcript, usage } => {
                self.result.usage.transcription += *usage;
                self.transcribed(item_id, transcript, effects);
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
            ServerEvent::OutputItemDone { item } => self.answer_function_call(item, effects),
            ServerEvent::ResponseDone(response) => self.response_done(response, now, effects),
            ServerEvent::Error(error) => self.service_error(error, now, effects),
            _ => {}
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
            effects.push(Effect::Ask(Request::Note { text: resumed.unwrap_or(GO_ON) }));
        }
        if resumed.is_some() {
            self.responses.want(); // the caller has heard nothing since
        } else if away > RING_MS || self.silence.is_bridged() {
            self.patience.owe();
            self.responses.break_silence(now); // their first words are lost, or they were asked to wait
        }
        effects.push(Effect::OpenGate);
    }

    /// The audio path: nothing here may cost more than it must.
    fn audio(&mut self, delta: &AudioDelta<'_>, now: Millis, effects: &mut Vec<Effect>) {
        let bytes = payload_bytes(&delta.payload);
        self.link.heard(now);
        let is_wanted = self.responses.audio(delta.response_id, now);
        let has_room = self.has_room_for(bytes);
        if is_wanted && !has_room {
            effects.push(Effect::WriteEvent { kind: "response-too-long", data: json!({}) });
            effects.extend(self.responses.cancel(now).map(ask_cancel));
        }
        if !is_wanted || !has_room || self.turns.is_past(delta.item_id) {
            let unheard = self.turns.late_audio(delta, bytes);
            return effects.extend(unheard.map(ask_delete));
        }
        let ordinal = self.turns.audio(delta, bytes, now);
        if self.stream == Stream::Open {
            self.play(ordinal, delta.payload.clone(), now, effects);
        } else {
            self.held_bytes += bytes;
            self.held.push_back(Held::Audio { ordinal, payload: delta.payload.clone() });
        }
    }

    /// Whether so much more audio may wait to be heard.
    fn has_room_for(&self, bytes: u64) -> bool {
        match self.stream {
            Stream::Open => self.playback.unheard_ms() + bytes / 8 <= UNHEARD_MS,
            Stream::Awaited | Stream::Lost => (self.held_bytes + bytes) / 8 <= HELD_MS,
        }
    }

    fn play(&mut self, ordinal: u32, payload: Bytes, now: Millis, effects: &mut Vec<Effect>) {
        self.silence.ends();
        self.patience.answered();
        self.unnoticed.agent_speaks(now);
        self.fruitless = 0;
        self.unnoticed.new_session();
        self.send(ordinal, payload, now, effects);
        if let Some(last_word_at) = self.last_word_at.take() {
            self.last_turn_ms = u32::try_from(now - last_word_at).ok();
            self.answers += 1;
        }
        if let (None, Some(opened_at)) = (self.result.first_audio_ms, self.opened_at) {
            self.result.first_audio_ms = u32::try_from(now - opened_at).ok();
        }
    }

    /// Sends audio to the caller, with the mark that is due after it.
    fn send(&mut self, ordinal: u32, payload: Bytes, now: Millis, effects: &mut Vec<Effect>) {
        let mark = self.playback.sent(ordinal, payload_bytes(&payload), now);
        effects.push(Effect::Play(payload));
        effects.extend(mark.map(Effect::Mark));
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

    /// All audio of a turn has come.
    fn complete(&mut self, ordinal: u32, effects: &mut Vec<Effect>) {
        if self.stream == Stream::Open {
            effects.extend(self.playback.completed(ordinal).map(Effect::Mark));
        } else {
            self.held.push_back(Held::Completed { ordinal });
        }
    }

    fn caller_interrupts(&self) -> bool {
        self.speaking_since.is_some() && self.interrupt_at.is_none()
    }

    /// The caller speaks: the agent falls silent, and the service forgets what was not heard.
    fn barge_in(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.interrupt_at = None;
        self.greeting.interrupted();
        let was_heard = self.playback.is_playing();
        let cancel = self.responses.cancel(now);
        if was_heard {
            self.result.barge_ins += 1;
            effects.push(Effect::Clear);
        }
        effects.extend(cancel.map(ask_cancel));
        self.stop_playing(now, effects);
        self.discard_held(effects);
    }

    /// The greeting takes the place of whatever answers a noise.
    fn greet_again(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.playback.is_playing() {
            effects.push(Effect::Clear);
        }
        effects.extend(self.responses.cancel(now).map(ask_cancel));
        self.stop_playing(now, effects);
        self.responses.greet();
    }

    /// What waits for the caller to come back answers what is out of date by then.
    fn discard_held(&mut self, effects: &mut Vec<Effect>) {
        self.held_bytes = 0;
        let mut last = None;
        for held in std::mem::take(&mut self.held) {
            if let Held::Audio { ordinal, .. } = held
                && last.replace(ordinal) != Some(ordinal)
            {
                self.settle(Cut { ordinal, heard_ms: 0, sent_ms: 0, complete: false }, effects);
            }
        }
    }

    /// Settles what was heard of all that was sent.
    fn stop_playing(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for cut in self.playback.interrupt(now) {
            self.settle(cut, effects);
        }
    }

    fn settle(&mut self, cut: Cut, effects: &mut Vec<Effect>) {
        let greeting = &mut self.greeting;
        let taken_back = self.turns.heard(cut, |turn| {
            greeting.heard(&turn);
            write(&mut self.history, turn, effects);
        });
        match taken_back {
            Some(TakeBack::Rest(place)) => effects.push(Effect::Ask(Request::Truncate {
                item_id: place.item_id,
                content_index: place.content_index,
                audio_end_ms: cut.heard_ms,
            })),
            Some(TakeBack::Item(item_id)) => effects.push(ask_delete(item_id)),
            None => {}
        }
    }

    /// Every function call is answered. The session has no tools, so the answer is that there is none of that
    /// name.
    fn answer_function_call(&mut self, item: &Item, effects: &mut Vec<Effect>) {
        let ("function_call", Some(call_id)) = (item.kind.as_str(), &item.call_id) else { return };
        if self.answered_calls.contains(call_id) {
            return;
        }
        if self.answered_calls.len() == MAX_CALLS_REMEMBERED {
            self.answered_calls.pop_front();
        }
        self.answered_calls.push_back(call_id.clone());
        let name = item.name.as_deref().unwrap_or_default();
        effects.push(Effect::WriteEvent { kind: "unknown-tool", data: json!({"name": name}) });
        let output = json!({"error": format!("there is no tool named {name}")});
        effects.push(Effect::Ask(Request::FunctionOutput { call_id: call_id.clone(), output }));
        self.responses.output_sent();
    }

    fn response_done(&mut self, response: &Response, now: Millis, effects: &mut Vec<Effect>) {
        self.result.usage += response.usage.unwrap_or_default();
        effects.extend(self.turns.unheard(response).into_iter().map(ask_delete));
        let ordinals = self.turns.response_done(response, |turn| write(&mut self.history, turn, effects));
        ordinals.into_iter().for_each(|ordinal| self.complete(ordinal, effects));
        response.output.iter().for_each(|item| self.answer_function_call(item, effects));
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
        let calls = response.output.iter().any(|item| item.kind == "function_call");
        let delay = if response.status == "cancelled" { 0 } else { RETRY_RESPONSE_MS };
        if let Ended::Silent(after) = self.responses.done(&response.id, calls, delay, now) {
            let data = json!({"status": response.status});
            effects.push(Effect::WriteEvent { kind: "response-without-sound", data });
            self.after_failure(after, now, effects);
        }
        self.last_word_at = self.last_word_at.filter(|_| self.responses.is_due()); // or nothing answers it
    }

    fn after_failure(&mut self, after: AfterFailure, now: Millis, effects: &mut Vec<Effect>) {
        if after == AfterFailure::GiveUp {
            self.hand_over(Reason::RealtimeUnavailable, now, effects);
        }
    }

    fn service_error(&mut self, error: &ServiceError, now: Millis, effects: &mut Vec<Effect>) {
        let about = error.event_id.as_deref().unwrap_or_default();
        let number = request_number(about);
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

    fn service_lost(
        &mut self,
        fatal: bool,
        cause: &str,
        wait: Option<Millis>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::WriteEvent { kind: "realtime-lost", data: json!({"cause": cause}) });
        if fatal {
            return self.hand_over(Reason::RealtimeRefused, now, effects);
        }
        let was_ready = self.link.is_ready();
        if was_ready && self.responses.is_due() {
            self.fruitless += 1;
        }
        if self.fruitless >= MAX_FRUITLESS {
            return self.hand_over(Reason::RealtimeUnavailable, now, effects);
        }
        match self.link.lost(wait, now) {
            AfterLoss::Connect { after } => {
                if was_ready {
                    self.session_gone(now, effects);
                }
                effects.push(Effect::Connect { after });
            }
            AfterLoss::GiveUp => self.hand_over(Reason::RealtimeUnavailable, now, effects),
        }
    }

    /// What the session was doing will not be finished. Audio that was made goes on to be heard.
    fn session_gone(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let quiet_ms = self.quiet_ms(now);
        let caller_was_speaking = self.speaking_since.take().is_some() || self.unnoticed.is_recent(now);
        if caller_was_speaking {
            self.patience.owe_since(quiet_ms);
        }
        self.interrupt_at = None;
        self.responses.session_lost(caller_was_speaking || self.responses.is_due());
        let ended = self.turns.session_lost(|turn| write(&mut self.history, turn, effects));
        ended.into_iter().for_each(|ordinal| self.complete(ordinal, effects));
    }

    fn tick(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.interrupt_at.is_some_and(|at| at <= now) {
            self.barge_in(now, effects);
        }
        for heard in self.playback.overdue(now) {
            self.settle(heard, effects);
        }
        self.end_speech(now);
        if self.patience.deadline().is_some_and(|due| due <= now) {
            effects.push(Effect::WriteEvent { kind: "no-answer", data: json!({}) });
            return self.hand_over(Reason::RealtimeUnavailable, now, effects);
        }
        let stuck = self.link.is_ready() && self.responses.is_stuck(now);
        let verdict = self.link.verdict(self.is_idle(), now).or(stuck.then_some(Verdict::Stuck));
        let verdict = verdict.or_else(|| self.deaf_verdict(now, effects));
        if let Some(verdict) = verdict {
            effects.push(Effect::Disconnect);
            self.service_lost(false, verdict.cause(), None, now, effects);
            if matches!(verdict, Verdict::Stalled | Verdict::Stuck | Verdict::Deaf) {
                // What the caller said to it is lost: the next session asks them to repeat.
                self.responses.want();
            }
        } else if self.link.ping(now) {
            effects.push(Effect::Ping);
        }
    }

    fn ask(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.is_leaving() || !self.link.is_ready() {
            return;
        }
        if let Some(ask) = self.responses.ask(self.speaking_since.is_some(), now) {
            let number = ask.number;
            if ask.greeting {
                self.greeting.asked();
            }
            let request = if ask.greeting { Request::Greet { number } } else { Request::Respond { number } };
            effects.push(Effect::Ask(request));
        }
    }

    fn caller_gone(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.result.first_audio_ms.is_some() {
            self.end(Outcome::Completed, Reason::CallerHungUp, Next::Nothing, now, effects);
        } else {
            self.never_came(Reason::CallerHungUp, now, effects);
        }
    }

    /// The caller was gone before they heard anything of us.
    fn never_came(&mut self, reason: Reason, now: Millis, effects: &mut Vec<Effect>) {
        let (outcome, reason) = match (self.taken_up, self.opened_at) {
            (true, None) => (Outcome::Failed, Reason::ProcessLost),
            _ => (Outcome::Abandoned, reason),
        };
        self.end(outcome, reason, Next::Nothing, now, effects);
    }

    fn end(&mut self, outcome: Outcome, reason: Reason, next: Next, now: Millis, effects: &mut Vec<Effect>) {
        self.ended = true;
        effects.extend(self.responses.cancel(now).filter(|_| self.link.is_ready()).map(ask_cancel));
        for cut in self.playback.interrupt(now) {
            self.turns.heard(cut, |turn| write(&mut self.history, turn, effects));
        }
        self.turns.close(|turn| write(&mut self.history, turn, effects));
        self.held.clear();
        self.held_bytes = 0;
        let result = self.result.clone();
        effects.push(Effect::End { end: CallEnd::new(outcome, reason), next, result });
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

/// A turn is known, or known better.
fn write(history: &mut History, turn: TurnUpdate, effects: &mut Vec<Effect>) {
    history.learn(&turn);
    effects.push(Effect::WriteTurn(turn));
}

fn ask_cancel(Cancel(response_id): Cancel) -> Effect {
    Effect::Ask(Request::Cancel { response_id })
}

fn ask_delete(item_id: String) -> Effect {
    Effect::Ask(Request::Delete { item_id })
}

/// How long to wait after this error of a response; none if that is longer than a caller waits.
fn retry_delay(error: &ServiceError) -> Option<Millis> {
    let wait = retry_after(error.message.as_deref().unwrap_or_default()).unwrap_or(RETRY_RESPONSE_MS);
    (wait <= LONGEST_WAIT).then_some(wait)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod properties;

#[cfg(test)]
mod lying_peer;
