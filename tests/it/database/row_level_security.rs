//! What the world sees of the tables where the schema is served as an API: nothing.

use std::collections::BTreeSet;

use actors::call::end::Outcome;
use actors::db::SchemaState;
use actors::db::migrate::{MigrateError, migrate};
use tokio_postgres::error::SqlState;

use super::{closed, opened, start, turn, write};
use crate::support::DEADLINE;
use crate::support::app::Setup;
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
async fn a_role_that_does_not_own_the_tables_is_told_so_and_one_with_the_owners_role_serves() {
    let database = TestDatabase::create().await;
    let name = database.value("SELECT current_database()").await;
    let (role, owner) = (format!("program_of_{name}"), database.value("SELECT current_user").await);
    database
        .query(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'word'; GRANT ALL ON SCHEMA public TO {role};
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ))
        .await;
    let url = url_of(&database.url, &role);
    let db = start(&url);
    assert_eq!(db.check_schema().await.unwrap(), SchemaState::Hidden { role: role.clone() });
    let refused = migrate(&url).await.unwrap_err();
    assert!(matches!(refused, MigrateError::NotTheOwner { .. }), "{refused}");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.arg("serve").env_clear().envs(Setup::new(&url, "http://127.0.0.1:1").environment());
    let output = tokio::time::timeout(DEADLINE, command.kill_on_drop(true).output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains(&role) && said.contains("own") && said.contains("row-level security"), "{said}");

    // What the message says is what helps.
    database.query(&format!("GRANT {owner} TO {role}")).await;
    assert_eq!(db.check_schema().await.unwrap(), SchemaState::Fits);
    write(&db, [opened(1, 1)]).await;
    drop(db);
    database.query(&format!("DROP OWNED BY {role}")).await;
}

/// The same database as another role.
fn url_of(url: &str, role: &str) -> String {
    let (before, after) = url.split_once("://").unwrap();
    let (authority, rest) = after.split_once('/').unwrap();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{before}://{role}:word@{host}/{rest}")
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
