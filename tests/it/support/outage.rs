//! A PostgreSQL that goes away and comes back.

use rustix::process::{Pid, Signal};
use switchboard::private_postgres::PrivatePostgres;

use super::postgres::{Folder, TestDatabase, start_in};

/// A server of the test's own that can be stopped and started; its address stays the same.
pub struct Outage {
    folder: Folder,
    cluster: PrivatePostgres,
    pub database: TestDatabase,
    link: tempfile::TempDir,
    pub url: String,
}

/// The server is away.
pub struct Away {
    folder: Folder,
    link: tempfile::TempDir,
    pub url: String,
}

/// The server is back.
pub struct Back {
    _folder: Folder,
    _cluster: PrivatePostgres,
    _link: tempfile::TempDir,
    pub database: TestDatabase,
}

impl Back {
    pub async fn query(&self, sql: &str) -> Vec<String> {
        self.database.query(sql).await
    }
}

impl Outage {
    pub async fn prepare() -> Self {
        let folder = Folder::new();
        let cluster = start_in(folder.path());
        let database = TestDatabase::create_on(&cluster).await;
        let link = tempfile::Builder::new().prefix("switchboard-link-").tempdir().unwrap();
        let url = point(&link, &database.url);
        Self { folder, cluster, database, link, url }
    }

    pub fn begin(self) -> Away {
        self.cluster.stop();
        Away { folder: self.folder, link: self.link, url: self.url }
    }

    /// `kill -9`.
    pub fn begin_with_a_kill(self) -> Away {
        let file = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap();
        let pid = file.lines().next().unwrap().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        self.begin()
    }
}

impl Away {
    pub fn end(self) -> Back {
        let cluster = PrivatePostgres::start(self.folder.path()).unwrap();
        let name = self.url.rsplit('/').next().unwrap();
        let url = format!("{}{name}", cluster.url().split_inclusive('/').take(3).collect::<String>());
        point(&self.link, &url);
        Back { _folder: self.folder, _cluster: cluster, _link: self.link, database: TestDatabase { url } }
    }
}

/// Lets the link lead to the socket of `url`; returns the URL by way of the link.
fn point(link: &tempfile::TempDir, url: &str) -> String {
    let link = link.path().join("s");
    let encoded = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(encoded.replace("%2F", "/"), &link).unwrap();
    url.replace(encoded, &link.display().to_string().replace('/', "%2F"))
}
