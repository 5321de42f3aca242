//! Both peers of a call, small and strict, in virtual milliseconds: a Realtime service with its own idea of
//! what is active and how long each item is (reference: OpenAI Realtime, sections 3 to 7), and Twilio's ear,
//! which plays 20 ms at a time (reference: Twilio, section 4). Messages take their time both ways, so they
//! cross.
//!
//! A [`World`] plays one [`Scenario`] against a conversation and notes every [`Property`] that it breaks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use self::checkpoint::LIMITS;
use self::ear::{Ear, EarReport, FRAME_MS, Order};
pub use self::scenario::{Act, Connection, Ending, Part, Plan, Property, Report, Scenario, Utterance};
use self::service::{Delta, FunctionCall, SILENCE_MS, Said, Service, Spoken, error};
pub use self::tools::Called;
use super::super::*;
use crate::conversation::speaker::Speaker;
use crate::conversation::tool_result::ToolDone;
use crate::journal::Journal;
use crate::recorder::tests::Tape;
use crate::twilio::frames::payload_bytes;

mod checkpoint;
mod ear;
mod judge;
mod restart;
mod scenario;
mod service;
mod tools;

/// So much cannot happen in one millisecond unless it never ends.
const BUSY: u32 = 10_000;
/// So long everything may take to come to rest, besides what is said: four failures with the longest wait.
const QUIET_MS: Millis = 200_000;

/// Plays a scenario to its end.
pub fn play(scenario: &Scenario) -> Report {
    played(World::new(scenario))
}

/// Plays a scenario, and what was recorded of it.
pub fn play_recorded(scenario: &Scenario) -> Report {
    let mut world = World::new(scenario);
    world.is_recorded = true;
    world.records(None, &[Effect::Connect { after: 0 }]);
    played(world)
}

fn played(mut world: World<'_>) -> Report {
    let scenario = world.scenario;
    let mut at = 0;
    for (after, act) in &scenario.acts {
        at += after;
        world.later(at, Happening::Act(*act));
    }
    let rests_at = at + QUIET_MS + scenario.speech_ms();
    world.run_until(rests_at);
    world.at_rest();
    world.now += 1;
    world.act(Act::CallOver);
    world.run_until(rests_at + 2_000);
    world.play_the_recording();
    world.judged()
}

#[derive(Debug)]
enum Happening {
    Act(Act),
    Connect,
    CallerFallsSilent(u32),
    VoiceBegins,
    VoiceEnds,
    Silence(u32),
    ToService { session: u32, request: Request, asked_at: Millis },
    FromService { session: u32, said: Said },
    Generate { response: usize, step: usize },
    ToEar { stream: u32, order: Order },
    Frame { stream: u32 },
    FromEar { stream: u32, report: EarReport },
    ToolDone(ToolDone),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    Caller,
    Agent { item: usize },
}

struct World<'a> {
    scenario: &'a Scenario,
    now: Millis,
    sequence: u64,
    agenda: BTreeMap<(Millis, u64), Happening>,
    conversation: Conversation,
    journal: Journal<Conversation>,
    is_recorded: bool,
    tape: Option<Tape>,
    gate: bool,
    /// The stream in use, as our side sees it.
    stream: Option<u32>,
    streams: u32,
    speaking: bool,
    speech: u32,
    service: Service,
    ear: Ear,
    ended: bool,
    /// By ordinal.
    turns: BTreeMap<u32, Turn>,
    last_ordinal: u32,
    restarts: u32,
    /// Turns of which nobody could tell any more how they ended: their process was killed.
    forsaken: BTreeSet<u32>,
    updates: BTreeMap<u32, TurnUpdate>,
    truncations: Vec<(usize, u32)>,
    /// Items the service has deleted.
    deletions: BTreeSet<usize>,
    /// Responses whose audio must not go out any more.
    silenced: BTreeSet<usize>,
    /// Responses that exist as far as we know.
    known: usize,
    silence_next: bool,
    held: Vec<usize>,
    last_played: Option<usize>,
    /// When somebody was last known to speak, the agent only until its words were sent.
    spoken_at: Millis,
    fillers_in_a_row: u32,
    /// The service has told us that the caller speaks.
    caller_heard: bool,
    /// Function calls that were carried out.
    at_work: BTreeSet<usize>,
    is_urgent: bool,
    report: Report,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let mut effects = vec![];
        let conversation = Conversation::begin(scenario.rules(), 0, &mut effects);
        let mut world = Self {
            scenario,
            now: 0,
            sequence: 0,
            agenda: BTreeMap::new(),
            journal: Journal::new(conversation.clone(), LIMITS),
            conversation,
            is_recorded: false,
            tape: None,
            gate: false,
            stream: None,
            streams: 0,
            speaking: false,
            speech: 0,
            service: Service::default(),
            ear: Ear::default(),
            ended: false,
            turns: BTreeMap::new(),
            last_ordinal: 0,
            restarts: 0,
            forsaken: BTreeSet::new(),
            updates: BTreeMap::new(),
            truncations: vec![],
            deletions: BTreeSet::new(),
            silenced: BTreeSet::new(),
            known: 0,
            silence_next: false,
            held: vec![],
            last_played: None,
            spoken_at: 0,
            fillers_in_a_row: 0,
            caller_heard: false,
            at_work: BTreeSet::new(),
            is_urgent: false,
            report: Report::default(),
        };
        world.carry_out(effects);
        world
    }

    fn later(&mut self, at: Millis, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at, self.sequence), happening);
    }

    fn fault(&mut self, property: Property, what: impl Into<String>) {
        let what = format!("at {} ms: {}", self.now, what.into());
        self.report.faults.push((property, what));
    }

    fn run_until(&mut self, end: Millis) {
        let mut busy = 0;
        loop {
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let due = self.conversation.deadline().map(|due| due.max(self.now) + self.scenario.tick_late_ms);
            match (next, due) {
                (next, Some(due)) if due <= end && next.is_none_or(|next| due < next) => {
                    self.now = due;
                    self.feed(&Input::Tick);
                    if self.conversation.deadline().is_some_and(|due| due <= self.now) {
                        self.fault(
                            Property::Liveness,
                            "a tick left something due: the next one follows at once",
                        );
                        return;
                    }
                }
                (Some(next), _) if next <= end => {
                    let ((at, _), happening) = self.agenda.pop_first().unwrap();
                    busy = if at == self.now { busy + 1 } else { 0 };
                    if busy == BUSY {
                        return self.fault(Property::Liveness, "no end of messages in one millisecond");
                    }
                    self.now = at;
                    self.happen(happening);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Act(act) => self.act(act),
            Happening::Connect => self.connect(),
            Happening::CallerFallsSilent(speech) if speech == self.speech => self.caller_falls_silent(),
            Happening::CallerFallsSilent(_) => {}
            Happening::VoiceBegins => self.voice_begins(),
            Happening::VoiceEnds => {
                self.later(self.now + SILENCE_MS, Happening::Silence(self.service.voice));
            }
            Happening::Silence(voice) if voice == self.service.voice => self.utterance_ends(),
            Happening::Silence(_) => {}
            Happening::ToService { session, request, asked_at } if session == self.service.session => {
                self.asked(request, asked_at);
            }
            Happening::FromService { session, said } if session == self.service.session => self.hear(said),
            Happening::ToService { .. } | Happening::FromService { .. } => {}
            Happening::Generate { response, step } if self.service.active == Some(response) => {
                self.generate(response, step);
            }
            Happening::Generate { .. } => {}
            Happening::ToEar { stream, order } if stream == self.streams && self.ear.open => {
                self.ordered(order);
            }
            Happening::ToEar { .. } => {}
            Happening::Frame { stream } if stream == self.streams && self.ear.open => self.frame(),
            Happening::Frame { .. } => {}
            Happening::FromEar { stream, report } if Some(stream) == self.stream => match report {
                EarReport::Played(mark) => self.feed(&Input::Mark(mark)),
                EarReport::Stopped => self.feed(&Input::StreamStopped),
                EarReport::Lost => {
                    self.stream = None;
                    self.feed(&Input::StreamLost);
                }
            },
            Happening::FromEar { .. } => {}
            Happening::ToolDone(_) if self.ended => {}
            Happening::ToolDone(done) => self.feed(&Input::ToolDone(done)),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::OpenStream if self.stream.is_none() && !self.ended => {
                self.streams += 1;
                self.stream = Some(self.streams);
                self.ear = Ear { open: true, ..Ear::default() };
                self.feed(&Input::StreamOpened);
            }
            Act::LoseStream | Act::HangUp if self.ear.open => {
                self.hang_up();
                self.caller_falls_silent();
                let report = if matches!(act, Act::HangUp) { EarReport::Stopped } else { EarReport::Lost };
                self.ear_says(report);
            }
            Act::Speak(ms) if self.ear.open && self.gate && !self.speaking && !self.ended => {
                self.speaking = true;
                self.speech += 1;
                self.later(self.now + ms, Happening::CallerFallsSilent(self.speech));
                self.later(self.now + self.scenario.service_ms, Happening::VoiceBegins);
            }
            Act::Digit => self.feed(&Input::Digit('5')),
            Act::Tick => self.feed(&Input::Tick),
            Act::BenignError(code) if self.service.session > 0 => {
                self.say(Said::Event(ServerEvent::Error(error(code, None))));
            }
            Act::CallOver => {
                self.hang_up();
                self.feed(&Input::CallOver);
            }
            Act::Unclaimed if self.stream.is_none() => self.feed(&Input::Unclaimed),
            Act::Shutdown => self.feed(&Input::Shutdown),
            Act::Restart { back_after, blind } if !self.ended => self.restart(back_after, blind),
            Act::LoseService if self.service.open => {
                self.service_drops();
                self.feed(&Input::ServiceLost { fatal: false, cause: "closed", wait: None });
            }
            _ => {}
        }
    }

    fn caller_falls_silent(&mut self) {
        if std::mem::take(&mut self.speaking) {
            self.later(self.now + self.scenario.service_ms, Happening::VoiceEnds);
        }
    }

    /// Gives the conversation an input, and looks at what it makes of it.
    fn feed(&mut self, input: &Input<'_>) {
        let mut effects = vec![];
        let turns = self.conversation.summary().turns;
        let before = self.is_panicky().then(|| self.conversation.clone());
        self.conversation.step(input, self.now, &mut effects);
        self.journalled(input, before.as_ref(), &effects);
        if self.conversation.summary().turns > turns + 1 {
            self.fault(Property::Turns, "one input made two turns");
        }
        let opened = matches!(input, Input::StreamOpened);
        let held = if opened { std::mem::take(&mut self.held) } else { vec![] };
        let was_played = self.last_played;
        self.carry_out(effects);
        if opened && held.last().copied().or(was_played) != self.last_played {
            self.fault(Property::Playing, format!("{held:?} was held, played up to {:?}", self.last_played));
        }
        self.report.held_then_played += u32::from(!held.is_empty());
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let too_long = effects
            .iter()
            .any(|effect| matches!(effect, Effect::WriteEvent { kind: "response-too-long", .. }));
        let cleared = effects.contains(&Effect::Clear);
        if cleared {
            self.report.barge_ins += 1;
            self.silenced.extend(0..self.known);
            self.held.clear();
        }
        if effects.iter().any(|effect| matches!(effect, Effect::WriteEvent { kind: "filler", .. })) {
            self.bridged();
        }
        for effect in effects {
            let is_afterword = matches!(
                effect,
                Effect::WriteTurn(_) | Effect::Ask(Request::Cancel { .. }) | Effect::FileItem(_)
            );
            if self.ended && !is_afterword {
                self.fault(Property::End, format!("after the end: {effect:?}"));
            }
            match effect {
                Effect::Connect { after } => self.later(self.now + after, Happening::Connect),
                Effect::Disconnect => self.service_drops(),
                Effect::Ping => self.say(Said::Pong),
                Effect::Ask(request) => self.ask(request, too_long),
                Effect::OpenGate => self.gate = true,
                Effect::Play(payload) if payload.starts_with(b"//") => {
                    let bytes = payload_bytes(&payload) as u32;
                    self.order(Order::Media { delta: None, bytes });
                }
                Effect::Play(payload) => self.played(&payload),
                Effect::Mark(mark) => self.order(Order::Mark(mark)),
                Effect::Clear => self.order(Order::Clear),
                Effect::WriteTurn(turn) => self.written(turn),
                Effect::WriteEvent { kind: "goodbye", .. } => self.report.goodbyes += 1,
                Effect::RunTool { number, call_id, .. } => self.run_tool(number, &call_id),
                Effect::FileItem(item) => self.filed(&item),
                Effect::WriteEvent { .. } | Effect::ToolCalled(_) | Effect::Transfer(_) => {}
                Effect::End { end, .. } => {
                    self.report.farewells += u32::from(end.reason == Reason::AgentHungUp);
                    self.report.transfers += u32::from(end.reason == Reason::AgentTransferred);
                    self.ended = true;
                    self.order(Order::Close);
                }
            }
        }
    }

    /// A filler is about to go out.
    fn bridged(&mut self) {
        self.report.fillers += 1;
        self.fillers_in_a_row += 1;
        let on_its_way = self
            .agenda
            .values()
            .any(|what| matches!(what, Happening::ToEar { order: Order::Media { .. }, .. }));
        if self.caller_heard {
            self.fault(Property::Fillers, "a filler while the caller speaks");
        }
        if self.stream.is_none() || self.ear.open && (self.ear.is_busy() || on_its_way) {
            self.fault(Property::Fillers, "a filler over what is being heard, or for nobody");
        }
        if self.now < self.spoken_at + 2_000 {
            self.fault(Property::Fillers, format!("a filler too soon after {}", self.spoken_at));
        }
        if self.fillers_in_a_row > 4 {
            self.fault(Property::Fillers, "too many fillers in a row");
        }
        self.spoken_at = self.now;
    }

    fn somebody_speaks(&mut self) {
        self.spoken_at = self.now;
        self.fillers_in_a_row = 0;
    }

    fn ask(&mut self, request: Request, too_long: bool) {
        match &request {
            Request::Cancel { response_id } => {
                match response_id {
                    Some(id) => drop(self.silenced.insert(number(id))),
                    None => self.silence_next = true,
                }
                if let (true, Some(id)) = (too_long, response_id) {
                    self.service.cut.insert(number(id));
                }
                if !too_long {
                    let Self { held, silenced, service, .. } = self;
                    held.retain(|delta| !silenced.contains(&service.deltas[*delta].response));
                }
            }
            Request::Truncate { item_id, audio_end_ms, .. } => {
                let item = number(item_id);
                if *audio_end_ms > self.service.items[item].sent_bytes / 8 {
                    self.fault(
                        Property::Truncation,
                        format!("{item_id} at {audio_end_ms} ms, beyond what was sent"),
                    );
                }
                self.truncations.push((item, *audio_end_ms));
                let Self { held, service, .. } = self;
                held.retain(|delta| service.deltas[*delta].item != item);
            }
            Request::Delete { item_id } => {
                let item = number(item_id);
                let Self { held, service, .. } = self;
                held.retain(|delta| service.deltas[*delta].item != item);
            }
            Request::Recall { text, .. } if !self.updates.values().any(|turn| turn.text == *text) => {
                self.fault(Property::Turns, format!("{text:?} is recalled and was never written"));
            }
            _ => {}
        }
        let session = self.service.session;
        let asked_at = self.now;
        self.later(self.now + self.scenario.service_ms, Happening::ToService { session, request, asked_at });
    }

    fn played(&mut self, payload: &Bytes) {
        let delta = number(std::str::from_utf8(&payload[..8]).unwrap());
        if self.last_played.is_some_and(|last| last >= delta) {
            self.fault(Property::Playing, format!("piece {delta} after {:?}", self.last_played));
        }
        self.last_played = Some(delta);
        self.somebody_speaks();
        let Delta { item, bytes, .. } = self.service.deltas[delta];
        self.service.items[item].sent_bytes += bytes;
        self.order(Order::Media { delta: Some(delta), bytes });
    }

    fn written(&mut self, turn: TurnUpdate) {
        let expected = self.turns.get(&turn.ordinal).copied();
        let speaker = match expected {
            Some(Turn::Caller) => Some(Speaker::Caller),
            Some(Turn::Agent { .. }) => Some(Speaker::Agent),
            None => None,
        };
        if speaker != Some(turn.speaker) {
            self.fault(Property::Turns, format!("{turn:?} is written for {expected:?}"));
        }
        if let Some(Turn::Agent { item }) = expected
            && !self.service.items[item].said.starts_with(&turn.text)
        {
            let said = self.service.items[item].said.clone();
            self.fault(Property::Turns, format!("{:?} is not how {said:?} begins", turn.text));
        }
        self.updates.insert(turn.ordinal, turn);
    }
}

/// The number that ends an identifier of the service.
fn number(id: &str) -> usize {
    id.trim_start_matches(char::is_alphabetic).parse().unwrap()
}
