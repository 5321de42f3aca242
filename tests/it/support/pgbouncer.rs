//! A real PgBouncer in transaction mode, in front of a database.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::DEADLINE;
use super::postgres::{Folder, TestDatabase};

/// Stops when dropped.
pub struct PgBouncer {
    pub url: String,
    process: Child,
    _folder: Folder,
}

impl PgBouncer {
    /// Fails the test if PgBouncer is not installed: a test that does not test is not passed.
    pub fn before(database: &TestDatabase) -> Self {
        let folder = Folder::new();
        let dir = folder.path();
        let (server, name) =
            database.url.split_once('@').expect("a user").1.split_once('/').expect("a database");
        let name = name.split('?').next().expect("a name");
        let server = server.replace("%2F", "/");
        let config = format!(
            "[databases]\n{name} = user=switchboard host={server}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 100\n",
            dir.display()
        );
        fs::write(dir.join("pgbouncer.ini"), config).expect("written");
        let log = File::create(dir.join("pgbouncer.log")).expect("a log");
        let mut command = Command::new(program());
        command.arg(dir.join("pgbouncer.ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if rustix::process::geteuid().is_root() {
            // It refuses to be root, too; and only the server's own user may reach the server's socket.
            let owner = fs::metadata(&server).expect("the server's socket");
            chown(dir, Some(owner.uid()), Some(owner.gid())).expect("given away");
            command.uid(owner.uid()).gid(owner.gid());
        }
        let mut process = command.spawn().expect("PgBouncer: `apt-get install pgbouncer`");
        let until = Instant::now() + DEADLINE;
        while !dir.join(".s.PGSQL.6432").exists() {
            let ended = process.try_wait().expect("our child");
            let log = || fs::read_to_string(dir.join("pgbouncer.log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "PgBouncer did not start: {}", log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let socket = dir.display().to_string().replace('/', "%2F");
        let url = format!("postgres://switchboard@{socket}:6432/{name}?sslmode=disable&pgbouncer=true");
        Self { url, process, _folder: folder }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian keeps it where only root's PATH leads.
fn program() -> &'static Path {
    let debian = Path::new("/usr/sbin/pgbouncer");
    if debian.exists() { debian } else { Path::new("pgbouncer") }
}
