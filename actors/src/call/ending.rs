//! The end of a call: it is written, and the registry is told before the slot is let go.

use std::time::Duration;

use actix::prelude::*;
use call_control::call_flow::NextStep;
use serde_json::json;
use tracing::Instrument as _;

use super::conversation::CallResult;
use super::end::CallEnd;
use super::slot::CallEnded;
use super::{CallActor, CallIdentity};
use crate::db::record::{CallClosed, Record};
use crate::wire::realtime::prices::PriceList;
use crate::wire::realtime::transcription;
use crate::wire::realtime::usage::Usage;

/// The registry has some seconds for each.
const LET_GO_TRIES: u32 = 5;

/// The call is over, and the registry is being told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ended {
    AsDecided {
        end: CallEnd,
        next: NextStep,
    },
    /// The conversation cannot even end: the registry ends the call without it.
    WornOut,
}

impl CallActor {
    pub(super) fn end(&mut self, end: CallEnd, next: NextStep, result: &CallResult, ctx: &mut Context<Self>) {
        let ended = Ended::AsDecided { end, next };
        self.ended = Some(ended);
        let (CallIdentity { call_sid, started_at, .. }, epoch) = (self.identity, self.epoch());
        let elapsed_ms = self.clock.now() - self.clock.began_at;
        let cost_usd = result.usage.cost_usd(&self.setup.endpoint.model);
        tracing::info!(
            call.sid = %call_sid, outcome = end.outcome.as_str(), reason = end.reason.as_str(), elapsed_ms,
            "the call has ended"
        );
        let closed = CallClosed {
            call_sid,
            epoch,
            ended_at: started_at + Duration::from_millis(elapsed_ms),
            end,
            barge_ins: result.barge_ins,
            first_audio_ms: result.first_audio_ms,
            usage: self.usage_told(&result.usage),
            cost_usd,
        };
        self.setup.ledger.record(Record::Closed(closed.clone()));
        self.closed = Some(closed);
        self.let_go(ended, ctx);
    }

    pub(super) fn usage_told(&self, usage: &Usage) -> serde_json::Value {
        json!({
            "model": self.setup.endpoint.model, "tokens": usage, "pricesAsOf": PriceList::built_in().as_of,
            "transcription": {"model": transcription::MODEL, "used": usage.transcription},
        })
    }

    /// What comes next is known to the registry before the slot, and with it the stream, is let go.
    pub(super) fn let_go(&self, ended: Ended, ctx: &mut Context<Self>) {
        let CallIdentity { call_sid, serial, .. } = self.identity;
        let keeper = self.keeper.clone();
        let decided = match ended {
            // The end of the call says it.
            Ended::AsDecided { next: NextStep::HangUp, end }
                if !end.reason.leaves_the_caller_on_the_line() =>
            {
                None
            }
            Ended::WornOut => None,
            Ended::AsDecided { next, .. } => Some(self.setup.ledger.decide(call_sid, self.epoch(), next)),
        };
        let told = async move {
            if let Some(decided) = decided {
                decided.await;
            }
            for _ in 0..LET_GO_TRIES {
                let answer = match ended {
                    Ended::AsDecided { end, next } => {
                        keeper.end(CallEnded { call_sid, serial, end, next }).await
                    }
                    Ended::WornOut => keeper.gave_up(call_sid, serial).await,
                };
                if answer.is_ok() {
                    return;
                }
            }
            tracing::error!(call.sid = %call_sid, "the registry did not take the end of a call");
        };
        let told = told.instrument(self.span.clone());
        // Without an address left, stopping is for good; timers and readers would keep the actor alive
        // otherwise.
        ctx.spawn(told.into_actor(self).map(|(), call, ctx| call.linger(ctx)));
    }
}
