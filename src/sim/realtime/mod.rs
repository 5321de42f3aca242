//! `sim realtime`: the simulated Realtime service. It speaks the protocol of openai-realtime.md on real
//! sockets, as strict as the real service: what that would refuse is refused in its way and counted as a
//! violation. It listens on loopback only.
//!
//! `server` has the sockets, `session` the state machine of one session, `events` and `schema` what a client
//! may say, `config` the session's settings, `vad` the hearing, `voice` the speaking, `wishes` the functions
//! that it calls, `faults` what can be made to go wrong.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::exit_status;
use crate::sim::arguments::{NOT_LOOPBACK, loopback_address};
use crate::sim::report::RealtimeReport;
use server::Service;
use session::Manners;

mod config;
mod events;
mod faults;
mod record;
mod schema;
mod server;
mod session;
mod vad;
mod voice;
mod wishes;

pub use faults::Fault;

const THINK_MS: u64 = 200;
const TRANSCRIPT_DELAY_MS: u64 = 300;

/// How the service behaves.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where to listen, on loopback; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value_t = any_port(), value_parser = loopback_address)]
    pub listen: SocketAddr,
    /// From the end of an utterance, or a response.create, to the first audio
    #[arg(long, value_name = "MS", default_value_t = THINK_MS)]
    pub think_ms: u64,
    /// From the end of an utterance to its transcript
    #[arg(long, value_name = "MS", default_value_t = TRANSCRIPT_DELAY_MS)]
    pub transcript_delay_ms: u64,
    /// Something to do wrong, as often as wanted: accept-delay=MS, session-delay=MS, refuse, quota,
    /// rate-limit=N, token-limit=N, errors=PERCENT, function-call=N, unknown-events, benign-errors, burst,
    /// close=MS, stall=MS, drop=MS, deaf=MS, slow-first-sound=MS, done-delay=MS, never-done[=PERCENT],
    /// no-sound[=PERCENT], already-active[=PERCENT], ignores-cancel[=PERCENT], other-format, omit=EVENT,
    /// repeat=EVENT
    #[arg(long = "fault", value_name = "NAME[=VALUE]")]
    pub faults: Vec<Fault>,
    /// The number before the first session's. A service that takes the place of another one draws it, so that
    /// what a caller has heard of the old one's sessions is not taken for the new one's.
    #[arg(skip = drawn())]
    pub numbers_after: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: any_port(),
            think_ms: THINK_MS,
            transcript_delay_ms: TRANSCRIPT_DELAY_MS,
            faults: Vec::new(),
            numbers_after: 0,
        }
    }
}

/// Thousands of numbers are left.
fn drawn() -> u16 {
    rand::random_range(0..48) * 1024
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A running service. Dropped, it stops in its own time; [`Server::stop`] waits.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    service: Arc<Service>,
    stop: watch::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What `GET /report` answers.
    pub fn report(&self) -> RealtimeReport {
        self.service.report(0)
    }

    /// Closes every session with 1001 and stops; the report is then final.
    pub async fn stop(self) -> RealtimeReport {
        drop(self.stop);
        // A connection needs its two seconds to close; one that hangs for longer is left to the runtime.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.serving).await;
        self.service.report(0)
    }
}

/// Starts the service in the runtime of the caller.
pub async fn start(options: Options) -> anyhow::Result<Server> {
    anyhow::ensure!(options.listen.ip().is_loopback(), NOT_LOOPBACK);
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let addr = listener.local_addr()?;
    let manners = Manners {
        think_us: options.think_ms * 1_000,
        transcript_delay_us: options.transcript_delay_ms * 1_000,
        faults: options.faults.as_slice().into(),
        responses: Arc::default(),
    };
    let service = Arc::new(Service::new(manners, options.numbers_after));
    let (stop, stopped) = watch::channel(());
    let serving = tokio::spawn(server::serve(listener, service.clone(), stopped));
    Ok(Server { addr, service, stop, serving })
}

/// The command: says where it listens, and serves until it is interrupted or terminated.
pub fn run(options: Options) -> u8 {
    let serve = async {
        let mut terminated = signal(SignalKind::terminate())?;
        let server = start(options).await?;
        println!("sim realtime listening on http://{}", server.addr());
        std::io::stdout().flush()?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminated.recv() => {}
        }
        server.stop().await;
        anyhow::Ok(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("cannot start a runtime").and_then(|runtime| runtime.block_on(serve)) {
        Ok(()) => exit_status::FINE,
        Err(error) => {
            eprintln!("sim realtime: {error:#}");
            exit_status::FAILED
        }
    }
}

#[cfg(test)]
mod tests;
