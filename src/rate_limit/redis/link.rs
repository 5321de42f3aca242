//! The one connection to Redis. A task opens it in the background, gives it up when Redis fails or is late,
//! and opens it again after a pause. Whoever asks meanwhile is told at once that Redis is away.
//!
//! At most [`MOST_ASKED`] decisions are under way. Nothing queues while there is no connection.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actors::backoff::Backoff;
use actors::wire::dial::dial;
use actors::wire::realtime::socket;
use prometheus::IntGauge;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::script;
use super::settings::RedisSettings;
use crate::rate_limit::{Decision, Quota};

/// A decision may take so long; a request waits for it.
const DECIDES_WITHIN: Duration = Duration::from_millis(50);
/// Decisions under way at most.
const MOST_ASKED: usize = 64;
/// So many late or failed decisions in a row, and the connection is given up.
const FAILURES: u32 = 3;
/// From the name of the host to Redis' first answer.
const CONNECTS_WITHIN: Duration = Duration::from_secs(3);
/// How often an idle connection is tried.
const TRIED_EVERY: Duration = Duration::from_secs(5);
/// A connection that lasts for so long was a good one: the next pause is a first one.
const LASTING: Duration = Duration::from_secs(30);
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
/// What a trial asks for: it writes, so that a replica or a full Redis is found out.
const TRIAL: Quota = Quota { requests: u32::MAX, window: Duration::from_secs(1) };
const TRIAL_KEY: &str = "switchboard:limit:{trial}";

/// Why Redis has not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// There is no connection.
    Away,
    /// Too many decisions are under way.
    Busy,
    /// It did not answer in time.
    Late,
    /// It said no, or the connection broke.
    Failed,
}

impl Miss {
    pub(super) const ALL: [&str; 4] = ["away", "busy", "late", "failed"];

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

/// What whoever asks shares with the task that keeps the connection.
pub(super) struct Link {
    connection: Mutex<Option<MultiplexedConnection>>,
    /// Late or failed decisions in a row.
    failures: AtomicU32,
    /// Why the last one failed.
    cause: Mutex<String>,
    /// The connection is to be given up.
    is_broken: Notify,
    permits: Semaphore,
    /// It was tried, and there is no connection.
    is_away: AtomicBool,
    /// 1 while there is a connection.
    pub(super) is_up: IntGauge,
}

impl Link {
    /// Opens the connection in the background, on the current actix system.
    pub(super) fn keep(settings: RedisSettings, is_up: IntGauge) -> Arc<Self> {
        let link = Arc::new(Self {
            connection: Mutex::new(None),
            failures: AtomicU32::new(0),
            cause: Mutex::default(),
            is_broken: Notify::new(),
            permits: Semaphore::new(MOST_ASKED),
            is_away: AtomicBool::new(false),
            is_up,
        });
        actix_rt::spawn(keep(link.clone(), settings));
        link
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Asks for one decision.
    pub(super) async fn decide(&self, key: &str, quota: Quota) -> Result<Decision, Miss> {
        let connection = lock(&self.connection).clone();
        let mut connection = connection.ok_or(Miss::Away)?;
        let _permit = self.permits.try_acquire().map_err(|_| Miss::Busy)?;
        match timeout(DECIDES_WITHIN, script::decide(&mut connection, key, quota)).await {
            Ok(Ok(decision)) => {
                self.failures.store(0, Ordering::Relaxed);
                Ok(decision)
            }
            Ok(Err(error)) => {
                self.fails(&error);
                Err(Miss::Failed)
            }
            Err(_) => {
                self.fails(&late());
                Err(Miss::Late)
            }
        }
    }

    /// Gives the connection up after too many failures in a row: from then on nobody waits for it.
    fn fails(&self, cause: &impl Display) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 < FAILURES {
            return;
        }
        if lock(&self.connection).take().is_some() {
            *lock(&self.cause) = cause.to_string();
            self.is_broken.notify_waiters(); // of this connection, and not of the next one
        }
    }

    fn opens(&self, connection: &MultiplexedConnection) {
        self.failures.store(0, Ordering::Relaxed);
        *lock(&self.connection) = Some(connection.clone());
        self.is_away.store(false, Ordering::Relaxed);
        self.is_up.set(1);
    }

    fn closes(&self) {
        lock(&self.connection).take();
        self.is_away.store(true, Ordering::Relaxed);
        self.is_up.set(0);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn late() -> String {
    format!("no answer within {} ms", DECIDES_WITHIN.as_millis())
}

/// Runs as long as the process. Each change is logged once, with the first cause.
async fn keep(link: Arc<Link>, settings: RedisSettings) {
    let (mut pauses, mut away_since) = (PAUSES, None::<Instant>);
    loop {
        let opened = timeout(CONNECTS_WITHIN, connect(&settings)).await;
        let opened = opened.unwrap_or_else(|_| Err(format!("no connection within {CONNECTS_WITHIN:?}")));
        let cause = match opened {
            Err(cause) => cause,
            Ok((connection, driver)) => {
                let opened_at = Instant::now();
                let cause = lasts(&link, connection, driver, &mut away_since).await;
                if opened_at.elapsed() >= LASTING {
                    pauses.reset();
                }
                cause
            }
        };
        link.closes();
        if away_since.is_none() {
            away_since = Some(Instant::now());
            tracing::warn!(cause, "Redis is away: this process counts requests by itself until it answers");
        }
        sleep(pauses.pause(rand::random())).await;
    }
}

pub(super) type Driver = Pin<Box<dyn Future<Output = ()>>>;

pub(super) async fn connect(settings: &RedisSettings) -> Result<(MultiplexedConnection, Driver), String> {
    let stream = dial(&settings.host, settings.port).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    if !settings.has_tls {
        return greet(settings, stream).await.map_err(|error| error.to_string());
    }
    let host = settings.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(socket::tls()).connect(name, stream).await;
    greet(settings, stream.map_err(|error| error.to_string())?).await.map_err(|error| error.to_string())
}

/// Logs in and chooses the database.
async fn greet<S>(settings: &RedisSettings, stream: S) -> Result<(MultiplexedConnection, Driver), RedisError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut login = RedisConnectionInfo::default().set_db(settings.database).set_skip_set_lib_name();
    if let Some(user) = &settings.user {
        login = login.set_username(user);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None) // whoever asks has a deadline
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(MOST_ASKED);
    let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, config).await?;
    Ok((connection, Box::pin(driver)))
}

/// Tries the connection, and lends it out while it is good. Answers why it is not.
async fn lasts(
    link: &Link,
    mut connection: MultiplexedConnection,
    mut driver: Driver,
    away_since: &mut Option<Instant>,
) -> String {
    let tried = async {
        trial(&mut connection).await?;
        link.opens(&connection);
        match away_since.take() {
            None => tracing::info!("requests are counted in Redis"),
            Some(since) => tracing::info!(
                after_seconds = since.elapsed().as_secs(),
                "Redis answers again: requests are counted there"
            ),
        }
        loop {
            sleep(TRIED_EVERY).await;
            trial(&mut connection).await?;
        }
    };
    let failed: Result<std::convert::Infallible, String> = tokio::select! {
        failed = tried => failed,
        () = &mut driver => Err("the connection was closed".to_owned()),
        () = link.is_broken.notified() => Err(std::mem::take(&mut *lock(&link.cause))),
    };
    match failed {
        Err(cause) => cause,
        Ok(never) => match never {},
    }
}

/// One decision that nobody waits for.
async fn trial(connection: &mut MultiplexedConnection) -> Result<(), String> {
    match timeout(DECIDES_WITHIN, script::decide(connection, TRIAL_KEY, TRIAL)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(late()),
    }
}
