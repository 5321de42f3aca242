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
use self::end::{Outcome, Reason};
pub use self::exchange::{CallResult, Effect, Errors, Input, Rules, Summary};
use self::farewell::Farewell;
use self::greeting::Greeting;
use self::history::{History, Past};
use self::link::Link;
use self::patience::Patience;
use self::playback::Playback;
use self::responses::{Cancel, Responses};
use self::silence::Silence;
use self::tools::Tools;
use self::turns::{TurnUpdate, Turns};
use self::unnoticed::Unnoticed;
use self::urgency::Urgency;
use crate::Millis;
use crate::call_flow::NextStep;
use crate::conversation::state::{CallState, Speaking};
use crate::realtime::events::ServerEvent;
use crate::realtime::requests::Request;

mod afterword;
mod bridging;
mod calling;
mod check;
pub mod end;
mod ending;
pub mod exchange;
mod farewell;
pub mod greeting;
pub mod heard_part;
pub mod history;
pub mod inbox_item;
pub mod kept;
pub mod link;
pub mod loudness;
pub mod patience;
pub mod phrases;
pub mod playback;
pub mod responses;
pub mod retry_after;
mod service;
mod session;
pub mod silence;
mod sound;
pub mod speaker;
pub mod state;
pub mod tool_result;
pub mod tools;
pub mod turns;
pub mod unheard;
pub mod unnoticed;
mod urgency;
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
/// So many sessions in a row owed the caller an answer and were lost before a sound of it.
const MAX_FRUITLESS: u32 = 3;

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
    tools: Tools,
    /// The agent has taken leave.
    farewell: Option<Farewell>,
    urgency: Urgency,
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
            tools: Tools::default(),
            farewell: None,
            urgency: Urgency::default(),
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
                self.leave(now, effects);
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
            Input::Unclaimed => self.end(Outcome::Failed, Reason::StreamLost, NextStep::Human, now, effects),
            Input::ToolDone(done) => self.tool_done(done, now, effects),
            Input::Shutdown => self.shut_down(now, effects),
            Input::ToPerson if self.stream == Stream::Open => {
                self.end(Outcome::Completed, Reason::Operator, NextStep::Human, now, effects)
            }
            Input::ToPerson => {}
            Input::ActorFailed => {
                self.end(Outcome::Failed, Reason::ActorFailed, NextStep::Human, now, effects)
            }
            Input::ServiceLost { fatal, cause, wait } => {
                self.service_lost(*fatal, cause, *wait, now, effects);
            }
            Input::CallerLoud => self.caller_loud(now),
            Input::Tick => self.tick(now, effects),
        }
        self.leave(now, effects);
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
        let leaves = self.farewell.as_ref().map(|farewell| farewell.until);
        let due = self.tools.deadline().into_iter().chain(leaves).fold(due, Millis::min);
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
        self.speaking_since.is_none() && !self.playback.is_playing() && !self.owes()
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

#[cfg(test)]
mod tests;

#[cfg(test)]
mod properties;

#[cfg(test)]
mod lying_peer;
