//! The program as a process of its own, which knows nothing of this machine and asks nobody beyond it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// What Twilio and the program share.
pub const AUTH_TOKEN: &str = "12345678901234567890123456789012";

/// `switchboard serve`: of the program that `BENCH_PROGRAM` names, else of the one built with the benches,
/// which can be told to panic.
pub fn serve() -> Command {
    let built = || env!("CARGO_BIN_EXE_switchboard").into();
    let mut command = Command::new(std::env::var_os("BENCH_PROGRAM").unwrap_or_else(built));
    command.arg("serve");
    command
}

/// Gives it settings, and nothing else of this process's environment. `folder` is for what it keeps.
pub fn set(command: &mut Command, database_url: &str, folder: &Path) {
    command.env_clear().env("SPOOL_DIR", folder.join("spool")).envs([
        ("BIND_ADDR", "127.0.0.1"),
        ("PORT", "0"),
        ("API_AUTH", "off"),
        ("RATE_LIMIT_API", "1000000/1m"),
        ("RATE_LIMIT_AUTH", "1000000/1m"),
        ("RATE_LIMIT_WEBHOOK", "1000000/1m"),
        ("DATABASE_URL", database_url),
        ("OPENAI_API_KEY", "sk-bench"),
        ("OPENAI_REALTIME_URL", "ws://127.0.0.1:9/v1/realtime"),
        ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
        ("AGENT_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/support/agent.toml")),
        ("RUST_LOG", "warn"),
    ]);
}

/// It runs; its drop kills it.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
}

impl Process {
    /// Starts it and waits until it says, at the end of its first line, where it listens.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let child = command.stdout(Stdio::piped()).spawn().context("the program starts")?;
        let mut process = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        let stdout = process.child.stdout.as_mut().context("its standard output is a pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().rsplit_once("http://").and_then(|(_, address)| address.parse().ok());
        process.address = address.context("it says where it listens")?;
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
