//! The database: migrations, records, the call log, outages.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use actors::call::end::{CallEnd, Outcome, Reason};
use actors::db::migrate::{MigrateError, migrate};
use actors::db::record::{CallClosed, CallOpened, Event, Record, Speaker, Turn};
use actors::db::{Db, DbError, DbHealth, DbSettings, SchemaState};
use actors::wire::twilio::sid::CallSid;
use chrono::{DateTime, Utc};
use prometheus::Registry;
use serde_json::{Value, json};
use switchboard::private_postgres::PrivatePostgres;

use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Folder, TestDatabase, client};
use crate::support::{DEADLINE, eventually};

fn sid(number: u32) -> CallSid {
    format!("CA{number:032x}").parse().unwrap()
}

/// So many seconds after the beginning of the test's time.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn opened(call: u32, epoch: u32) -> Record {
    Record::Opened(CallOpened {
        call_sid: sid(call),
        epoch,
        from: "+15550100".to_owned(),
        to: "+15550199".to_owned(),
        started_at: at(i64::from(call)),
        instance: format!("instance-{epoch}"),
    })
}

fn turn(call: u32, epoch: u32, ordinal: u32, text: &str) -> Record {
    Record::Turn(Turn {
        call_sid: sid(call),
        epoch,
        ordinal,
        speaker: if ordinal % 2 == 1 { Speaker::Agent } else { Speaker::Caller },
        text: text.to_owned(),
        started_at: at(i64::from(ordinal)),
        heard_ms: (ordinal % 2 == 1).then_some(1480),
        cut_off: ordinal % 2 == 1,
    })
}

fn event(call: u32, kind: &str, dedupe_key: Option<&str>) -> Event {
    Event {
        call_sid: sid(call),
        at: at(1),
        kind: kind.to_owned(),
        data: json!({"CallStatus": kind}),
        dedupe_key: dedupe_key.map(str::to_owned),
    }
}

fn closed(call: u32, epoch: u32, outcome: Outcome) -> Record {
    Record::Closed(CallClosed {
        call_sid: sid(call),
        epoch,
        ended_at: at(i64::from(call) + 42),
        end: CallEnd::new(outcome, Reason::CallerHungUp),
        barge_ins: 2,
        first_audio_ms: Some(412),
        usage: json!({"totalTokens": 17}),
        cost_usd: Some(0.11),
    })
}

fn settings(url: &str) -> DbSettings {
    DbSettings {
        url: url.to_owned(),
        direct_url: url.to_owned(),
        pool_max: 4,
        idle_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
    }
}

fn start(url: &str) -> Db {
    Db::start(settings(url), &Registry::new()).unwrap()
}

/// Records all and waits until nothing waits any more.
async fn write(db: &Db, records: impl IntoIterator<Item = Record>) {
    records.into_iter().for_each(|record| db.record(record));
    // A question is answered behind no queue: the depth tells.
    eventually("all records are written", async || db.waiting_records() == 0).await;
}

fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect(name);
    family
        .get_metric()
        .iter()
        .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
        .sum()
}

/// Keys of an object, in order of the alphabet.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

// Migrations

#[tokio::test]
async fn four_starters_migrate_at_once_and_one_of_them_does_the_work() {
    let database = TestDatabase::empty().await;
    let url = &database.url;
    let applied = futures_util::future::join_all((0..4).map(|_| migrate(url))).await;
    let mut applied: Vec<usize> = applied.into_iter().map(|applied| applied.unwrap().len()).collect();
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 3]);
}

#[tokio::test]
async fn migrations_go_up_and_down_and_up_again() {
    let database = TestDatabase::empty().await;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let names = migrate(&database.url).await.unwrap();
    assert_eq!(database.value(tables).await, "4");
    for name in names.iter().rev() {
        let down = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name).join("down.sql");
        database.query(&std::fs::read_to_string(down).unwrap()).await;
    }
    assert_eq!(database.value(tables).await, "1", "only the list of migrations is left");
    database.query("DELETE FROM __diesel_schema_migrations").await;
    assert_eq!(migrate(&database.url).await.unwrap(), names);
    assert_eq!(migrate(&database.url).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn migrating_through_the_port_of_a_transaction_pooler_is_refused() {
    let refused = migrate("postgres://user:word@127.0.0.1:6543/db").await.unwrap_err();
    assert!(matches!(refused, MigrateError::TransactionPooler));
    assert!(refused.to_string().contains("DIRECT_DATABASE_URL"));
}

#[tokio::test]
async fn migrating_through_a_transaction_pooler_at_any_port_is_refused() {
    let database = TestDatabase::empty().await;
    let pooler = PgBouncer::before(&database);
    let refused = migrate(&pooler.url).await.unwrap_err();
    assert!(matches!(refused, MigrateError::TransactionPooler), "{refused}");
}

#[actix_rt::test]
async fn everything_works_behind_a_transaction_pooler() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::before(&database);
    let dbs: Vec<Db> = (0..3).map(|_| start(&pooler.url)).collect(); // 12 clients on 3 server connections
    for (number, db) in (0..).zip(&dbs) {
        let call = number + 1;
        db.record(opened(call, 1));
        (1..=300).for_each(|ordinal| db.record(turn(call, 1, ordinal, "said")));
        db.record(closed(call, 1, Outcome::Completed));
    }
    let asked = dbs.iter().cycle().take(300).map(|db| db.call_logs(1, 50));
    let asked = futures_util::future::join_all(asked).await;
    assert_eq!(asked.into_iter().find_map(Result::err), None);
    for db in &dbs {
        db.store_event(event(1, "ringing", Some("once"))).await.unwrap();
        eventually("all records are written", async || db.waiting_records() == 0).await;
        assert_eq!(db.check_schema().await.unwrap(), SchemaState::Fits);
    }
    assert_eq!(database.query("SELECT turns, outcome FROM calls").await, ["300|completed"; 3]);
    assert_eq!(database.value("SELECT count(*) FROM call_events").await, "1");
}

#[actix_rt::test]
async fn the_schema_is_known_as_older_then_as_fitting_then_as_newer() {
    let database = TestDatabase::empty().await;
    let db = start(&database.url);
    let SchemaState::Older { missing } = db.check_schema().await.unwrap() else { panic!("not older") };
    assert_eq!(missing, migrate(&database.url).await.unwrap());
    eventually("the probe sees the migration", async || db.schema() == SchemaState::Fits).await;
    database.query("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')").await;
    assert_eq!(db.check_schema().await.unwrap(), SchemaState::Newer);
    database.query("DELETE FROM __diesel_schema_migrations WHERE version = '20261123000002'").await;
    assert!(matches!(db.check_schema().await.unwrap(), SchemaState::Older { missing } if missing.len() == 1));
}

/// What `diesel print-schema` would find in the database is what the queries are checked against.
#[tokio::test]
async fn the_schema_in_the_code_is_the_schema_of_the_database() {
    let database = TestDatabase::create().await;
    let found = database
        .query(
            "SELECT table_name, column_name, udt_name, is_nullable FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%'
             ORDER BY table_name, ordinal_position",
        )
        .await;
    let code = Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/src/db/schema.rs");
    let mut table = String::new();
    let mut written = Vec::new();
    for line in std::fs::read_to_string(code).unwrap().lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(" (").filter(|_| line.ends_with('{')) {
            table = name.to_owned();
        } else if let Some((column, kind)) = line.trim_end_matches(',').split_once(" -> ") {
            let inner = kind.strip_prefix("Nullable<").and_then(|kind| kind.strip_suffix('>'));
            let nullable = if inner.is_some() { "YES" } else { "NO" };
            written.push(format!("{table}|{column}|{}|{nullable}", inner.unwrap_or(kind).to_lowercase()));
        }
    }
    assert_eq!(written, found);
}

// Records

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

#[actix_rt::test]
async fn a_record_the_database_refuses_is_dropped_alone_and_counted() {
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
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), 1.0);
}

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
async fn a_full_queue_counts_what_it_cannot_take() {
    let registry = Registry::new();
    let db = Db::start(settings("postgres://nobody@127.0.0.1:1/none"), &registry).unwrap();
    (0..10_007).for_each(|_| db.record(opened(1, 1)));
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), 7.0);
    assert_eq!(metric(&registry, "switchboard_db_queue_depth"), 10_000.0);
}

#[actix_rt::test]
async fn an_event_is_durable_when_stored_and_stored_once() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    for _ in 0..2 {
        db.store_event(event(9, "ringing", Some("ringing-1"))).await.unwrap();
        db.store_event(event(8, "ringing", Some("ringing-1"))).await.unwrap();
        db.store_event(event(9, "unkeyed", None)).await.unwrap();
    }
    let stored =
        "SELECT kind, count(*), count(DISTINCT call_sid) FROM call_events GROUP BY kind ORDER BY kind";
    assert_eq!(database.query(stored).await, ["ringing|2|2", "unkeyed|2|1"]);
    let refused = db.store_event(event(9, "", None)).await.unwrap_err();
    assert!(matches!(refused, DbError::Refused(_)), "{refused}");
}

// The call log

#[actix_rt::test]
async fn the_list_is_newest_first_in_pages() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    write(&db, (1..=5).map(|call| opened(call, 1)).chain([closed(5, 1, Outcome::Completed)])).await;
    let page = db.call_logs(1, 2).await.unwrap();
    let sids: Vec<&str> = page.calls.iter().map(|call| call.call_sid.as_str()).collect();
    assert_eq!(sids, [sid(5).as_str(), sid(4).as_str()]);
    assert_eq!(db.call_logs(3, 2).await.unwrap().calls[0].call_sid, sid(1).as_str());
    assert!(db.call_logs(4, 2).await.unwrap().calls.is_empty());

    let page = serde_json::to_value(page).unwrap();
    assert_eq!(keys(&page), ["calls", "nextCursor", "page", "pageSize", "total", "totalIsExact"]);
    assert_eq!(page["total"], 5);
    assert_eq!(
        page["calls"][0],
        json!({"callSid": sid(5), "from": "+15550100", "to": "+15550199", "startedAt": at(5), "endedAt": at(47),
            "durationSeconds": 42, "outcome": "completed", "reason": "caller-hung-up", "urgent": false, "turns": 0,
            "recordings": 0, "costUsd": 0.11})
    );
    assert_eq!(
        page["calls"][1],
        json!({"callSid": sid(4), "from": "+15550100", "to": "+15550199", "startedAt": at(4), "endedAt": null,
            "durationSeconds": null, "outcome": null, "reason": null, "urgent": false, "turns": 0,
            "recordings": 0, "costUsd": null})
    );
}

#[actix_rt::test]
async fn one_call_reads_as_it_was_held() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    assert_eq!(db.call_log(sid(1)).await.unwrap(), None);
    let said = [turn(1, 1, 2, "Hi"), turn(1, 1, 1, "Hello")];
    let happened = [Record::Event(event(1, "in-progress", None)), closed(1, 1, Outcome::Completed)];
    write(&db, [opened(1, 1)].into_iter().chain(said).chain(happened)).await;
    let log = serde_json::to_value(db.call_log(sid(1)).await.unwrap().unwrap()).unwrap();
    assert_eq!(keys(&log), ["call", "conference", "events", "recordings", "tools", "turns", "usage"]);
    assert_eq!(
        log["turns"],
        json!([
            {"ordinal": 1, "speaker": "agent", "text": "Hello", "startedAt": at(1), "heardMs": 1480, "cutOff": true},
            {"ordinal": 2, "speaker": "caller", "text": "Hi", "startedAt": at(2), "heardMs": null, "cutOff": false},
        ])
    );
    assert_eq!(
        log["events"],
        json!([{"at": at(1), "kind": "in-progress", "data": {"CallStatus": "in-progress"}}])
    );
    assert_eq!(
        (&log["tools"], &log["recordings"], &log["conference"]),
        (&json!([]), &json!([]), &Value::Null)
    );
    assert_eq!(log["usage"], json!({"totalTokens": 17}));
    assert_eq!(log["call"]["callSid"], json!(sid(1)));
    assert_eq!(log["call"]["turns"], 2);
    assert_eq!(log["call"]["bargeIns"], 2);
}

// Outages and the pool

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

#[actix_rt::test]
async fn sslmode_decides_whether_the_connection_is_encrypted() {
    let database = TestDatabase::create().await;
    let (with_tls, plain) = (PgBouncer::with_tls_before(&database), PgBouncer::before(&database));
    for mode in ["require", "prefer", "no-verify"] {
        let db = start(&format!("{}&sslmode={mode}", with_tls.url));
        assert_eq!(db.call_logs(1, 50).await.unwrap().total, 0, "{mode}");
    }
    for (url, mode, cause) in [(&with_tls.url, "disable", "SSL required"), (&plain.url, "require", "TLS")] {
        let error = start(&format!("{url}&sslmode={mode}")).call_logs(1, 50).await.unwrap_err().to_string();
        assert!(error.contains(cause), "{mode}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let refused = Db::start(settings(&format!("{}&sslmode=verify-full", with_tls.url)), &Registry::new());
    assert!(format!("{:#}", refused.err().unwrap()).contains("verify-full"));
}

#[actix_rt::test]
async fn cancelled_queries_leave_no_one_waiting_and_no_connection_behind() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    db.call_logs(1, 50).await.unwrap();
    let lock = client(&database.url).await;
    lock.batch_execute("BEGIN; LOCK TABLE calls").await.unwrap();
    {
        let blocked = futures_util::future::join_all((0..12).map(|_| db.call_logs(1, 50)));
        let mut blocked = std::pin::pin!(blocked);
        let waiting = eventually("the others wait", async || db.pool_stats().waiting == 8);
        tokio::select! {
            _ = &mut blocked => panic!("the table is locked"),
            () = waiting => {}
        }
    }
    eventually("nobody waits", async || db.pool_stats().waiting == 0).await;
    lock.batch_execute("COMMIT").await.unwrap();
    assert_eq!(db.call_logs(1, 50).await.unwrap().total, 0);
}

#[actix_rt::test]
async fn a_saturated_pool_serves_in_order_and_no_more_connections_than_allowed() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let asked = futures_util::future::join_all((0..200).map(|_| db.call_logs(1, 50))).await;
    assert!(asked.iter().all(Result::is_ok));
    let stats = db.pool_stats();
    assert!(stats.total <= 4 && stats.idle == stats.total && stats.waiting == 0, "{stats:?}");
    assert_eq!(serde_json::to_value(stats).unwrap()["waiting"], 0);
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
