//! Settings -> App: the only place where parts are wired together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actors::alerts::{self, Board, UrgentCalls, UrgentLedger};
use actors::call::conversation::Rules;
use actors::call::current::CurrentPersona;
use actors::call::flow::person::seal::Seal;
use actors::call::phrases::book::PhraseBook;
use actors::call::pump::Pump;
use actors::call::recorder::Recorder;
use actors::call::{CallSetup, ToolRunner};
use actors::db::{BadUrl, Db, DbStartError, SpoolError};
use actors::metrics::{MetricSet as _, Metrics, Registrar};
use actors::registry::Registry;
use actors::wire::twilio::token::TokenKey;
use anyhow::Context as _;
use tokio::runtime::Handle;
use url::Url;

use crate::connections::Ends;
use crate::http::auth::Auth;
use crate::http::health::HealthMetrics;
use crate::http::limits::Limits;
use crate::http::metrics::Scraped;
use crate::http::monitor::Drawn;
use crate::http::requests::RequestMetrics;
use crate::http::voice::Voice;
use crate::http::worker::ApiWorker;
use crate::logging;
use crate::memory_limit;
use crate::process_metrics;
use crate::rate_limit::redis::Shared;
use crate::rate_limit::{InMemory, Store};
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::tls::Shown;
use crate::traces;

/// What every door can reach.
pub struct App {
    pub settings: Settings,
    pub db: Db,
    pub registry: Registry,
    pub voice: Voice,
    pub limits: Limits,
    pub(crate) auth: Auth,
    pub api: ApiWorker,
    pub(crate) phrases: Arc<PhraseBook>,
    /// None: nothing is recorded.
    pub(crate) recorder: Option<Recorder>,
    /// Who answers new calls.
    pub(crate) persona: Arc<CurrentPersona>,
    /// The agent file is not what new calls have.
    pub(crate) agent_is_stale: AtomicBool,
    /// Logins are required, and nobody can log in.
    pub(crate) has_no_users: AtomicBool,
    pub metrics: prometheus::Registry,
    pub(crate) tasks: Tasks,
    /// The alerts that are open here.
    pub(crate) alerts: Board,
    /// The callers of whom the person on duty is to be told.
    pub(crate) urgent: UrgentCalls,
    pub(crate) alert_metrics: alerts::Metrics,
    pub requests: RequestMetrics,
    pub health_metrics: HealthMetrics,
    pub drawn: Drawn,
    pub scraped: Scraped,
    pub(crate) connection_ends: Ends,
    /// The certificate that the doors show, if TLS ends here.
    pub(crate) tls: Option<Arc<Shown>>,
    pub started_at: Instant,
    /// Somebody at this machine or a failure has asked the process to end.
    ending: AtomicBool,
    /// An operator has asked for no new calls.
    paused: AtomicBool,
}

/// Why the process does not serve, or does no longer.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {cause}; free it, or set PORT and BIND_ADDR")]
    Bind { address: SocketAddr, cause: std::io::Error },
    #[error(
        "cannot listen on {address} for the metrics: {cause}; free it, or set METRICS_ADDR to another one"
    )]
    BindMetrics { address: SocketAddr, cause: std::io::Error },
    #[error("the socket handed over by LISTEN_FDS cannot be used: {0}; hand over a listening TCP socket")]
    Inherited(std::io::Error),
    #[error(
        "{setting} lets in whoever asks, and the socket handed over by LISTEN_FDS is {address}: hand over a loopback one, or unset it"
    )]
    Exposed { setting: &'static str, address: SocketAddr },
    #[error(
        "MAX_CONCURRENT_CALLS={calls} takes {needed} file descriptors, and the hard limit (`ulimit -Hn`) is {allowed}: lower the \
         one or raise the other"
    )]
    Descriptors { calls: usize, needed: u64, allowed: u64 },
    #[error("the database's schema is older than this program ({} missing); run `switchboard migrate`", .missing.join(", "))]
    SchemaOlder { missing: Vec<String> },
    #[error(
        "the database's role `{role}` does not own the tables, and row-level security hides their rows from it; connect \
         as the owner, or let the owner grant its role: `GRANT owner TO {role}`"
    )]
    NotTheOwner { role: String },
    #[error(
        "another live process has INSTANCE_ID={0}: give this one an INSTANCE_ID of its own, or end the other one first"
    )]
    InstanceTaken(String),
    #[error(transparent)]
    Spool(SpoolError),
    #[error(
        "the folder {} of the flight recorder cannot be used: {cause}; set FLIGHT_RECORDER_DIR to one that this user \
         can write to", .folder.display()
    )]
    Recorder { folder: PathBuf, cause: std::io::Error },
    #[error("DATABASE_URL: {0}")]
    DatabaseUrl(BadUrl),
    /// It did, until a permanent actor had used up its restarts.
    #[error("{0} failed too often; its calls were handed over")]
    WornOut(&'static str),
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl From<DbStartError> for StartError {
    fn from(error: DbStartError) -> Self {
        match error {
            DbStartError::Spool(error) => Self::Spool(error),
            DbStartError::Url(error) => Self::DatabaseUrl(error),
            DbStartError::Internal(error) => Self::Internal(error),
        }
    }
}

impl App {
    /// Starts the parts in order, on the current actix system; none of them waits for another machine.
    pub fn start(settings: Settings, listening_on: SocketAddr) -> Result<Self, StartError> {
        let registry = prometheus::Registry::new();
        Self::start_counted(settings, listening_on, registry.clone(), &registry)
    }

    /// The same, with a registry of metrics and the way into it.
    pub(crate) fn start_counted(
        settings: Settings,
        listening_on: SocketAddr,
        registry: prometheus::Registry,
        metrics: &dyn Registrar,
    ) -> Result<Self, StartError> {
        process_metrics::register(metrics).context("the metrics of the process")?;
        memory_limit::register(metrics).context("the metrics of the process")?;
        let tasks = Tasks::register(metrics).context("the metrics of the process")?;
        logging::register(metrics).context("the metrics of the log")?;
        traces::register(metrics).context("the metrics of the traces")?;
        let requests = RequestMetrics::register(metrics).context("the metrics of the doors")?;
        let health_metrics = HealthMetrics::register(metrics).context("the metrics of the health")?;
        let connection_ends = Ends::register(metrics).context("the metrics of the connections")?;
        let alert_metrics = alerts::register(metrics).context("the metrics of the alerts")?;
        let public_url = match &settings.http.public_url {
            Some(url) => url.clone(),
            None => {
                Url::parse(&format!("{}://{listening_on}", settings.scheme())).context("where it listens")?
            }
        };
        let call_metrics = Metrics::register(metrics).context("the metrics of the calls")?;
        call_metrics.realtime.explain(settings.places());
        let db = Db::start_counted(settings.db.clone(), call_metrics.clone(), metrics)?;
        tasks.count(Handle::current());
        tasks.count(db.runtime());
        db.process_webhooks();
        let urgent = UrgentCalls::default();
        let ledger = UrgentLedger { records: db.records(), urgent: urgent.clone() };
        let recorder = recorder(&settings, metrics)?;
        let setup = call_setup(&settings, ledger, call_metrics.clone(), recorder.clone());
        let (phrases, persona) = (setup.phrases.clone(), setup.persona.clone());
        let calls = Registry::start(settings.registry.max_concurrent_calls, Arc::new(setup));
        let voice = voice(&settings, &public_url, calls.clone(), call_metrics)?;
        let store = limit_store(&settings, metrics).context("the metrics of the shared limits")?;
        let limits = Limits::new(settings.quotas, settings.http.trusted_proxies.clone(), store, metrics)
            .context("the metrics of the limits")?;
        let auth = Auth::new(&settings, &db);
        let api = ApiWorker::start(metrics).context("the API's worker")?;
        let tls = settings.tls.as_ref().map(|tls| Arc::new(Shown::new(tls.pair.clone())));
        Ok(Self {
            tls,
            settings,
            db,
            registry: calls,
            voice,
            limits,
            auth,
            api,
            phrases,
            recorder,
            persona,
            agent_is_stale: AtomicBool::new(false),
            has_no_users: AtomicBool::new(false),
            metrics: registry,
            tasks,
            alerts: Board::default(),
            urgent,
            alert_metrics,
            requests,
            health_metrics,
            drawn: Drawn::default(),
            scraped: Scraped::default(),
            connection_ends,
            started_at: Instant::now(),
            ending: AtomicBool::new(false),
            paused: AtomicBool::new(false),
        })
    }

    /// No new calls are taken, until the process ends or an operator resumes.
    pub fn is_draining(&self) -> bool {
        self.is_ending() || self.paused.load(Ordering::Relaxed)
    }

    /// The process takes no new calls any more, and ends after the last one.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// An operator wants new calls to be taken or not; the registry is told apart.
    pub(crate) fn pauses(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// A permanent actor has used up its restarts: the process is about to end.
    pub fn is_worn_out(&self) -> bool {
        self.registry.lifeline().has_ended() || self.db.lifeline().has_ended()
    }

    /// Waits until a permanent actor has used up its restarts; answers which.
    pub(crate) async fn worn_out(&self) -> &'static str {
        tokio::select! {
            () = self.registry.lifeline().ended() => "the call registry",
            () = self.db.lifeline().ended() => "the database's actor",
        }
    }

    /// From now on it says of itself that it drains, and it ends; the registry is told apart.
    pub(crate) fn drains(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

fn recorder(settings: &Settings, metrics: &dyn Registrar) -> Result<Option<Recorder>, StartError> {
    let Some(settings) = &settings.recorder else { return Ok(None) };
    let started = Recorder::start(settings, metrics);
    started.map(Some).map_err(|cause| StartError::Recorder { folder: settings.folder.clone(), cause })
}

fn call_setup(
    settings: &Settings,
    ledger: UrgentLedger,
    metrics: Metrics,
    recorder: Option<Recorder>,
) -> CallSetup {
    CallSetup {
        instance: settings.instance_id.clone(),
        persona: Arc::new(settings.agent.persona.clone().into()),
        endpoint: settings.realtime.clone(),
        rules: Rules::default(),
        phrases: Arc::new(PhraseBook::default()),
        ledger: Arc::new(ledger),
        metrics,
        recorder,
        tools: ToolRunner::default(),
    }
}

/// Where requests are counted.
fn limit_store(settings: &Settings, metrics: &dyn Registrar) -> prometheus::Result<Box<dyn Store>> {
    let Some(redis) = settings.redis.clone() else { return Ok(Box::new(InMemory::new(&settings.quotas))) };
    Ok(Box::new(Shared::start(&settings.quotas, redis, &settings.secret_key, metrics)?))
}

fn voice(
    settings: &Settings,
    public_url: &Url,
    registry: Registry,
    metrics: Metrics,
) -> anyhow::Result<Voice> {
    let validator = settings.twilio.validator(public_url);
    let tokens = TokenKey::new(settings.secret_key.clone());
    let seal = Seal::new(settings.secret_key.clone());
    let pump = Pump { keeper: Arc::new(registry), tokens: tokens.clone(), metrics };
    let rest = settings.twilio.api().context("the address of Twilio's REST API")?;
    Ok(Voice::new(public_url, validator, (tokens, seal), pump, rest))
}
