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

/// What the process that goes down cannot write, its next start writes. The calls are at another process by
/// then.
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
    // What the log tells may wait to be written.
    eventually("all ends are written", async || {
        back.query("SELECT count(*) FROM calls WHERE ended_at IS NULL").await == ["0"]
    })
    .await;
    let rows = back.query("SELECT DISTINCT epoch, instance, outcome FROM calls").await;
    assert_eq!(rows, ["2|other|completed"], "the process that starts takes no call from the one that has it");
    toll.must_be_nothing_lost(0);
    world.is_content();
    second.empties().await;
}

/// As after an outage of PostgreSQL: the process that has the call lives, and has not been heard of for 15 s.
#[actix_rt::test]
async fn a_process_that_starts_takes_no_call_from_a_living_one_whose_heartbeat_is_late() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let one = world.setup.clone().with("INSTANCE_ID", "one").start_on(&world.listener);
    let over = world.in_conversation(&[]).await;
    over.hangs_up().await;
    eventually("its end is written", async || {
        database.query("SELECT outcome FROM calls").await == ["completed"]
    })
    .await;
    let caller = world.in_conversation(&[]).await;
    let lost = "SET instance = 'other', ended_at = NULL, outcome = NULL, reason = NULL";
    database
        .query(&format!(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN NEW.heartbeat_at := now() - interval '16 s'; RETURN NEW; END $$;
            CREATE TRIGGER late BEFORE INSERT OR UPDATE ON instances
                FOR EACH ROW WHEN (NEW.instance_id = 'one') EXECUTE FUNCTION late();
            UPDATE instances SET heartbeat_at = now();
            UPDATE calls {lost} WHERE call_sid = '{}'",
            over.call_sid()
        ))
        .await;

    let other = world.setup.anew().with("INSTANCE_ID", "other").start();
    eventually("it sees to a call of its own", async || {
        other.get(&format!("/api/call-logs/{}", over.call_sid())).await["call"]["reason"] == "process-lost"
    })
    .await;
    database.query("DROP TRIGGER late ON instances").await;
    for question in &CALLER[..2] {
        asks(&caller, question).await;
    }
    caller.hangs_up().await;
    let log = one.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["outcome"], "completed", "{log}");
    let row = format!("SELECT epoch, instance FROM calls WHERE call_sid = '{}'", caller.call_sid());
    assert_eq!(database.query(&row).await, ["1|one"]);
    streams_are(&caller, 1).await;
    world.is_content();
    one.empties().await;
    other.empties().await;
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
