//! A rollback over a full spool: this version starts where a later one has left records that this one cannot
//! read.

use std::path::Path;

use actors::call::end::Outcome;
use actors::db::record::Record;
use actors::db::{Db, DbSettings, append_to_spool, aside_in_spool};
use futures_util::future::join_all;
use prometheus::Registry;
use serde_json::Value;
use switchboard::sim::speech::CALLER;

use crate::database::{closed, opened, settings, spool_is_free, turn};
use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::outage::Outage;
use crate::support::toll::Toll;
use crate::support::world::{World, asks, is_answered, is_caught_up, is_spooled, streams_are};

/// In each of two spools. More than the records that may be refused by the database.
const UNKNOWN: usize = 1_100;
const CALLS: u32 = 60;
const TURNS: u32 = 20;

/// As a later version may write them: kinds that are new, in the format of today and in another one.
fn unknown(spool: &str) -> Vec<Vec<u8>> {
    let value = |number: usize| {
        let format = 1 + (number % 2) as u8;
        let record =
            format!(r#"{{"summary":{{"spool":"{spool}","number":{number},"text":"{}"}}}}"#, "x".repeat(999));
        let json = format!(r#"{{"at":"2027-01-15T08:00:00Z","record":{record}}}"#);
        [&[format], json.as_bytes()].concat()
    };
    (0..UNKNOWN).map(value).collect()
}

/// What a later version knows as well: whole calls, and one record that no database would take.
fn known() -> Vec<Record> {
    let calls = (1..=CALLS).flat_map(|call| {
        let turns = (1..=TURNS).map(move |ordinal| turn(call, 1, ordinal, "said"));
        [opened(call, 1)].into_iter().chain(turns).chain([closed(call, 1, Outcome::Completed)])
    });
    calls.chain([turn(1, 1, 0, "no such ordinal")]).collect()
}

/// Spools these records as a process called `later`, which is gone afterwards.
async fn spools(url: &str, root: &Path, records: &[Record]) {
    let settings = DbSettings { spool_dir: root.to_owned(), instance: "later".to_owned(), ..settings(url) };
    let db = Db::start(settings, &Registry::new()).unwrap();
    let expected = db.status().spool_pending() + records.len();
    records.iter().for_each(|record| db.records().record(record.clone()));
    eventually("they are on disk", async || db.status().spool_pending() == expected).await;
    drop(db);
    spool_is_free(&root.join("later")).await;
}

/// What is set aside, once so many records are.
async fn sets_aside(app: &TestApp, records: usize) -> Value {
    let mut health = Value::Null;
    eventually("they are set aside", async || {
        health = app.get("/healthz").await;
        health["spool"]["aside"] == records
    })
    .await;
    health
}

#[actix_rt::test]
async fn a_rollback_over_a_full_spool_writes_what_it_knows_and_keeps_the_rest() {
    let outage = Outage::prepare().await;
    let mut world = World::around(&outage.url).await;
    world.setup = world.setup.with("INSTANCE_ID", "here");
    let (root, outage) = (world.setup.spool_dir(), outage.begin());
    let own = root.join("here/records.redb");

    // The later version, with calls on the line, and another process of it on the same host.
    let app = world.start();
    let question = [&CALLER[0]];
    let callers = join_all((0..3).map(|_| world.in_conversation(&question))).await;
    // Of each the call, a turn of theirs, and two of the agent as made and as heard.
    is_spooled(&app, 18).await;
    app.kill();
    append_to_spool(&own, &unknown("own")).unwrap();
    let (known, elsewhere) = (known(), root.with_extension("elsewhere"));
    let (before, after) = known.split_at(known.len() / 2);
    spools(&outage.url, &elsewhere, before).await;
    append_to_spool(&elsewhere.join("later/records.redb"), &unknown("other")).unwrap();
    spools(&outage.url, &elsewhere, after).await;
    std::fs::rename(elsewhere.join("later"), root.join("later")).unwrap(); // it would have taken ours over

    let app = world.start();
    join_all(callers.iter().map(async |caller| {
        streams_are(caller, 2).await;
        is_answered(caller).await;
        asks(caller, &CALLER[1]).await;
    }))
    .await;
    let back = outage.end();
    is_caught_up(&app).await;
    join_all(callers.iter().map(|caller| caller.hangs_up())).await;
    let mut toll = Toll::of("rollback over a full spool, process killed, PostgreSQL away");
    for caller in &callers {
        toll.count(caller, &[&CALLER[0], &CALLER[1]], &app.logged(caller.call_sid()).await);
    }

    let health = sets_aside(&app, 2 * UNKNOWN + 1).await;
    assert!(health["warnings"].as_array().unwrap().contains(&"records-set-aside".into()), "{health}");
    assert_eq!(app.metric("switchboard_db_unwritten_records_total").await, 0.0);
    let turns = "SELECT count(*) FROM turns WHERE text = 'said'";
    let ended = "SELECT count(*) FROM calls WHERE outcome = 'completed' AND instance = 'instance-1'";
    let counted = [back.query(turns).await.remove(0), back.query(ended).await.remove(0)];
    let counted = counted.map(|count| count.parse::<u32>().unwrap());
    let lost_known = (CALLS * TURNS + CALLS).saturating_sub(counted.iter().sum());

    // Nor do they go with a second start of this version.
    app.empties().await;
    app.terminate();
    app.ends().await;
    let kept = aside_in_spool(&own).unwrap();
    let app = world.start();
    is_caught_up(&app).await;
    sets_aside(&app, 2 * UNKNOWN + 1).await;
    app.terminate();
    app.ends().await;
    let kept_still = aside_in_spool(&own).unwrap();
    let missing = |kept: &[Vec<u8>]| {
        let later = [unknown("own"), unknown("other")].concat();
        later.iter().filter(|value| !kept.contains(value)).count()
    };
    assert_eq!((kept.len(), kept_still.len()), (2 * UNKNOWN + 1, 2 * UNKNOWN + 1));
    toll.must_be_nothing_lost(lost_known as usize + missing(&kept) + missing(&kept_still));
    world.is_content();
}
