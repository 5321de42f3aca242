//! A PostgreSQL on a TCP port, with TLS.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tokio_postgres::NoTls;

use super::certificates::ServerCertificate;
use super::postgres::{Folder, TestDatabase, start_in};
use super::{DEADLINE, free_address};

/// Stops when dropped.
pub struct PostgresWithTls {
    /// With the schema in it; without `sslmode`.
    pub url: String,
    process: Child,
    _folder: Folder,
}

impl PostgresWithTls {
    /// Shows this certificate.
    pub async fn start(certificate: &ServerCertificate) -> Self {
        let folder = Folder::new();
        let cluster = start_in(folder.path());
        let database = TestDatabase::create_on(&cluster).await;
        cluster.stop();

        let data = folder.path().join("data");
        let owner = fs::metadata(&data).expect("the cluster");
        certificate.write(&data);
        let key = data.join("server.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
        for file in [&key, &data.join("server.crt")] {
            chown(file, Some(owner.uid()), Some(owner.gid())).expect("given away");
        }
        let port = free_address().port();
        let mut command = Command::new(program());
        command.arg("-D").arg(&data).current_dir(folder.path());
        for setting in ["listen_addresses=127.0.0.1", "ssl=on", "unix_socket_directories="] {
            command.arg("-c").arg(setting);
        }
        command
            .arg("-c")
            .arg(format!("port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let process = command.spawn().expect("PostgreSQL starts");
        let name = database.url.rsplit('/').next().and_then(|name| name.split('?').next()).expect("a name");
        let url = format!("postgres://switchboard:hunter2@127.0.0.1:{port}/{name}");
        let until = Instant::now() + DEADLINE;
        while tokio_postgres::connect(&url, NoTls).await.is_err() {
            assert!(Instant::now() < until, "PostgreSQL did not start");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Self { url, process, _folder: folder }
    }
}

impl Drop for PostgresWithTls {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.process.wait();
    }
}

/// Of the version that made the cluster: the newest.
fn program() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    newest.map_or_else(
        || "postgres".into(),
        |version| format!("/usr/lib/postgresql/{version}/bin/postgres").into(),
    )
}
