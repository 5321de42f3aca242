//! One private PostgreSQL for all tests of the process, and a database of its own for each test.
//!
//! A cluster is made once, with a database that has the schema. Every server of the tests has a copy of it,
//! and every test's database is a copy of that database.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};
use std::thread;

use switchboard::private_postgres::PrivatePostgres;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const FOLDER: &str = "switchboard-test-";
/// The database that has the schema. Nobody connects to it, or it could not be copied.
const WITH_SCHEMA: &str = "with_schema";
/// Tells tests that are started as another process where the cluster is.
pub const MADE_IN: &str = "SWITCHBOARD_TEST_CLUSTER";
/// Many tests run at once. What a server of theirs has written need not outlive the machine.
const SETTINGS: [&str; 3] = ["max_connections = 300", "fsync = off", "full_page_writes = off"];

/// A database that only one test uses.
pub struct TestDatabase {
    pub url: String,
}

impl TestDatabase {
    /// With the schema in it.
    pub async fn create() -> Self {
        Self::create_on(cluster()).await
    }

    /// Without anything in it.
    pub async fn empty() -> Self {
        Self::copied(cluster(), "template1").await
    }

    /// With the schema in it, on a server of the test's own.
    pub async fn create_on(cluster: &PrivatePostgres) -> Self {
        Self::copied(cluster, WITH_SCHEMA).await
    }

    async fn copied(cluster: &PrivatePostgres, template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        query(cluster.url(), &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        Self { url: in_database(cluster, &name) }
    }

    /// The answer's rows, each with its columns joined by `|`.
    pub async fn query(&self, sql: &str) -> Vec<String> {
        query(&self.url, sql).await
    }

    /// The only row and column of the answer.
    pub async fn value(&self, sql: &str) -> String {
        self.query(sql).await.pop().expect("a row")
    }
}

/// Connects as any client would, not as the program does.
pub async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connected");
    tokio::spawn(connection);
    client
}

async fn query(url: &str, sql: &str) -> Vec<String> {
    let answer = client(url).await.simple_query(sql).await.expect("answered");
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).unwrap_or("∅")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    answer.into_iter().filter_map(row).collect()
}

/// The shared server: it stops with the process.
fn cluster() -> &'static PrivatePostgres {
    static CLUSTER: OnceLock<PrivatePostgres> = OnceLock::new();
    CLUSTER.get_or_init(|| start_in(&folder().join("shared")))
}

/// Starts a server in this empty folder.
pub fn start_in(folder: &Path) -> PrivatePostgres {
    std::fs::create_dir_all(folder).expect("a folder");
    let data = made().join("data");
    let copied = Command::new("cp").arg("-a").arg(data).arg(folder).status().expect("`cp` is there");
    assert!(copied.success(), "the cluster is copied");
    PrivatePostgres::start(folder).expect("a private PostgreSQL")
}

/// The cluster of which the others are copies; no server runs on it. Tests that are started by a test use its
/// cluster.
pub fn made() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        if let Some(folder) = std::env::var_os(MADE_IN) {
            return folder.into();
        }
        let folder = folder().join("made");
        let cluster = PrivatePostgres::start(&folder).expect("a private PostgreSQL");
        thread::scope(|scope| scope.spawn(|| furnish(&cluster)).join()).expect("it is furnished");
        cluster.stop();
        folder
    })
}

/// Blocks; not to be called on a runtime's thread.
#[tokio::main(flavor = "current_thread")]
async fn furnish(cluster: &PrivatePostgres) {
    query(cluster.url(), &format!("CREATE DATABASE {WITH_SCHEMA}")).await;
    actors::db::migrate::migrate(&in_database(cluster, WITH_SCHEMA)).await.expect("migrated");
    for setting in SETTINGS {
        query(cluster.url(), &format!("ALTER SYSTEM SET {setting}")).await;
    }
}

fn in_database(cluster: &PrivatePostgres, name: &str) -> String {
    cluster.url().replace("/postgres?", &format!("/{name}?"))
}

/// A folder for spools that nobody else uses.
pub fn spool_dir() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    folder().join(format!("spool-{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
}

/// The folder for phrases that all tests share: what one has had rendered serves the next.
pub fn phrases_dir() -> PathBuf {
    folder().join("phrases")
}

/// A folder for what one test makes and others use; the next run removes it.
pub fn shared_folder(name: &str) -> PathBuf {
    folder().join(name)
}

/// The folder of this run; the next one removes it.
fn folder() -> PathBuf {
    static REMOVED: Once = Once::new();
    REMOVED.call_once(remove_what_earlier_runs_left);
    std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()))
}

fn remove_what_earlier_runs_left() {
    for entry in std::fs::read_dir(std::env::temp_dir()).expect("a temporary folder").flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A folder for a server of the test's own; gone when dropped, or with the folder of the run.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let run = folder();
        std::fs::create_dir_all(&run).expect("a folder");
        let own = tempfile::Builder::new().prefix("own-").tempdir_in(run).expect("a folder");
        Self(own.keep())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
