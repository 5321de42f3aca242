//! A real Redis on a port and in a folder of its own. It needs nothing else, so that other tests share it.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tempfile::TempDir;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Stops when dropped.
pub struct RedisServer {
    address: SocketAddr,
    arguments: Vec<String>,
    process: Option<Child>,
    folder: TempDir,
}

impl RedisServer {
    /// At a free address, with further settings. Fails the test if Redis is not installed.
    pub fn start(address: SocketAddr, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let folder = TempDir::new().expect("a folder");
        let mut server = Self { address, arguments, process: None, folder };
        server.start_again();
        server
    }

    /// For `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Starts where it was, and remembers nothing. Returns when it listens.
    pub fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        let port = self.address.port().to_string();
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir"]);
        command.arg(self.folder.path()).args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: between fork and exec the closure makes one system call, `prctl`, and touches no memory.
        #[allow(unsafe_code)]
        unsafe {
            // It ends with the test's thread, also where nobody drops it.
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut process = command.spawn().expect("Redis: `apt-get install redis-server`");
        let until = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(self.address).is_err() {
            let ended = process.try_wait().expect("our child");
            assert!(ended.is_none() && Instant::now() < until, "Redis did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("dead");
        }
    }

    /// Stops it, so that it accepts and answers nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).expect("our child");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
