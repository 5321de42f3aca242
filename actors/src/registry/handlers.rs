//! What the registry does with each message: one verb on its state, inside the guard against panics.

use super::*;

impl Handler<AdmitCall> for CallRegistry {
    type Result = Option<Option<Answer>>;

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
            let claim = registry.decide(Input::StreamOpens { call_sid, epoch }, None, ctx).claim;
            claim.unwrap_or(Err(NotClaimed::NoSlot))?;
            let agent = registry.agents.get(&call_sid).ok_or(NotClaimed::NoSlot)?;
            Ok(Claimed {
                call: agent.call.downgrade(),
                uplink: agent.uplink.clone(),
                span: agent.span.clone(),
                claim: Claim::new(ctx.address().recipient(), call_sid, epoch),
            })
        })
    }
}

impl Handler<EndStream> for CallRegistry {
    type Result = Option<Option<Answer>>;

    fn handle(&mut self, message: EndStream, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, ctx| {
            fault_point!("registry-EndStream");
            let EndStream { call_sid, epoch } = message;
            registry.decide(Input::StreamEnded { call_sid, epoch }, None, ctx).answer
        })
    }
}

impl Handler<CallOver> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: CallOver, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, ctx| {
            registry.take(Input::CallOver { call_sid: message.call_sid }, ctx);
        })
    }
}

impl Handler<StreamLost> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: StreamLost, ctx: &mut Self::Context) -> Self::Result {
        let StreamLost { call_sid, epoch } = message;
        self.guarded_for(call_sid, ctx, |registry, ctx| {
            registry.take(Input::StreamLost { call_sid, epoch }, ctx);
        })
    }
}

impl Handler<CallEnded> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: CallEnded, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, ctx| {
            fault_point!("registry-CallEnded");
            let CallEnded { call_sid, serial, end, next } = message;
            registry.take(Input::AgentDone { call_sid, serial, end, next }, ctx);
        })
    }
}

impl Handler<CallDied> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: CallDied, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, ctx| registry.died(message, ctx))
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
            registry.flows.is_idle(registry.now())
        })
    }
}

impl Handler<Drain> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        self.guarded(ctx, |registry, ctx| {
            fault_point!("registry-Drain");
            registry.take(Input::Drain, ctx);
        })
    }
}

impl Handler<EndCalls> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, _: EndCalls, ctx: &mut Self::Context) -> Self::Result {
        self.guarded(ctx, |registry, ctx| {
            fault_point!("registry-EndCalls");
            registry.take(Input::HandOver, ctx);
        })
    }
}

impl Handler<TakeCallsAgain> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, _: TakeCallsAgain, ctx: &mut Self::Context) -> Self::Result {
        self.guarded(ctx, |registry, ctx| registry.take(Input::Resume, ctx))
    }
}

impl Handler<CallToPerson> for CallRegistry {
    type Result = Option<()>;

    fn handle(&mut self, message: CallToPerson, ctx: &mut Self::Context) -> Self::Result {
        self.guarded_for(message.call_sid, ctx, |registry, ctx| {
            registry.take(Input::ToPerson { call_sid: message.call_sid }, ctx);
        })
    }
}
