//! DbActor: writes the records that wait, and watches the database.
//!
//! Started by [`Db::start`](super::Db::start) under a Supervisor on the arbiter of the caller; ends with the last
//! [`Db`](super::Db). It owns nothing that a panic could spoil: queue and pool are beside it, so a panic costs a second
//! and no record. Its mailbox holds 16 wake-ups; one that does not fit is not needed, because one is waiting already.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Supervised, fut};
use futures_util::FutureExt;

use super::error::DbError;
use super::health::{DbHealth, SchemaState};
use super::{Shared, writer};

/// How often a healthy database is asked for a sign of life, and one that is away whether it is back.
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBE_AWAY_EVERY: Duration = Duration::from_millis(500);
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// A restart after a panic waits so long, so that a panic that repeats itself is not a busy loop.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Wakes the writer: records wait.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct WriteWaiting;

pub(super) struct DbActor {
    shared: Arc<Shared>,
    writing: bool,
}

impl DbActor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, writing: false }
    }

    fn write(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.writing, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let done = |actor: &mut Self| actor.writing = false;
        run(async move { writer::write_all(&shared).await }, done, ctx);
    }

    fn watch(&mut self, ctx: &mut Context<Self>) {
        let shared = Arc::clone(&self.shared);
        run(async move { watch(&shared).await }, |_| (), ctx);
    }
}

impl Actor for DbActor {
    type Context = Context<Self>;

    /// Also after a restart: what was under way is taken up again from the queue.
    fn started(&mut self, ctx: &mut Self::Context) {
        self.writing = false;
        self.write(ctx);
        self.watch(ctx);
    }
}

impl Supervised for DbActor {
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        tracing::warn!("the database's actor starts again");
    }
}

impl Handler<WriteWaiting> for DbActor {
    type Result = ();

    fn handle(&mut self, _: WriteWaiting, ctx: &mut Self::Context) {
        self.write(ctx);
    }
}

/// Runs to the end, then calls `done`; a panic becomes a restart.
fn run(
    work: impl Future<Output = ()> + 'static,
    done: impl FnOnce(&mut DbActor) + 'static,
    ctx: &mut Context<DbActor>,
) {
    let guarded = fut::wrap_future::<_, DbActor>(AssertUnwindSafe(work).catch_unwind());
    ctx.spawn(guarded.map(|result, actor, ctx| match result {
        Ok(()) => done(actor),
        Err(_) => {
            tracing::error!("the database's actor panicked");
            ctx.run_later(RESTART_PAUSE, |_, ctx| ctx.stop());
        }
    }));
}

/// Keeps what is known of the database fresh, whether or not anybody asks it anything.
async fn watch(shared: &Shared) {
    loop {
        // A pool in full use is proof enough: its queries tell how they went.
        if !shared.pool.is_exhausted() {
            let _ = probe(shared).await;
        }
        let healthy = shared.seen.health() == DbHealth::Healthy;
        tokio::time::sleep(if healthy { PROBE_EVERY } else { PROBE_AWAY_EVERY }).await;
    }
}

/// A sign of life; until the schema is known to fit, its state.
async fn probe(shared: &Shared) -> Result<(), DbError> {
    if matches!(shared.seen.schema(), SchemaState::Unknown | SchemaState::Older { .. }) {
        return shared.compare_schema(PROBE_DEADLINE).await.map(drop);
    }
    shared.ask("probe", PROBE_DEADLINE, async |connection| Ok(connection.ping().await?)).await
}
