//! What is measured: the program or the bare relay, as a process of its own.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::bare;

/// What Twilio and the program share.
pub const AUTH_TOKEN: &str = "12345678901234567890123456789012";

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Relay,
    Program,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Relay => "relay",
            Self::Program => "program",
        })
    }
}

/// A running process; its drop kills it.
pub struct Subject {
    child: Child,
    /// Where it takes media streams.
    pub address: SocketAddr,
}

impl Subject {
    /// Starts it and waits until it listens. It connects its calls to `service`, and takes `calls` at most.
    pub fn start(kind: Kind, service: SocketAddr, database_url: &str, calls: u32) -> anyhow::Result<Self> {
        let service = format!("ws://{service}/v1/realtime");
        let mut command = match kind {
            Kind::Relay => {
                let mut command = Command::new(std::env::current_exe()?);
                command.env_clear().env(bare::SERVICE, service);
                command
            }
            Kind::Program => program("serve", database_url, &service, calls),
        };
        let child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("the {kind} starts"))?;
        let mut subject = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        let stdout = subject.child.stdout.as_mut().context("its standard output is a pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().rsplit_once("http://").and_then(|(_, address)| address.parse().ok());
        subject.address = address.with_context(|| format!("the {kind} says where it listens"))?;
        Ok(subject)
    }

    /// CPU time that all its threads have used, in steps of 10 ms (`proc_pid_stat(5)`: `utime` and `stime`).
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, after_name) = stat.rsplit_once(") ").context("a stat line")?;
        let ticks = after_name.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a `VmRSS` line")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Brings the database's schema up to date.
pub fn migrate(database_url: &str) -> anyhow::Result<()> {
    let output = program("migrate", database_url, "ws://127.0.0.1:9/v1/realtime", 1).output()?;
    if !output.status.success() {
        bail!("the database is not ready: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn program(subcommand: &str, database_url: &str, service: &str, calls: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.arg(subcommand).env_clear().envs([
        ("BIND_ADDR", "127.0.0.1"),
        ("PORT", "0"),
        ("API_AUTH", "off"),
        ("MAX_CONCURRENT_CALLS", &calls.to_string()),
        ("RATE_LIMIT_WEBHOOK", "1000000/1m"),
        ("DATABASE_URL", database_url),
        ("OPENAI_API_KEY", "sk-bench"),
        ("OPENAI_REALTIME_URL", service),
        ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
        ("RUST_LOG", "warn"),
    ]);
    command
}
