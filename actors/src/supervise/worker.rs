//! Worker: a permanent actor that works by itself. Nothing is sent to it: its mailbox stays empty.
//!
//! Started by [`Worker::start`] under a Supervisor on the arbiter of the caller; ends with [`Worker::stop`]
//! or its handle. A panic of its work restarts it after a second, however often: it has no state of its own.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Supervised, Supervisor, WrapFuture,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::metrics::{ActorMetrics, Counted};

/// A restart after a panic waits so long.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What a worker does until what it is given changes, or is closed. Called again after a panic.
pub(crate) type Work = Box<dyn Fn(watch::Receiver<()>) -> LocalBoxFuture<'static, ()>>;

/// The handle: the actor lives as long as it.
pub(crate) struct Worker {
    actor: Addr<WorkerActor>,
    stop: watch::Sender<()>,
}

impl Worker {
    /// Starts the actor on the current arbiter. It is counted in `counts`; `name` names it in the log.
    pub(crate) fn start(name: &'static str, work: Work, counts: ActorMetrics) -> Self {
        let (stop, stopped) = watch::channel(());
        let actor = WorkerActor { name, work, stopped, ended: false, counts, lives: None };
        Self { actor: Supervisor::start(|_| actor), stop }
    }

    /// Ends the actor. Returns when its work has ended, within `deadline`.
    pub(crate) async fn stop(self, deadline: Duration) {
        drop(self.actor);
        let _ = self.stop.send(());
        let _ = timeout(deadline, self.stop.closed()).await;
    }
}

struct WorkerActor {
    name: &'static str,
    work: Work,
    stopped: watch::Receiver<()>,
    ended: bool,
    /// Where it is counted.
    counts: ActorMetrics,
    /// In the metrics.
    lives: Option<Counted>,
}

impl Actor for WorkerActor {
    type Context = Context<Self>;

    /// Also after a restart.
    fn started(&mut self, ctx: &mut Self::Context) {
        if self.ended {
            return ctx.stop();
        }
        self.lives.get_or_insert_with(|| self.counts.lives());
        let work = (self.work)(self.stopped.clone());
        ctx.spawn(AssertUnwindSafe(work).catch_unwind().into_actor(self).map(
            |result, actor, ctx| match result {
                Ok(()) => {
                    actor.ended = true;
                    ctx.stop();
                }
                Err(panic) => {
                    tracing::error!(actor = actor.name, panic = super::message(&*panic), "an actor panicked");
                    actor.counts.panics.inc();
                    ctx.run_later(RESTART_PAUSE, |_, ctx| ctx.stop());
                }
            },
        ));
    }
}

impl Supervised for WorkerActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        if !self.ended {
            self.counts.restarts.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::metrics::{MetricSet as _, Metrics};

    const DEADLINE: Duration = Duration::from_secs(20);

    #[actix_rt::test]
    async fn work_that_panics_begins_again_and_ends_when_it_is_told_to() {
        let counts = Metrics::build().unwrap().of_actor("jobs");
        let (tells, mut told) = unbounded_channel();
        let runs = Rc::new(Cell::new(0));
        let work = move |mut stopped: watch::Receiver<()>| {
            let (run, tells) = (runs.replace(runs.get() + 1), tells.clone());
            async move {
                tells.send(run).unwrap();
                assert!(run > 0, "on purpose");
                let _ = stopped.changed().await;
                tells.send(100).unwrap();
            }
            .boxed_local()
        };
        let worker = Worker::start("test", Box::new(work), counts.clone());
        for expected in [0, 1] {
            assert_eq!(timeout(DEADLINE, told.recv()).await.unwrap(), Some(expected));
        }
        worker.stop(DEADLINE).await;
        assert_eq!(
            timeout(DEADLINE, told.recv()).await.unwrap(),
            Some(100),
            "the end of its work is waited for"
        );
        assert_eq!((counts.panics.get(), counts.restarts.get()), (1, 1));
    }
}
