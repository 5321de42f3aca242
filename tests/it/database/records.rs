//! What is recorded is what is written.

use actors::call::end::Outcome;
use actors::db::record::{Aftermath, Record};
use actors::db::{Db, DbError};
use prometheus::Registry;

use super::{closed, decided, event, metric, opened, settings, start, turn, write};
use crate::support::eventually;
use crate::support::postgres::TestDatabase;

#[actix_rt::test]
async fn records_are_written_in_order_and_twice_is_once() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let records = [
        opened(1, 1),
        turn(1, 1, 1, "Hello, how can I"),
        turn(1, 1, 1, "Hello"),
        turn(1, 1, 2, ""),
        turn(1, 1, 2, "Hi"),
        Record::Event(event(1, "stream-started", Some("k"))),
        closed(1, 1, Outcome::Completed),
    ];
    write(&db, records.clone()).await;
    let (calls, turns) =
        (database.query("SELECT * FROM calls").await, database.query("SELECT * FROM turns").await);
    write(&db, records).await;
    assert_eq!(database.query("SELECT * FROM calls").await, calls);
    assert_eq!(database.query("SELECT * FROM turns ORDER BY ordinal").await, turns);
    assert_eq!(database.query("SELECT ordinal, text FROM turns ORDER BY ordinal").await, ["1|Hello", "2|Hi"]);
    assert_eq!(database.value("SELECT count(*) FROM call_events").await, "1");
    assert_eq!(
        database.query("SELECT outcome, reason, turns FROM calls").await,
        ["completed|caller-hung-up|2"]
    );
}

#[actix_rt::test]
async fn an_older_epoch_changes_nothing_and_a_newer_one_takes_the_call_up_again() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let row = "SELECT epoch, instance, outcome FROM calls";
    write(&db, [opened(1, 1), closed(1, 1, Outcome::Failed), opened(1, 1)]).await;
    assert_eq!(database.query(row).await, ["1|instance-1|failed"], "the same epoch does not open it again");
    write(&db, [opened(1, 2), turn(1, 2, 1, "new")]).await;
    assert_eq!(database.query(row).await, ["2|instance-2|∅"]);
    write(&db, [closed(1, 1, Outcome::Failed), opened(1, 1), turn(1, 1, 1, "old"), turn(1, 1, 2, "late")])
        .await;
    assert_eq!(database.query(row).await, ["2|instance-2|∅"]);
    assert_eq!(database.query("SELECT text FROM turns ORDER BY ordinal").await, ["new", "late"]);
    write(&db, [closed(1, 2, Outcome::Completed)]).await;
    assert_eq!(database.query(row).await, ["2|instance-2|completed"]);
}

#[actix_rt::test]
async fn the_end_of_a_call_that_was_never_opened_is_kept() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    write(&db, [turn(1, 1, 1, "Hello"), closed(1, 1, Outcome::Completed)]).await;
    assert_eq!(database.query("SELECT from_number, outcome, turns FROM calls").await, ["∅|completed|1"]);
    write(&db, [opened(1, 1)]).await;
    assert_eq!(
        database.query("SELECT from_number, outcome, turns FROM calls").await,
        ["+15550100|completed|1"]
    );
}

/// All orders of these.
fn orders_of<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else { return vec![vec![]] };
    let with_first = |order: Vec<T>| {
        (0..=rest.len()).map(move |at| [&order[..at], std::slice::from_ref(first), &order[at..]].concat())
    };
    orders_of(rest).into_iter().flat_map(with_first).collect()
}

/// The queue, the spool and a decision that waits for nobody, each of two processes: records meet in the
/// table in any order, and it is as if they had come in that of their epochs.
#[actix_rt::test]
async fn the_records_of_two_epochs_make_the_same_row_in_whatever_order_they_arrive() {
    type Make = fn(u32) -> Record;
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let first: [Make; 3] =
        [|call| opened(call, 1), |call| decided(call, 1), |call| closed(call, 1, Outcome::Failed)];
    let (opens, decides): (Make, Make) = (|call| opened(call, 2), |call| decided(call, 2));
    let ends: Make = |call| closed(call, 2, Outcome::Completed);
    for (of_second, row) in [
        (&[opens][..], "2|instance-2|∅|∅|∅|t"),
        (&[opens, decides], "2|instance-2|∅|∅|hang-up|t"),
        (&[opens, ends], "2|instance-2|completed|caller-hung-up|∅|f"),
        (&[opens, decides, ends], "2|instance-2|completed|caller-hung-up|hang-up|f"),
    ] {
        database.query("TRUNCATE calls").await;
        let orders = orders_of(&[&first, of_second].concat());
        let mut calls = (1..).zip(&orders).peekable();
        while calls.peek().is_some() {
            // Some hundred records at a time: a slow machine is to write them within the wait.
            for (call, order) in calls.by_ref().take(100) {
                order.iter().for_each(|make| db.records().record(make(call)));
            }
            eventually("they are written", async || db.status().waiting_records() == 0).await;
        }
        let columns = "epoch, instance, outcome, reason, next_step, ended_at IS NULL";
        let rows = database.query(&format!("SELECT DISTINCT {columns} FROM calls")).await;
        assert_eq!(rows, [row]);
        assert_eq!(database.value("SELECT count(*) FROM calls").await, orders.len().to_string());
    }
}

fn aftermath(kind: &str, outcome: Outcome) -> Record {
    Record::Aftermath(Aftermath { event: event(1, kind, Some(kind)), outcome, from: None })
}

#[actix_rt::test]
async fn what_came_after_the_agent_stands_in_whatever_order_it_is_written() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let transferred = aftermath("transfer", Outcome::Transferred);
    let voicemail = aftermath("voicemail", Outcome::Voicemail);
    let agent = [opened(1, 1), closed(1, 1, Outcome::Failed), opened(1, 2), closed(1, 2, Outcome::Failed)];
    for (after, outcome) in [
        (vec![transferred.clone()], "transferred"),
        (vec![voicemail.clone()], "voicemail"),
        (vec![transferred.clone(), voicemail.clone()], "voicemail"),
        (vec![voicemail, transferred], "voicemail"),
    ] {
        for before in 0..=agent.len() {
            database.query("TRUNCATE calls, call_events").await;
            let (first, then) = agent.split_at(before);
            for _ in 0..2 {
                write(&db, [first, &after, then].concat()).await;
            }
            let row = "SELECT outcome, reason, ended_at IS NOT NULL, from_number FROM calls";
            let expected = format!("{outcome}|caller-hung-up|t|+15550100");
            assert_eq!(database.query(row).await, [expected], "after {before}");
            assert_eq!(database.value("SELECT count(*) FROM call_events").await, after.len().to_string());
        }
        database.query("TRUNCATE calls, call_events").await;
        write(&db, after).await;
        assert_eq!(
            database.query("SELECT outcome, ended_at IS NOT NULL FROM calls").await,
            [format!("{outcome}|t")]
        );
    }
}

#[actix_rt::test]
async fn a_record_the_database_refuses_is_set_aside_alone_and_counted() {
    let database = TestDatabase::create().await;
    let registry = Registry::new();
    let db = Db::start(settings(&database.url), &registry).unwrap();
    write(
        &db,
        [opened(1, 1), turn(1, 1, 0, "no such ordinal"), turn(1, 1, 1, "nul \0 is text"), opened(2, 1)],
    )
    .await;
    assert_eq!(database.query("SELECT text FROM turns").await, ["nul \u{FFFD} is text"]);
    assert_eq!(database.value("SELECT count(*) FROM calls").await, "2");
    assert_eq!(db.status().spool_stats().aside, 1);
    assert_eq!(metric(&registry, "switchboard_spool_aside_records"), 1.0);
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), 0.0);
}

#[actix_rt::test]
async fn a_queue_that_a_call_fills_takes_those_of_other_calls_and_counts_what_it_cannot_take() {
    let registry = Registry::new();
    let db = Db::start(settings("postgres://nobody@127.0.0.1:1/none"), &registry).unwrap();
    let long = "x".repeat(1 << 20);
    (0..64).for_each(|_| db.records().record(turn(1, 1, 1, &long)));
    let refused = metric(&registry, "switchboard_db_unwritten_records_total");
    assert!((31.0..=33.0).contains(&refused), "{refused}");
    (0..10_000).for_each(|_| db.records().record(opened(2, 1)));
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), refused);
    assert_eq!(metric(&registry, "switchboard_db_queue_depth"), 10_064.0 - refused);
}

#[actix_rt::test]
async fn a_call_that_says_too_much_at_once_loses_nothing_and_other_calls_end_meanwhile() {
    let database = TestDatabase::create().await;
    let registry = Registry::new();
    let db = Db::start(settings(&database.url), &registry).unwrap();
    db.records().record(opened(1, 1));
    (1..=12_000).for_each(|ordinal| {
        db.records().record(turn(1, 1, ordinal, "a question, or what was taken for one"))
    });
    [closed(1, 1, Outcome::Completed), opened(2, 1), closed(2, 1, Outcome::Completed)]
        .into_iter()
        .for_each(|record| db.records().record(record));
    let mut spooled = 0;
    eventually("it goes through the spool", async || {
        spooled = spooled.max(db.status().spool_pending());
        spooled > 5_000
    })
    .await;
    // A slow machine has its time for each quarter.
    for left in [9_000, 6_000, 3_000, 0] {
        eventually("a quarter is written", async || db.status().waiting_records() <= left).await;
    }
    // Late corrections of a call that is over: each would make its document anew.
    (1..=500).for_each(|ordinal| db.records().record(turn(1, 1, ordinal, "what was said instead")));
    eventually("all is written again", async || db.status().waiting_records() == 0).await;
    assert_eq!(database.value("SELECT count(*) FROM turns").await, "12000");
    let ended = "SELECT count(*) FROM calls WHERE outcome = 'completed'";
    assert_eq!(database.value(ended).await, "2");
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), 0.0);
}

#[actix_rt::test]
async fn an_event_is_durable_when_stored_and_stored_once() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    for _ in 0..2 {
        db.doors().store_event(event(9, "ringing", Some("ringing-1"))).await.unwrap();
        db.doors().store_event(event(8, "ringing", Some("ringing-1"))).await.unwrap();
        db.doors().store_event(event(9, "unkeyed", None)).await.unwrap();
    }
    let stored =
        "SELECT kind, count(*), count(DISTINCT call_sid) FROM call_events GROUP BY kind ORDER BY kind";
    assert_eq!(database.query(stored).await, ["ringing|2|2", "unkeyed|2|1"]);
    let refused = db.doors().store_event(event(9, "", None)).await.unwrap_err();
    assert!(matches!(refused, DbError::Refused(_)), "{refused}");
}
