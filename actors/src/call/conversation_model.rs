//! Both peers of a call, small and strict, in virtual milliseconds: a Realtime service with its own idea of what is
//! active and how long each item is (reference: OpenAI Realtime, sections 3 to 7), and Twilio's ear, which plays 20 ms
//! at a time (reference: Twilio, section 4). Messages take their time both ways, so they cross.
//!
//! A [`World`] plays one [`Scenario`] against a conversation and notes every [`Property`] that it breaks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::super::*;
use crate::db::record::Speaker;
use crate::wire::realtime::events::{Content, StatusDetails};

/// The service ends an utterance after so much silence.
const SILENCE_MS: Millis = 500;
/// μ-law that Twilio plays at a time: 20 ms.
const FRAME_BYTES: u32 = 160;
const FRAME_MS: Millis = 20;
/// So long everything may take to come to rest: four failures with the longest wait, and what is said after them.
const QUIET_MS: Millis = 200_000;

/// What one call meets.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub barge_in_min_ms: Millis,
    /// One way, between us and the service.
    pub service_ms: Millis,
    /// One way, between us and Twilio.
    pub ear_ms: Millis,
    /// When, within 20 ms, Twilio takes its next frame.
    pub frame_phase: Millis,
    /// How much later than asked for a tick comes.
    pub tick_late_ms: Millis,
    pub connects: Vec<Connection>,
    pub responses: Vec<Plan>,
    pub utterances: Vec<Utterance>,
    /// Whether the service says so when it cannot answer an utterance because a response is active.
    pub tells_of_unanswered: bool,
    /// Whether a cancelled response still has its transcript in `response.done`.
    pub cancelled_has_transcript: bool,
    /// What happens, and how long after what happened before.
    pub acts: Vec<(Millis, Act)>,
}

#[derive(Debug, Clone, Copy)]
pub enum Connection {
    Opens,
    /// `session.updated` takes so long.
    Slow(Millis),
    Fails,
    Refused,
}

/// One response of the service; past the last one all are short answers.
#[derive(Debug, Clone)]
pub struct Plan {
    pub parts: Vec<Part>,
    pub outcome: Ending,
}

#[derive(Debug, Clone)]
pub enum Part {
    /// Pieces of audio, as `(after ms, bytes)`, and whether the words come before their audio.
    Speech { pieces: Vec<(Millis, u32)>, words_first: bool },
    /// A function call, told of before `response.done` or only there.
    Call { early: bool },
}

#[derive(Debug, Clone, Copy)]
pub enum Ending {
    Completed,
    Incomplete,
    /// `response.done` with this message.
    Failed(&'static str),
    /// `insufficient_quota`.
    Fatal,
    /// An `error` instead of a response, if we asked for it.
    NotBegun,
}

#[derive(Debug, Clone, Copy)]
pub struct Utterance {
    /// When its transcript comes, and whether there is one.
    pub transcript: Option<(Millis, bool)>,
    /// Whether the service answers it by itself.
    pub answered: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Act {
    OpenStream,
    LoseStream,
    /// The caller speaks for so long.
    Speak(Millis),
    Digit,
    Tick,
    BenignError(&'static str),
    HangUp,
    CallOver,
    Unclaimed,
    Shutdown,
    LoseService,
}

/// What a conversation must never break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    OneResponse,
    CallsAnswered,
    Truncation,
    Turns,
    End,
    Playing,
    Liveness,
    Determinism,
}

/// What became of a scenario.
#[derive(Debug, Default)]
pub struct Report {
    pub faults: Vec<(Property, String)>,
    /// Of each truncation: milliseconds between what the service was told and what the ear had heard.
    pub truncation_errors_ms: Vec<u32>,
    pub barge_ins: u32,
    pub refusals: u32,
    pub held_then_played: u32,
}

/// Plays a scenario to its end.
pub fn play(scenario: &Scenario) -> Report {
    let mut world = World::new(scenario);
    let mut at = 0;
    for (after, act) in &scenario.acts {
        at += after;
        world.later(at, Happening::Act(*act));
    }
    world.run_until(at + QUIET_MS);
    world.at_rest();
    world.now += 1;
    world.act(Act::CallOver);
    world.run_until(at + QUIET_MS + 2_000);
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
}

#[derive(Debug)]
enum Said {
    Pong,
    Event(ServerEvent<'static>),
    Delta { delta: usize },
    Committed { utterance: usize },
    Call { call: usize },
}

#[derive(Debug)]
enum Order {
    Media { delta: usize, bytes: u32 },
    Mark(Mark),
    Clear,
    Close,
}

#[derive(Debug)]
enum EarReport {
    Played(Mark),
    Stopped,
    Lost,
}

#[derive(Default)]
struct Service {
    session: u32,
    ready: bool,
    connects: usize,
    active: Option<usize>,
    responses: Vec<Reply>,
    items: Vec<Spoken>,
    deltas: Vec<Delta>,
    calls: Vec<FunctionCall>,
    utterances: usize,
    hearing: bool,
    voice: u32,
    /// The last moment since which an answer is owed.
    owed_since: Option<Millis>,
}

struct Reply {
    /// We could not know that it would be active: it is the service's own, or was asked for before we knew of such.
    crossed: bool,
    began_at: Millis,
    steps: Vec<(Millis, Step)>,
    output: Vec<Output>,
}

#[derive(Clone, Copy)]
enum Output {
    Item(usize),
    Call(usize),
}

#[derive(Clone, Copy)]
enum Step {
    NewItem,
    Words,
    Audio(u32),
    AudioDone,
    Call { early: bool },
    Finish(Ending),
}

#[derive(Default)]
struct Spoken {
    said: String,
    made_bytes: u32,
    delivered_bytes: u32,
    sent_bytes: u32,
    heard_bytes: u32,
    /// Its session was lost: what was still on its way never came.
    cut_short: bool,
}

struct Delta {
    response: usize,
    item: usize,
    payload: Bytes,
    bytes: u32,
}

struct FunctionCall {
    delivered: bool,
    answers: u32,
}

/// Twilio's end of the media stream.
#[derive(Default)]
struct Ear {
    open: bool,
    queue: VecDeque<Queued>,
    frame: Option<Frame>,
}

enum Queued {
    Audio { delta: usize, bytes: u32 },
    Mark(Mark),
}

#[derive(Default)]
struct Frame {
    began_at: Millis,
    pieces: Vec<(usize, u32)>,
    marks: Vec<Mark>,
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
    twin: Conversation,
    gate: bool,
    /// The stream in use, as our side sees it.
    stream: Option<u32>,
    streams: u32,
    speaking: bool,
    speech: u32,
    service: Service,
    ear: Ear,
    ended: bool,
    turns: Vec<Turn>,
    updates: BTreeMap<u32, TurnUpdate>,
    truncations: Vec<(usize, u32)>,
    /// Responses whose audio must not go out any more.
    silenced: BTreeSet<usize>,
    /// Responses that exist as far as we know.
    known: usize,
    silence_next: bool,
    held: Vec<usize>,
    last_played: Option<usize>,
    report: Report,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let rules = Rules { barge_in_min_ms: scenario.barge_in_min_ms, jitter_seed: 7 };
        let mut effects = vec![];
        let conversation = Conversation::begin(rules, 0, &mut effects);
        let mut world = Self {
            scenario,
            now: 0,
            sequence: 0,
            agenda: BTreeMap::new(),
            twin: conversation.clone(),
            conversation,
            gate: false,
            stream: None,
            streams: 0,
            speaking: false,
            speech: 0,
            service: Service::default(),
            ear: Ear::default(),
            ended: false,
            turns: vec![],
            updates: BTreeMap::new(),
            truncations: vec![],
            silenced: BTreeSet::new(),
            known: 0,
            silence_next: false,
            held: vec![],
            last_played: None,
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
            Act::LoseService if self.service.session > 0 => {
                self.service_drops();
                self.feed(&Input::ServiceLost { fatal: false, cause: "closed" });
            }
            _ => {}
        }
    }

    fn caller_falls_silent(&mut self) {
        if std::mem::take(&mut self.speaking) {
            self.later(self.now + self.scenario.service_ms, Happening::VoiceEnds);
        }
    }

    /// Gives the conversation an input, twice, and looks at what it makes of it.
    fn feed(&mut self, input: &Input<'_>) {
        let (mut effects, mut again) = (vec![], vec![]);
        let turns = self.conversation.summary().turns;
        self.conversation.step(input, self.now, &mut effects);
        self.twin.step(input, self.now, &mut again);
        if effects != again || self.conversation != self.twin {
            self.fault(Property::Determinism, "the same input was taken in two ways");
        }
        if self.ended && !effects.is_empty() {
            self.fault(Property::End, format!("after the end: {effects:?}"));
        }
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
        for effect in effects {
            if self.ended {
                self.fault(Property::End, format!("after the end: {effect:?}"));
            }
            match effect {
                Effect::Connect { after } => self.later(self.now + after, Happening::Connect),
                Effect::Disconnect => self.service_drops(),
                Effect::Ping => self.say(Said::Pong),
                Effect::Ask(request) => self.ask(request, too_long),
                Effect::OpenGate => self.gate = true,
                Effect::Play(payload) => self.played(&payload),
                Effect::Mark(mark) => self.order(Order::Mark(mark)),
                Effect::Clear => self.order(Order::Clear),
                Effect::WriteTurn(turn) => self.written(turn),
                Effect::WriteEvent { .. } => {}
                Effect::End { .. } => {
                    self.ended = true;
                    self.order(Order::Close);
                }
            }
        }
    }

    fn ask(&mut self, request: Request, too_long: bool) {
        match &request {
            Request::Cancel { response_id } => {
                match response_id {
                    Some(id) => drop(self.silenced.insert(number(id))),
                    None => self.silence_next = true,
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
        let Delta { item, bytes, .. } = self.service.deltas[delta];
        self.service.items[item].sent_bytes += bytes;
        self.order(Order::Media { delta, bytes });
    }

    fn written(&mut self, turn: TurnUpdate) {
        let expected = self.turns.get(turn.ordinal as usize - 1).copied();
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

    // The Realtime service.

    fn connect(&mut self) {
        let connection = self.scenario.connects.get(self.service.connects).copied();
        self.service.connects += 1;
        let connection = connection.unwrap_or(Connection::Opens);
        match connection {
            Connection::Fails => self.feed(&Input::ServiceLost { fatal: false, cause: "refused" }),
            Connection::Refused => self.feed(&Input::ServiceLost { fatal: true, cause: "401" }),
            Connection::Opens | Connection::Slow(_) => {
                self.service.session += 1;
                self.service.ready = false;
                self.service.active = None;
                self.say(Said::Event(ServerEvent::SessionCreated));
            }
        }
    }

    /// The session is gone, with all that was on its way.
    fn service_drops(&mut self) {
        self.service = Service {
            session: self.service.session + 1,
            ready: false,
            active: None,
            hearing: false,
            owed_since: None,
            ..std::mem::take(&mut self.service)
        };
        self.service.items.iter_mut().for_each(|item| item.cut_short = true);
        self.gate = false;
    }

    fn say(&mut self, said: Said) {
        self.say_after(0, said);
    }

    fn say_after(&mut self, after: Millis, said: Said) {
        let session = self.service.session;
        self.later(self.now + after + self.scenario.service_ms, Happening::FromService { session, said });
    }

    fn voice_begins(&mut self) {
        self.service.voice += 1;
        if self.service.ready && !std::mem::replace(&mut self.service.hearing, true) {
            self.say(Said::Event(ServerEvent::SpeechStarted));
        }
    }

    fn utterance_ends(&mut self) {
        if !self.service.ready || !std::mem::take(&mut self.service.hearing) {
            return;
        }
        let utterance = self.service.utterances;
        self.service.utterances += 1;
        let default = Utterance { transcript: Some((100, true)), answered: true };
        let plan = self.scenario.utterances.get(utterance).copied().unwrap_or(default);
        self.say(Said::Event(ServerEvent::SpeechStopped));
        self.say(Said::Committed { utterance });
        self.service.owed_since = Some(self.now);
        if self.service.active.is_none() && plan.answered {
            self.begin_response(true, None);
        } else if self.service.active.is_some() && self.scenario.tells_of_unanswered {
            self.say(Said::Event(ServerEvent::Error(error(
                "conversation_already_has_active_response",
                None,
            ))));
        }
        if let Some((after, known)) = plan.transcript {
            let item_id = format!("u{utterance:07}");
            let event = if known {
                ServerEvent::TranscriptCompleted { item_id, transcript: "Well then.".into() }
            } else {
                ServerEvent::TranscriptFailed { item_id, code: None }
            };
            self.say_after(after, Said::Event(event));
        }
    }

    fn asked(&mut self, request: Request, asked_at: Millis) {
        if !self.service.ready && request != Request::Configure {
            return self.fault(Property::OneResponse, format!("{request:?} before the session was ready"));
        }
        match request {
            Request::Configure => {
                self.service.ready = true;
                let slow = self.scenario.connects.get(self.service.connects - 1);
                let after = if let Some(Connection::Slow(ms)) = slow { *ms } else { 0 };
                self.say_after(after, Said::Event(ServerEvent::SessionUpdated));
            }
            Request::Greet { number } | Request::Respond { number } => {
                self.response_asked_for(number, asked_at);
            }
            Request::Recall { .. } | Request::Note { .. } => {}
            Request::Cancel { response_id } => {
                let active = self.service.active;
                if active.is_none() || response_id.is_some_and(|id| Some(number(&id)) != active) {
                    let event = ServerEvent::Error(error("response_cancel_not_active", None));
                    return self.say(Said::Event(event));
                }
                self.finish("cancelled", None);
            }
            Request::Truncate { item_id, audio_end_ms, .. } => {
                if audio_end_ms > self.service.items[number(&item_id)].made_bytes / 8 {
                    self.fault(
                        Property::Truncation,
                        format!("{item_id} at {audio_end_ms} ms, beyond what was made"),
                    );
                }
            }
            Request::FunctionOutput { call_id, .. } => {
                let call = &mut self.service.calls[number(&call_id)];
                call.answers += 1;
                self.service.owed_since = Some(self.now);
                let kind = "function_call_output".into();
                self.say(Said::Event(ServerEvent::ItemAdded { kind, call_id: Some(call_id) }));
            }
        }
    }

    fn response_asked_for(&mut self, number: u32, asked_at: Millis) {
        let unknown = |reply: &Reply| asked_at <= reply.began_at + self.scenario.service_ms;
        let Some(active) = self.service.active else {
            let crossed = self.service.responses.iter().any(|reply| reply.crossed && unknown(reply));
            return self.begin_response(crossed, Some(number));
        };
        let reply = &self.service.responses[active];
        if !reply.crossed || !unknown(reply) {
            self.fault(Property::OneResponse, format!("respond-{number} while {active} is active and known"));
        }
        self.report.refusals += 1;
        self.service.owed_since = Some(self.now);
        self.say(Said::Event(ServerEvent::Error(error(
            "conversation_already_has_active_response",
            Some(number),
        ))));
    }

    fn begin_response(&mut self, crossed: bool, number: Option<u32>) {
        let response = self.service.responses.len();
        let short = Part::Speech { pieces: vec![(10, 1600), (10, 1600)], words_first: true };
        let default = Plan { parts: vec![short], outcome: Ending::Completed };
        let Plan { parts, outcome } = self.scenario.responses.get(response).unwrap_or(&default);
        let mut steps = vec![];
        for part in parts {
            match part {
                Part::Call { early } => steps.push((5, Step::Call { early: *early })),
                Part::Speech { pieces, words_first } => {
                    steps.push((0, Step::NewItem));
                    for (gap, bytes) in pieces {
                        let (words, audio) = (Step::Words, Step::Audio(*bytes));
                        let (first, second) = if *words_first { (words, audio) } else { (audio, words) };
                        steps.extend([(*gap, first), (0, second)]);
                    }
                    steps.push((0, Step::AudioDone));
                }
            }
        }
        steps.push((5, Step::Finish(*outcome)));
        let began_at = self.now;
        self.service.responses.push(Reply { crossed, began_at, steps, output: vec![] });
        match (outcome, number) {
            (Ending::NotBegun, Some(number)) => {
                self.service.owed_since = Some(self.now + 1);
                self.say(Said::Event(ServerEvent::Error(error("server_error", Some(number)))));
            }
            _ => {
                self.service.active = Some(response);
                self.say(Said::Event(ServerEvent::ResponseCreated { id: format!("r{response:07}") }));
                self.schedule(response, 0);
            }
        }
    }

    fn schedule(&mut self, response: usize, step: usize) {
        let (after, _) = self.service.responses[response].steps[step];
        self.later(self.now + after, Happening::Generate { response, step });
    }

    fn generate(&mut self, response: usize, step: usize) {
        let (_, what) = self.service.responses[response].steps[step];
        let item = self.service.items.len().saturating_sub(1);
        match what {
            Step::NewItem => {
                self.service.responses[response].output.push(Output::Item(self.service.items.len()));
                self.service.items.push(Spoken::default());
            }
            Step::Words => {
                let delta = format!("wört{step} ");
                self.service.items[item].said.push_str(&delta);
                let (response_id, item_id) = (format!("r{response:07}"), format!("a{item:07}"));
                self.say(Said::Event(ServerEvent::TranscriptDelta { response_id, item_id, delta }));
            }
            Step::Audio(bytes) => {
                let delta = self.service.deltas.len();
                self.service.deltas.push(Delta { response, item, payload: audio(delta, bytes), bytes });
                self.service.items[item].made_bytes += bytes;
                self.say(Said::Delta { delta });
            }
            Step::AudioDone => {
                let (response_id, item_id) = (format!("r{response:07}"), format!("a{item:07}"));
                self.say(Said::Event(ServerEvent::AudioDone { response_id, item_id }));
            }
            Step::Call { early } => {
                let call = self.service.calls.len();
                self.service.calls.push(FunctionCall { delivered: false, answers: 0 });
                self.service.responses[response].output.push(Output::Call(call));
                if early {
                    self.say(Said::Call { call });
                }
            }
            Step::Finish(outcome) => match outcome {
                Ending::Completed | Ending::NotBegun => self.finish("completed", None),
                Ending::Incomplete => self.finish("incomplete", None),
                Ending::Failed(message) => {
                    let message = Some(message.to_owned());
                    self.service.owed_since = Some(self.now + 1);
                    self.finish(
                        "failed",
                        Some(ServiceError { message, ..error("rate_limit_exceeded", None) }),
                    );
                }
                Ending::Fatal => self.finish("failed", Some(error("insufficient_quota", None))),
            },
        }
        if step + 1 < self.service.responses[response].steps.len() {
            self.schedule(response, step + 1);
        }
    }

    fn finish(&mut self, status: &str, error: Option<ServiceError>) {
        let Some(response) = self.service.active.take() else { return };
        let tells = status != "cancelled" || self.scenario.cancelled_has_transcript;
        let output = self.service.responses[response].output.clone().into_iter().map(|output| match output {
            Output::Item(item) => Item {
                id: format!("a{item:07}"),
                kind: "message".into(),
                content: vec![Content { transcript: tells.then(|| self.service.items[item].said.clone()) }],
                ..Item::default()
            },
            Output::Call(call) => function_call(call),
        });
        let done = Response {
            id: format!("r{response:07}"),
            status: status.into(),
            status_details: error.map(|error| StatusDetails { error: Some(error) }),
            output: output.collect(),
            usage: None,
        };
        self.say(Said::Event(ServerEvent::ResponseDone(Box::new(done))));
    }

    /// What the service said reaches us.
    fn hear(&mut self, said: Said) {
        match said {
            Said::Pong => self.feed(&Input::Pong),
            Said::Delta { delta } => self.hear_audio(delta),
            Said::Committed { utterance } => {
                if !self.ended {
                    self.turns.push(Turn::Caller);
                }
                let item_id = format!("u{utterance:07}");
                self.feed(&Input::Service(ServerEvent::Committed { item_id }));
            }
            Said::Call { call } => {
                self.service.calls[call].delivered |= !self.ended;
                self.feed(&Input::Service(ServerEvent::OutputItemDone { item: function_call(call) }));
            }
            Said::Event(event) => {
                if let ServerEvent::ResponseCreated { id } = &event {
                    self.known = number(id) + 1;
                    if std::mem::take(&mut self.silence_next) {
                        self.silenced.insert(number(id));
                    }
                }
                if matches!(&event, ServerEvent::Error(error) if error.event_id.is_some()) {
                    self.silence_next = false;
                }
                if let ServerEvent::ResponseDone(response) = &event
                    && !self.ended
                {
                    for call in response.output.iter().filter_map(|item| item.call_id.as_deref()) {
                        self.service.calls[number(call)].delivered = true;
                    }
                }
                self.feed(&Input::Service(event));
            }
        }
    }

    fn hear_audio(&mut self, delta: usize) {
        let Delta { response, item, ref payload, bytes } = self.service.deltas[delta];
        let payload = payload.clone();
        let (response_id, item_id) = (format!("r{response:07}"), format!("a{item:07}"));
        let wanted = !self.ended && !self.silenced.contains(&response);
        if wanted && !self.turns.contains(&Turn::Agent { item }) {
            self.turns.push(Turn::Agent { item });
        }
        if !self.ended {
            self.service.items[item].delivered_bytes += bytes;
        }
        if wanted && self.stream.is_none() {
            self.held.push(delta);
        }
        let was_played = self.last_played;
        let audio = AudioDelta { response_id: &response_id, item_id: &item_id, content_index: 0, payload };
        self.feed(&Input::Service(ServerEvent::Audio(audio)));
        let is_played = self.last_played != was_played;
        if is_played != (wanted && self.stream.is_some()) {
            self.fault(
                Property::Playing,
                format!("piece {delta} of response {response}: wanted {wanted}, played {is_played}"),
            );
        }
    }

    // Twilio.

    fn order(&mut self, order: Order) {
        if let Some(stream) = self.stream {
            self.later(self.now + self.scenario.ear_ms, Happening::ToEar { stream, order });
        }
    }

    fn ear_says(&mut self, report: EarReport) {
        let stream = self.streams;
        self.later(self.now + self.scenario.ear_ms, Happening::FromEar { stream, report });
    }

    fn ordered(&mut self, order: Order) {
        match order {
            Order::Media { delta, bytes } => {
                self.ear.queue.push_back(Queued::Audio { delta, bytes });
                if self.ear.frame.is_none() {
                    self.ear.frame = Some(Frame { began_at: self.now, ..Frame::default() });
                    let wait = (self.scenario.frame_phase + FRAME_MS - self.now % FRAME_MS) % FRAME_MS;
                    self.later(self.now + wait, Happening::Frame { stream: self.streams });
                }
            }
            Order::Mark(mark) if self.ear.frame.is_none() => self.ear_says(EarReport::Played(mark)),
            Order::Mark(mark) => self.ear.queue.push_back(Queued::Mark(mark)),
            Order::Clear => {
                let frame = self.settle_frame();
                let queue = std::mem::take(&mut self.ear.queue);
                let waiting = queue.into_iter().filter_map(|queued| match queued {
                    Queued::Mark(mark) => Some(mark),
                    Queued::Audio { .. } => None,
                });
                for mark in frame.marks.into_iter().chain(waiting).collect::<Vec<_>>() {
                    self.ear_says(EarReport::Played(mark));
                }
                self.streams_restart();
            }
            Order::Close => self.hang_up(),
        }
    }

    /// After a clear the frames begin anew with the next audio; the ones under way are of no concern.
    fn streams_restart(&mut self) {
        self.agenda.retain(|_, happening| !matches!(happening, Happening::Frame { .. }));
    }

    fn hang_up(&mut self) {
        self.settle_frame();
        self.streams_restart();
        self.ear = Ear::default();
    }

    /// What was heard of the frame that is being played.
    fn settle_frame(&mut self) -> Frame {
        let frame = self.ear.frame.take().unwrap_or_default();
        let mut heard = ((self.now - frame.began_at) * 8) as u32;
        for (delta, bytes) in &frame.pieces {
            let part = heard.min(*bytes);
            heard -= part;
            self.service.items[self.service.deltas[*delta].item].heard_bytes += part;
        }
        frame
    }

    /// Twenty milliseconds have been played, the next begin.
    fn frame(&mut self) {
        for mark in self.settle_frame().marks {
            self.ear_says(EarReport::Played(mark));
        }
        let mut frame = Frame { began_at: self.now, ..Frame::default() };
        let mut room = FRAME_BYTES;
        while let Some(queued) = self.ear.queue.pop_front() {
            match queued {
                Queued::Mark(mark) if frame.pieces.is_empty() => self.ear_says(EarReport::Played(mark)),
                Queued::Mark(mark) => frame.marks.push(mark),
                Queued::Audio { delta, bytes } if room == 0 => {
                    self.ear.queue.push_front(Queued::Audio { delta, bytes });
                    break;
                }
                Queued::Audio { delta, bytes } => {
                    let part = bytes.min(room);
                    room -= part;
                    frame.pieces.push((delta, part));
                    if part < bytes {
                        self.ear.queue.push_front(Queued::Audio { delta, bytes: bytes - part });
                    }
                }
            }
        }
        if !frame.pieces.is_empty() {
            self.ear.frame = Some(frame);
            self.later(self.now + FRAME_MS, Happening::Frame { stream: self.streams });
        }
    }

    // The verdict.

    /// Nothing moves any more, and the call may still be live.
    fn at_rest(&mut self) {
        if self.ended {
            return;
        }
        if let Some(call) = self.service.calls.iter().position(|call| call.delivered && call.answers != 1) {
            let answers = self.service.calls[call].answers;
            self.fault(Property::CallsAnswered, format!("call {call} was answered {answers} times"));
        }
        let last = self.service.responses.last().map(|response| response.began_at);
        if last < self.service.owed_since || last.is_none() {
            self.fault(
                Property::Liveness,
                format!("owed since {:?}, last {last:?}", self.service.owed_since),
            );
        }
        if let Some(active) = self.service.active {
            self.fault(Property::Liveness, format!("response {active} is still active"));
        }
        let unsettled = (1..).zip(&self.turns).find(|(ordinal, turn)| {
            let update = self.updates.get(ordinal);
            self.stream.is_some()
                && self.ear.frame.is_none()
                && matches!(turn, Turn::Agent { .. })
                && update.is_none_or(|update| update.heard_ms.is_none())
        });
        if let Some((ordinal, _)) = unsettled {
            self.fault(Property::Turns, format!("turn {ordinal} is not settled though all is quiet"));
        }
    }

    fn judged(mut self) -> Report {
        if !self.ended {
            self.fault(Property::End, "there was none");
        }
        if self.conversation.summary().turns as usize != self.turns.len() {
            self.fault(Property::Turns, format!("not dense: {:?}", self.turns));
        }
        for (ordinal, turn) in (1..).zip(self.turns.clone()) {
            let Some(update) = self.updates.get(&ordinal).cloned() else {
                self.fault(Property::Turns, format!("turn {ordinal} was never written"));
                continue;
            };
            if let Turn::Agent { item } = turn {
                self.judge_agents_turn(item, &update);
            }
        }
        for (item, audio_end_ms) in std::mem::take(&mut self.truncations) {
            let error = audio_end_ms.abs_diff(self.service.items[item].heard_bytes / 8);
            self.report.truncation_errors_ms.push(error);
            if error > self.tolerance_ms() {
                let heard = self.service.items[item].heard_bytes / 8;
                self.fault(
                    Property::Truncation,
                    format!("item {item} at {audio_end_ms} ms, heard {heard} ms"),
                );
            }
        }
        self.report
    }

    /// A frame, and the way to the ear and back.
    fn tolerance_ms(&self) -> u32 {
        (FRAME_MS + 2 * self.scenario.ear_ms) as u32
    }

    fn judge_agents_turn(&mut self, item: usize, update: &TurnUpdate) {
        let Spoken { heard_bytes, delivered_bytes, cut_short, .. } = self.service.items[item];
        let (heard_ms, made_ms) = (heard_bytes / 8, delivered_bytes / 8);
        let told = update.heard_ms.unwrap_or_default();
        if told.abs_diff(heard_ms) > self.tolerance_ms() {
            self.fault(Property::Turns, format!("item {item}: {heard_ms} ms heard, {told} told"));
        }
        if !update.cut_off && told < made_ms {
            self.fault(Property::Turns, format!("item {item}: {told} of {made_ms} ms heard, not cut off"));
        }
        if !update.cut_off && !cut_short && update.text.trim() != self.service.items[item].said.trim() {
            self.fault(
                Property::Turns,
                format!("item {item} is not cut off, yet not whole: {:?}", update.text),
            );
        }
    }
}

/// The number that ends an identifier of the service.
fn number(id: &str) -> usize {
    id.trim_start_matches(char::is_alphabetic).parse().unwrap()
}

fn error(code: &str, number: Option<u32>) -> ServiceError {
    let event_id = number.map(|number| format!("{RESPOND_PREFIX}{number}"));
    ServiceError { code: Some(code.into()), event_id, ..ServiceError::default() }
}

fn function_call(call: usize) -> Item {
    Item {
        id: format!("f{call:07}"),
        kind: "function_call".into(),
        call_id: Some(format!("c{call:07}")),
        name: Some("look_up".into()),
        ..Item::default()
    }
}

/// Base64 of so many bytes that begins with the number of the piece.
fn audio(delta: usize, bytes: u32) -> Bytes {
    let mut payload = format!("{delta:08}").into_bytes();
    payload.resize((bytes.max(6) as usize).div_ceil(3) * 4, b'A');
    let padding = (3 - bytes as usize % 3) % 3;
    let length = payload.len();
    payload[length - padding..].fill(b'=');
    payload.into()
}
