//! Many queries at once, by several processes, through a pooler with few connections.

use std::env;
use std::process::{Command, Stdio};

use actors::db::Db;
use futures_util::StreamExt as _;
use futures_util::stream;
use prometheus::Registry;

use super::{event, metric, opened, settings, sid, turn};
use crate::support::certificates::Authority;
use crate::support::eventually;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::TestDatabase;

/// Tells the test, started by itself as another process, where the database is and who it is.
const URL: &str = "SWITCHBOARD_TEST_LOAD_URL";
const NUMBER: &str = "SWITCHBOARD_TEST_LOAD_NUMBER";
const QUERIES: u32 = 5_000;
const AT_A_TIME: usize = 20;

#[actix_rt::test]
async fn two_processes_ask_5000_mixed_queries_each_20_at_a_time_through_3_connections_without_an_error() {
    if let Ok(url) = env::var(URL) {
        return ask(&url, env::var(NUMBER).unwrap().parse().unwrap()).await;
    }
    let database = TestDatabase::create().await;
    let authority = Authority::new();
    let plain = PgBouncer::before(&database);
    let with_tls = PgBouncer::with_tls_before(&database, &authority.issue("127.0.0.1"));
    let root = authority.file().display().to_string();
    let checked = format!("{}&sslmode=verify-full&sslrootcert={root}", with_tls.url);
    let asking = [plain.url.clone(), checked].into_iter().zip(1..).map(|(url, number)| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("database::load::two_processes_ask_5000_mixed_queries_each_20_at_a_time_through_3_connections_without_an_error")
            .env(URL, url)
            .env(NUMBER, u32::to_string(&number))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    });
    for process in asking.collect::<Vec<_>>() {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
    let written = "SELECT (SELECT count(*) FROM call_events), (SELECT count(*) FROM turns)";
    assert_eq!(database.query(written).await, [format!("{0}|{0}", 2 * QUERIES / 5)]);
}

/// Asks 5,000 queries of five kinds; each writes or reads a call of its own.
async fn ask(url: &str, process: u32) {
    let registry = Registry::new();
    let mut settings = settings(url);
    settings.pool_max = 20;
    settings.instance = process.to_string();
    let db = Db::start(settings, &registry).unwrap();
    let asked = stream::iter(0..QUERIES).for_each_concurrent(AT_A_TIME, |number| {
        let db = &db;
        async move {
            let call = process * QUERIES + number / 5;
            let answer = match number % 5 {
                0 => db.doors().store_event(event(call, "ringing", Some("once"))).await,
                1 => {
                    db.records().record(opened(call, 1));
                    db.records().record(turn(call, 1, 1, "said"));
                    db.log().call_log(sid(call)).await.map(drop)
                }
                2 => db.log().call_logs(1, 50).await.map(drop),
                3 => db.log().call_log(sid(call)).await.map(drop),
                _ => db.check_schema().await.map(drop),
            };
            assert_eq!(answer, Ok(()), "query {number}");
        }
    });
    asked.await;
    eventually("all records are written", async || db.status().waiting_records() == 0).await;
    assert_eq!(metric(&registry, "switchboard_db_unwritten_records_total"), 0.0);
    for family in registry.gather().iter().filter(|family| family.name() == "switchboard_db_queries_total") {
        for count in family.get_metric() {
            assert!(count.get_label().iter().all(|label| label.value() != "refused"), "{count:?}");
        }
    }
}
