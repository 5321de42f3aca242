//! The database goes away, and comes back.

use std::time::{Duration, Instant};

use actors::call::end::Outcome;
use actors::db::{Db, DbError, DbHealth, SchemaState};
use prometheus::Registry;

use super::{closed, metric, opened, settings, start, turn, write};
use crate::support::outage::Outage;
use crate::support::{DEADLINE, eventually};

#[actix_rt::test]
async fn records_wait_while_the_database_is_stopped_and_none_is_lost() {
    let outage = Outage::prepare().await;
    let db = start(&outage.url);
    write(&db, [opened(1, 1)]).await;
    let outage = outage.begin();
    for ordinal in 1..=500 {
        db.records().record(turn(1, 1, ordinal, "said meanwhile"));
    }
    db.records().record(closed(1, 1, Outcome::Completed));
    eventually("the outage is noticed", async || db.status().health() != DbHealth::Healthy).await;
    eventually("all of them are in the spool", async || db.status().spool_pending() == 501).await;
    eventually("none of them waits in memory, too", async || db.status().waiting_records() == 501).await;

    let database = outage.end();
    eventually("all records are written", async || db.status().waiting_records() == 0).await;
    assert_eq!(db.status().health(), DbHealth::Healthy);
    let written = "SELECT (SELECT count(*) FROM turns), turns, outcome FROM calls";
    assert_eq!(database.query(written).await, ["500|500|completed"]);
}

#[actix_rt::test]
async fn finishing_writes_what_waits_and_leaves_the_rest_in_the_spool() {
    let outage = Outage::prepare().await;
    let db = start(&outage.url);
    (1..=300).for_each(|call| db.records().record(opened(call, 1)));
    assert_eq!(db.finish(DEADLINE).await, 0);
    assert_eq!(outage.database.value("SELECT count(*) FROM calls").await, "300");

    let outage = outage.begin();
    let registry = Registry::new();
    let db = Db::start(settings(&outage.url), &registry).unwrap();
    (1..=3).for_each(|call| db.records().record(opened(call, 2)));
    assert_eq!(db.finish(Duration::from_millis(300)).await, 3);
    assert_eq!(db.status().spool_pending(), 3);
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), 0.0);
    db.records().record(opened(4, 2));
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), 1.0, "it takes no more");
}

#[actix_rt::test]
async fn a_database_that_is_away_is_named_at_once_and_found_again() {
    let outage = Outage::prepare().await;
    let outage = outage.begin();
    let db = start(&outage.url);
    let begun = Instant::now();
    for _ in 0..50 {
        let error = db.log().call_logs(1, 50).await.unwrap_err();
        assert!(matches!(&error, DbError::Unavailable(cause) if cause.contains("No such file")), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(matches!(db.status().health(), DbHealth::Unavailable(cause) if cause.contains("No such file")));
    assert_eq!(db.status().schema(), SchemaState::Unknown);
    assert!(db.check_schema().await.is_err());

    let _database = outage.end();
    eventually("it is healthy again", async || db.status().health() == DbHealth::Healthy).await;
    eventually("its schema is known", async || db.status().schema() == SchemaState::Fits).await;
    assert_eq!(db.log().call_logs(1, 50).await.unwrap().total, 0);
}

#[actix_rt::test]
async fn the_cause_of_an_unreachable_database_is_named_without_the_password() {
    let db = start("postgres://user:hunter2@127.0.0.1:1/db");
    let error = db.log().call_logs(1, 50).await.unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
