//! CallRegistry: the concurrency ceiling, the slots, who is on the line.
//!
//! Permanent, started by the app. It holds the only address of every CallActor: releasing a slot ends the
//! actor, which closes both sockets. After a panic it goes on with its slots; the calls do not notice. One
//! that panics too often, or is gone, is the [end of the process](Registry::lifeline). Its mailbox takes
//! [`MAILBOX`] messages; who finds it full waits for a place, up to [`ANSWER_WITHIN`], and is then told
//! [`RegistryDown`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tracing::Span;
use tracing::field::Empty;

pub use self::handle::{Admission, AfterStream, Registry, RegistryDown};
use self::handle::{
    AdmitCall, AskWhetherIdle, CallDied, CallOver, ClaimStream, Drain, DrawPicture, EndCalls, EndStream,
};
use self::picture::{Capacity, LiveCall, Picture};
use self::slots::{CLAIM_WITHIN, Reserved, Resumed, Slots};
use crate::ask::ask;
use crate::call::conversation::Next;
use crate::call::end::{CallEnd, Outcome, Reason};
use crate::call::slot::{CallEnded, Claim, Claimed, NotClaimed, StreamLost};
use crate::call::{
    CallActor, CallIdentity, CallSetup, LiveStatus, OverAtTwilio, Shared, ShutDown, Unclaimed,
};
use crate::db::record::{CallClosed, CallOpened, Record};
use crate::metrics::{ActorMetrics, Counted};
use crate::supervise::{Life, caught, fault_point};
use crate::wire::realtime::socket::Uplink;
use crate::wire::twilio::sid::CallSid;

mod check;
mod handle;
mod handlers;
mod keeper;
pub mod picture;

pub use call_control::ceiling::slots;

const MAILBOX: usize = 1024;
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Twilio asks what comes next right after the stream has ended.
const REMEMBER_NEXT: Duration = Duration::from_secs(60);
const MAX_REMEMBERED: usize = 1000;
/// A caller who was let go without a question from Twilio for so long has hung up.
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// So long a caller who is given to a person, or to a voicemail box, is expected to come back.
const WITH_A_PERSON: Duration = Duration::from_secs(60);
/// So often a caller asks again who is to meet another instance.
const ASKS_ELSEWHERE: u32 = 5;

/// The actor behind [`Registry`].
pub struct CallRegistry {
    slots: Slots<Line>,
    decided: HashMap<CallSid, Decision>,
    /// Who was turned away, and when they last asked.
    refused: HashMap<CallSid, Instant>,
    draining: bool,
    capacity: Arc<Mutex<Capacity>>,
    setup: Arc<CallSetup>,
    serial: u64,
    life: Life,
    counts: ActorMetrics,
    /// In the metrics.
    _lives: Counted,
}

/// What comes next for a call that has no slot any more.
struct Decision {
    next: Next,
    /// Of the decision, or of the last question for it.
    since: Instant,
    asked: u32,
    /// The caller has hung up.
    gone: bool,
    /// How the call ends if nobody else takes it: written, and not counted yet.
    end: Option<CallEnd>,
}

impl Decision {
    /// Twilio asks. Whether the caller is to ask once more, elsewhere; else it is for us to say what comes
    /// next.
    fn sends_elsewhere(&mut self) -> bool {
        self.asked += 1;
        self.since = Instant::now();
        self.next == Next::Elsewhere && self.asked <= ASKS_ELSEWHERE
    }

    /// Whether the caller may still need this process.
    fn is_due(&self) -> bool {
        let here = self.next == Next::Human && self.asked > 0;
        !self.gone && self.since.elapsed() < if here { WITH_A_PERSON } else { ASKED_WITHIN }
    }
}

/// A call that holds a slot.
struct Line {
    /// Tells this actor from an earlier one of the same call.
    serial: u64,
    call: Addr<CallActor>,
    uplink: Arc<Uplink>,
    status: Arc<Mutex<LiveStatus>>,
    /// The call's, in which everything that is done for it stands.
    span: Span,
    from: String,
    to: String,
    started_at: DateTime<Utc>,
    began: Instant,
}

impl Actor for CallRegistry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Supervised for CallRegistry {
    /// Timers are gone with the old context, and a death may have been lost with the message that panicked.
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.counts.restarts.inc();
        for (&call_sid, slot) in self.slots.iter() {
            if !slot.call.call.connected() {
                ctx.notify(CallDied { call_sid, serial: slot.call.serial, panicked: true });
            } else if !slot.claimed {
                expire_later(call_sid, slot.epoch, ctx);
            }
        }
        self.publish();
    }
}

impl CallRegistry {
    fn new(limit: usize, capacity: Arc<Mutex<Capacity>>, setup: Arc<CallSetup>, life: Life) -> Self {
        let counts = setup.metrics.of_actor("registry");
        Self {
            slots: Slots::new(limit),
            decided: HashMap::new(),
            refused: HashMap::new(),
            draining: false,
            capacity,
            setup,
            serial: 0,
            life,
            _lives: counts.lives(),
            counts,
        }
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

    fn admit(&mut self, message: AdmitCall, ctx: &mut Context<Self>) -> Admission {
        let AdmitCall { call_sid, from, to, past, home } = message;
        let used = past.as_ref().map_or(0, |past| past.epoch);
        let started_at = Utc::now();
        let opened = CallOpened {
            call_sid,
            epoch: 1,
            from: from.clone(),
            to: to.clone(),
            started_at,
            instance: self.setup.instance.clone(),
        };
        if self.draining && self.slots.get(call_sid).is_none() {
            return self.send_elsewhere(opened, used);
        }
        let (setup, keeper, serial) = (self.setup.clone(), Arc::new(self.way_here(ctx)), self.serial);
        self.serial += 1;
        let reserved = self.slots.reserve(call_sid, used, Instant::now(), |epoch| {
            let uplink = Arc::new(Uplink::default());
            let status = Arc::new(Mutex::new(LiveStatus::default()));
            let identity = CallIdentity { call_sid, serial, first_epoch: epoch, started_at };
            let span = tracing::info_span!(
                parent: None, "call", call.sid = %call_sid, epoch = i64::from(epoch), outcome = Empty, reason = Empty
            );
            let shared = Shared { uplink: uplink.clone(), status: status.clone(), span: span.clone() };
            let call = Supervisor::start_in_arbiter(&home, move |_| {
                CallActor::new(identity, past, setup, keeper, shared)
            });
            Line { serial, call, uplink, status, span, from, to, started_at, began: Instant::now() }
        });
        match reserved {
            Reserved::Slot { epoch, fresh } => {
                if fresh {
                    self.setup.metrics.admissions.with_label_values(&["admitted"]).inc();
                    self.setup.ledger.record(Record::Opened(CallOpened { epoch, ..opened }));
                    expire_later(call_sid, epoch, ctx);
                    self.publish();
                }
                Admission::Admitted { epoch }
            }
            Reserved::Full => {
                if !self.refused.contains_key(&call_sid) {
                    self.setup.metrics.admissions.with_label_values(&["full"]).inc();
                }
                self.turn_away(opened, used, Reason::FullHouse)
            }
        }
    }

    /// A call that another instance has to take: if none does, it is turned away here.
    fn send_elsewhere(&mut self, opened: CallOpened, used: u32) -> Admission {
        let call_sid = opened.call_sid;
        if !self.decided.contains_key(&call_sid) {
            self.setup.metrics.admissions.with_label_values(&["draining"]).inc();
            self.decide(call_sid, Next::Elsewhere, None);
        }
        if self.decided.get_mut(&call_sid).is_some_and(Decision::sends_elsewhere) {
            Admission::Elsewhere
        } else {
            self.turn_away(opened, used, Reason::Shutdown)
        }
    }

    /// A new call is refused; one that another process had up to the epoch `used` ends as that one left it.
    fn turn_away(&mut self, opened: CallOpened, used: u32, reason: Reason) -> Admission {
        let call_sid = opened.call_sid;
        let outcome = if used == 0 {
            self.setup.ledger.record(Record::Opened(opened));
            Outcome::Refused
        } else {
            Outcome::Failed
        };
        let end = CallEnd::new(outcome, reason);
        self.write_end(call_sid, used.max(1), end);
        if self.is_refused_anew(call_sid) {
            self.setup.metrics.count_end(end);
        }
        Admission::Full
    }

    /// Twilio may deliver a webhook twice, but a call is turned away once.
    fn is_refused_anew(&mut self, call_sid: CallSid) -> bool {
        let now = Instant::now();
        self.refused.retain(|_, since| now.duration_since(*since) < REMEMBER_NEXT);
        let is_known = self.refused.contains_key(&call_sid);
        if is_known || self.refused.len() < MAX_REMEMBERED {
            self.refused.insert(call_sid, now);
        }
        !is_known
    }

    fn after_stream(&mut self, message: EndStream, ctx: &mut Context<Self>) -> AfterStream {
        let EndStream { call_sid, epoch: ended } = message;
        if let Some(decision) = self.decided.get_mut(&call_sid) {
            if !decision.sends_elsewhere() && decision.next == Next::Elsewhere {
                decision.next = Next::Human;
                if let Some(end) = decision.end.take() {
                    self.setup.metrics.count_end(end);
                }
                return AfterStream::Decided(Next::Human);
            }
            return AfterStream::Decided(decision.next);
        }
        match self.slots.resume(call_sid, ended, Instant::now()) {
            Resumed::Epoch(epoch) => {
                expire_later(call_sid, epoch, ctx);
                AfterStream::Resume { epoch }
            }
            Resumed::TooOften => {
                if let Some(slot) = self.slots.get(call_sid) {
                    self.tell(slot.call.call.clone(), Unclaimed);
                }
                AfterStream::GiveUp
            }
            Resumed::NoSlot => AfterStream::Unknown,
        }
    }

    /// Nobody has opened the stream of `epoch`: the call's conversation decides what that means, and is told
    /// again if that did not end the call.
    fn expire(&mut self, call_sid: CallSid, epoch: u32, ctx: &mut Context<Self>) {
        let Some((line, next_epoch)) = self.slots.revoke(call_sid, epoch, Instant::now()) else { return };
        let (call, serial) = (line.call.clone(), line.serial);
        if call.connected() {
            self.tell(call, Unclaimed);
            expire_later(call_sid, next_epoch, ctx);
        } else {
            ctx.notify(CallDied { call_sid, serial, panicked: true });
        }
    }

    fn stream_lost(&mut self, StreamLost { call_sid, epoch }: StreamLost, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get(call_sid).filter(|slot| slot.epoch == epoch && slot.claimed) else {
            return;
        };
        let call = slot.call.call.clone();
        match self.slots.resume(call_sid, Some(epoch), Instant::now()) {
            Resumed::Epoch(epoch) => expire_later(call_sid, epoch, ctx),
            Resumed::TooOften | Resumed::NoSlot => self.tell(call, Unclaimed),
        }
    }

    fn ended(&mut self, CallEnded { call_sid, serial, end, next }: CallEnded) {
        if !self.is_on_the_line(call_sid, serial) {
            return;
        }
        let Some(line) = self.slots.release(call_sid, Instant::now()) else { return };
        let elsewhere = next == Next::Elsewhere; // its end is for whoever has it then
        if next != Next::Nothing {
            self.decide(call_sid, next, elsewhere.then_some(end));
        }
        if elsewhere {
            self.setup.metrics.drain_forced_ends.inc();
        } else {
            self.setup.metrics.call_duration.observe(line.began.elapsed().as_secs_f64());
            self.setup.metrics.count_end(end);
            line.span.record("outcome", end.outcome.as_str());
            line.span.record("reason", end.reason.as_str());
        }
        self.publish();
    }

    fn decide(&mut self, call_sid: CallSid, next: Next, end: Option<CallEnd>) {
        let now = Instant::now();
        self.decided.retain(|_, decision| now.duration_since(decision.since) < REMEMBER_NEXT);
        if self.decided.len() < MAX_REMEMBERED {
            self.decided.insert(call_sid, Decision { next, since: now, asked: 0, gone: false, end });
        }
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().next().is_none() && !self.decided.values().any(Decision::is_due)
    }

    fn is_on_the_line(&self, call_sid: CallSid, serial: u64) -> bool {
        self.slots.get(call_sid).is_some_and(|slot| slot.call.serial == serial)
    }

    fn died(&mut self, CallDied { call_sid, serial, panicked }: CallDied) {
        let Some(slot) = self.slots.get(call_sid).filter(|slot| slot.call.serial == serial) else { return };
        let epoch = slot.epoch;
        tracing::error!(parent: &slot.call.span, call.sid = %call_sid, panicked, "a call's actor died");
        let end = CallEnd::new(Outcome::Failed, Reason::ActorFailed);
        self.ended(CallEnded { call_sid, serial, end, next: Next::Human });
        self.write_end(call_sid, epoch, end); // last: whatever happens to the record, the slot is free
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
        let (reserved, active) = self.slots.reserved_and_active();
        let limit = self.slots.limit();
        let available = limit - reserved - active;
        let capacity = Capacity { limit, active, reserved, queued: 0, available };
        *self.capacity.lock().unwrap_or_else(PoisonError::into_inner) = capacity;
        self.setup.metrics.calls_active.set(active as i64);
        self.setup.metrics.calls_reserved.set(reserved as i64);
    }

    fn picture(&self) -> Picture {
        let now = Utc::now();
        let mut calls: Vec<_> = self
            .slots
            .iter()
            .map(|(call_sid, slot)| {
                let line = &slot.call;
                let status = *line.status.lock().unwrap_or_else(PoisonError::into_inner);
                LiveCall {
                    call_sid: *call_sid,
                    instance: self.setup.instance.clone(),
                    from: line.from.clone(),
                    to: line.to.clone(),
                    state: status.summary.state,
                    started_at: line.started_at,
                    duration_seconds: line.began.elapsed().as_secs(),
                    speaking: status.summary.speaking,
                    turns: status.summary.turns,
                    barge_ins: status.summary.barge_ins,
                    first_audio_ms: status.summary.first_audio_ms,
                    last_turn_ms: status.summary.last_turn_ms,
                    restarts: status.restarts,
                    reconnects: status.summary.reconnects,
                }
            })
            .collect();
        calls.sort_by_key(|call| (call.started_at, call.call_sid));
        Picture {
            generated_at: now,
            instance: self.setup.instance.clone(),
            draining: self.draining,
            capacity: *self.capacity.lock().unwrap_or_else(PoisonError::into_inner),
            calls,
            queue: vec![],
        }
    }

    /// Sends a call a message that should arrive, without making the registry wait for a full mailbox.
    fn tell<M>(&self, call: Addr<CallActor>, message: M)
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

    fn way_here(&self, ctx: &Context<Self>) -> Registry {
        Registry {
            address: ctx.address(),
            capacity: self.capacity.clone(),
            lifeline: self.life.line(),
            counts: self.counts.clone(),
        }
    }
}

fn expire_later(call_sid: CallSid, epoch: u32, ctx: &mut Context<CallRegistry>) {
    ctx.run_later(CLAIM_WITHIN, move |registry, ctx| {
        registry.guarded_for(call_sid, ctx, |registry, ctx| registry.expire(call_sid, epoch, ctx));
    });
}
