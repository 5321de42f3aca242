//! CallActor: one live call. It owns both sockets and carries out what the conversation decides.
//!
//! The registry starts it when the call is admitted, under a supervisor, and holds its only address: when it
//! has released the slot, the actor stops and closes both sockets. What it does runs inside [`caught`]; after
//! a panic the supervisor starts the same actor again from its checkpoint, the conversation as of its last
//! completed input: a snapshot and the inputs since ([`Journal`]). The pumps of both sockets do not notice.
//! More than [`MAX_RESTARTS`] restarts in [`RESTARTS_WITHIN`]: the caller is given to a person. Its mailbox
//! takes [`MAILBOX`] messages; a pump that finds it full waits.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tracing::Span;

use self::conversation::kept::LIMITS;
use self::conversation::state::{CallState, Speaking};
use self::conversation::{Conversation, Effect, Errors, Input, Rules, Summary};
use self::current::CurrentPersona;
use self::ending::Ended;
use self::history::Past;
pub use self::inbox::{CallerNews, FromCaller, GiveToPerson, OpenStream, OverAtTwilio, ShutDown, Unclaimed};
use self::journal::Journal;
pub use self::ledger::Ledger;
use self::measure::Measure;
use self::persona::Persona;
use self::phrases::Phrases;
use self::phrases::book::PhraseBook;
use self::recorder::{Recorder, Tape};
use self::session::connect_later;
use self::slot::SlotKeeper;
pub use self::tools::ToolRunner;
use crate::db::record::CallClosed;
use crate::metrics::{ActorMetrics, Counted, Metrics};
use crate::supervise::{Intensity, caught, fault_point};
use crate::wire::realtime::events::ServerEvent;
use crate::wire::realtime::requests::Request;
use crate::wire::realtime::socket::{Endpoint, Uplink, UplinkCounts};
use crate::wire::realtime::usage::Usage;
use crate::wire::twilio::sid::CallSid;

pub mod account;
pub mod current;
mod ending;
mod inbox;
mod ledger;
mod linger;
mod measure;
pub mod phrases;
pub mod pump;
pub mod recorder;
mod recovery;
mod session;
pub mod slot;
mod tools;
pub mod trial;

pub use call_control::Millis;
pub use call_control::call_flow as flow;
pub use call_control::conversation::{self, end, history, loudness, turns};
pub use call_control::journal;
pub use call_control::policy::{destinations, music, persona, sentences, tools as tool_policy, urgent};

const MAILBOX: usize = 64;
const MAX_RESTARTS: usize = 3;
const RESTARTS_WITHIN: Millis = 60_000;

/// What all calls of an instance share.
pub struct CallSetup {
    pub instance: String,
    pub persona: Arc<CurrentPersona>,
    pub endpoint: Endpoint,
    /// Of every call; the phrases are those that `phrases` has when the call begins.
    pub rules: Rules,
    pub phrases: Arc<PhraseBook>,
    pub ledger: Arc<dyn Ledger>,
    pub metrics: Metrics,
    /// None: nothing is recorded.
    pub recorder: Option<Recorder>,
    pub tools: ToolRunner,
}

/// Which call this is.
#[derive(Debug, Clone, Copy)]
pub struct CallIdentity {
    pub call_sid: CallSid,
    /// Of the registry, to tell this actor from an earlier one of the same call.
    pub serial: u64,
    /// Of the reservation.
    pub first_epoch: u32,
    pub started_at: DateTime<Utc>,
}

/// What the live picture shows of a call.
#[derive(Debug, Clone, Copy)]
pub struct LiveStatus {
    pub summary: Summary,
    pub restarts: u32,
}

impl Default for LiveStatus {
    fn default() -> Self {
        let summary = Summary {
            state: CallState::Reserved,
            speaking: Speaking::None,
            turns: 0,
            barge_ins: 0,
            first_audio_ms: None,
            last_turn_ms: None,
            answers: 0,
            reconnects: 0,
            usage: Usage::default(),
            errors: Errors::default(),
        };
        Self { summary, restarts: 0 }
    }
}

/// What the call's actor shares with the registry.
pub(crate) struct Shared {
    pub(crate) uplink: Arc<Uplink>,
    pub(crate) status: Arc<Mutex<LiveStatus>>,
    /// The call's, which lasts as long as its slot and its actor.
    pub(crate) span: Span,
    /// The caller's number as Twilio gives it.
    pub(crate) from: String,
}

/// The actor of one live call.
pub struct CallActor {
    identity: CallIdentity,
    past: Option<Past>,
    setup: Arc<CallSetup>,
    /// The agent's when the call began. The call keeps both.
    persona: Arc<Persona>,
    phrases: Arc<Phrases>,
    keeper: Arc<dyn SlotKeeper>,
    conversation: Option<Journal<Conversation>>,
    /// What the flight recorder is told.
    tape: Option<Tape>,
    effects: Vec<Effect>,
    clock: Clock,
    uplink: Arc<Uplink>,
    stream: Option<OpenStream>,
    status: Arc<Mutex<LiveStatus>>,
    span: Span,
    /// The caller's number as Twilio gives it.
    from: String,
    /// That of the Realtime session in use.
    session_span: Span,
    /// Its socket, in the metrics.
    socket_lives: Option<Counted>,
    /// The moment for which the next tick is set.
    tick: Option<Millis>,
    restarts: Intensity,
    restarted: u32,
    /// It failed more often than it may.
    worn_out: bool,
    /// It has panicked, and starts again for that.
    is_to_recover: bool,
    /// What the session said last is lost with a panic, and the conversation cannot go on in it without.
    out_of_step: bool,
    counted: UplinkCounts,
    counts: ActorMetrics,
    measure: Measure,
    /// In the metrics.
    _lives: Counted,
    /// How often a turn was written, so that each writing is later than those before.
    turns_written: u32,
    ended: Option<Ended>,
    /// What was written of the end.
    closed: Option<CallClosed>,
    /// The slot is free, and the service's last words are waited for.
    lingers: bool,
}

/// Wall-clock time that does not jump during a call.
#[derive(Debug, Clone, Copy)]
struct Clock {
    began_at: Millis,
    began: Instant,
}

impl Clock {
    fn now(&self) -> Millis {
        self.at(Instant::now())
    }

    fn at(&self, moment: Instant) -> Millis {
        self.began_at + moment.duration_since(self.began).as_millis() as Millis
    }
}

impl CallActor {
    pub(crate) fn new(
        identity: CallIdentity,
        past: Option<Past>,
        setup: Arc<CallSetup>,
        keeper: Arc<dyn SlotKeeper>,
        Shared { uplink, status, span, from }: Shared,
    ) -> Self {
        let counts = setup.metrics.of_actor("call");
        let (persona, phrases) = current::agent(&setup.persona, &setup.phrases);
        let began_at = identity.started_at.timestamp_millis().unsigned_abs();
        Self {
            identity,
            past,
            persona,
            phrases,
            setup,
            keeper,
            conversation: None,
            tape: None,
            effects: Vec::with_capacity(8),
            clock: Clock { began_at, began: Instant::now() },
            uplink,
            stream: None,
            status,
            span,
            from,
            session_span: Span::none(),
            socket_lives: None,
            tick: None,
            restarts: Intensity::new(MAX_RESTARTS, RESTARTS_WITHIN),
            restarted: 0,
            worn_out: false,
            is_to_recover: false,
            out_of_step: false,
            counted: UplinkCounts::default(),
            measure: Measure::new(&counts.handler_time),
            _lives: counts.lives(),
            counts,
            turns_written: 0,
            ended: None,
            closed: None,
            lingers: false,
        }
    }

    /// Does `work`, which is told when it begins. After the end nothing is done. False after a panic on the
    /// way: what there was to do is thrown away.
    fn guarded(
        &mut self,
        ctx: &mut Context<Self>,
        work: impl FnOnce(&mut Self, Instant, &mut Context<Self>),
    ) -> bool {
        if self.ended.is_some() {
            return true;
        }
        let began = Instant::now();
        let worked = caught(|| work(self, began, ctx));
        self.measure.handled(began.elapsed());
        if let Err(panic) = &worked {
            self.panicked(panic, ctx);
        }
        worked.is_ok()
    }

    fn take(&mut self, input: &Input<'_>, ctx: &mut Context<Self>) {
        self.guarded(ctx, |call, began, ctx| call.step(input, began, ctx));
    }

    /// Feeds the conversation and carries out what it decides.
    fn step(&mut self, input: &Input<'_>, began: Instant, ctx: &mut Context<Self>) {
        let now = self.clock.at(began);
        let is_audio = matches!(input, Input::Service(ServerEvent::Audio(_)));
        let span = if is_audio { Span::none() } else { self.span.clone() }; // the audio path goes without
        let _in_span = span.enter();
        self.measure_input(input, began);
        let Some(conversation) = self.conversation.as_mut() else { return };
        conversation.step(input, now, &mut self.effects);
        if let (Some(tape), Some(entry)) = (&mut self.tape, conversation.pending()) {
            tape.taken(entry, &self.effects);
        }
        fault_point!(self.identity.call_sid, input); // where it costs most: the effects are lost, too
        self.carry_out(began, ctx);
        self.complete();
        if !is_audio {
            self.publish();
        }
        self.set_tick(now, ctx);
    }

    /// The effects of the last input are carried out.
    fn complete(&mut self) {
        if let Some(conversation) = self.conversation.as_mut() {
            conversation.complete();
        }
        if let Some(tape) = self.tape.as_mut() {
            tape.complete();
        }
    }

    /// Begins the call, or goes on with it after a restart: timers and readers are gone with the old context.
    fn take_up(&mut self, ctx: &mut Context<Self>) {
        if let Some(ended) = self.ended {
            return self.let_go(ended, ctx);
        }
        if self.worn_out {
            return self.give_up(ctx);
        }
        let began = Instant::now();
        let now = self.clock.at(began);
        match (&self.conversation, self.uplink.session()) {
            (None, _) => {
                let phrases = self.phrases.clone();
                // The calls of an instance lose their sessions together, but do not come back all at once.
                let jitter_seed = rand::random();
                let (toolbox, urgent) = (self.persona.toolbox.clone(), self.persona.urgent.clone());
                let rules = Rules { jitter_seed, phrases, toolbox, urgent, ..self.setup.rules.clone() };
                let recorder = self.setup.recorder.as_ref();
                self.tape = recorder.map(|to| to.begin(&self.identity, &rules, self.past.as_ref(), now));
                let effects = &mut self.effects;
                let conversation = match &self.past {
                    Some(past) => Conversation::resume(rules, past, now, effects),
                    None => Conversation::begin(rules, now, effects),
                };
                if let Some(tape) = &mut self.tape {
                    tape.begun(effects);
                }
                self.conversation = Some(Journal::new(conversation, LIMITS));
                self.carry_out(began, ctx);
            }
            (_, Some(session)) if !self.out_of_step => self.read(session, ctx),
            _ => {
                self.out_of_step = false;
                self.socket_lives = None;
                self.uplink.close();
                self.take(&Input::ServiceLost { fatal: false, cause: "lost in a restart", wait: None }, ctx);
            }
        }
        if self.has_missed_its_stream() {
            self.take(&Input::StreamOpened, ctx);
        }
        self.set_tick(now, ctx);
    }

    /// The stream's opening was thrown away with a panic: the caller would be on the line and never hear a
    /// word.
    fn has_missed_its_stream(&self) -> bool {
        let state = self.conversation.as_ref().map(|conversation| conversation.live().summary().state);
        let is_open = self.stream.as_ref().is_some_and(|stream| !stream.out.is_closed());
        is_open && matches!(state, Some(CallState::Reserved | CallState::Reconnecting))
    }

    fn carry_out(&mut self, began: Instant, ctx: &mut Context<Self>) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Play(payload) => {
                    if let Some(stream) = &self.stream {
                        stream.out.media(stream.stream_sid, &payload);
                    }
                    self.measure.audio_sent(&payload, began);
                    self.setup.metrics.deltas_down.inc();
                }
                Effect::Mark(mark) => {
                    if let Some(stream) = &self.stream {
                        stream.out.mark(stream.stream_sid, mark);
                    }
                    self.measure.mark_sent(mark);
                }
                Effect::Clear => {
                    if let Some(stream) = &self.stream {
                        stream.out.clear(stream.stream_sid);
                    }
                    self.count_interruption();
                }
                Effect::Ask(request) => {
                    if matches!(request, Request::Truncate { .. }) {
                        self.setup.metrics.truncations.inc();
                    }
                    self.uplink.send(request.to_json(&self.persona));
                }
                Effect::OpenGate => self.uplink.open(),
                Effect::Connect { after } => connect_later(after, ctx),
                Effect::Disconnect => {
                    self.session_span = Span::none();
                    self.socket_lives = None;
                    self.uplink.close();
                }
                Effect::Ping => self.uplink.ping(),
                Effect::WriteTurn(turn) => self.write_turn(turn),
                Effect::WriteEvent { kind, data } => self.write_event(kind, data),
                Effect::RunTool { number, call_id, name, arguments } => {
                    self.run_tool(number, call_id, &name, arguments, ctx);
                }
                Effect::ToolCalled(called) => self.tool_called(&called),
                Effect::FileItem(item) => self.file(item),
                Effect::Transfer(to) => self.transfer(&to),
                Effect::End { end, next, result } => self.end(end, next, &result, ctx),
            }
        }
        self.effects = effects;
    }

    /// Of the stream in use; before the first one, that of the reservation.
    fn epoch(&self) -> u32 {
        self.stream.as_ref().map_or(self.identity.first_epoch, |stream| stream.epoch)
    }

    /// Sets the next tick. One that was overtaken by an earlier one does nothing; it is not cancelled,
    /// because actix would apply a cancellation that a panic came before to the restarted actor's futures,
    /// whose handles are counted anew.
    fn set_tick(&mut self, now: Millis, ctx: &mut Context<Self>) {
        let Some(due) = self.conversation.as_ref().and_then(|conversation| conversation.live().deadline())
        else {
            return;
        };
        if self.tick.is_some_and(|set_for| set_for <= due) {
            return;
        }
        self.tick = Some(due);
        ctx.run_later(Duration::from_millis(due.saturating_sub(now).max(1)), move |call, ctx| {
            if call.tick == Some(due) {
                call.tick = None;
                call.take(&Input::Tick, ctx);
            }
        });
    }
}

impl Actor for CallActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let span = self.span.clone();
        if let Err(panic) = caught(|| span.in_scope(|| self.take_up(ctx))) {
            self.panicked(&panic, ctx);
        }
    }
}
