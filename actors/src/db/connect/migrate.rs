//! Brings the schema up to date: embedded migrations, one starter at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel::dsl::sql;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::error::DbError;
use super::health::SchemaState;
use super::url::{BadUrl, Target};

mod steps;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations");

/// The advisory lock that migrating holds; any constant does, as long as all versions use the same.
const LOCK: i64 = 0x5377_6974_6368_6272;
/// Polled, not waited for: a waiting query would deadlock with `CREATE INDEX CONCURRENTLY`.
const LOCK_POLL: Duration = Duration::from_millis(50);
const LOCK_DEADLINE: Duration = Duration::from_secs(60);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// The port at which Supabase, and by habit others, put their transaction pooler.
const TRANSACTION_POOLER_PORT: u16 = 6543;
/// How often it is tried to catch a transaction pooler in the act.
const POOLER_TRIALS: usize = 3;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Url(#[from] BadUrl),
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    #[error(
        "migrations need a direct or session connection, and this is a transaction pooler; \
         set DIRECT_DATABASE_URL (on Supabase: port 5432)"
    )]
    TransactionPooler,
    #[error("another process has been migrating for {0:?}; try again when it is done")]
    Locked(Duration),
    #[error(
        "the role `{role}` does not own the tables, and row-level security hides their rows from it; migrate as the \
         owner, or let the owner grant its role: `GRANT owner TO {role}`"
    )]
    NotTheOwner { role: String },
    #[error(
        "a migration waited {0:?} in vain for a table that a transaction has locked, {1} times; end that transaction, \
         and migrate again"
    )]
    TableLocked(Duration, u32),
    #[error("a migration failed: {0}")]
    Failed(String),
}

impl From<diesel::result::Error> for MigrateError {
    fn from(error: diesel::result::Error) -> Self {
        match DbError::from(error) {
            DbError::Unavailable(cause) => Self::Unavailable(cause),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Applies the migrations that are missing, in order, and returns their names. Safe for several starters at
/// once: the others wait, up to 60 s, and find nothing left to do.
///
/// `url` is to be a direct or a session connection. May be awaited on any runtime: it runs on one of its own,
/// because diesel's harness blocks.
pub async fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    let target = Target::parse(url)?;
    if target.config.get_ports().contains(&TRANSACTION_POOLER_PORT) {
        return Err(MigrateError::TransactionPooler);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("db-migrate")
        .enable_all()
        .build()
        .map_err(|error| MigrateError::Failed(error.to_string()))?;
    let applied = runtime.spawn(migrate_here(target)).await;
    runtime.shutdown_background();
    applied.unwrap_or_else(|error| Err(MigrateError::Failed(error.to_string())))
}

async fn migrate_here(target: Target) -> Result<Vec<String>, MigrateError> {
    let mut connection = connect(&target).await?;
    if is_transaction_pooler(&mut connection, &target).await? {
        return Err(MigrateError::TransactionPooler);
    }
    lock(&mut connection).await?;
    steps::without_limits(&mut connection).await?;
    if let SchemaState::Hidden { role } = compare(&mut connection).await? {
        return Err(MigrateError::NotTheOwner { role });
    }
    // The lock goes with the connection.
    let applied = steps::run(connection).await?;
    Ok(known().into_iter().filter(|(version, _)| applied.contains(version)).map(|(_, name)| name).collect())
}

/// Whether a transaction pooler is seen at work between this connection and the server.
pub(in crate::db) async fn leads_through_a_pooler(
    connection: &mut Connection,
    target: &Target,
) -> Result<bool, DbError> {
    is_transaction_pooler(connection, target).await.map_err(|error| match error {
        MigrateError::Unavailable(cause) => DbError::Unavailable(cause),
        error => DbError::Refused(error.to_string()),
    })
}

async fn connect(target: &Target) -> Result<Connection, MigrateError> {
    match tokio::time::timeout(CONNECT_DEADLINE, Connection::open(target)).await {
        Ok(connection) => connection.map_err(MigrateError::Unavailable),
        Err(_) => Err(MigrateError::Unavailable(format!("no answer within {CONNECT_DEADLINE:?}"))),
    }
}

async fn lock(connection: &mut Connection) -> Result<(), MigrateError> {
    let until = Instant::now() + LOCK_DEADLINE;
    while !diesel::select(pg_try_advisory_lock(LOCK)).get_result::<bool>(connection).await? {
        if Instant::now() >= until {
            return Err(MigrateError::Locked(LOCK_DEADLINE));
        }
        sleep(LOCK_POLL).await;
    }
    Ok(())
}

/// Behind a transaction pooler a server connection is free as soon as a statement ends, so that a second
/// client can get the very one that the first has just used; then the first finds itself on another.
async fn is_transaction_pooler(first: &mut Connection, target: &Target) -> Result<bool, MigrateError> {
    let mut second = connect(target).await?;
    for _ in 0..POOLER_TRIALS {
        let before = backend(first).await?;
        let other = backend(&mut second).await?;
        if other == before || backend(first).await? != before {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn backend(connection: &mut Connection) -> QueryResult<i32> {
    diesel::select(pg_backend_pid()).get_result(connection).await
}

diesel::define_sql_function! {
    fn pg_backend_pid() -> Integer;
}
diesel::define_sql_function! {
    fn pg_try_advisory_lock(key: BigInt) -> Bool;
}
diesel::define_sql_function! {
    fn row_security_active(table: Text) -> Bool;
}
diesel::define_sql_function! {
    fn to_regclass(name: Text) -> Nullable<Text>;
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
        run_on -> Timestamp,
    }
}

/// Compares the migrations that have been applied with those this program knows.
pub(in crate::db) async fn compare(connection: &mut Connection) -> QueryResult<SchemaState> {
    let known = known();
    let exists = diesel::select(to_regclass("__diesel_schema_migrations").is_not_null());
    let older = |known: Vec<(String, String)>| SchemaState::Older {
        missing: known.into_iter().map(|(_, name)| name).collect(),
    };
    if !exists.get_result::<bool>(connection).await? {
        return Ok(older(known));
    }
    let applied: Vec<String> = __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .load(connection)
        .await?;
    if applied.is_empty() {
        // No row at all: either there is none, or none is for this role's eyes.
        let (hidden, role) = diesel::select((
            row_security_active("__diesel_schema_migrations"),
            sql::<Text>("CURRENT_USER::TEXT"),
        ))
        .get_result::<(bool, String)>(connection)
        .await?;
        return Ok(if hidden { SchemaState::Hidden { role } } else { older(known) });
    }
    let applied: BTreeSet<String> = applied.into_iter().collect();
    let foreign = applied.len() > known.iter().filter(|(version, _)| applied.contains(version)).count();
    let missing: Vec<String> =
        known.into_iter().filter(|(version, _)| !applied.contains(version)).map(|(_, name)| name).collect();
    Ok(match (missing.is_empty(), foreign) {
        (false, _) => SchemaState::Older { missing },
        (true, true) => SchemaState::Newer,
        (true, false) => SchemaState::Fits,
    })
}

/// Version and name of each embedded migration, in order.
fn known() -> Vec<(String, String)> {
    let migrations: Vec<Box<dyn Migration<Pg>>> =
        MIGRATIONS.migrations().expect("the migrations were read when the program was built");
    migrations
        .iter()
        .map(|migration| (migration.name().version().to_string(), migration.name().to_string()))
        .collect()
}
