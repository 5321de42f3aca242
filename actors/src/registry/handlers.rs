//! What the registry does with each message: one verb on its state, inside the guard against panics.

use super::*;

impl Handler<AdmitCall> for CallRegistry {
    type Result = Option<Admission>;

    fn handle(&mut self, message: AdmitCall, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, ctx| {
            fault_point!("registry-AdmitCall");
            registry.admit(message, ctx)
        })
    }
}

impl Handler<ClaimStream> for CallRegistry {
    type Result = Option<Result<Claimed, NotClaimed>>;

    fn handle(&mut self, message: ClaimStream, ctx: &mut Self::Context) -> Self::Result {
        let ClaimStream { call_sid, epoch } = message;
        self.guarded_for(call_sid, ctx, |registry, ctx| {
            fault_point!("registry-ClaimStream");
            let slot = registry.slots.claim(call_sid, epoch)?;
            let Line { call, uplink, span, .. } = &slot.call;
            let claim = Claim::new(ctx.address().recipient(), call_sid, epoch);
            let claimed =
                Claimed { call: call.downgrade(), uplink: uplink.clone(), span: span.clone(), claim };
            registry.publish();
            Ok(claimed)
        })
    }
}

impl Handler<EndStream> for CallRegistry {
    type Result = Option<AfterStream>;

    fn handle(&mut self, message: EndStream, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, ctx| {
            fault_point!("registry-EndStream");
            registry.after_stream(message, ctx)
        })
    }
}

impl Handler<CallOver> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: CallOver, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, _| {
            if let Some(slot) = registry.slots.get(message.call_sid) {
                registry.tell(slot.call.call.clone(), OverAtTwilio);
            } else if let Some(decision) = registry.decided.get_mut(&message.call_sid) {
                decision.gone = true;
                if let Some(end) = decision.end.take() {
                    registry.setup.metrics.count_end(end); // nobody else has had the call
                }
            }
        })
    }
}

impl Handler<StreamLost> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: StreamLost, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, ctx| registry.stream_lost(message, ctx))
    }
}

impl Handler<CallEnded> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: CallEnded, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, _| {
            fault_point!("registry-CallEnded");
            registry.ended(message);
        })
    }
}

impl Handler<CallDied> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: CallDied, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, _| registry.died(message))
    }
}

impl Handler<DrawPicture> for CallRegistry {
    type Result = Option<Picture>;

    fn handle(&mut self, _: DrawPicture, ctx: &mut Self::Context) -> Self::Result {
        self.guarded(ctx, |registry, _| registry.picture())
    }
}

impl Handler<AskWhetherIdle> for CallRegistry {
    type Result = Option<bool>;

    fn handle(&mut self, _: AskWhetherIdle, ctx: &mut Self::Context) -> Self::Result {
        self.guarded(ctx, |registry, _| {
            fault_point!("registry-AskWhetherIdle");
            registry.is_idle()
        })
    }
}

impl Handler<Drain> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        self.guarded(ctx, |registry, _| {
            fault_point!("registry-Drain");
            registry.draining = true;
        })
    }
}

impl Handler<EndCalls> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, _: EndCalls, ctx: &mut Self::Context) -> Self::Result {
        self.guarded(ctx, |registry, _| {
            fault_point!("registry-EndCalls");
            registry.draining = true;
            registry.slots.iter().for_each(|(_, slot)| registry.tell(slot.call.call.clone(), ShutDown));
        })
    }
}
