//! What becomes of a call whose actor panicked: it goes on from its checkpoint, or a person takes the caller.

use actix::prelude::*;

use super::CallActor;
use super::conversation::Input;
use super::ending::Ended;
use crate::supervise::{caught, fault_point};

impl CallActor {
    /// Gives the caller to a person: with the conversation's last words if it still has any.
    pub(super) fn give_up(&mut self, ctx: &mut Context<Self>) {
        let is_lost = self.conversation.is_none();
        self.take(&Input::ActorFailed, ctx);
        if self.ended.is_none() {
            self.ended = Some(Ended::WornOut);
        }
        if is_lost {
            self.let_go(Ended::WornOut, ctx); // otherwise a panic was in the way, and the next start does it
        }
    }

    /// Goes back to the last completed input; the supervisor starts this actor again.
    pub(super) fn panicked(&mut self, panic: &str, ctx: &mut Context<Self>) {
        tracing::error!(
            parent: &self.span, call.sid = %self.identity.call_sid, actor = "call", panic, "an actor panicked"
        );
        self.counts.panics.inc();
        self.restore();
        self.is_to_recover = true;
        ctx.stop();
    }

    /// Goes back to the last completed input. A checkpoint that cannot be made is not tried again: nobody
    /// knows what the call has come to, so the caller is given to a person without the conversation.
    pub(super) fn restore(&mut self) {
        self.effects.clear();
        let Some(mut conversation) = self.conversation.take() else { return };
        if let (Some(tape), Some(entry)) = (&mut self.tape, conversation.pending()) {
            tape.lost(entry);
        }
        let restored = caught(|| {
            fault_point!("call-restore");
            conversation.restore();
        });
        match restored {
            Ok(()) => self.conversation = Some(conversation),
            Err(panic) => {
                self.counts.panics.inc();
                tracing::error!(
                    parent: &self.span, call.sid = %self.identity.call_sid, panic, "the checkpoint of a call is lost"
                );
                self.worn_out = true;
            }
        }
    }
}

impl Supervised for CallActor {
    /// An actor that has stopped for good is started again, too, while somebody still holds its address: that
    /// is no recovery.
    fn restarting(&mut self, _: &mut Self::Context) {
        self.tick = None;
        if !std::mem::take(&mut self.is_to_recover) {
            return;
        }
        self.counts.restarts.inc();
        self.restarted += 1;
        self.worn_out |= !self.restarts.allows(self.clock.now());
    }
}

impl Drop for CallActor {
    /// Whatever ended it, both sockets are closed and the registry knows.
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.out.close();
        }
        self.uplink.close();
        self.keeper.died(self.identity.call_sid, self.identity.serial, std::thread::panicking());
    }
}
