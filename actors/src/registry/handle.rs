//! The way to the registry, and what can be asked of it.

use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use tracing::Instrument as _;

use super::picture::{CallState, Capacity, LiveCall, Picture};
use super::{ANSWER_WITHIN, Answer, CallRegistry};
use crate::ask::ask;
use crate::call::CallSetup;
use crate::call::end::CallEnd;
use crate::call::history::Past;
use crate::call::slot::{Claimed, NotClaimed};
use crate::metrics::ActorMetrics;
use crate::supervise::{Life, Lifeline};
use crate::wire::twilio::sid::CallSid;

/// The registry does not answer: it is overrun, panicked at the question, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call registry does not answer")]
pub struct RegistryDown;

/// The way to the registry.
#[derive(Clone)]
pub struct Registry {
    pub(super) address: Addr<CallRegistry>,
    pub(super) capacity: Arc<Mutex<Capacity>>,
    pub(super) lifeline: Lifeline,
    pub(super) counts: ActorMetrics,
}

impl Registry {
    /// Starts the registry on the current arbiter.
    pub fn start(limit: usize, setup: Arc<CallSetup>) -> Self {
        setup.metrics.calls_limit.set(limit as i64);
        for end in CallEnd::ALL {
            setup.metrics.call_ends.with_label_values(&end.labels());
        }
        let capacity = Capacity { limit, active: 0, reserved: 0, queued: 0, available: limit };
        let capacity = Arc::new(Mutex::new(capacity));
        let shared = capacity.clone();
        let life = Life::begin("registry");
        let (lifeline, counts) = (life.line(), setup.metrics.of_actor("registry"));
        let address = Supervisor::start(move |_| CallRegistry::new(limit, shared, setup, life));
        Self { address, capacity, lifeline, counts }
    }

    /// Asks for an agent for a ringing call. Its actor starts on the current arbiter, the worker's that took
    /// the webhook.
    pub async fn admit(&self, call_sid: CallSid, from: String, to: String) -> Result<Answer, RegistryDown> {
        let (past, came_back, home) = (None, false, Arbiter::current());
        self.answered("admit", AdmitCall { call_sid, from, to, past, came_back, home }).await
    }

    /// Asks for an agent for a call that another process began, or was about to; it goes on where it was.
    pub async fn take_up(
        &self,
        call_sid: CallSid,
        from: String,
        to: String,
        past: Past,
    ) -> Result<Answer, RegistryDown> {
        let past = Some(past).filter(|past| !past.is_blank());
        let (came_back, home) = (true, Arbiter::current());
        self.answered("take up", AdmitCall { call_sid, from, to, past, came_back, home }).await
    }

    async fn answered(&self, question: &'static str, call: AdmitCall) -> Result<Answer, RegistryDown> {
        self.ask_about(call.call_sid, question, call).await?.ok_or(RegistryDown)
    }

    /// Whether the call's stream is open here.
    pub async fn is_live(&self, call_sid: CallSid) -> bool {
        let picture = self.picture().await;
        let on_the_line = |call: &LiveCall| call.call_sid == call_sid && call.state != CallState::Reserved;
        picture.is_ok_and(|picture| picture.calls.iter().any(on_the_line))
    }

    /// What comes after a stream that has ended; of this epoch, where Twilio tells. None: this instance does
    /// not know the call.
    pub async fn after_stream(
        &self,
        call_sid: CallSid,
        epoch: Option<u32>,
    ) -> Result<Option<Answer>, RegistryDown> {
        self.ask_about(call_sid, "after stream", EndStream { call_sid, epoch }).await
    }

    /// Twilio says that the call has ended.
    pub async fn call_over(&self, call_sid: CallSid) -> Result<(), RegistryDown> {
        self.ask_about(call_sid, "call over", CallOver { call_sid }).await
    }

    /// The live picture.
    pub async fn picture(&self) -> Result<Picture, RegistryDown> {
        self.ask(DrawPicture).await
    }

    /// How full the house is; never waits.
    pub fn capacity(&self) -> Capacity {
        *self.capacity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no call is left: none holds a slot, and nobody who was let go is expected to come back.
    pub async fn is_idle(&self) -> Result<bool, RegistryDown> {
        self.ask(AskWhetherIdle).await
    }

    /// Takes no new calls from now on.
    pub async fn drain(&self) -> Result<(), RegistryDown> {
        self.ask(Drain).await
    }

    /// Takes new calls again, after a drain.
    pub async fn resume(&self) -> Result<(), RegistryDown> {
        self.ask(TakeCallsAgain).await
    }

    /// Gives a call whose stream is open to a person: its agent's part ends, and Twilio asks what comes next.
    pub async fn to_person(&self, call_sid: CallSid) -> Result<(), RegistryDown> {
        self.ask_about(call_sid, "to person", CallToPerson { call_sid }).await
    }

    /// Ends the calls that are left here: they are handed over, to go on at another instance.
    pub async fn shut_down(&self) -> Result<(), RegistryDown> {
        self.ask(EndCalls).await
    }

    /// Ends when the registry has panicked too often, or is gone: the process cannot go on then.
    pub fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }

    /// The same about a call, as a span of its trace.
    pub(super) async fn ask_about<M, T>(
        &self,
        call_sid: CallSid,
        question: &'static str,
        message: M,
    ) -> Result<T, RegistryDown>
    where
        M: Message<Result = Option<T>> + Send + 'static,
        T: Send + 'static,
        CallRegistry: Handler<M>,
    {
        let span = tracing::info_span!("registry", call.sid = %call_sid, question);
        self.ask(message).instrument(span).await
    }

    async fn ask<M, T>(&self, message: M) -> Result<T, RegistryDown>
    where
        M: Message<Result = Option<T>> + Send + 'static,
        T: Send + 'static,
        CallRegistry: Handler<M>,
    {
        let _waits = self.counts.waits();
        ask(&self.address, message, ANSWER_WITHIN).await.flatten().ok_or(RegistryDown)
    }
}

// The answer to a message is none if the registry panicked at it.

/// A call rings.
#[derive(Message)]
#[rtype(result = "Option<Option<Answer>>")]
pub(super) struct AdmitCall {
    pub(super) call_sid: CallSid,
    pub(super) from: String,
    pub(super) to: String,
    /// Of a call that another process began.
    pub(super) past: Option<Past>,
    pub(super) came_back: bool,
    pub(super) home: ArbiterHandle,
}

/// A stream shows its token's epoch.
#[derive(Message)]
#[rtype(result = "Option<Result<Claimed, NotClaimed>>")]
pub(super) struct ClaimStream {
    pub(super) call_sid: CallSid,
    pub(super) epoch: u32,
}

/// Twilio asks what comes after the stream.
#[derive(Message)]
#[rtype(result = "Option<Option<Answer>>")]
pub(super) struct EndStream {
    pub(super) call_sid: CallSid,
    pub(super) epoch: Option<u32>,
}

/// Twilio reported the call's end.
#[derive(Message)]
#[rtype(result = "Option<()>")]
pub(super) struct CallOver {
    pub(super) call_sid: CallSid,
}

/// A call's actor is gone, whatever ended it.
#[derive(Message)]
#[rtype(result = "Option<()>")]
pub(super) struct CallDied {
    pub(super) call_sid: CallSid,
    pub(super) serial: u64,
    pub(super) panicked: bool,
}

/// Asks for the live picture.
#[derive(Message)]
#[rtype(result = "Option<Picture>")]
pub(super) struct DrawPicture;

/// Asks whether a call is left.
#[derive(Message)]
#[rtype(result = "Option<bool>")]
pub(super) struct AskWhetherIdle;

/// No new calls.
#[derive(Message)]
#[rtype(result = "Option<()>")]
pub(super) struct Drain;

/// New calls again.
#[derive(Message)]
#[rtype(result = "Option<()>")]
pub(super) struct TakeCallsAgain;

/// An operator gives a call to a person.
#[derive(Message)]
#[rtype(result = "Option<()>")]
pub(super) struct CallToPerson {
    pub(super) call_sid: CallSid,
}

/// No calls any more.
#[derive(Message)]
#[rtype(result = "Option<()>")]
pub(super) struct EndCalls;
