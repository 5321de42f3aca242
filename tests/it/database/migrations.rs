//! The schema: made, compared, taken back.

use std::path::Path;

use actors::db::SchemaState;
use actors::db::migrate::{MigrateError, migrate};

use super::start;
use crate::support::eventually;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::TestDatabase;

#[tokio::test]
async fn four_starters_migrate_at_once_and_one_of_them_does_the_work() {
    let database = TestDatabase::empty().await;
    let url = &database.url;
    let applied = futures_util::future::join_all((0..4).map(|_| migrate(url))).await;
    let mut applied: Vec<usize> = applied.into_iter().map(|applied| applied.unwrap().len()).collect();
    applied.sort_unstable();
    assert!(applied[..3] == [0, 0, 0] && applied[3] > 0, "{applied:?}");
}

#[tokio::test]
async fn migrations_go_up_and_down_and_up_again() {
    let database = TestDatabase::empty().await;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let names = migrate(&database.url).await.unwrap();
    assert_eq!(database.value(tables).await, "11");
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
