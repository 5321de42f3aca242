//! What outlives a process: who is alive, what was decided, what was left behind, what was said.

use std::time::{Duration, Instant};

use actors::call::end::Outcome;
use actors::call::flow::resume::Written;
use actors::call::history::Said;
use actors::db::record::{NextStep, Record, Speaker, Turn};
use actors::db::{Db, DbError, OpenCall};
use prometheus::Registry;

use super::{at, closed, opened, settings, sid, spool_is_free, start, turn, write};
use crate::support::app::Setup;
use crate::support::eventually;
use crate::support::outage::Outage;
use crate::support::postgres::{TestDatabase, client};

const INSTANCES: &str = "SELECT instance_id, heartbeat_at > now() - interval '4 s' FROM instances ORDER BY 1";

#[actix_rt::test]
async fn an_instance_is_known_from_its_first_heartbeat_until_it_leaves() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    db.operations().heartbeat("a").await.unwrap();
    db.operations().heartbeat("b").await.unwrap();
    assert_eq!(database.query(INSTANCES).await, ["a|t", "b|t"]);
    let started = "SELECT started_at = heartbeat_at FROM instances WHERE instance_id = 'a'";
    database.query("UPDATE instances SET heartbeat_at = heartbeat_at - interval '10 s'").await;
    db.operations().heartbeat("a").await.unwrap();
    assert_eq!(database.value(started).await, "f", "a short silence is no end");
    assert_eq!(database.query(INSTANCES).await, ["a|t", "b|f"]);
    database.query("UPDATE instances SET heartbeat_at = heartbeat_at - interval '16 s'").await;
    db.operations().heartbeat("a").await.unwrap();
    assert_eq!(database.value(started).await, "t", "a long one is");
    db.operations().leave("a").await.unwrap();
    assert_eq!(database.query(INSTANCES).await, ["b|f"]);
    db.operations().leave("a").await.unwrap();
}

#[actix_rt::test]
async fn the_heart_goes_on_beating() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    db.operations().beat("a");
    db.operations().beat("ignored");
    eventually("it beats", async || database.query(INSTANCES).await == ["a|t"]).await;
    database.query("UPDATE instances SET heartbeat_at = heartbeat_at - interval '1 h'").await;
    eventually("it beats again", async || database.query(INSTANCES).await == ["a|t"]).await;
}

/// On another machine, so with another spool; on this one the spool's lock keeps them apart.
#[actix_rt::test]
async fn a_name_that_a_live_process_has_is_not_given_to_another_one() {
    let database = TestDatabase::create().await;
    let (first, second) = (start(&database.url), start(&database.url));
    assert_eq!((first.operations().claim("a").await, first.operations().has_claimed()), (Ok(true), true));
    first.operations().beat("a");
    assert_eq!((second.operations().claim("a").await, second.operations().has_claimed()), (Ok(false), false));
    assert_eq!(second.operations().claim("b").await, Ok(true));

    // Not waited for by this thread: the first process' heart beats on it.
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.arg("serve").env_clear().envs(Setup::new(&database.url, "http://127.0.0.1:1").environment());
    let output = command.env("INSTANCE_ID", "a").kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("it is refused").unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("INSTANCE_ID=a") && said.contains("of its own"), "{said}");
    assert_eq!(database.query(INSTANCES).await.len(), 2, "whoever is refused takes nobody's row away");
}

#[actix_rt::test]
async fn a_process_that_is_started_again_after_a_crash_has_its_name_at_once() {
    let database = TestDatabase::create().await;
    let settings = settings(&database.url);
    let here = || Db::start(settings.clone(), &Registry::new()).unwrap();
    let db = here();
    assert_eq!(db.operations().claim("a").await, Ok(true));
    drop(db);
    spool_is_free(&settings.spool_dir.join("here")).await;
    let row = "SELECT started_at FROM instances";
    let before = database.value(row).await;
    assert_eq!(here().operations().claim("a").await, Ok(true));
    assert_eq!(database.value(row).await, before, "it did not wait for the row to grow old");
}

#[actix_rt::test]
async fn a_process_that_lost_its_spool_waits_until_its_predecessor_is_known_to_be_gone() {
    let database = TestDatabase::create().await;
    database
        .query("INSERT INTO instances (instance_id, heartbeat_at) VALUES ('a', now() - interval '13 s')")
        .await;
    let db = start(&database.url);
    assert_eq!(db.operations().claim("a").await, Ok(true));
    assert_eq!(database.value("SELECT started_at = heartbeat_at FROM instances").await, "t", "after a break");
}

#[actix_rt::test]
async fn only_calls_whose_process_is_gone_are_left_behind() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let instances = ["mine", "mine", "alive", "silent", "unheard-of"];
    let calls = (1..).zip(instances).map(|(call, instance)| {
        let Record::Opened(mut opened) = opened(call, 3) else { unreachable!() };
        opened.instance = instance.to_owned();
        Record::Opened(opened)
    });
    let ended = [closed(2, 3, Outcome::Completed), closed(6, 1, Outcome::Failed)];
    write(&db, calls.chain(ended)).await;
    db.records().decide(sid(7), 1, NextStep::Human).await.unwrap(); // its row names nobody yet
    for instance in ["mine", "alive", "silent"] {
        db.operations().heartbeat(instance).await.unwrap();
    }
    database
        .query("UPDATE instances SET heartbeat_at = now() - interval '16 s' WHERE instance_id = 'silent'")
        .await;
    let found = db.operations().left_behind("mine").await.unwrap();
    let names: Vec<&str> = found.iter().map(|call| call.instance.as_str()).collect();
    assert_eq!(names, ["unheard-of", "silent", "mine"]);
    assert_eq!(
        found[1],
        OpenCall {
            call_sid: sid(4),
            epoch: 3,
            from: Some("+15550100".to_owned()),
            to: Some("+15550199".to_owned()),
            started_at: at(4),
            instance: "silent".to_owned(),
        }
    );
    let index =
        "SELECT indexdef LIKE '%WHERE (ended_at IS NULL)' FROM pg_indexes WHERE indexname = 'calls_open'";
    assert_eq!(database.value(index).await, "t");
}

#[actix_rt::test]
async fn a_call_left_behind_is_taken_over_once() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    write(&db, (1..=3).map(|call| opened(call, 1))).await;
    let found = db.operations().left_behind("a").await.unwrap();
    let [third, second, first] = found.as_slice() else { panic!("{found:?}") };
    let operations = db.operations();
    let takers =
        futures_util::future::join_all(["a", "b", "c"].map(|taker| operations.take_over(first, taker))).await;
    assert_eq!(takers.iter().filter(|taken| **taken == Ok(true)).count(), 1, "{takers:?}");
    assert_eq!(takers.iter().filter(|taken| **taken == Ok(false)).count(), 2, "{takers:?}");
    write(&db, [closed(2, 1, Outcome::Completed), opened(3, 2)]).await;
    assert_eq!(db.operations().take_over(second, "a").await, Ok(false), "it has ended");
    assert_eq!(db.operations().take_over(third, "a").await, Ok(false), "it was taken up again");
    let instances = database.query("SELECT instance FROM calls ORDER BY call_sid").await;
    assert_eq!(&instances[1..], ["instance-1", "instance-2"]);
}

#[actix_rt::test]
async fn a_decision_holds_until_a_later_one_or_a_later_stream() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    assert_eq!(db.doors().decided(sid(1)).await, Ok(None));
    write(&db, [opened(1, 2)]).await;
    assert_eq!(db.doors().decided(sid(1)).await, Ok(None));
    for step in NextStep::ALL {
        db.records().decide(sid(1), 2, step).await.unwrap();
        assert_eq!(db.doors().decided(sid(1)).await, Ok(Some(step)));
        assert_eq!(database.value("SELECT next_step FROM calls").await, step.as_str());
    }
    db.records().decide(sid(1), 1, NextStep::Human).await.unwrap();
    write(&db, [opened(1, 2), closed(1, 2, Outcome::Completed)]).await;
    assert_eq!(db.doors().decided(sid(1)).await, Ok(Some(NextStep::HandedOver)));
    write(&db, [opened(1, 3)]).await;
    assert_eq!(db.doors().decided(sid(1)).await, Ok(None));

    db.records().decide(sid(2), 1, NextStep::Voicemail).await.unwrap();
    write(&db, [opened(2, 1)]).await;
    assert_eq!(
        db.doors().decided(sid(2)).await,
        Ok(Some(NextStep::Voicemail)),
        "decided before it was opened"
    );
}

#[actix_rt::test]
async fn a_decision_needs_no_database_and_outlives_the_process() {
    let outage = Outage::prepare().await.begin();
    let settings = settings(&outage.url);
    let here = || Db::start(settings.clone(), &Registry::new());
    let db = here().unwrap();
    assert!(matches!(db.doors().decided(sid(1)).await, Err(DbError::Unavailable(_))));
    db.records().decide(sid(1), 1, NextStep::Voicemail).await.unwrap();
    db.records().decide(sid(1), 2, NextStep::Human).await.unwrap();
    db.records().decide(sid(1), 1, NextStep::HangUp).await.unwrap();
    assert_eq!(db.doors().decided(sid(1)).await, Ok(Some(NextStep::Human)));
    drop(db);
    spool_is_free(&settings.spool_dir.join("here")).await;
    let db = here().unwrap();
    assert_eq!(db.doors().decided(sid(1)).await, Ok(Some(NextStep::Human)));
    db.records().record(opened(1, 3));
    eventually("the later stream is on disk", async || db.status().spool_pending() == 4).await;
    assert!(
        matches!(db.doors().decided(sid(1)).await, Err(DbError::Unavailable(_))),
        "void, and nothing else is known"
    );
    let _back = outage.end();
    eventually("all is written", async || db.status().waiting_records() == 0).await;
    assert_eq!(db.doors().decided(sid(1)).await, Ok(None));
}

#[actix_rt::test]
async fn a_decision_is_not_held_up_by_a_database_that_does_not_answer() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    write(&db, [opened(1, 1)]).await;
    let lock = client(&database.url).await;
    lock.batch_execute("BEGIN; LOCK TABLE calls").await.unwrap();
    let begun = Instant::now();
    db.records().decide(sid(1), 1, NextStep::Human).await.unwrap();
    assert_eq!(db.doors().decided(sid(1)).await, Ok(Some(NextStep::Human)));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    lock.batch_execute("COMMIT").await.unwrap();
    eventually("it is written", async || db.status().waiting_records() == 0).await;
    assert_eq!(database.value("SELECT next_step FROM calls").await, "human");
}

#[actix_rt::test]
async fn a_history_is_what_is_written_under_what_waits() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    assert_eq!(db.doors().history(sid(1)).await.unwrap().epoch, 0);
    write(&db, [opened(1, 1), turn(1, 1, 2, "Hi"), turn(1, 2, 1, "Hello"), turn(2, 9, 1, "other")]).await;
    let texts = |turns: &[Said]| turns.iter().map(|turn| turn.text.clone()).collect::<Vec<_>>();
    let history = db.doors().history(sid(1)).await.unwrap();
    assert_eq!((history.epoch, texts(&history.said)), (2, vec!["Hello".to_owned(), "Hi".to_owned()]));
    let agent = Said { ordinal: 1, speaker: Speaker::Agent, text: "Hello".to_owned() };
    assert_eq!(history.said[0], agent);

    let lock = client(&database.url).await;
    lock.batch_execute("BEGIN; LOCK TABLE turns IN SHARE MODE").await.unwrap(); // to be read, not written
    let late = [turn(1, 1, 1, "too old"), turn(1, 3, 2, "Hi there"), turn(2, 9, 2, "other")];
    late.into_iter().for_each(|record| db.records().record(record));
    let (expected, newest) = (["Hello", "Hi there"].map(str::to_owned), "now");
    assert_eq!(texts(&db.doors().history(sid(1)).await.unwrap().said), expected, "they wait in memory");
    eventually("they are on disk", async || db.status().spool_pending() == 3).await;
    db.records().record(turn(1, 3, 3, newest));
    eventually("so is the last", async || db.status().spool_pending() == 4).await;
    let history = db.doors().history(sid(1)).await.unwrap();
    assert_eq!(history.epoch, 3);
    assert_eq!(texts(&history.said), [&expected[..], &[newest.to_owned()]].concat());
    assert_eq!(history.said[1].speaker, Speaker::Caller);
    lock.batch_execute("COMMIT").await.unwrap();
    eventually("they are written", async || db.status().waiting_records() == 0).await;
    assert_eq!(db.doors().history(sid(1)).await.unwrap(), history);
}

#[actix_rt::test]
async fn a_call_that_began_while_the_database_was_away_is_wholly_known_without_it() {
    let outage = Outage::prepare().await;
    let settings = settings(&outage.url);
    let here = || Db::start(settings.clone(), &Registry::new());
    let db = here().unwrap();
    write(&db, [opened(2, 1), turn(2, 1, 1, "Hello")]).await;
    let outage = outage.begin();
    [opened(1, 1), turn(1, 1, 1, "Hello"), turn(1, 2, 2, "Hi"), turn(2, 1, 2, "Hi")]
        .into_iter()
        .for_each(|record| db.records().record(record));
    eventually("they are on disk", async || db.status().spool_pending() == 4).await;
    drop(db);
    spool_is_free(&settings.spool_dir.join("here")).await;

    let db = here().unwrap();
    let ordinals = |history: &Written| history.said.iter().map(|turn| turn.ordinal).collect::<Vec<_>>();
    let began_away = db.doors().history(sid(1)).await.unwrap();
    assert_eq!((began_away.epoch, ordinals(&began_away), began_away.is_whole), (2, vec![1, 2], true));
    let began_before = db.doors().history(sid(2)).await.unwrap();
    assert_eq!(
        (ordinals(&began_before), began_before.is_whole),
        (vec![2], false),
        "its first turn is written"
    );
    assert!(matches!(db.doors().history(sid(3)).await, Err(DbError::Unavailable(_))), "nothing is known");
    let _back = outage.end();
    eventually("all is written", async || db.status().waiting_records() == 0).await;
    let began_before = db.doors().history(sid(2)).await.unwrap();
    assert_eq!((ordinals(&began_before), began_before.is_whole), (vec![1, 2], true));
}

/// A flight was given up and flown again, and the first one arrives after a later version of the turn.
#[actix_rt::test]
async fn a_turn_that_arrives_late_replaces_no_later_version_of_it() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let version = |epoch, version, text: &str| {
        let Record::Turn(said) = turn(1, epoch, 1, text) else { unreachable!() };
        Record::Turn(Turn { version, ..said })
    };
    let written = async || database.value("SELECT text FROM turns").await;
    write(&db, [version(1, 1, "Hello, I am"), version(1, 7, "Hello")]).await;
    write(&db, [version(1, 1, "Hello, I am")]).await;
    assert_eq!(written().await, "Hello");
    write(&db, [version(1, 7, "Hello")]).await;
    assert_eq!(written().await, "Hello", "once more changes nothing");
    write(&db, [version(2, 1, "Hi")]).await;
    write(&db, [version(1, 9, "Hello")]).await;
    assert_eq!(written().await, "Hi", "a later epoch begins anew");
    assert_eq!(db.doors().history(sid(1)).await.unwrap().said[0].text, "Hi");
}

#[actix_rt::test]
async fn whoever_takes_a_call_that_was_handed_over_finds_all_that_was_said() {
    let (database, registry) = (TestDatabase::create().await, Registry::new());
    let [old, new] = [start(&database.url), Db::start(settings(&database.url), &registry).unwrap()];
    old.records().record(opened(1, 1));
    (1..=500).for_each(|ordinal| old.records().record(turn(1, 1, ordinal, "said")));
    eventually("it is handed over", async || {
        old.records().decide(sid(1), 1, NextStep::HandedOver).await.is_ok()
    })
    .await;
    assert_eq!(new.doors().decided(sid(1)).await, Ok(Some(NextStep::HandedOver)));
    assert_eq!(new.doors().history(sid(1)).await.unwrap().said.len(), 500);
}
