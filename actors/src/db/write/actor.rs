//! DbActor: writes the records that wait, tries those again that were refused, watches the database, and
//! tells it that this instance is alive.
//!
//! Started by [`Db::start`](crate::db::Db::start) under a Supervisor on the arbiter of the caller; ends with
//! the last [`Db`](crate::db::Db). It owns nothing that a panic could spoil: queue, spool and pool are beside
//! it, so a panic costs a second and no record; panicking too often is the [end of the
//! process](crate::db::Db::lifeline). Its mailbox holds 16 wake-ups; one that does not fit is not needed,
//! because one is waiting already.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Supervised, fut};
use call_control::backoff::Backoff;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, sleep};

use super::{refused, writer};
use crate::db::Shared;
use crate::db::connect::error::DbError;
use crate::db::connect::health::Seen;
use crate::db::connect::migrate;
use crate::metrics::Counted;
use crate::supervise::{Life, fault_point, message};

/// A healthy database is asked for a sign of life if it gave none for so long.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// It is away if it does not give one within this, nor answers anybody else.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// However many questions stay without an answer, it is not asked more often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// One that is away is asked again after a jittered pause, which doubles each time, from the first to the
/// longest.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
/// How often this instance tells the others that it is alive; they miss it after three times that.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// A restart after a panic waits so long, so that a panic that repeats itself is not a busy loop.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Wakes the writer: records wait.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::db) struct WriteWaiting;

/// From now on the instance is known to be alive, for as long as the actor is. Only the first one is obeyed.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::db) struct KeepAlive {
    pub(in crate::db) instance: String,
}

pub(in crate::db) struct DbActor {
    shared: Arc<Shared>,
    /// Closed when the last handle is dropped: what is under way would keep the actor alive without any.
    handles: watch::Receiver<()>,
    writing: bool,
    /// Whose heartbeat is to be written.
    instance: Option<String>,
    life: Life,
    /// It has panicked, and starts again for that.
    is_to_recover: bool,
    /// In the metrics.
    lives: Option<Counted>,
}

impl DbActor {
    pub(in crate::db) fn new(shared: Arc<Shared>, handles: watch::Receiver<()>, life: Life) -> Self {
        Self { shared, handles, writing: false, instance: None, life, is_to_recover: false, lives: None }
    }

    fn write(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.writing, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let done = |actor: &mut Self| actor.writing = false;
        let work = async move {
            fault_point!("db-write");
            writer::write_all(&shared).await;
        };
        run(work, done, ctx);
    }

    fn watch(&mut self, ctx: &mut Context<Self>) {
        let shared = Arc::clone(&self.shared);
        run(async move { watch(&shared).await }, |_| (), ctx);
    }

    fn try_refused_again(&self, ctx: &mut Context<Self>) {
        let shared = Arc::clone(&self.shared);
        run(async move { refused::try_again(&shared).await }, |_| (), ctx);
    }

    fn end_with_the_handles(&self, ctx: &mut Context<Self>) {
        let mut handles = self.handles.clone();
        let closed = fut::wrap_future::<_, Self>(async move { handles.changed().await });
        ctx.spawn(closed.map(|_, _, ctx| ctx.stop()));
    }

    fn beat(&self, ctx: &mut Context<Self>) {
        let Some(instance) = self.instance.clone() else { return };
        let shared = Arc::clone(&self.shared);
        run(async move { beat(&shared, &instance).await }, |_| (), ctx);
    }
}

impl Actor for DbActor {
    type Context = Context<Self>;

    /// Also after a restart: what was under way is taken up again from the queue.
    fn started(&mut self, ctx: &mut Self::Context) {
        self.writing = false;
        self.lives.get_or_insert_with(|| self.shared.counts.lives());
        self.end_with_the_handles(ctx);
        self.write(ctx);
        self.watch(ctx);
        self.beat(ctx);
        self.try_refused_again(ctx);
    }
}

impl Supervised for DbActor {
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        if std::mem::take(&mut self.is_to_recover) {
            self.shared.counts.restarts.inc();
            tracing::warn!("the database's actor starts again");
        }
    }
}

impl Handler<WriteWaiting> for DbActor {
    type Result = ();

    fn handle(&mut self, _: WriteWaiting, ctx: &mut Self::Context) {
        self.write(ctx);
    }
}

impl Handler<KeepAlive> for DbActor {
    type Result = ();

    fn handle(&mut self, KeepAlive { instance }: KeepAlive, ctx: &mut Self::Context) {
        if self.instance.is_none() {
            self.instance = Some(instance);
            self.beat(ctx);
        }
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
        Err(panic) => {
            actor.life.panicked(&message(&*panic));
            actor.shared.counts.panics.inc();
            actor.is_to_recover = true;
            ctx.run_later(RESTART_PAUSE, |_, ctx| ctx.stop());
        }
    }));
}

/// Keeps what is known of the database fresh, whether or not anybody asks it anything. One probe at a time.
async fn watch(shared: &Shared) {
    let mut backoff = BACKOFF;
    loop {
        let begun = Instant::now();
        if let Err(DbError::Unavailable(cause)) = probe(shared).await {
            shared.seen.away(&cause, begun);
        }
        if shared.seen.is_away() {
            sleep(backoff.pause(rand::random())).await;
        } else {
            backoff.reset();
            until_in_doubt(&shared.seen).await;
        }
    }
}

/// Returns when the database gave no sign of life for a while, or left a question without an answer.
async fn until_in_doubt(seen: &Seen) {
    let doubt = async {
        sleep(SHORTEST_PAUSE).await;
        seen.doubt.notified().await;
    };
    let silence = async {
        loop {
            let looked = Instant::now();
            sleep(PROBE_EVERY).await;
            fault_point!("db-watch");
            if !seen.has_answered_since(looked) || !seen.schema().is_settled() {
                return;
            }
        }
    };
    tokio::select! {
        () = doubt => {}
        () = silence => {}
    }
}

/// Tells the others, for ever, that this instance is alive.
async fn beat(shared: &Shared, instance: &str) {
    let mut ticks = tokio::time::interval(BEAT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        fault_point!("db-beat");
        // A database that is away is logged where it is noticed.
        let refusal =
            shared.heartbeat(instance).await.err().filter(|error| matches!(error, DbError::Refused(_)));
        if let Some(error) = refusal.as_ref().filter(|_| refusal != told) {
            tracing::warn!(%error, "the heartbeat is not written");
        }
        told = refusal;
    }
}

/// A sign of life; until the schema is known to fit, its state.
async fn probe(shared: &Shared) -> Result<(), DbError> {
    if shared.seen.schema().is_settled() {
        return shared.probe("probe", PROBE_DEADLINE, async |connection| Ok(connection.ping().await?)).await;
    }
    let state = shared
        .probe("schema", PROBE_DEADLINE, async |connection| Ok(migrate::compare(connection).await?))
        .await?;
    shared.seen.schema_is(state);
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::db::write::record::{Event, Record};
    use crate::db::{Db, DbSettings};
    use crate::metrics::{MetricSet as _, Metrics};
    use crate::secret::Secret;

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Panic;

    impl Handler<Panic> for DbActor {
        type Result = ();

        fn handle(&mut self, _: Panic, ctx: &mut Self::Context) {
            run(async { panic!("on purpose") }, |_| (), ctx);
        }
    }

    #[actix_rt::test]
    async fn a_panic_restarts_the_actor_a_few_times_and_the_queue_keeps_its_records() {
        let spool_dir = tempfile::tempdir().unwrap();
        let settings = DbSettings {
            url: Secret::new("postgres://nobody@127.0.0.1:1/none".to_owned()),
            pool_max: 1,
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(1),
            spool_dir: spool_dir.path().to_owned(),
            instance: "here".to_owned(),
        };
        let metrics = Metrics::build().unwrap();
        let db = Db::start_counted(settings, metrics.clone(), &Registry::new()).unwrap();
        let counts = metrics.of_actor("db");
        db.actor.send(Panic).await.unwrap();
        db.records().record(Record::Event(Event {
            call_sid: "CA00000000000000000000000000000001".parse().unwrap(),
            at: chrono::Utc::now(),
            kind: "kept".to_owned(),
            data: serde_json::Value::Null,
            dedupe_key: None,
        }));
        for _ in 1..4 {
            assert!(!db.lifeline().has_ended());
            db.actor.send(Panic).await.unwrap();
        }
        let worn_out = db.lifeline().ended();
        tokio::time::timeout(Duration::from_secs(10), worn_out).await.expect("the fourth is one too many");
        assert_eq!((counts.panics.get(), db.status().waiting_records()), (4, 1));
        db.actor.send(Panic).await.expect("it is started again all the same");
    }
}
