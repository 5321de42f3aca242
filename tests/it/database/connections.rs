//! The pooler.

use actors::call::end::Outcome;
use actors::db::{Db, SchemaState};

use super::{closed, event, opened, start, turn};
use crate::support::eventually;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::TestDatabase;

#[actix_rt::test]
async fn everything_works_behind_a_transaction_pooler() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::before(&database);
    let dbs: Vec<Db> = (0..3).map(|_| start(&pooler.url)).collect(); // 12 clients on 3 server connections
    for (number, db) in (0..).zip(&dbs) {
        let call = number + 1;
        db.records().record(opened(call, 1));
        (1..=300).for_each(|ordinal| db.records().record(turn(call, 1, ordinal, "said")));
        db.records().record(closed(call, 1, Outcome::Completed));
    }
    let asked = dbs.iter().cycle().take(300).map(|db| async { db.log().call_logs(1, 50).await });
    let asked = futures_util::future::join_all(asked).await;
    assert_eq!(asked.into_iter().find_map(Result::err), None);
    for db in &dbs {
        db.doors().store_event(event(1, "ringing", Some("once"))).await.unwrap();
        eventually("all records are written", async || db.status().waiting_records() == 0).await;
        assert_eq!(db.check_schema().await.unwrap(), SchemaState::Fits);
    }
    assert_eq!(database.query("SELECT turns, outcome FROM calls").await, ["300|completed"; 3]);
    assert_eq!(database.value("SELECT count(*) FROM call_events").await, "1");
}
