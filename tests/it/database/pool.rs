//! The pool: fair, exact, of any size at any time; and honest when there is nothing to pool.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use actors::db::{Db, DbError, DbHealth};
use futures_util::future::{join, join_all, select_all};
use prometheus::Registry;
use prometheus::proto::Metric;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{event, opened, settings, sid, start, write};
use crate::support::eventually;
use crate::support::outage::Outage;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{TestDatabase, client};

/// Nobody reads or writes calls until this is dropped.
async fn lock_calls(database: &TestDatabase) -> Client {
    let lock = client(&database.url).await;
    lock.batch_execute("BEGIN; LOCK TABLE calls").await.unwrap();
    lock
}

/// How many backends wait for a lock of this database.
async fn blocked(database: &TestDatabase) -> String {
    let blocked = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    database.value(blocked).await
}

#[actix_rt::test]
async fn cancelled_queries_leave_no_one_waiting_and_the_server_gives_them_up() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::before(&database);
    for (url, behind) in [(&database.url, "directly"), (&pooler.url, "behind the pooler")] {
        let db = start(url);
        db.log().call_logs(1, 50).await.unwrap();
        let lock = lock_calls(&database).await;
        {
            let mut asked =
                std::pin::pin!(join_all((0..12).map(|_| async { db.log().call_logs(1, 50).await })));
            let waiting = eventually("the others wait", async || {
                db.status().pool_stats().waiting == 8 && blocked(&database).await != "0"
            });
            tokio::select! {
                _ = &mut asked => panic!("the table is locked"),
                () = waiting => {}
            }
        }
        eventually("nobody waits", async || db.status().pool_stats().waiting == 0).await;
        // The table is locked still: all of them would wait, had a connection that waits gone back to the
        // pool.
        db.doors().store_event(event(1, "ringing", Some(behind))).await.unwrap();
        eventually("it is written", async || db.status().waiting_records() == 0).await;
        eventually("the server has given up", async || blocked(&database).await == "0").await;
        lock.batch_execute("COMMIT").await.unwrap();
        let pages = join_all((0..40).map(|_| async { db.log().call_logs(1, 50).await })).await;
        assert!(pages.iter().all(|page| page.as_ref().is_ok_and(|page| page.total == 0)), "{behind}");
        eventually("nobody uses a connection", async || {
            let stats = db.status().pool_stats();
            stats.total <= 4 && stats.idle == stats.total
        })
        .await;
    }
}

#[actix_rt::test]
async fn a_dropped_query_leaves_the_only_connection_to_the_next_one() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::before(&database);
    for url in [&database.url, &pooler.url] {
        let db = start(url);
        db.operations().resize_pool(1);
        write(&db, [opened(1, 1), opened(2, 1)]).await;
        let lock = lock_calls(&database).await;
        {
            let mut asked = std::pin::pin!(async { db.log().call_logs(1, 50).await });
            let blocked = eventually("it waits", async || blocked(&database).await != "0");
            tokio::select! {
                _ = &mut asked => panic!("the table is locked"),
                () = blocked => {}
            }
        }
        lock.batch_execute("COMMIT").await.unwrap();
        for call in [1, 2, 3] {
            let log = db.log().call_log(sid(call)).await.unwrap();
            assert_eq!(log.is_some(), call < 3, "each gets the answer to its own question");
        }
        eventually("there is one connection", async || db.status().pool_stats().total == 1).await;
    }
}

#[actix_rt::test]
async fn a_saturated_pool_serves_in_order_and_its_numbers_are_exact() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let lock = lock_calls(&database).await;
    {
        let mut asked = std::pin::pin!(join_all((0..200).map(|_| async { db.log().call_logs(1, 50).await })));
        let full = eventually("four are asked and the others wait", async || {
            let stats = db.status().pool_stats();
            (stats.total, stats.idle, stats.waiting) == (4, 0, 196)
        });
        tokio::select! {
            _ = &mut asked => panic!("the table is locked"),
            () = full => {}
        }
        lock.batch_execute("COMMIT").await.unwrap();
        assert!(asked.await.iter().all(Result::is_ok));
    }
    let stats = db.status().pool_stats();
    assert_eq!((stats.total, stats.idle, stats.waiting), (4, 4, 0));
    assert_eq!(serde_json::to_value(stats).unwrap()["waiting"], 0);
}

#[actix_rt::test]
async fn more_queries_than_can_wait_are_refused_with_the_reason() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let _lock = lock_calls(&database).await;
    let mut asked = std::pin::pin!(join_all((0..1_010).map(|_| async { db.log().call_logs(1, 50).await })));
    // Those that have a connection do not wait any more, and those that found too many waiting never did.
    let waiting =
        eventually("as many wait as may", async || (990..=1_000).contains(&db.status().pool_stats().waiting));
    tokio::select! {
        _ = &mut asked => panic!("the table is locked"),
        () = waiting => {}
    }
    let (first, ..) = select_all((0..20).map(|_| Box::pin(async { db.log().call_logs(1, 50).await }))).await;
    let error = first.unwrap_err();
    assert!(matches!(&error, DbError::Busy(why) if why.contains("1000 queries wait")), "{error}");
}

#[actix_rt::test]
async fn the_pool_grows_and_shrinks_while_it_is_used() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let lock = lock_calls(&database).await;
    {
        let mut asked = std::pin::pin!(join_all((0..20).map(|_| async { db.log().call_logs(1, 50).await })));
        let resized = async {
            eventually("four are asked", async || db.status().pool_stats().waiting == 16).await;
            db.operations().resize_pool(9);
            eventually("nine are asked", async || db.status().pool_stats().waiting == 11).await;
            assert_eq!((db.status().pool_size(), db.status().pool_stats().total), (9, 9));
            db.operations().resize_pool(2);
            lock.batch_execute("COMMIT").await.unwrap();
        };
        let (answers, ()) = join(&mut asked, resized).await;
        assert!(answers.iter().all(Result::is_ok));
    }
    eventually("two are left", async || db.status().pool_stats().total == 2).await;
    db.operations().resize_pool(12);
    db.operations().resize_pool(3);
    let answers = join_all((0..100).map(|_| async { db.log().call_logs(1, 50).await })).await;
    assert!(answers.iter().all(Result::is_ok));
    eventually("three are left", async || db.status().pool_stats().total <= 3).await;
    assert_eq!(db.status().pool_size(), 3);
}

#[actix_rt::test]
async fn once_a_database_that_hangs_is_known_to_be_away_nobody_waits_for_it() {
    // The kernel takes connections in; nobody answers them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://user:hunter2@{}/db", listener.local_addr().unwrap());
    let db = start(&url);
    eventually("it is known to be away", async || {
        matches!(db.status().health(), DbHealth::Unavailable(cause) if cause.contains("no connection within"))
    })
    .await;
    let begun = Instant::now();
    for _ in 0..100 {
        let error = db.log().call_logs(1, 50).await.unwrap_err();
        assert!(matches!(&error, DbError::Unavailable(cause) if cause.contains("within")), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[actix_rt::test]
async fn those_who_wait_when_the_database_is_lost_learn_the_cause_and_one_probe_finds_it_again() {
    let outage = Outage::prepare().await;
    let registry = Registry::new();
    let db = Db::start(settings(&outage.url), &registry).unwrap();
    write(&db, [opened(1, 1)]).await;
    let outage = outage.begin();
    eventually("it is known to be away", async || db.status().health() != DbHealth::Healthy).await;
    let asked = join_all((0..500).map(|_| async { db.log().call_logs(1, 50).await })).await;
    let named =
        |error: &DbError| matches!(error, DbError::Unavailable(cause) if cause.contains("No such file"));
    assert!(asked.iter().all(|answer| answer.as_ref().is_err_and(named)), "{asked:?}");
    assert_eq!(
        db.status().failed_connect().as_deref().map(|cause| cause.contains("No such file")),
        Some(true)
    );
    let _back = outage.end();
    eventually("it is found again", async || db.status().health() == DbHealth::Healthy).await;
    assert_eq!(db.log().call_logs(1, 50).await.unwrap().total, 1);
    assert_eq!(db.status().failed_connect(), None);
}

#[actix_rt::test]
async fn why_no_further_connection_can_be_opened_is_known_while_the_others_serve() {
    let database = TestDatabase::create().await;
    database.query("CREATE ROLE few LOGIN CONNECTION LIMIT 2").await;
    database.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO few").await;
    let db = start(&database.url.replace("switchboard@", "few@"));
    let answers = join_all((0..40).map(|_| async { db.log().call_logs(1, 50).await })).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(
        db.status().failed_connect().is_some_and(|cause| cause.contains("too many connections for role"))
    );
    assert_eq!(db.status().health(), DbHealth::Healthy);
    assert_eq!(db.status().pool_stats().total, 2);
}

#[actix_rt::test]
async fn the_server_gives_a_statement_up_that_outlives_whoever_asked() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::before(&database);
    for url in [&database.url, &pooler.url] {
        let db = start(url);
        let lock = lock_calls(&database).await;
        let error = db.log().call_logs(1, 50).await.unwrap_err();
        assert!(matches!(error, DbError::Unavailable(_)), "{error}");
        eventually("nothing waits at the server", async || blocked(&database).await == "0").await;
        lock.batch_execute("COMMIT").await.unwrap();
        // Nothing of the limit stays behind on the server's connections.
        let shown = client(url.trim_end_matches("?pgbouncer=true"))
            .await
            .simple_query("SHOW statement_timeout")
            .await
            .unwrap();
        let shown = shown.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(shown, Some("0"));
    }
}

#[actix_rt::test]
async fn records_that_wait_are_written_in_groups_and_queries_are_measured_by_name() {
    let database = TestDatabase::create().await;
    let registry = Registry::new();
    let db = Db::start(settings(&database.url), &registry).unwrap();
    write(&db, (1..=1_000).map(|call| opened(call, 1))).await;
    let of = |name: &str, query: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let is = |metric: &&Metric| metric.get_label().iter().any(|label| label.value() == query);
        family.get_metric().iter().find(is).unwrap().get_counter().get_value()
    };
    assert_eq!(of("switchboard_db_queries_total", "write_records"), 5.0, "200 in a flight");
    assert_eq!(of("switchboard_db_query_rows_total", "write_records"), 1_000.0);
    db.log().call_logs(1, 50).await.unwrap();
    assert!(of("switchboard_db_query_rows_total", "call_logs") >= 50.0, "at least the page");
}
