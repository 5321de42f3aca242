//! What the world sees of the tables where the schema is served as an API: nothing.

use std::collections::BTreeSet;

use actors::call::end::Outcome;
use tokio_postgres::error::SqlState;

use super::{closed, opened, start, turn, write};
use crate::support::postgres::{TestDatabase, client};

const TABLES: &str = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::REGNAMESPACE
    AND relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY relname";

#[actix_rt::test]
async fn every_table_is_closed_and_no_policy_opens_it() {
    let database = TestDatabase::create().await;
    let closed = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::REGNAMESPACE
        AND relkind IN ('r', 'p') AND relrowsecurity ORDER BY relname";
    let tables = database.query(TABLES).await;
    assert!(tables.len() >= 6, "{tables:?}");
    assert_eq!(database.query(closed).await, tables);
    assert_eq!(database.query("SELECT policyname FROM pg_policies").await, [""; 0]);
}

#[actix_rt::test]
async fn who_may_read_every_table_sees_nothing_and_writes_nothing() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    write(&db, [opened(1, 1), turn(1, 1, 1, "Hello"), closed(1, 1, Outcome::Completed)]).await;
    assert_eq!(database.value("SELECT count(*) FROM call_search").await, "1");
    let role = database.value("SELECT 'anon_of_' || current_database()").await;
    database
        .query(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role};
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
        ))
        .await;
    let anon = client(&database.url).await;
    anon.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
    for table in database.query(TABLES).await {
        let rows: i64 = anon.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0);
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(anon.execute("UPDATE calls SET urgent = TRUE", &[]).await.unwrap(), 0);
    assert_eq!(anon.execute("DELETE FROM turns", &[]).await.unwrap(), 0);
    let inserted = anon.execute("INSERT INTO instances (instance_id) VALUES ('x')", &[]).await.unwrap_err();
    assert_eq!(inserted.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;

    let seen: BTreeSet<String> = database.query("SELECT text FROM turns").await.into_iter().collect();
    assert_eq!(seen, BTreeSet::from(["Hello".to_owned()]), "the owner sees all");
}
