//! What a call and its pump ask of whoever keeps the slots. A call knows nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::WeakAddr;
use actix::prelude::*;
use call_control::call_flow::NextStep;
pub use call_control::ceiling::slots::NotClaimed;
use futures_util::future::BoxFuture;
use tracing::Span;

use super::CallActor;
use super::end::CallEnd;
use crate::wire::realtime::socket::Uplink;
use crate::wire::twilio::sid::CallSid;

/// Whoever keeps the slots gives no answer in time, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keeper of the slots does not answer")]
pub struct NoAnswer;

/// The answer to a question, within some seconds.
pub type Answer<T> = BoxFuture<'static, Result<T, NoAnswer>>;

/// Whoever keeps the slots of the calls.
pub trait SlotKeeper: Send + Sync {
    /// Gives a stream its call, once.
    fn claim(&self, call_sid: CallSid, epoch: u32) -> Answer<Result<Claimed, NotClaimed>>;

    /// The stream of this epoch has ended. If its call has not, another stream may come.
    fn stream_lost(&self, call_sid: CallSid, epoch: u32) -> Answer<()>;

    /// The call has ended: what comes next is kept, and the slot is freed.
    fn end(&self, ended: CallEnded) -> Answer<()>;

    /// The call's actor has panicked too often to end its call.
    fn gave_up(&self, call_sid: CallSid, serial: u64) -> Answer<()>;

    /// The call's actor is gone. For a drop guard, which cannot wait.
    fn died(&self, call_sid: CallSid, serial: u64, panicked: bool);
}

/// What a stream needs of its call.
pub struct Claimed {
    pub call: WeakAddr<CallActor>,
    pub uplink: Arc<Uplink>,
    /// The call's.
    pub span: Span,
    /// Frees the slot for another stream when it is dropped.
    pub claim: Claim,
}

/// The claim of a call's slot by the stream of one epoch. It tells the keeper when it is dropped, however
/// that happens. An answer that nobody waits for any more, a pump that is cancelled and one that panics leave
/// no slot behind.
pub struct Claim {
    keeper: Recipient<StreamLost>,
    call_sid: CallSid,
    epoch: u32,
    /// The keeper has been told of the stream's end.
    told: AtomicBool,
}

impl Claim {
    pub(crate) fn new(keeper: Recipient<StreamLost>, call_sid: CallSid, epoch: u32) -> Self {
        Self { keeper, call_sid, epoch, told: AtomicBool::new(false) }
    }

    /// The keeper knows that the stream has ended.
    pub fn is_told(&self) {
        self.told.store(true, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.told.load(Ordering::Relaxed) {
            self.keeper.do_send(StreamLost { call_sid: self.call_sid, epoch: self.epoch });
        }
    }
}

/// The stream of `epoch` ended, and the call may go on. The answer is none if the keeper panicked.
#[derive(Message)]
#[rtype(result = "Option<()>")]
pub(crate) struct StreamLost {
    pub(crate) call_sid: CallSid,
    pub(crate) epoch: u32,
}

/// The call's actor has decided the end. The answer is none if the keeper panicked.
#[derive(Message)]
#[rtype(result = "Option<()>")]
pub struct CallEnded {
    pub call_sid: CallSid,
    pub serial: u64,
    pub end: CallEnd,
    pub next: NextStep,
}
