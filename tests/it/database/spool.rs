//! What the database does not take waits on disk, and is written once, in order, whoever starts next.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use actors::call::end::Outcome;
use actors::db::record::Record;
use actors::db::{Db, DbHealth, DbSettings, DbStartError, SpoolError};
use prometheus::Registry;

use super::{closed, event, metric, opened, settings, sid, spool_is_free, start, turn, write};
use crate::support::app::Setup;
use crate::support::eventually;
use crate::support::outage::Outage;
use crate::support::postgres::{TestDatabase, client, spool_dir};

/// A process of this name, with its spool below this folder.
fn start_in(url: &str, spool_dir: &Path, instance: &str) -> Result<Db, DbStartError> {
    let spool_dir = spool_dir.to_owned();
    let settings = DbSettings { spool_dir, instance: instance.to_owned(), ..settings(url) };
    Db::start(settings, &Registry::new())
}

/// The same, once the one before is gone.
async fn restart_in(url: &str, spool_dir: &Path, instance: &str) -> Db {
    spool_is_free(&spool_dir.join(instance)).await;
    start_in(url, spool_dir, instance).unwrap()
}

fn keyless(call: u32, number: usize) -> Record {
    Record::Event(event(call, &format!("{number:04}"), None))
}

#[actix_rt::test]
async fn a_thousand_records_of_an_outage_outlive_two_restarts_and_are_written_once_in_order() {
    let (outage, spools) = (Outage::prepare().await, spool_dir());
    let outage = outage.begin();
    let calls = 1..=5;
    let first = || calls.clone().map(|call| opened(call, 1));
    let drafts = (1..=49).flat_map(|ordinal| calls.clone().map(move |call| turn(call, 1, ordinal, "draft")));
    let finals = (1..=49).flat_map(|ordinal| calls.clone().map(move |call| turn(call, 1, ordinal, "final")));
    let events = (0..100).flat_map(|number| calls.clone().map(move |call| keyless(call, number)));
    let last = calls.clone().map(|call| closed(call, 1, Outcome::Completed));
    let records: Vec<Record> = first().chain(drafts).chain(finals).chain(events).chain(last).collect();
    assert_eq!(records.len(), 1_000);

    for third in records.chunks(334) {
        let db = restart_in(&outage.url, &spools, "here").await;
        let before = db.status().spool_pending();
        third.iter().for_each(|record| db.records().record(record.clone()));
        eventually("they are on disk", async || db.status().spool_pending() == before + third.len()).await;
    }
    let db = restart_in(&outage.url, &spools, "here").await;
    assert_eq!(db.status().spool_pending(), 1_000);
    let back = outage.end();
    eventually("all records are written", async || db.status().waiting_records() == 0).await;

    let rows = back.query("SELECT turns, outcome FROM calls").await;
    assert_eq!(rows, ["49|completed"; 5]);
    assert_eq!(back.query("SELECT text, count(*) FROM turns GROUP BY text").await, ["final|245"]);
    let kinds =
        back.query("SELECT string_agg(kind, ',' ORDER BY id) FROM call_events GROUP BY call_sid").await;
    let in_order: Vec<String> = (0..100).map(|number| format!("{number:04}")).collect();
    assert_eq!(kinds, vec![in_order.join(","); 5]);
    assert_eq!(db.status().health(), DbHealth::Healthy);
}

#[actix_rt::test]
async fn a_healthy_database_leaves_the_spool_alone() {
    let (database, spools) = (TestDatabase::create().await, spool_dir());
    let db = start_in(&database.url, &spools, "here").unwrap();
    let file = spools.join("here/records.redb");
    let untouched = std::fs::metadata(&file).unwrap().modified().unwrap();
    write(&db, (1..=500).map(|ordinal| turn(1, 1, ordinal, "said"))).await;
    db.doors().store_event(event(1, "ringing", None)).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), untouched);
    assert_eq!(database.value("SELECT count(*) FROM turns").await, "500");
}

#[actix_rt::test]
async fn a_database_that_does_not_answer_within_a_second_gets_it_from_the_spool() {
    let database = TestDatabase::create().await;
    let registry = Registry::new();
    let db = Db::start(settings(&database.url), &registry).unwrap();
    let lock = client(&database.url).await;
    lock.batch_execute("BEGIN; LOCK TABLE calls").await.unwrap();
    let begun = Instant::now();
    db.records().record(opened(1, 1));
    eventually("the first is on disk", async || db.status().spool_pending() == 1).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was waited for");
    // The replay is under way and blocked: what comes now goes to disk all the same, behind the first.
    db.records().record(closed(1, 1, Outcome::Completed));
    eventually("so is the second", async || db.status().spool_pending() == 2).await;
    assert_eq!(metric(&registry, "switchboard_spool_pending_records"), 2.0);
    assert!(metric(&registry, "switchboard_spool_oldest_seconds") < 60.0);
    lock.batch_execute("COMMIT").await.unwrap();
    eventually("both are written", async || db.status().waiting_records() == 0).await;
    assert_eq!(database.query("SELECT from_number, outcome FROM calls").await, ["+15550100|completed"]);
    assert_eq!(metric(&registry, "switchboard_spool_pending_records"), 0.0);
    assert_eq!(metric(&registry, "switchboard_spool_failures_total"), 0.0);
}

#[actix_rt::test]
async fn a_poisoned_record_in_the_spool_holds_nobody_up_and_is_tried_again() {
    let (outage, spools) = (Outage::prepare().await, spool_dir());
    // One that the database refuses for a reason of its own, which may pass.
    let trap = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.text = 'trapped' THEN RAISE EXCEPTION 'no room'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON turns FOR EACH ROW EXECUTE FUNCTION refuse()";
    outage.database.query(trap).await;
    let outage = outage.begin();
    let db = start_in(&outage.url, &spools, "here").unwrap();
    let records = [
        opened(1, 1),
        turn(1, 1, 0, "no such ordinal"),
        turn(1, 1, 2, "trapped"),
        turn(1, 1, 1, "said"),
        opened(2, 1),
    ];
    records.into_iter().for_each(|record| db.records().record(record));
    eventually("they are on disk", async || db.status().spool_pending() == 5).await;
    let back = outage.end();
    eventually("all others are written", async || db.status().waiting_records() == 0).await;
    assert_eq!(back.query("SELECT text FROM turns").await, ["said"]);
    assert_eq!(back.query("SELECT count(*) FROM calls").await, ["2"]);
    assert_eq!(db.status().spool_stats().aside, 2);
    assert_eq!((db.operations().retry_refused().await, db.status().spool_stats().aside), (0, 2));

    back.query("DROP TRIGGER refuse ON turns").await;
    assert_eq!(db.operations().retry_refused().await, 1, "by the same process");
    assert_eq!(db.status().spool_stats().aside, 1, "the one that no database would take");
    assert_eq!(back.query("SELECT text FROM turns ORDER BY ordinal").await, ["said", "trapped"]);
    drop(db);

    back.query("ALTER TABLE turns DROP CONSTRAINT turns_ordinal_check").await;
    let db = restart_in(&back.database.url, &spools, "here").await;
    eventually("it was tried again", async || db.status().waiting_records() == 0).await;
    assert_eq!(db.status().spool_stats().aside, 0);
    assert_eq!(back.query("SELECT count(*) FROM turns").await, ["3"]);
}

#[actix_rt::test]
async fn a_call_is_shown_with_what_waits_in_the_spool() {
    let outage = Outage::prepare().await;
    // What stands first in the spool cannot be written, for a reason that is not its own: so the rest waits.
    outage.database.query("ALTER TABLE webhooks RENAME TO elsewhere").await;
    let outage = outage.begin();
    let db = start(&outage.url);
    let route = actors::db::webhooks::Route::CallStatus;
    db.doors().store_webhook(crate::webhooks::told(route, 1, &[("CallStatus", "completed")])).await.unwrap();
    let call =
        [opened(2, 1), turn(2, 1, 1, "draft"), turn(2, 1, 1, "final"), closed(2, 1, Outcome::Completed)];
    call.into_iter().for_each(|record| db.records().record(record));
    db.doors().store_event(event(2, "ringing", None)).await.unwrap();
    eventually("all is on disk", async || db.status().spool_pending() == 6).await;
    let back = outage.end();
    eventually("the database is back", async || db.status().health() == DbHealth::Healthy).await;
    assert!(db.log().call_log(sid(3)).await.unwrap().is_none());
    let ahead = db.log().call_log(sid(2)).await.unwrap().expect("the call is known");
    assert_eq!(ahead.turns.iter().map(|turn| &*turn.text).collect::<Vec<_>>(), ["final"]);
    assert_eq!((ahead.events.len(), ahead.call.summary.outcome.as_deref()), (1, Some("completed")));
    assert_eq!(back.query("SELECT count(*) FROM calls").await, ["0"], "reading wrote nothing");
    back.query("ALTER TABLE elsewhere RENAME TO webhooks").await;
    eventually("it is written", async || db.status().waiting_records() == 0).await;
    assert_eq!(db.log().call_log(sid(2)).await.unwrap(), Some(ahead));
}

#[actix_rt::test]
async fn what_a_dead_process_spooled_is_written_by_the_next_one_to_start() {
    let (outage, spools) = (Outage::prepare().await, spool_dir());
    let outage = outage.begin();
    let alive = start_in(&outage.url, &spools, "alive").unwrap();
    let doomed = ["doomed-1", "doomed-2"].map(|instance| start_in(&outage.url, &spools, instance).unwrap());
    for (call, db) in (1..).zip(&doomed) {
        db.records().record(opened(call, 1));
        (1..=300).for_each(|ordinal| db.records().record(turn(call, 1, ordinal, "said")));
        eventually("they are on disk", async || db.status().spool_pending() == 301).await;
    }
    drop(doomed);
    for instance in ["doomed-1", "doomed-2"] {
        spool_is_free(&spools.join(instance)).await;
    }
    let db = start_in(&outage.url, &spools, "here").unwrap();
    eventually("they are taken over", async || db.status().spool_pending() == 602).await;
    assert!(!spools.join("doomed-1").exists() && !spools.join("doomed-2").exists());
    assert!(spools.join("alive/records.redb").exists(), "a living process keeps its own");
    let back = outage.end();
    eventually("they are written", async || db.status().waiting_records() == 0).await;
    assert_eq!(back.query("SELECT turns FROM calls").await, ["300", "300"]);
    assert_eq!(back.query("SELECT count(*) FROM turns").await, ["600"]);
    assert_eq!(alive.status().spool_pending(), 0);
}

#[actix_rt::test]
async fn an_event_is_durable_when_stored_also_while_the_database_is_away() {
    let (outage, spools) = (Outage::prepare().await, spool_dir());
    let outage = outage.begin();
    let db = start_in(&outage.url, &spools, "here").unwrap();
    for _ in 0..2 {
        db.doors().store_event(event(1, "voicemail", Some("RE1"))).await.unwrap();
    }
    assert_eq!(db.status().spool_pending(), 2);
    drop(db);
    let db = restart_in(&outage.url, &spools, "here").await;
    let back = outage.end();
    eventually("it is written", async || db.status().waiting_records() == 0).await;
    let stored = "SELECT kind, data->>'CallStatus', count(*) FROM call_events GROUP BY 1, 2";
    assert_eq!(back.query(stored).await, ["voicemail|voicemail|1"]);
}

#[actix_rt::test]
async fn a_start_beside_a_living_process_of_the_same_name_is_refused() {
    let (database, spools) = (TestDatabase::create().await, spool_dir());
    let _db = start_in(&database.url, &spools, "here").unwrap();
    let refused = start_in(&database.url, &spools, "here").err().unwrap();
    assert!(matches!(refused, DbStartError::Spool(SpoolError::Locked(_))), "{refused}");

    let spools = spools.to_str().unwrap();
    let refused = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.arg("serve").env_clear().envs(Setup::new(&database.url, "http://127.0.0.1:1").environment());
        let output = command.env("INSTANCE_ID", "here").env("SPOOL_DIR", spools).env(name, value).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(64));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused("INSTANCE_ID", "here");
    assert!(said.contains("INSTANCE_ID") && said.contains("/here"), "{said}");
    let said = refused("SPOOL_DIR", "/proc/nowhere");
    assert!(said.contains("SPOOL_DIR") && said.contains("/proc/nowhere"), "{said}");
    assert_eq!(start(&database.url).status().spool_pending(), 0, "elsewhere there is room");
}
