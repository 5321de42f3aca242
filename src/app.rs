//! Settings -> App -> run -> drain: the only place where parts are wired together.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::{HttpServer, web};
use actors::call::CallSetup;
use actors::call::conversation::Rules;
use actors::db::{Db, DbSettings, SchemaState};
use actors::metrics::Metrics;
use actors::registry::Registry;
use actors::wire::realtime::socket::Endpoint;
use listenfd::ListenFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use url::Url;

use crate::http;
use crate::process_metrics::ProcessMetrics;
use crate::settings::{DatabaseSettings, Settings};

/// HTTP workers: a call's sockets and its actor share one thread. A measurement decides when this should grow.
const WORKERS: usize = 1;
/// Connections that wait to be accepted, so that a storm of webhooks is delayed, not refused.
const BACKLOG: u32 = 1024;
/// How long live calls may go on after the first signal.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// How often a draining process looks whether the last call is over.
const DRAIN_POLL: Duration = Duration::from_millis(100);
/// How long calls handed over, then requests under way, then unwritten records are waited for at the very end.
const FINISH_DEADLINE: Duration = Duration::from_secs(5);

/// What every door can reach.
pub struct App {
    pub settings: Settings,
    /// The origin that Twilio sees, for URLs that we hand out and for signatures; without path.
    pub public_url: Url,
    pub db: Db,
    pub registry: Registry,
    pub metrics: prometheus::Registry,
    pub started_at: Instant,
    draining: AtomicBool,
}

/// Why the process does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {cause}; free it, or set PORT and BIND_ADDR")]
    Bind { address: SocketAddr, cause: std::io::Error },
    #[error("the socket handed over by LISTEN_FDS cannot be used: {0}; hand over a listening TCP socket")]
    Inherited(std::io::Error),
    #[error("the database's schema is older than this program ({} missing); run `switchboard migrate`", .missing.join(", "))]
    SchemaOlder { missing: Vec<String> },
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl App {
    /// Starts the parts in order, on the current actix system; none of them waits for another machine.
    pub fn start(settings: Settings, listening_on: SocketAddr) -> anyhow::Result<Self> {
        let metrics = prometheus::Registry::new();
        metrics.register(Box::new(ProcessMetrics::new()?))?;
        let public_url = match &settings.http.public_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("http://{listening_on}"))?,
        };
        let db = Db::start(db_settings(&settings.db), &metrics)?;
        let setup = Arc::new(call_setup(&settings, &db, &metrics));
        let registry = Registry::start(settings.registry.max_concurrent_calls, setup);
        Ok(Self {
            settings,
            public_url,
            db,
            registry,
            metrics,
            started_at: Instant::now(),
            draining: AtomicBool::new(false),
        })
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// No new calls from now on; those on the line go on.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        if let Err(error) = self.registry.drain().await {
            tracing::error!(%error, "draining without the registry");
        }
    }

    /// Waits for the calls on the line; those that go on for too long are handed to the human fallback.
    async fn let_calls_end(&self) {
        self.drain().await;
        tracing::info!(calls = self.registry.capacity().active, "draining");
        if timeout(DRAIN_DEADLINE, self.last_call_is_over()).await.is_ok() {
            return;
        }
        tracing::warn!(calls = self.registry.capacity().active, "handing over the calls that are left");
        if self.registry.shut_down().await.is_ok() {
            let _ = timeout(FINISH_DEADLINE, self.last_call_is_over()).await;
        }
    }

    async fn last_call_is_over(&self) {
        loop {
            let capacity = self.registry.capacity();
            if capacity.active + capacity.reserved == 0 {
                return;
            }
            sleep(DRAIN_POLL).await;
        }
    }
}

/// Serves until a signal: the first SIGTERM or SIGINT drains, a second one stops at once.
pub async fn run(settings: Settings) -> Result<(), StartError> {
    let mut signals = Signals::new()?;
    let listener = listen(settings.http.bind)?;
    let address = listener.local_addr().map_err(StartError::Inherited)?;
    let app = web::Data::new(App::start(settings, address)?);
    check_schema(&app.db).await?;

    let data = app.clone();
    let server =
        HttpServer::new(move || actix_web::App::new().app_data(data.clone()).configure(http::routes))
            .workers(WORKERS)
            .tcp_nodelay(true)
            .disable_signals()
            .shutdown_timeout(FINISH_DEADLINE.as_secs())
            .listen(listener)
            .map_err(|cause| StartError::Bind { address, cause })?
            .run();
    let handle = server.handle();
    let serving = actix_rt::spawn(server);
    announce(address);

    signals.next().await;
    let graceful = tokio::select! {
        () = app.let_calls_end() => true,
        () = signals.next() => false,
    };
    tokio::select! {
        () = handle.stop(graceful) => {}
        () = signals.next() => handle.stop(false).await,
    }
    serving.abort();
    let unwritten = app.db.finish(FINISH_DEADLINE).await;
    tracing::info!(graceful, unwritten, "stopped");
    Ok(())
}

/// The socket handed over by whoever started us, so that a restart refuses nobody; otherwise one of our own.
fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let inherited = ListenFd::from_env().take_tcp_listener(0).map_err(StartError::Inherited)?;
    if let Some(listener) = inherited {
        return Ok(listener);
    }
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bind().map_err(|cause| StartError::Bind { address, cause })
}

/// A schema too old would fail every write: better not to start. A database that is away is no reason not to.
async fn check_schema(db: &Db) -> Result<(), StartError> {
    match db.check_schema().await {
        Ok(SchemaState::Older { missing }) => return Err(StartError::SchemaOlder { missing }),
        Ok(SchemaState::Newer) => tracing::warn!("the database's schema is newer than this program"),
        Ok(SchemaState::Fits | SchemaState::Unknown) => {}
        Err(error) => tracing::warn!(%error, "starting without the database"),
    }
    Ok(())
}

/// The first line on standard output, for people and for programs that start us.
fn announce(address: SocketAddr) {
    let mut stdout = std::io::stdout();
    let said = writeln!(stdout, "switchboard listening on http://{address}").and_then(|()| stdout.flush());
    if let Err(error) = said {
        tracing::warn!(%error, "standard output is closed");
    }
}

/// What all calls share.
fn call_setup(settings: &Settings, db: &Db, metrics: &prometheus::Registry) -> CallSetup {
    CallSetup {
        instance: settings.instance_id.clone(),
        persona: settings.persona.clone(),
        endpoint: Endpoint {
            url: settings.realtime.url.to_string(),
            model: settings.realtime.model.clone(),
            api_key: settings.realtime.api_key.clone(),
        },
        rules: Rules { barge_in_min_ms: 0, jitter_seed: rand::random() },
        ledger: Arc::new(db.clone()),
        metrics: Metrics::register(metrics),
    }
}

fn db_settings(settings: &DatabaseSettings) -> DbSettings {
    DbSettings {
        url: settings.url.expose().to_owned(),
        direct_url: settings.direct_url.expose().to_owned(),
        pool_max: settings.pool_max,
        idle_timeout: settings.idle_timeout,
        connect_timeout: settings.connect_timeout,
    }
}

/// SIGTERM and SIGINT, which mean the same to us.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, StartError> {
        let of = |kind| signal(kind).map_err(|error| StartError::Internal(error.into()));
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
