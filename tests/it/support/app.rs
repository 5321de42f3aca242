//! The real program under test: `switchboard serve` as a process of its own.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, copy, sink};
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::described::Answered;
use super::postgres::{TestDatabase, phrases_dir, spool_dir};
use super::{DEADLINE, eventually};

/// What Twilio and the program under test share.
pub const AUTH_TOKEN: &str = "12345678901234567890123456789012";

/// A program that was told to end has done so within this, whoever is on the line.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

/// A running program. Its drop fails the test if a slot is still held, anything panicked up to its end, a
/// record stayed unwritten or the program did not end well.
pub struct TestApp {
    child: Child,
    /// What it says on standard error, up to its end.
    log: Option<JoinHandle<Vec<String>>>,
    pub origin: String,
    /// Whether the database is expected to be there at the end.
    expect_written: bool,
    /// It was told to end, and may be past telling its metrics.
    terminated: Cell<bool>,
    /// Where panics are ordered.
    faults: PathBuf,
    /// So many panics were ordered.
    ordered: Cell<u32>,
}

/// Settings of the program under test besides the usual ones.
#[derive(Clone)]
pub struct Setup {
    environment: Vec<(String, String)>,
    expect_written: bool,
    faults: PathBuf,
}

impl Setup {
    /// With this database and this Realtime service (an origin, `http://…`).
    pub fn new(database_url: &str, realtime: &str) -> Self {
        let realtime_url = format!("{}/v1/realtime", realtime.replacen("http", "ws", 1));
        let (spool_dir, phrases_dir) = (spool_dir(), phrases_dir());
        let faults = spool_dir.with_extension("faults");
        let environment = [
            ("BIND_ADDR", "127.0.0.1"),
            ("PORT", "0"),
            ("API_AUTH", "off"),
            ("DATABASE_URL", database_url),
            ("OPENAI_API_KEY", "sk-test"),
            ("OPENAI_REALTIME_URL", &realtime_url),
            ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
            ("RUST_LOG", "error,switchboard::serve=info"), // of which the drop reads the end
            ("SPOOL_DIR", spool_dir.to_str().expect("UTF-8")),
            ("SWITCHBOARD_FAULTS", faults.to_str().expect("UTF-8")),
            ("PHRASES_DIR", phrases_dir.to_str().expect("UTF-8")),
            ("RATE_LIMIT_API", "1000000/1m"), // tests look often
            ("RATE_LIMIT_WEBHOOK", "1000000/1m"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { environment, expect_written: true, faults }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same for another process beside this one: with folders of its own.
    pub fn anew(&self) -> Self {
        let spool_dir = spool_dir();
        let faults = spool_dir.with_extension("faults");
        let another = Self { faults, ..self.clone() };
        let faults = another.faults.to_str().expect("UTF-8").to_owned();
        another.with("SPOOL_DIR", spool_dir.to_str().expect("UTF-8")).with("SWITCHBOARD_FAULTS", &faults)
    }

    /// The folder of the spools.
    pub fn spool_dir(&self) -> PathBuf {
        let is_it = |(name, _): &&(String, String)| name == "SPOOL_DIR";
        self.environment.iter().rfind(is_it).expect("it is set").1.clone().into()
    }

    /// What the program is given to read.
    pub fn environment(self) -> Vec<(String, String)> {
        self.environment
    }

    /// The database is away, so records stay unwritten.
    pub fn without_database(mut self) -> Self {
        self.expect_written = false;
        self
    }

    /// Starts the program and waits until it listens.
    pub fn start(self) -> TestApp {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.arg("serve");
        self.run(command)
    }

    /// Starts the program with a listening socket that stays ours, as a service manager does.
    pub fn start_on(self, listener: &TcpListener) -> TestApp {
        let mut command = Command::new("sh");
        let script = r#"exec 3<&0 0</dev/null; LISTEN_FDS=1 exec "$0" serve"#;
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_switchboard"));
        command.stdin(OwnedFd::from(listener.try_clone().expect("a copy of the socket")));
        self.run(command)
    }

    /// The same with two sockets.
    pub fn start_on_both(self, first: &TcpListener, second: &TcpListener) -> TestApp {
        let second = rustix::io::dup(second).expect("a copy of the socket"); // one that a child inherits
        let mut command = Command::new("bash");
        let script = r#"exec 9<&"$1"; exec 3<&0 0</dev/null 4<&9 9<&-; LISTEN_FDS=2 exec "$0" serve"#;
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_switchboard"));
        command.arg(second.as_raw_fd().to_string());
        command.stdin(OwnedFd::from(first.try_clone().expect("a copy of the socket")));
        self.run(command)
    }

    /// Starts the program where no file can grow beyond so many KiB: a disk that fills up.
    pub fn start_with_disk(self, kib: u32) -> TestApp {
        let mut command = Command::new("sh");
        let script = r#"trap '' XFSZ; ulimit -f "$1"; exec "$0" serve"#;
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_switchboard"));
        command.arg((2 * kib).to_string()); // in blocks of 512 bytes
        self.run(command)
    }

    /// Starts the program where it may have so many file descriptors, unless it asks for more.
    pub fn start_with_descriptors(self, soft_limit: u32) -> TestApp {
        let mut command = Command::new("sh");
        let script = r#"ulimit -S -n "$1"; exec "$0" serve"#;
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_switchboard")).arg(soft_limit.to_string());
        self.run(command)
    }

    fn run(self, mut command: Command) -> TestApp {
        let mut child = command
            .env_clear()
            .envs(self.environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let log = thread::spawn(move || {
            let lines = stderr.lines().map_while(Result::ok);
            lines.inspect(|line| eprintln!("{line}")).collect()
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (first, said) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = first.send(line);
            let _ = copy(&mut stdout, &mut sink()); // it stays open
        });
        let line = said.recv_timeout(DEADLINE).expect("a line of standard output");
        let origin = line.trim().strip_prefix("switchboard listening on ").expect("the address").to_owned();
        TestApp {
            child,
            log: Some(log),
            origin,
            expect_written: self.expect_written,
            terminated: Cell::new(false),
            faults: self.faults,
            ordered: Cell::new(0),
        }
    }
}

impl TestApp {
    pub fn start(database: &TestDatabase, realtime: &str) -> Self {
        Setup::new(&database.url, realtime).start()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("dead");
        std::mem::forget(self); // nothing is expected of it any more
    }

    /// Orders a panic at this place (`actors/src/fault.rs`) and waits until it has happened, while `provoke`
    /// does what leads there.
    pub async fn panics_at(&self, place: &str, provoke: impl Future<Output = ()>) {
        std::fs::create_dir_all(&self.faults).expect("a folder for faults");
        let order = self.faults.join(place);
        std::fs::write(&order, "").expect("ordered");
        self.ordered.update(|count| count + 1);
        provoke.await;
        eventually(&format!("it panics at {place}"), async || !order.exists()).await;
    }

    /// The registry panics. The live picture is kept for a moment, so it is asked for until the registry
    /// draws it.
    pub async fn registry_panics(&self) {
        let order = self.faults.join("registry");
        let asked = eventually("the registry is asked", async || {
            drop(self.get("/api/call-monitor").await);
            !order.exists()
        });
        self.panics_at("registry", asked).await;
    }

    /// Ends the program; answers what it has said on standard error.
    pub fn log_at_its_end(mut self) -> Vec<String> {
        self.terminate();
        assert!(self.wait().is_some_and(|status| status.success()), "the program ended well");
        let log = self.log.take().and_then(|log| log.join().ok()).expect("what it said");
        std::mem::forget(self);
        log
    }

    /// Waits until the program, which was told to, has ended well.
    pub async fn ends(self) {
        assert!(self.ends_with().await.success(), "the program ended well");
    }

    /// Waits until the program has ended; nothing more is expected of it.
    pub async fn ends_with(mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", async || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        })
        .await;
        std::mem::forget(self);
        status.expect("it has ended")
    }

    /// `GET` of a JSON document; also where it is not there yet, or not now.
    pub async fn get(&self, path: &str) -> Value {
        let mut response = awc::Client::default().get(self.url(path)).send().await.expect("an answer");
        let status = response.status().as_u16();
        assert!(matches!(status, 200 | 404 | 503), "{path}: {status}");
        let body = response.body().await.expect("a body");
        is_described("GET", path, &response, &body);
        serde_json::from_slice(&body).expect("JSON")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub async fn capacity(&self) -> (u64, u64) {
        let monitor = self.get("/api/call-monitor").await;
        let number = |field: &str| monitor["capacity"][field].as_u64().expect("a number");
        (number("active"), number("reserved"))
    }

    /// Waits until no slot is held.
    pub async fn empties(&self) {
        eventually("all slots are free", async || self.capacity().await == (0, 0)).await;
    }

    /// Waits until the log has the call's end; answers the call.
    pub async fn logged(&self, call_sid: &str) -> Value {
        let mut call = Value::Null;
        eventually("the call's end is logged", async || {
            call = self.get(&format!("/api/call-logs/{call_sid}")).await;
            call["call"]["outcome"].is_string()
        })
        .await;
        call
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let mut response = awc::Client::default().get(self.url("/metrics")).send().await.expect("an answer");
        let text = String::from_utf8(response.body().await.expect("a body").to_vec()).expect("text");
        sum(&text, name)
    }

    /// Asks the program to end, as a service manager does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
        self.terminated.set(true);
    }

    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the program runs");
    }

    /// Waits until the program takes no new calls.
    pub async fn drains(&self) {
        eventually("the program drains", async || self.get("/healthz").await["status"] == "draining").await;
    }

    /// Waits until the program has ended; one that does not is killed.
    fn wait(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + ENDS_WITHIN;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
                Ok(status @ Some(_)) => return status,
                Ok(None) | Err(_) => {
                    let _ = self.child.kill();
                    return None;
                }
            }
        }
    }

    fn scrape(&self) -> Option<String> {
        let address = self.origin.strip_prefix("http://")?;
        let mut socket = std::net::TcpStream::connect(address).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        std::io::Write::write_all(&mut socket, b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).ok()?;
        Some(text)
    }
}

/// The description of the API has the answer.
pub fn is_described<S>(method: &str, path: &str, response: &awc::ClientResponse<S>, body: &[u8]) {
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
    let status = response.status().as_u16();
    assert_eq!(Answered { method, path, status, headers, body }.fault(), None);
}

fn sum(metrics: &str, name: &str) -> f64 {
    let values = metrics.lines().filter_map(|line| {
        let (key, value) = line.rsplit_once(' ')?;
        (key == name || key.strip_prefix(name)?.starts_with('{')).then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let metrics = self.scrape().unwrap_or_default();
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, Signal::TERM);
        let status = self.wait();
        if thread::panicking() {
            return;
        }
        assert!(status.is_some_and(|status| status.success()), "the program ended well");
        let log = self.log.take().and_then(|log| log.join().ok()).expect("what it said");
        let panics = log.iter().filter(|line| line.starts_with("thread '") && line.contains("panicked at"));
        assert_eq!(panics.count(), self.ordered.get() as usize, "nothing panicked unless it was ordered to");
        assert!(self.terminated.get() || !metrics.is_empty(), "the program told its metrics");
        assert_eq!(sum(&metrics, "switchboard_calls_active"), 0.0, "no call is live");
        assert_eq!(sum(&metrics, "switchboard_calls_reserved"), 0.0, "no slot is reserved");
        if self.expect_written {
            assert_eq!(sum(&metrics, "switchboard_db_unwritten_records_total"), 0.0, "no record is lost");
            let stopped = log.iter().rfind(|line| line.contains(" stopped "));
            assert!(
                stopped.is_some_and(|line| line.ends_with(" unwritten=0")),
                "every record is written: {stopped:?}"
            );
        }
    }
}
