//! A real nginx or HAProxy that ends TLS in front of the program, with the configuration of `deploy/`.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::DEADLINE;
use super::certificates::ServerCertificate;
use super::postgres::Folder;

/// Stops when dropped.
pub struct TlsProxy {
    pub origin: String,
    process: Child,
    _folder: Folder,
}

impl TlsProxy {
    /// Shows this certificate and forwards to this address. Fails the test if nginx is not installed.
    pub fn nginx(listen: SocketAddr, certificate: &ServerCertificate, program: SocketAddr) -> Self {
        let folder = Folder::new();
        let dir = folder.path();
        certificate.write(dir);
        let deployed = filled(
            include_str!("../../../deploy/nginx.conf"),
            &[
                ("listen 443 ssl;", &format!("listen {listen} ssl;")),
                ("server 127.0.0.1:8080;", &format!("server {program};")),
                ("/etc/ssl/switchboard/server.crt;", &format!("{}/server.crt;", dir.display())),
                ("/etc/ssl/switchboard/server.key;", &format!("{}/server.key;", dir.display())),
            ],
        );
        // What a distribution has in its own `nginx.conf`. Only root may choose a user, and its folder is its
        // own.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};", dir.display()))
            .join(" ");
        let main = format!(
            "daemon off; {user} pid {}/nginx.pid; events {{}}\nhttp {{ access_log off; {temporary}\n{deployed}}}\n",
            dir.display()
        );
        fs::write(dir.join("nginx.conf"), main).expect("written");
        let mut command = Command::new(installed("nginx"));
        command.args(["-e", "stderr", "-g", "error_log stderr;", "-c"]).arg(dir.join("nginx.conf"));
        Self::start("nginx", command, listen, folder)
    }

    /// The same with HAProxy.
    pub fn haproxy(listen: SocketAddr, certificate: &ServerCertificate, program: SocketAddr) -> Self {
        let folder = Folder::new();
        let dir = folder.path();
        certificate.write(dir);
        let read = |name: &str| fs::read_to_string(dir.join(name)).expect("it was written");
        fs::write(dir.join("server.pem"), read("server.crt") + &read("server.key")).expect("written");
        let deployed = filled(
            include_str!("../../../deploy/haproxy.cfg"),
            &[
                ("bind :443 ssl", &format!("bind {listen} ssl")),
                ("server serve 127.0.0.1:8080", &format!("server serve {program}")),
                ("/etc/ssl/switchboard/server.pem", &format!("{}/server.pem", dir.display())),
            ],
        );
        // One thread, as nginx has one worker: each has connections of its own to the program.
        let config = format!("global\n    nbthread 1\n{deployed}");
        fs::write(dir.join("haproxy.cfg"), config).expect("written");
        let mut command = Command::new(installed("haproxy"));
        command.arg("-db").arg("-f").arg(dir.join("haproxy.cfg"));
        Self::start("haproxy", command, listen, folder)
    }

    fn start(name: &str, mut command: Command, listen: SocketAddr, folder: Folder) -> Self {
        let log = folder.path().join("log");
        let stderr = File::create(&log).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        // SAFETY: between fork and exec the closure makes one system call, `prctl`, and touches no memory.
        #[allow(unsafe_code)]
        unsafe {
            // It ends with the test's thread, also where nobody drops it, and takes its workers with it.
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        let process = command.spawn().unwrap_or_else(|_| panic!("{name}: `apt-get install {name}`"));
        let mut proxy = Self { origin: format!("https://{listen}"), process, _folder: folder };
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(listen).is_err() {
            let ended = proxy.process.try_wait().expect("our child");
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "{name} did not start: {}", said());
            thread::sleep(Duration::from_millis(10));
        }
        proxy
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM); // so that its workers end, too
        let until = Instant::now() + DEADLINE;
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > until {
                let _ = self.process.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The configuration with other addresses and files: each of those that are replaced is there once.
fn filled(template: &str, with: &[(&str, &String)]) -> String {
    with.iter().fold(template.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

/// Debian keeps it where only root's PATH leads.
fn installed(name: &str) -> String {
    let debian = format!("/usr/sbin/{name}");
    if Path::new(&debian).exists() { debian } else { name.to_owned() }
}
