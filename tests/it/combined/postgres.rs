//! The way to PostgreSQL breaks while something else does.

use futures_util::future::join_all;
use switchboard::sim::phone::Caller;
use switchboard::sim::speech::CALLER;

use crate::support::eventually;
use crate::support::outage::Outage;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::TestDatabase;
use crate::support::proxy::Proxy;
use crate::support::toll::Toll;
use crate::support::world::{
    World, asks, greetings, is_answered, is_caught_up, is_spooled, streams_are, turns_are_written,
};

const CALLS: usize = 3;

async fn all_ask(callers: &[Caller], question: usize) {
    join_all(callers.iter().map(|caller| asks(caller, &CALLER[question]))).await;
}

/// What the process that goes down cannot write, its next start writes. The calls are at another process by then.
#[actix_rt::test]
async fn what_a_drain_could_not_write_while_postgres_was_away_is_written_by_the_next_start() {
    let (outage, proxy) = (Outage::prepare().await, Proxy::start().await);
    let world = World::behind(&proxy.origin, &outage.url).await;
    let (one, other) = (world.setup.anew(), world.setup.anew());
    let (one, other) = (one.with("INSTANCE_ID", "one"), other.with("INSTANCE_ID", "other"));
    let (first, second) = (one.clone().start(), other.start());
    proxy.leads_to(&first.origin);
    let question = [&CALLER[0]];
    let callers = join_all((0..CALLS).map(|_| world.in_conversation(&question))).await;
    join_all(callers.iter().map(|caller| turns_are_written(&first, caller, 3))).await;

    first.terminate();
    first.drains().await;
    let outage = outage.begin();
    all_ask(&callers, 1).await;
    is_spooled(&first, 3 * CALLS as u64).await;
    proxy.leads_to(&second.origin);
    first.terminate();
    join_all(callers.iter().map(async |caller| {
        streams_are(caller, 2).await;
        is_answered(caller).await;
        asks(caller, &CALLER[2]).await;
    }))
    .await;
    first.ends().await; // with what it could not write

    let back = outage.end();
    let first = one.start();
    is_caught_up(&first).await;
    is_caught_up(&second).await;
    join_all(callers.iter().map(|caller| caller.hangs_up())).await;
    let mut toll = Toll::of("drain, PostgreSQL away, and both started again");
    for caller in &callers {
        assert_eq!(greetings(caller), 1, "nobody is greeted twice");
        let log = second.logged(caller.call_sid()).await;
        assert_eq!(log["call"]["outcome"], "completed", "{log}");
        toll.count(caller, &[&CALLER[0], &CALLER[1], &CALLER[2]], &log);
    }
    let open = back.query("SELECT count(*) FROM calls WHERE outcome IS NULL").await;
    assert_eq!(open, ["0"]);
    toll.must_be_nothing_lost(0);
    world.is_content();
    second.empties().await;
}

/// Three panics of the registry are as many as it may have within a minute.
#[actix_rt::test]
async fn pgbouncer_is_restarted_while_the_registry_panics() {
    let database = TestDatabase::create().await;
    let mut pgbouncer = PgBouncer::before(&database);
    let world = World::around(&pgbouncer.url).await;
    let app = world.start();
    let question = [&CALLER[0]];
    let callers = join_all((0..CALLS).map(|_| world.in_conversation(&question))).await;

    pgbouncer.restart();
    app.registry_panics().await;
    all_ask(&callers, 1).await;
    pgbouncer.stop();
    app.panics_at("registry-EndStream", async { callers[0].drops_socket() }).await;
    streams_are(&callers[0], 2).await;
    all_ask(&callers, 2).await;
    is_spooled(&app, 1).await;
    pgbouncer.start_again();
    is_caught_up(&app).await;
    pgbouncer.restart();
    app.panics_at("registry-CallEnded", callers[0].hangs_up()).await;
    join_all(callers[1..].iter().map(|caller| caller.hangs_up())).await;

    let mut toll = Toll::of("PgBouncer restarted, and panics of the registry");
    for caller in &callers {
        let log = app.logged(caller.call_sid()).await;
        assert_eq!(log["call"]["outcome"], "completed", "{log}");
        toll.count(caller, &[&CALLER[0], &CALLER[1], &CALLER[2]], &log);
    }
    toll.must_be_nothing_lost(0);
    world.is_content();
    eventually("the database is well", async || app.get("/healthz").await["database"] == "healthy").await;
    app.empties().await;
}
