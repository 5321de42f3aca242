//! Runs the migrations that are missing, one by one, so that each can be repeated after a failure.
//!
//! The limits of the role or the database do not apply: a query of the program has 2 s, an index may take
//! many minutes. A step in a transaction waits briefly for a lock on a table, because all queries of that
//! table wait behind it; then it makes room and tries again. An index that is built outside a transaction
//! locks nobody out, and waits for all transactions that are older than itself. If its building fails, it
//! stays behind as INVALID: the next run drops it.

use std::collections::BTreeSet;
use std::time::Duration;

use call_control::backoff::jittered;
use diesel::migration::Migration;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::MigrationHarness;
use tokio::time::sleep;

use super::{MIGRATIONS, MigrateError};
use crate::db::connect::connection::Connection;

/// A step in a transaction waits for a lock at most this long, this many times.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
const LOCK_TRIALS: u32 = 10;
/// The pause between two trials at most; jitter shortens it.
const LOCK_PAUSE: Duration = Duration::from_secs(3);
/// A statement outside a transaction takes at most this long.
const INDEX_TIMEOUT: Duration = Duration::from_secs(4 * 3600);

/// Lifts the limits that the role or the database sets; some of them are unknown to older servers.
pub(super) async fn without_limits(connection: &mut Connection) -> QueryResult<()> {
    let lift = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN (
        'statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout',
        'idle_session_timeout'
    )";
    connection.batch_execute(lift).await?;
    // Diesel makes its table before each migration, and the server notes each time that it is there.
    connection.batch_execute("SET client_min_messages = warning").await
}

/// A migration that is missing.
struct Step {
    version: String,
    name: String,
    in_transaction: bool,
}

/// Applies what is missing, in order; the versions that were applied.
pub(super) async fn run(mut connection: Connection) -> Result<BTreeSet<String>, MigrateError> {
    let steps;
    (connection, steps) = missing(connection);
    let mut applied = BTreeSet::new();
    for step in steps.map_err(MigrateError::Failed)? {
        let mut trial = 0;
        loop {
            trial += 1;
            prepare(&mut connection, &step).await?;
            let ran;
            (connection, ran) = run_next(connection);
            match ran {
                Ok(()) => break,
                Err(error) if !is_locked_out(&error) => return Err(MigrateError::Failed(error)),
                Err(_) if trial == LOCK_TRIALS => {
                    return Err(MigrateError::TableLocked(LOCK_TIMEOUT, LOCK_TRIALS));
                }
                Err(error) => {
                    let migration = &step.name;
                    tracing::warn!(
                        migration,
                        trial,
                        error,
                        "a table is locked; the migration is tried again"
                    );
                    sleep(jittered(LOCK_PAUSE, rand::random())).await;
                }
            }
        }
        applied.insert(step.version);
    }
    Ok(applied)
}

fn missing(connection: Connection) -> (Connection, Result<Vec<Step>, String>) {
    let mut harness = AsyncMigrationHarness::new(connection);
    let steps = MigrationHarness::pending_migrations(&mut harness, MIGRATIONS).map(|pending| {
        let step = |migration: &dyn Migration<Pg>| Step {
            version: migration.name().version().to_string(),
            name: migration.name().to_string(),
            in_transaction: migration.metadata().run_in_transaction(),
        };
        pending.iter().map(|migration| step(migration.as_ref())).collect()
    });
    (harness.into_inner(), steps.map_err(|error| error.to_string()))
}

/// Runs the first that is missing.
fn run_next(connection: Connection) -> (Connection, Result<(), String>) {
    let mut harness = AsyncMigrationHarness::new(connection);
    let ran = harness.run_next_migration(MIGRATIONS).map(drop).map_err(|error| error.to_string());
    (harness.into_inner(), ran)
}

/// Sets the step's limits, and drops what a failed run of it left.
async fn prepare(connection: &mut Connection, step: &Step) -> QueryResult<()> {
    let (lock, statement) =
        if step.in_transaction { (LOCK_TIMEOUT, Duration::ZERO) } else { (Duration::ZERO, INDEX_TIMEOUT) };
    let (lock, statement) = (lock.as_millis(), statement.as_millis());
    let limits = format!("SET lock_timeout = {lock}; SET statement_timeout = {statement}");
    connection.batch_execute(&limits).await?;
    let Some(index) = index_of(&step.name).filter(|_| !step.in_transaction) else {
        return Ok(());
    };
    let invalid = diesel::dsl::sql::<Bool>(
        "SELECT EXISTS (
            SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE NOT indisvalid AND relnamespace = current_schema()::REGNAMESPACE AND relname = ",
    )
    .bind::<Text, _>(index)
    .sql(")");
    if invalid.get_result::<bool>(connection).await? {
        tracing::warn!(index, "an index whose building failed is dropped");
        connection.batch_execute(&format!("DROP INDEX CONCURRENTLY IF EXISTS {index}")).await?;
    }
    Ok(())
}

/// The index that a migration outside a transaction builds: each of them is named for it, behind its version.
fn index_of(migration: &str) -> Option<&str> {
    let (_, index) = migration.split_once('_')?;
    let is_plain = index.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (is_plain && !index.is_empty()).then_some(index)
}

/// A lock was not granted in time.
fn is_locked_out(error: &str) -> bool {
    error.contains("55P03")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_step_outside_a_transaction_builds_the_index_it_is_named_for_and_can_be_repeated() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut steps = 0;
        for migration in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let is_outside = std::fs::read_to_string(migration.path().join("metadata.toml"))
                .is_ok_and(|metadata| metadata.contains("run_in_transaction = false"));
            if is_outside {
                steps += 1;
                let name = migration.file_name().into_string().unwrap();
                let sql = std::fs::read_to_string(migration.path().join("up.sql")).unwrap();
                let sql: Vec<&str> = sql.lines().filter(|line| !line.starts_with("--")).collect();
                let sql = sql.join("\n");
                let build =
                    format!("CREATE INDEX CONCURRENTLY IF NOT EXISTS {} ON", index_of(&name).unwrap());
                assert!(sql.contains(&build), "{name}: {sql}");
                assert_eq!(sql.matches(';').count(), 1, "{name}: one statement, or half of it may be done");
            }
        }
        assert!(steps >= 7, "{steps}");
    }

    #[test]
    fn only_a_name_that_needs_no_quotes_is_an_index() {
        assert_eq!(index_of("2026-11-23-000022_calls_by_caller"), Some("calls_by_caller"));
        for strange in ["2026-11-23-000022", "20_", "20_a; DROP TABLE calls", "20_A\""] {
            assert_eq!(index_of(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_lock_that_was_not_granted_is_told_from_other_failures() {
        assert!(is_locked_out("Failed to run: 55P03 canceling statement due to lock timeout"));
        assert!(!is_locked_out("57014 canceling statement due to statement timeout"));
    }
}
