//! After the end of a call its slot is free at once; its actor reads on for a moment, for what the service
//! still has to say: the caller's last words, and what a response cost.

use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;

use super::CallActor;
use super::conversation::Input;
use crate::db::record::Record;
use crate::supervise::caught;
use crate::wire::realtime::events;

/// What has not been said by then is not waited for.
const LINGER: Duration = Duration::from_secs(3);

impl CallActor {
    /// The registry knows that the call is over: stops, or waits for the service's last words first.
    pub(super) fn linger(&mut self, ctx: &mut Context<Self>) {
        if let Some(stream) = &self.stream {
            stream.out.close(); // Twilio asks at once what comes next
        }
        if !self.awaits_afterword() {
            return ctx.stop();
        }
        self.lingers = true;
        ctx.run_later(LINGER, |_, ctx| ctx.stop());
    }

    fn awaits_afterword(&self) -> bool {
        let awaits =
            self.conversation.as_ref().is_some_and(|conversation| conversation.live().awaits_afterword());
        self.closed.is_some() && awaits
    }

    /// What the service said when the call was over.
    pub(super) fn afterword(&mut self, message: &Bytes, ctx: &mut Context<Self>) {
        let heard = caught(|| {
            let Ok(event) = events::parse(message) else { return };
            let (began, input) = (Instant::now(), Input::Service(event));
            let now = self.clock.at(began);
            let Some(conversation) = self.conversation.as_mut() else { return };
            let known = conversation.live().summary().usage;
            conversation.step(&input, now, &mut self.effects);
            if let (Some(tape), Some(entry)) = (&mut self.tape, conversation.pending()) {
                tape.taken(entry, &self.effects);
            }
            let usage = conversation.live().summary().usage;
            self.carry_out(began, ctx);
            self.complete();
            if usage != known {
                self.publish();
                self.write_usage();
            }
        });
        if heard.is_err() {
            self.restore();
        }
        self.stop_lingering(heard.is_err(), ctx);
    }

    /// Writes the end again, with what the call has cost by now.
    fn write_usage(&mut self) {
        let Some(conversation) = &self.conversation else { return };
        let usage = conversation.live().summary().usage;
        let Some(mut closed) = self.closed.clone() else { return };
        closed.usage = self.usage_told(&usage);
        closed.cost_usd = usage.cost_usd(&self.setup.endpoint.model);
        self.setup.ledger.record(Record::Closed(closed));
    }

    /// Nothing more is to be waited for, or nothing can be.
    pub(super) fn stop_lingering(&mut self, is_lost: bool, ctx: &mut Context<Self>) {
        if self.lingers && (is_lost || !self.awaits_afterword()) {
            ctx.stop();
        }
    }
}
