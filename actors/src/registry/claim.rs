//! Who holds a claimed slot: a value that tells the registry when it goes, however it goes. An answer that
//! nobody waits for any more, a pump that is cancelled and one that panics leave no slot behind.

use std::sync::atomic::{AtomicBool, Ordering};

use actix::Addr;

use super::CallRegistry;
use super::handle::StreamLost;
use crate::wire::twilio::sid::CallSid;

/// The claim of a call's slot by the stream of one epoch.
pub struct Claim {
    registry: Addr<CallRegistry>,
    call_sid: CallSid,
    epoch: u32,
    /// The registry has been told of the stream's end.
    told: AtomicBool,
}

impl Claim {
    pub(super) fn new(registry: Addr<CallRegistry>, call_sid: CallSid, epoch: u32) -> Self {
        Self { registry, call_sid, epoch, told: AtomicBool::new(false) }
    }

    /// The registry knows that the stream has ended.
    pub fn is_told(&self) {
        self.told.store(true, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.told.load(Ordering::Relaxed) {
            self.registry.do_send(StreamLost { call_sid: self.call_sid, epoch: self.epoch });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use crate::call::conversation::Rules;
    use crate::call::{CallSetup, Ledger};
    use crate::db::record::{NextStep, Record};
    use crate::metrics::Metrics;
    use crate::registry::{Admission, AfterStream, Registry};
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
        let setup = CallSetup {
            instance: "test".into(),
            persona: Arc::default(),
            endpoint: Endpoint {
                url: "ws://127.0.0.1:9/v1/realtime".into(),
                model: "none".into(),
                api_key: Secret::new("none".into()),
            },
            rules: Rules::default(),
            phrases: Arc::default(),
            ledger: Arc::new(Nowhere),
            metrics: Metrics::register(&prometheus::Registry::new()),
        };
        let registry = Registry::start(1, Arc::new(setup));
        let call_sid = "CA00000000000000000000000000000001".parse().unwrap();
        let admission = registry.admit(call_sid, String::new(), String::new()).await;
        assert_eq!(admission, Ok(Admission::Admitted { epoch: 1 }));
        (registry, call_sid)
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
            assert_eq!(stale, Ok(AfterStream::Resume { epoch: 2 }));
        }
        let over = registry.after_stream(call_sid, Some(2)).await;
        assert_eq!(over, Ok(AfterStream::Resume { epoch: 3 }));
    }
}
