//! The database goes away, and comes back.

use std::time::{Duration, Instant};

use actors::call::end::Outcome;
use actors::db::migrate::migrate;
use actors::db::{Db, DbError, DbHealth, SchemaState};
use prometheus::Registry;
use switchboard::private_postgres::PrivatePostgres;

use super::{closed, event, metric, opened, settings, start, turn, write};
use crate::support::postgres::{Folder, TestDatabase};
use crate::support::{DEADLINE, eventually};

#[actix_rt::test]
async fn records_wait_while_the_database_is_stopped_and_none_is_lost() {
    let outage = Outage::prepare().await;
    let db = start(&outage.url);
    write(&db, [opened(1, 1)]).await;
    let outage = outage.begin();
    for ordinal in 1..=500 {
        db.record(turn(1, 1, ordinal, "said meanwhile"));
    }
    db.record(closed(1, 1, Outcome::Completed));
    eventually("the outage is noticed", async || db.health() != DbHealth::Healthy).await;
    assert_eq!(db.waiting_records(), 501);

    let database = outage.end();
    eventually("all records are written", async || db.waiting_records() == 0).await;
    assert_eq!(db.health(), DbHealth::Healthy);
    let written = "SELECT (SELECT count(*) FROM turns), turns, outcome FROM calls";
    assert_eq!(database.query(written).await, ["500|500|completed"]);
}

#[actix_rt::test]
async fn finishing_writes_what_waits_and_says_what_it_could_not() {
    let outage = Outage::prepare().await;
    let registry = Registry::new();
    let db = Db::start(settings(&outage.url), &registry).unwrap();
    (1..=300).for_each(|call| db.record(opened(call, 1)));
    assert_eq!(db.finish(DEADLINE).await, 0);
    assert_eq!(outage.database.value("SELECT count(*) FROM calls").await, "300");

    let outage = outage.begin();
    let registry = Registry::new();
    let db = Db::start(settings(&outage.url), &registry).unwrap();
    (1..=3).for_each(|call| db.record(opened(call, 2)));
    assert_eq!(db.finish(Duration::from_millis(300)).await, 3);
    db.record(opened(4, 2));
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), 4.0);
}

#[actix_rt::test]
async fn a_database_that_is_away_is_named_at_once_and_found_again() {
    let outage = Outage::prepare().await;
    let outage = outage.begin();
    let db = start(&outage.url);
    let begun = Instant::now();
    for _ in 0..50 {
        let error = db.call_logs(1, 50).await.unwrap_err();
        assert!(matches!(&error, DbError::Unavailable(cause) if cause.contains("No such file")), "{error}");
        let error = db.store_event(event(1, "x", None)).await.unwrap_err();
        assert!(matches!(error, DbError::Unavailable(_)), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(matches!(db.health(), DbHealth::Unavailable(cause) if cause.contains("No such file")));
    assert_eq!(db.schema(), SchemaState::Unknown);
    assert!(db.check_schema().await.is_err());

    let _database = outage.end();
    eventually("it is healthy again", async || db.health() == DbHealth::Healthy).await;
    eventually("its schema is known", async || db.schema() == SchemaState::Fits).await;
    assert_eq!(db.call_logs(1, 50).await.unwrap().total, 0);
}

#[actix_rt::test]
async fn the_cause_of_an_unreachable_database_is_named_without_the_password() {
    let db = start("postgres://user:hunter2@127.0.0.1:1/db");
    let error = db.call_logs(1, 50).await.unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

/// A server of the test's own that can be stopped and started; its address stays the same.
struct Outage {
    folder: Folder,
    cluster: PrivatePostgres,
    database: TestDatabase,
    link: tempfile::TempDir,
    url: String,
}

/// The server is away.
struct Away {
    folder: Folder,
    link: tempfile::TempDir,
    url: String,
}

/// The server is back.
struct Back {
    _folder: Folder,
    _cluster: PrivatePostgres,
    _link: tempfile::TempDir,
    database: TestDatabase,
}

impl Back {
    async fn query(&self, sql: &str) -> Vec<String> {
        self.database.query(sql).await
    }
}

impl Outage {
    async fn prepare() -> Self {
        let folder = Folder::new();
        let cluster = PrivatePostgres::start(folder.path()).unwrap();
        let database = TestDatabase::on(&cluster).await;
        migrate(&database.url).await.unwrap();
        let link = tempfile::Builder::new().prefix("switchboard-link-").tempdir().unwrap();
        let url = point(&link, &database.url);
        Self { folder, cluster, database, link, url }
    }

    fn begin(self) -> Away {
        self.cluster.stop();
        Away { folder: self.folder, link: self.link, url: self.url }
    }
}

impl Away {
    fn end(self) -> Back {
        let cluster = PrivatePostgres::start(self.folder.path()).unwrap();
        let name = self.url.rsplit('/').next().unwrap();
        let url = format!("{}{name}", cluster.url().split_inclusive('/').take(3).collect::<String>());
        point(&self.link, &url);
        Back { _folder: self.folder, _cluster: cluster, _link: self.link, database: TestDatabase { url } }
    }
}

/// Lets the link lead to the socket of `url`; returns the URL by way of the link.
fn point(link: &tempfile::TempDir, url: &str) -> String {
    let link = link.path().join("s");
    let encoded = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(encoded.replace("%2F", "/"), &link).unwrap();
    url.replace(encoded, &link.display().to_string().replace('/', "%2F"))
}
