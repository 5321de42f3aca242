//! A real PgBouncer in transaction mode, in front of a database.

use std::fs::{self, DirEntry, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::certificates::ServerCertificate;
use super::postgres::{Folder, TestDatabase};
use super::{DEADLINE, free_address};

/// Stops when dropped.
pub struct PgBouncer {
    pub url: String,
    process: Child,
    command: Command,
    folder: Folder,
}

impl PgBouncer {
    /// On a unix socket. Fails the test if PgBouncer is not installed: a test that does not test is not
    /// passed.
    pub fn before(database: &TestDatabase) -> Self {
        Self::start(database, "listen_addr =\nlisten_port = 6432", |dir, name| {
            let socket = dir.display().to_string().replace('/', "%2F");
            format!("postgres://switchboard@{socket}:6432/{name}?pgbouncer=true")
        })
    }

    /// On a TCP port, without TLS.
    pub fn on_a_port_before(database: &TestDatabase) -> Self {
        let port = free_address().port();
        Self::start(database, &format!("listen_addr = 127.0.0.1\nlisten_port = {port}"), |_, name| {
            format!("postgres://switchboard:hunter2@127.0.0.1:{port}/{name}?application_name=test")
        })
    }

    /// On a TCP port, where it insists on TLS and shows this certificate.
    pub fn with_tls_before(database: &TestDatabase, certificate: &ServerCertificate) -> Self {
        let port = free_address().port();
        let listen = format!(
            "listen_addr = 127.0.0.1\nlisten_port = {port}\nclient_tls_sslmode = require\n\
             client_tls_key_file = {{dir}}/server.key\nclient_tls_cert_file = {{dir}}/server.crt"
        );
        Self::start(database, &listen, |dir, name| {
            certificate.write(dir);
            format!("postgres://switchboard:hunter2@127.0.0.1:{port}/{name}?application_name=test")
        })
    }

    fn start(database: &TestDatabase, listen: &str, url: impl FnOnce(&Path, &str) -> String) -> Self {
        let folder = Folder::new();
        let dir = folder.path();
        let (server, name) =
            database.url.split_once('@').expect("a user").1.split_once('/').expect("a database");
        let name = name.split('?').next().expect("a name");
        let server = server.replace("%2F", "/");
        let url = url(dir, name);
        let config = format!(
            "[databases]\n{name} = user=switchboard host={server}\n[pgbouncer]\n{}\nunix_socket_dir = {}\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 100\n",
            listen.replace("{dir}", &dir.display().to_string()),
            dir.display()
        );
        fs::write(dir.join("pgbouncer.ini"), config).expect("written");
        let log = File::create(dir.join("pgbouncer.log")).expect("a log");
        let mut command = Command::new(program());
        command.arg(dir.join("pgbouncer.ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if rustix::process::geteuid().is_root() {
            // It refuses to be root, too; and only the server's own user may reach the server's socket.
            let owner = fs::metadata(&server).expect("the server's socket");
            let give = |path: &Path| chown(path, Some(owner.uid()), Some(owner.gid())).expect("given away");
            give(dir);
            fs::read_dir(dir).expect("our folder").flatten().for_each(|entry| give(&entry.path()));
            command.uid(owner.uid()).gid(owner.gid());
        }
        // SAFETY: between fork and exec the closure makes one system call, `prctl`, and touches no memory.
        #[allow(unsafe_code)]
        unsafe {
            // It ends with the test's thread, also where nobody drops it.
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let process = run(&mut command, dir);
        Self { url, process, command, folder }
    }

    /// Kills it and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("dead");
        let sockets = fs::read_dir(self.folder.path()).expect("our folder").flatten();
        sockets.filter(is_socket).for_each(|socket| fs::remove_file(socket.path()).expect("removed"));
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        self.process = run(&mut self.command, self.folder.path());
    }
}

/// Returns when it listens.
fn run(command: &mut Command, dir: &Path) -> Child {
    let mut process = command.spawn().expect("PgBouncer: `apt-get install pgbouncer`");
    let until = Instant::now() + DEADLINE;
    while !fs::read_dir(dir).expect("our folder").flatten().any(|entry| is_socket(&entry)) {
        let ended = process.try_wait().expect("our child");
        let log = || fs::read_to_string(dir.join("pgbouncer.log")).unwrap_or_default();
        assert!(ended.is_none() && Instant::now() < until, "PgBouncer did not start: {}", log());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    process
}

fn is_socket(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_socket())
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
