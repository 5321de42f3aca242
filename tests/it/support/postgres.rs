//! One private PostgreSQL for all tests of the process, and a database of its own for each test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};

use switchboard::private_postgres::PrivatePostgres;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const FOLDER: &str = "switchboard-test-";

/// A database that only one test uses.
pub struct TestDatabase {
    pub url: String,
}

impl TestDatabase {
    /// With the schema in it.
    pub async fn create() -> Self {
        let database = Self::empty().await;
        actors::db::migrate::migrate(&database.url).await.expect("migrated");
        database
    }

    /// Without anything in it.
    pub async fn empty() -> Self {
        Self::on(cluster()).await
    }

    /// On a server of the test's own.
    pub async fn on(cluster: &PrivatePostgres) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        query(cluster.url(), &format!("CREATE DATABASE {name}")).await;
        Self { url: cluster.url().replace("/postgres?", &format!("/{name}?")) }
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
    CLUSTER.get_or_init(|| PrivatePostgres::start(&folder()).expect("a private PostgreSQL"))
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

/// A folder for a server of the test's own; gone when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("switchboard-own-").tempdir().expect("a folder");
        Self(folder.keep())
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
