//! CallRegistry: who is on the line. It carries out what [`CallFlows`] decides about the calls of this
//! instance.
//!
//! Permanent, started by the app. It holds the only address of every CallActor: releasing a slot ends the
//! actor, which closes both sockets. After a panic it goes on with its calls; they do not notice. One that
//! panics too often, or is gone, is the [end of the process](Registry::lifeline). Its mailbox takes
//! [`MAILBOX`] messages. A sender that finds it full waits for a place, up to [`ANSWER_WITHIN`], and is then
//! told [`RegistryDown`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use call_control::Millis;
use call_control::call_flow::flows::{CallFlows, Effect, Input, News, Ring};
use call_control::machine::Machine as _;
use chrono::Utc;

use self::agent::Agent;
use self::handle::{
    AdmitCall, AskWhetherIdle, CallDied, CallOver, CallToPerson, ClaimStream, Drain, DrawPicture, EndCalls,
    EndStream, TakeCallsAgain,
};
pub use self::handle::{Registry, RegistryDown};
use self::picture::{Capacity, Picture};
use crate::ask::ask;
use crate::call::end::{CallEnd, Reason};
use crate::call::slot::{CallEnded, Claim, Claimed, NotClaimed, StreamLost};
use crate::call::{CallActor, CallIdentity, CallSetup, GiveToPerson, OverAtTwilio, ShutDown, Unclaimed};
use crate::db::record::{CallClosed, CallOpened, Record};
use crate::metrics::{ActorMetrics, Counted};
use crate::supervise::{Life, caught, fault_point};
use crate::wire::twilio::sid::CallSid;

mod agent;
mod check;
mod handle;
mod handlers;
mod keeper;
pub mod picture;

pub use call_control::call_flow::flows::Answer;
pub use call_control::ceiling::slots;

const MAILBOX: usize = 1024;
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The actor behind [`Registry`].
pub struct CallRegistry {
    flows: CallFlows,
    /// One for each call that the flows say has an agent.
    agents: HashMap<CallSid, Agent>,
    effects: Vec<Effect>,
    /// The clock of the flows counts from here.
    began: Instant,
    /// Agents that died in a panic of the registry, and whose slots are about to be freed.
    dying: usize,
    /// The moment for which the next tick is set.
    timer: Option<Millis>,
    capacity: Arc<Mutex<Capacity>>,
    setup: Arc<CallSetup>,
    life: Life,
    counts: ActorMetrics,
    /// In the metrics.
    _lives: Counted,
}

/// What a request is answered, as the flows decide.
#[derive(Default)]
struct Decided {
    answer: Option<Answer>,
    claim: Option<Result<(), NotClaimed>>,
}

impl Actor for CallRegistry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Supervised for CallRegistry {
    /// The timer is gone with the old context. What the flows decided last may not have been carried out, and
    /// a death may have been lost with the message that panicked.
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.counts.restarts.inc();
        let flows = &self.flows;
        self.agents.retain(|call_sid, agent| flows.has_agent(*call_sid, agent.serial));
        for (call_sid, serial) in self.flows.agents() {
            if !self.agents.get(&call_sid).is_some_and(|agent| agent.call.connected()) {
                self.dying += 1;
                ctx.notify(CallDied { call_sid, serial, panicked: true });
            }
        }
        self.timer = None;
        self.set_timer(ctx);
        self.publish();
    }
}

impl CallRegistry {
    fn new(limit: usize, capacity: Arc<Mutex<Capacity>>, setup: Arc<CallSetup>, life: Life) -> Self {
        let counts = setup.metrics.of_actor("registry");
        Self {
            flows: CallFlows::new(limit),
            agents: HashMap::with_capacity(limit),
            effects: Vec::with_capacity(8),
            began: Instant::now(),
            dying: 0,
            timer: None,
            capacity,
            setup,
            life,
            _lives: counts.lives(),
            counts,
        }
    }

    fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis
    }

    /// Does `work`; a panic in it costs its answer and a restart.
    fn guarded<T>(
        &mut self,
        ctx: &mut Context<Self>,
        work: impl FnOnce(&mut Self, &mut Context<Self>) -> T,
    ) -> Option<T> {
        let began = Instant::now();
        let worked = caught(|| {
            fault_point!("registry");
            let answer = work(self, ctx);
            if cfg!(debug_assertions) {
                self.check();
            }
            answer
        });
        self.counts.handler_time.observe(began.elapsed().as_secs_f64());
        match worked {
            Ok(answer) => Some(answer),
            Err(panic) => {
                self.life.panicked(&panic);
                self.counts.panics.inc();
                ctx.stop();
                None
            }
        }
    }

    /// The same for one call, as a span of its trace.
    fn guarded_for<T>(
        &mut self,
        call_sid: CallSid,
        ctx: &mut Context<Self>,
        work: impl FnOnce(&mut Self, &mut Context<Self>) -> T,
    ) -> Option<T> {
        let span = tracing::info_span!(parent: None, "registry handler", call.sid = %call_sid);
        span.in_scope(|| self.guarded(ctx, work))
    }

    fn admit(&mut self, call: AdmitCall, ctx: &mut Context<Self>) -> Option<Answer> {
        let used = call.past.as_ref().map_or(0, |past| past.epoch);
        let active = self.flows.agents().count();
        let has_headroom = self.setup.metrics.account.carries_another(active);
        let ring = Ring { call_sid: call.call_sid, used, came_back: call.came_back, has_headroom };
        self.decide(Input::Rings(ring), Some(call), ctx).answer
    }

    /// Takes an input that asks for nothing.
    fn take(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.decide(input, None, ctx);
    }

    /// Lets the flows take an input, and carries out what they decide. `call`: the one that asks for an
    /// agent.
    fn decide(&mut self, input: Input, mut call: Option<AdmitCall>, ctx: &mut Context<Self>) -> Decided {
        let mut effects = std::mem::take(&mut self.effects);
        self.flows.step(&input, self.now(), &mut effects);
        let mut decided = Decided::default();
        for effect in effects.drain(..) {
            match effect {
                Effect::Answer(answer) => decided.answer = Some(answer),
                Effect::Claim(claim) => decided.claim = Some(claim),
                Effect::Unknown => {}
                Effect::StartAgent { call_sid, serial, epoch } => {
                    let Some(call) = call.take() else {
                        unreachable!("only a call that rings gets an agent")
                    };
                    let opened = self.opened(&call, epoch);
                    let identity =
                        CallIdentity { call_sid, serial, first_epoch: epoch, started_at: opened.started_at };
                    let agent = Agent::start(identity, call, &self.setup, self.own_handle(ctx));
                    self.agents.insert(call_sid, agent); // whatever happens to the record
                    self.setup.metrics.admissions.with_label_values(&["admitted"]).inc();
                    self.setup.ledger.record(Record::Opened(opened));
                }
                Effect::Tell { call_sid, serial, news } => self.tell(call_sid, serial, news, ctx),
                Effect::Release { call_sid, end, .. } => self.release(call_sid, end),
                Effect::SentElsewhere { .. } => {
                    self.setup.metrics.admissions.with_label_values(&["draining"]).inc();
                }
                Effect::WriteEnd { call_sid, epoch, end, is_new } => {
                    if let Some(call) = call.as_ref().filter(|_| is_new) {
                        self.setup.ledger.record(Record::Opened(self.opened(call, epoch)));
                    }
                    self.write_end(call_sid, epoch, end);
                }
                Effect::CountEnd(end) => {
                    let turned_away = match end.reason {
                        Reason::FullHouse => Some("full"),
                        Reason::NoHeadroom => Some("no-headroom"),
                        _ => None,
                    };
                    if let Some(result) = turned_away {
                        self.setup.metrics.admissions.with_label_values(&[result]).inc();
                    }
                    self.setup.metrics.count_end(end);
                }
            }
        }
        self.effects = effects;
        self.set_timer(ctx);
        self.publish();
        decided
    }

    fn opened(&self, call: &AdmitCall, epoch: u32) -> CallOpened {
        CallOpened {
            call_sid: call.call_sid,
            epoch,
            from: call.from.clone(),
            to: call.to.clone(),
            started_at: Utc::now(),
            instance: self.setup.instance.clone(),
        }
    }

    /// The slot is free: the actor ends with its only address. Without `end`, the end of the call is for
    /// whoever has it next.
    fn release(&mut self, call_sid: CallSid, end: Option<CallEnd>) {
        let agent = self.agents.remove(&call_sid);
        let Some(end) = end else { return self.setup.metrics.drain_forced_ends.inc() };
        self.setup.metrics.count_end(end);
        let Some(agent) = agent else { return }; // its start panicked
        self.setup.metrics.call_duration.observe(agent.began.elapsed().as_secs_f64());
        agent.span.record("outcome", end.outcome.as_str());
        agent.span.record("reason", end.reason.as_str());
    }

    fn died(&mut self, CallDied { call_sid, serial, panicked }: CallDied, ctx: &mut Context<Self>) {
        self.dying = self.dying.saturating_sub(1);
        if !self.flows.has_agent(call_sid, serial) {
            return;
        }
        let span = self.agents.get(&call_sid).map(|agent| agent.span.clone());
        tracing::error!(
            parent: span.and_then(|span| span.id()), call.sid = %call_sid, panicked, "a call's actor died"
        );
        self.take(Input::AgentDied { call_sid, serial }, ctx);
    }

    /// Writes the end of a call that has no conversation to write it.
    fn write_end(&self, call_sid: CallSid, epoch: u32, end: CallEnd) {
        self.setup.ledger.record(Record::Closed(CallClosed {
            call_sid,
            epoch,
            ended_at: Utc::now(),
            end,
            barge_ins: 0,
            first_audio_ms: None,
            usage: serde_json::json!({}),
            cost_usd: None,
        }));
    }

    fn publish(&self) {
        let (reserved, active) = self.flows.reserved_and_active();
        let limit = self.flows.limit();
        let available = limit - reserved - active;
        let capacity = Capacity { limit, active, reserved, queued: 0, available };
        *self.capacity.lock().unwrap_or_else(PoisonError::into_inner) = capacity;
        self.setup.metrics.calls_active.set(active as i64);
        self.setup.metrics.calls_reserved.set(reserved as i64);
    }

    fn picture(&self) -> Picture {
        let live = |(call_sid, agent): (&CallSid, &Agent)| agent.live_call(*call_sid, &self.setup.instance);
        let mut calls: Vec<_> = self.agents.iter().map(live).collect();
        calls.sort_by_key(|call| (call.started_at, call.call_sid));
        Picture {
            generated_at: Utc::now(),
            instance: self.setup.instance.clone(),
            draining: self.flows.is_draining(),
            capacity: *self.capacity.lock().unwrap_or_else(PoisonError::into_inner),
            calls,
            queue: vec![],
        }
    }

    fn tell(&self, call_sid: CallSid, serial: u64, news: News, ctx: &mut Context<Self>) {
        let Some(call) = self.agents.get(&call_sid).map(|agent| agent.call.clone()) else { return };
        if !call.connected() {
            return ctx.notify(CallDied { call_sid, serial, panicked: true });
        }
        match news {
            News::NoStream => self.send(call, Unclaimed),
            News::CallOver => self.send(call, OverAtTwilio),
            News::HandOver => self.send(call, ShutDown),
            News::ToPerson => self.send(call, GiveToPerson),
        }
    }

    /// Sends a call a message that should arrive, without making the registry wait for a full mailbox.
    fn send<M>(&self, call: Addr<CallActor>, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        CallActor: Handler<M>,
    {
        let waits = self.setup.metrics.of_actor("call").waits();
        actix_rt::spawn(async move {
            if ask(&call, message, ANSWER_WITHIN).await.is_none() {
                tracing::debug!("a call ended before it could be told");
            }
            drop(waits);
        });
    }

    /// Lets the clock tick at the flows' next deadline. A tick that comes too early sets the next one. None
    /// is cancelled: actix would apply a cancellation that a panic came before to the restarted actor's
    /// timers.
    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let Some(due) = self.flows.deadline() else { return };
        if self.timer.is_some_and(|set_for| set_for <= due) {
            return;
        }
        self.timer = Some(due);
        let wait = Duration::from_millis(due.saturating_sub(self.now()).max(1));
        ctx.run_later(wait, move |registry, ctx| {
            if registry.timer == Some(due) {
                registry.timer = None;
                registry.guarded(ctx, |registry, ctx| registry.take(Input::Tick, ctx));
            }
        });
    }

    fn own_handle(&self, ctx: &Context<Self>) -> Registry {
        Registry {
            address: ctx.address(),
            capacity: self.capacity.clone(),
            lifeline: self.life.line(),
            counts: self.counts.clone(),
        }
    }
}
