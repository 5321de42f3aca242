//! What is measured: the program or the bare relay, as a process of its own.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use switchboard::private_postgres::PrivatePostgres;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::certificate;
use crate::place::Place;
use crate::program::{self, Process};

/// The environment variable that makes this program a subject; it says which.
pub const KIND: &str = "CALL_PATH_SUBJECT";
/// Where a subject finds the service.
pub const SERVICE: &str = "OPENAI_REALTIME_URL";

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Relay,
    /// The relay with the marks that the program sends.
    RelayMarks,
    Program,
    /// The program, with the streams on another thread than the calls' actors.
    Across,
    /// With TLS on the way to the service.
    RelayTls,
    ProgramTls,
    /// The program with its flight recorder on.
    Recorded,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::RelayMarks => "relay+marks",
            Self::Program => "program",
            Self::Across => "across",
            Self::RelayTls => "relay-tls",
            Self::ProgramTls => "program-tls",
            Self::Recorded => "recorded",
        }
    }

    /// It knows neither webhooks nor sessions.
    pub fn is_bare(self) -> bool {
        matches!(self, Self::Relay | Self::RelayMarks | Self::RelayTls)
    }

    pub fn has_tls(self) -> bool {
        matches!(self, Self::RelayTls | Self::ProgramTls)
    }

    fn command(self) -> anyhow::Result<Command> {
        Ok(match self {
            Self::Program | Self::ProgramTls | Self::Recorded => program::serve(),
            Self::Relay | Self::RelayMarks | Self::RelayTls | Self::Across => {
                Command::new(std::env::current_exe()?)
            }
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What all subjects stand on.
pub struct Ground {
    pub postgres: PrivatePostgres,
    folder: TempDir,
    pub place: Place,
    /// The service's end of TLS.
    pub tls: TlsAcceptor,
}

impl Ground {
    pub fn lay() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let postgres = PrivatePostgres::start(folder.path())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(actors::db::migrate::migrate(postgres.url()))?;
        let tls = certificate::issue(&ca_file(&folder))?;
        Ok(Self { postgres, folder, place: Place::choose()?, tls })
    }
}

fn ca_file(folder: &TempDir) -> PathBuf {
    folder.path().join("ca.crt")
}

/// A running process; its drop kills it.
pub struct Subject(Process);

impl Subject {
    /// Starts it and waits until it listens. It connects its calls to `service`, and takes `calls` at most.
    pub fn start(kind: Kind, service: SocketAddr, ground: &Ground, calls: u32) -> anyhow::Result<Self> {
        Self::start_as(kind.command()?, kind, service, ground, calls)
    }

    /// The same with a command of another kind, which starts it in the end.
    pub fn start_as(
        mut command: Command,
        kind: Kind,
        service: SocketAddr,
        ground: &Ground,
        calls: u32,
    ) -> anyhow::Result<Self> {
        program::set(&mut command, ground.postgres.url(), ground.folder.path());
        let scheme = if kind.has_tls() { "wss" } else { "ws" };
        command
            .env(KIND, kind.as_str())
            .env("INSTANCE_ID", kind.as_str())
            .env("MAX_CONCURRENT_CALLS", calls.to_string())
            .env("FLIGHT_RECORDER", if kind == Kind::Recorded { "full" } else { "off" })
            .env("FLIGHT_RECORDER_DIR", ground.folder.path().join("recordings"))
            .env(SERVICE, format!("{scheme}://{service}/v1/realtime"))
            .env("SSL_CERT_FILE", ca_file(&ground.folder));
        ground.place.take_for(kind)?;
        Ok(Self(Process::start(command).with_context(|| format!("the {kind}"))?))
    }

    /// Where it takes media streams.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// CPU time of the threads that it has, by the scheduler: `proc_pid_stat(5)` has it in steps of 10 ms.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(self.proc("task"))? {
            // One that has just ended has no file any more.
            let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let on_cpu = schedstat.split(' ').next().context("the time on the CPU")?;
            nanoseconds += on_cpu.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a `VmRSS` line")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0.child.id()))
    }
}
