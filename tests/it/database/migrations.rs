//! The schema: made, compared, taken back.

use std::path::Path;
use std::process::Command;

use actors::db::SchemaState;
use actors::db::migrate::{MigrateError, migrate};

use super::start;
use crate::support::eventually;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{TestDatabase, client};

#[tokio::test]
async fn four_starters_migrate_at_once_and_one_of_them_does_the_work() {
    let database = TestDatabase::empty().await;
    let url = &database.url;
    let applied = futures_util::future::join_all((0..4).map(|_| migrate(url))).await;
    let mut applied: Vec<usize> = applied.into_iter().map(|applied| applied.unwrap().len()).collect();
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, migrations().len()]);
}

#[tokio::test]
async fn each_migration_goes_down_to_what_was_before_it_and_up_again() {
    let database = TestDatabase::empty().await;
    let names = migrate(&database.url).await.unwrap();
    assert_eq!(names, migrations());
    let mut after = vec![dump(&database)];
    for name in names.iter().rev() {
        database.query(&text(name, "down.sql")).await;
        after.push(dump(&database));
    }
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.query(tables).await, ["__diesel_schema_migrations"]);
    for name in &names {
        assert_eq!(dump(&database), after.pop().unwrap(), "before {name}");
        database.query(&text(name, "up.sql")).await;
    }
    assert_eq!(dump(&database), after.pop().unwrap());

    for name in names.iter().rev() {
        database.query(&text(name, "down.sql")).await;
    }
    database.query("DELETE FROM __diesel_schema_migrations").await;
    assert_eq!(migrate(&database.url).await.unwrap(), names);
    assert_eq!(migrate(&database.url).await.unwrap(), [""; 0]);
}

/// Calls are written while one of their indexes is built, and another call's transaction is open.
#[tokio::test]
async fn an_index_is_built_beside_those_who_write() {
    const INDEX: &str = "22_calls_by_caller";
    let database = TestDatabase::create().await;
    let name = migrations().into_iter().find(|name| name.ends_with(INDEX)).unwrap();
    assert_eq!(text(&name, "metadata.toml").trim(), "run_in_transaction = false");
    let invalid = "SELECT indexrelid::REGCLASS FROM pg_index WHERE NOT indisvalid";
    assert_eq!(database.query(invalid).await, [""; 0]);

    database.query(&text(&name, "down.sql")).await;
    let version = name.split('_').next().unwrap().replace('-', "");
    database.query(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}'")).await;
    let insert =
        "INSERT INTO calls (call_sid, epoch, started_at) VALUES ('CA' || md5(random()::TEXT), 1, now())";
    let slow = client(&database.url).await;
    slow.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
    let migrated = tokio::spawn({
        let url = database.url.clone();
        async move { migrate(&url).await }
    });
    let waits = "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for writers%'
        AND datname = current_database()";
    eventually("the index waits for the open transaction", async || database.value(waits).await == "1").await;
    database.query(insert).await;
    assert_eq!(database.value("SELECT count(*) FROM calls").await, "1", "nobody waits for the index");
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migrated.await.unwrap().unwrap(), [name]);
    assert_eq!(database.query(invalid).await, [""; 0]);
}

/// The role's limit is for the program's queries, and an index takes longer.
#[tokio::test]
async fn a_limit_of_the_role_ends_no_migration_and_what_it_spoilt_before_is_mended() {
    let database = TestDatabase::create().await;
    let name = migrations().into_iter().find(|name| name.ends_with("22_calls_by_caller")).unwrap();
    database.query(&text(&name, "down.sql")).await;
    let version = name.split('_').next().unwrap().replace('-', "");
    database.query(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}'")).await;
    let slow = client(&database.url).await;
    let insert =
        "INSERT INTO calls (call_sid, epoch, started_at) VALUES ('CA' || md5(random()::TEXT), 1, now())";
    slow.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
    let limited = client(&database.url).await;
    limited.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
    limited.batch_execute(&text(&name, "up.sql")).await.unwrap_err();
    let invalid = "SELECT indexrelid::REGCLASS FROM pg_index WHERE NOT indisvalid";
    assert_eq!(database.query(invalid).await, ["calls_by_caller"]);

    let here = database.value("SELECT current_database()").await;
    database.query(&format!("ALTER DATABASE {here} SET statement_timeout = '200ms'")).await;
    let migrated = tokio::spawn({
        let url = database.url.clone();
        async move { migrate(&url).await }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND query LIKE '%CREATE INDEX%' AND pid <> pg_backend_pid() AND now() - query_start > interval '400 ms'";
    eventually("it waits for longer than the limit", async || {
        migrated.is_finished() || database.value(waits).await != "0"
    })
    .await;
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migrated.await.unwrap().unwrap(), std::slice::from_ref(&name));
    assert_eq!(database.query(invalid).await, [""; 0]);

    // As if the process had been killed before it wrote down that the step is done.
    database.query(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}'")).await;
    assert_eq!(migrate(&database.url).await.unwrap(), [name]);
}

/// A table that is read all the time is not waited for in front of all its readers.
#[tokio::test]
async fn a_migration_of_a_locked_table_makes_room_and_is_tried_again() {
    let database = TestDatabase::create().await;
    let name = migrations().into_iter().find(|name| name.ends_with("07_turn_versions")).unwrap();
    database.query(&text(&name, "down.sql")).await;
    let version = name.split('_').next().unwrap().replace('-', "");
    database.query(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}'")).await;
    let reader = client(&database.url).await;
    reader.batch_execute("BEGIN; SELECT FROM turns").await.unwrap();
    let migrated = tokio::spawn({
        let url = database.url.clone();
        async move { migrate(&url).await }
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'turns'::REGCLASS AND NOT granted";
    eventually("it waits", async || database.value(waits).await == "1").await;
    eventually("it makes room", async || database.value(waits).await == "0").await;
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migrated.await.unwrap().unwrap(), [name]);
}

/// The names of all migrations, in order.
fn migrations() -> Vec<String> {
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).unwrap();
    let mut names: Vec<String> =
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn text(migration: &str, file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(migration);
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// The schema as `pg_dump` writes it.
fn dump(database: &TestDatabase) -> String {
    let dump = Command::new("pg_dump").args(["--schema-only", &database.url]).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let text = String::from_utf8(dump.stdout).unwrap();
    // A word that is another one each time guards what is between these two against the tool that reads it.
    text.lines().filter(|line| !line.starts_with(['\\'])).collect::<Vec<_>>().join("\n")
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
    eventually("the probe sees the migration", async || db.status().schema() == SchemaState::Fits).await;
    database.query("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')").await;
    assert_eq!(db.check_schema().await.unwrap(), SchemaState::Newer);
    database.query("DELETE FROM __diesel_schema_migrations WHERE version = '20261123000002'").await;
    assert!(matches!(db.check_schema().await.unwrap(), SchemaState::Older { missing } if missing.len() == 1));
}

/// Tables, columns in their order, types and NULLs: what `diesel print-schema` would find in the database is
/// what the queries are checked against. (The tool itself is not asked: it takes minutes to build.)
#[tokio::test]
async fn tables_columns_and_types_in_the_code_are_those_of_the_database() {
    let database = TestDatabase::create().await;
    let found = database
        .query(
            "SELECT table_name, column_name, udt_name, is_nullable FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%'
             ORDER BY table_name, ordinal_position",
        )
        .await;
    let code = Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/src/db/tables/schema.rs");
    let mut table = String::new();
    let mut written = Vec::new();
    let code = std::fs::read_to_string(code).unwrap();
    for line in code.lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(" (").filter(|_| line.ends_with('{')) {
            table = name.to_owned();
        } else if let Some((column, kind)) = line.strip_suffix(',').and_then(|line| line.split_once(" -> ")) {
            let inner = kind.strip_prefix("Nullable<").and_then(|kind| kind.strip_suffix('>'));
            let nullable = if inner.is_some() { "YES" } else { "NO" };
            written.push(format!("{table}|{column}|{}|{nullable}", inner.unwrap_or(kind).to_lowercase()));
        }
    }
    assert_eq!(written, found);
}
