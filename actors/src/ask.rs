//! A question to an actor whose mailbox may be full.

use std::pin::pin;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use tokio::time::timeout;

/// The pause before a message is offered again to a full mailbox: the mailbox wakes no sender.
const OFFER_EVERY: Duration = Duration::from_millis(20);

/// Waits for a place in the mailbox and for the answer; none if the actor is gone, or does not answer within
/// this time.
pub(crate) async fn ask<A, M>(actor: &Addr<A>, message: M, within: Duration) -> Option<M::Result>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let mut request = pin!(actor.send(message));
    let answered = timeout(within, async {
        loop {
            if let Ok(answer) = timeout(OFFER_EVERY, request.as_mut()).await {
                return answer.ok();
            }
        }
    });
    answered.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::watch;

    use super::*;

    /// Takes nothing before the gate is open.
    struct Busy(watch::Receiver<bool>);

    impl Actor for Busy {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.set_mailbox_capacity(1);
            let mut gate = self.0.clone();
            ctx.wait(async move { drop(gate.wait_for(|open| *open).await) }.into_actor(self));
        }
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Question;

    impl Handler<Question> for Busy {
        type Result = ();

        fn handle(&mut self, _: Question, _: &mut Self::Context) {}
    }

    #[actix_rt::test]
    async fn who_finds_a_mailbox_full_waits_for_a_place_and_is_answered() {
        let (open, gate) = watch::channel(false);
        let actor = Busy(gate).start();
        tokio::task::yield_now().await; // it has started
        let asked = join_all((0..9).map(|_| ask(&actor, Question, Duration::from_secs(20))));
        let opened = async {
            tokio::task::yield_now().await; // all have asked
            open.send_replace(true);
        };
        let (answers, ()) = futures_util::future::join(asked, opened).await;
        assert_eq!(answers, [Some(()); 9]);
    }

    #[actix_rt::test]
    async fn an_actor_that_takes_nothing_is_not_waited_for_for_ever() {
        let (_open, gate) = watch::channel(false);
        let actor = Busy(gate).start();
        assert_eq!(ask(&actor, Question, Duration::from_millis(50)).await, None);
    }
}
