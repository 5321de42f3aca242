//! What a call and its pump ask of the registry.

use actix::{Handler, Message};

use super::CallRegistry;
use super::handle::{CallDied, ClaimStream, Registry, RegistryDown};
use crate::call::slot::{Answer, CallEnded, Claimed, NoAnswer, NotClaimed, SlotKeeper, StreamLost};
use crate::wire::twilio::sid::CallSid;

impl SlotKeeper for Registry {
    fn claim(&self, call_sid: CallSid, epoch: u32) -> Answer<Result<Claimed, NotClaimed>> {
        self.answer_about(call_sid, "claim", ClaimStream { call_sid, epoch })
    }

    /// Another stream has [`CLAIM_WITHIN`](super::slots::CLAIM_WITHIN) to come.
    fn stream_lost(&self, call_sid: CallSid, epoch: u32) -> Answer<()> {
        self.answer_about(call_sid, "stream lost", StreamLost { call_sid, epoch })
    }

    fn end(&self, ended: CallEnded) -> Answer<()> {
        self.answer_about(ended.call_sid, "end", ended)
    }

    fn gave_up(&self, call_sid: CallSid, serial: u64) -> Answer<()> {
        self.answer_about(call_sid, "gave up", CallDied { call_sid, serial, panicked: true })
    }

    fn died(&self, call_sid: CallSid, serial: u64, panicked: bool) {
        self.address.do_send(CallDied { call_sid, serial, panicked });
    }
}

impl Registry {
    fn answer_about<M, T>(&self, call_sid: CallSid, question: &'static str, message: M) -> Answer<T>
    where
        M: Message<Result = Option<T>> + Send + 'static,
        T: Send + 'static,
        CallRegistry: Handler<M>,
    {
        let registry = self.clone();
        Box::pin(async move {
            registry.ask_about(call_sid, question, message).await.map_err(|RegistryDown| NoAnswer)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use crate::call::conversation::Rules;
    use crate::call::slot::SlotKeeper as _;
    use crate::call::{CallSetup, Ledger, ToolRunner};
    use crate::db::record::{NextStep, Record};
    use crate::metrics::{MetricSet as _, Metrics};
    use crate::registry::{Answer, Registry};
    use crate::secret::Secret;
    use crate::wire::realtime::socket::Endpoint;
    use crate::wire::twilio::sid::CallSid;

    struct Nowhere;

    impl Ledger for Nowhere {
        fn record(&self, _: Record) {}

        fn decide(&self, _: CallSid, _: u32, _: NextStep) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    /// A registry in which one call has a slot.
    async fn with_a_call() -> (Registry, CallSid) {
        let (registry, call_sid, _) = counted_with_a_call().await;
        (registry, call_sid)
    }

    async fn counted_with_a_call() -> (Registry, CallSid, Metrics) {
        let metrics = Metrics::build().unwrap();
        let setup = CallSetup {
            instance: "test".into(),
            persona: Arc::default(),
            endpoint: Endpoint {
                url: "ws://127.0.0.1:9/v1/realtime".parse().unwrap(),
                model: "none".into(),
                api_key: Secret::new("none".into()),
            },
            rules: Rules::default(),
            phrases: Arc::default(),
            ledger: Arc::new(Nowhere),
            metrics: metrics.clone(),
            recorder: None,
            tools: ToolRunner::default(),
        };
        let registry = Registry::start(1, Arc::new(setup));
        let call_sid = "CA00000000000000000000000000000001".parse().unwrap();
        let admission = registry.admit(call_sid, String::new(), String::new()).await;
        assert_eq!(admission, Ok(Answer::Connect { epoch: 1 }));
        (registry, call_sid, metrics)
    }

    #[actix_rt::test]
    async fn a_claimed_slot_whose_pump_goes_away_is_promised_to_the_next_stream() {
        let (registry, call_sid) = with_a_call().await;
        let claimed = registry.claim(call_sid, 1).await.unwrap().ok();
        assert!(registry.claim(call_sid, 2).await.unwrap().is_err(), "the first stream has it");
        drop(claimed);
        assert!(registry.claim(call_sid, 2).await.unwrap().is_ok());
    }

    #[actix_rt::test]
    async fn a_claim_that_is_given_up_before_its_answer_claims_nothing() {
        let (registry, call_sid) = with_a_call().await;
        assert!(registry.claim(call_sid, 1).now_or_never().is_none(), "asked, and given up");
        registry.picture().await.unwrap(); // the question has been passed over
        assert!(registry.claim(call_sid, 1).await.unwrap().is_ok());
    }

    #[actix_rt::test]
    async fn a_stale_question_after_a_stream_leaves_the_open_one_alone() {
        let (registry, call_sid) = with_a_call().await;
        drop(registry.claim(call_sid, 1).await.unwrap());
        let claimed = registry.claim(call_sid, 2).await.unwrap().ok();
        assert!(claimed.is_some());
        for _ in 0..9 {
            let stale = registry.after_stream(call_sid, Some(1)).await;
            assert_eq!(stale, Ok(Some(Answer::Connect { epoch: 2 })));
        }
        let over = registry.after_stream(call_sid, Some(2)).await;
        assert_eq!(over, Ok(Some(Answer::Connect { epoch: 3 })));
    }

    #[actix_rt::test]
    async fn a_call_that_has_ended_while_somebody_holds_its_address_has_not_been_restarted() {
        let (registry, call_sid, metrics) = counted_with_a_call().await;
        let claimed = registry.claim(call_sid, 1).await.unwrap().ok().unwrap();
        let held = claimed.call.upgrade().unwrap();
        registry.call_over(call_sid).await.unwrap();
        while registry.capacity().available == 0 {
            registry.picture().await.unwrap();
        }
        for _ in 0..50 {
            registry.picture().await.unwrap(); // time for many a restart
        }
        assert!(held.connected());
        assert_eq!(metrics.restarts.with_label_values(&["call"]).get(), 0);
    }
}
