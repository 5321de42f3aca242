//! The pool, the pooler and TLS.

use actors::call::end::Outcome;
use actors::db::{Db, SchemaState};
use prometheus::Registry;

use super::{closed, event, opened, settings, start, turn};
use crate::support::eventually;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{TestDatabase, client};

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
    // Whoever came next would wait behind the locked table, had a cancelled query's connection gone back to the pool.
    db.store_event(event(1, "ringing", None)).await.unwrap();
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
