//! What the check knows, as plain data: it is gathered once and then judged.

use std::net::IpAddr;

use actors::db::{Address, Inspection};
use actors::wire::twilio::rest::{Account, PhoneNumber, RestError};
use chrono::{DateTime, Utc};
use url::Url;

use crate::loadtest::result::Verdict;

/// The answer of whoever was asked, or why there is none.
pub type Asked<T> = Result<T, String>;

/// Everything that is judged.
#[derive(Debug, Clone)]
pub struct Facts {
    pub now: DateTime<Utc>,
    pub said: Said,
    pub database: Asked<Inspection>,
    /// None: `DIRECT_DATABASE_URL` is not set.
    pub direct: Option<Direct>,
    /// None: `REDIS_URL` is not set.
    pub redis: Option<Asked<()>>,
    /// None: `TWILIO_ACCOUNT_SID` is not set.
    pub twilio: Option<Twilio>,
    /// None: `PUBLIC_URL` is not set.
    pub public: Option<Public>,
    pub realtime: Realtime,
    /// By how many milliseconds the clock of Twilio's REST API is ahead of ours.
    pub twilio_ahead_ms: Asked<i64>,
    /// The same of the database's.
    pub database_ahead_ms: Option<i64>,
    pub disk: Asked<Disk>,
    /// The check runs as root, who may more than the program's user.
    pub is_root: bool,
    /// File descriptors that whoever runs the check may have.
    pub descriptors: u64,
    pub load_test: Asked<LoadTested>,
}

/// What the settings say.
#[derive(Debug, Clone)]
pub struct Said {
    pub database: Address,
    pub pool_max: u32,
    pub calls: usize,
    pub has_secret_key: bool,
    /// `SECRET_KEY` repeats so few characters that it can be guessed.
    pub secret_key_is_weak: bool,
    pub bypasses_validation: bool,
    pub api_is_open: bool,
    /// The flight recorder keeps what is said.
    pub keeps_words: bool,
    pub public_url: Option<Url>,
    /// The REST API is a simulated one on this machine.
    pub twilio_is_local: bool,
    pub ends_tls: bool,
    /// For how long an idle connection is kept.
    pub keep_alive_seconds: u64,
    /// As `TRUSTED_PROXIES` has them.
    pub trusted_proxies: Vec<String>,
    pub from_number: Option<String>,
    pub urgent_number: Option<String>,
    pub human_number: Option<String>,
    pub has_alert_webhook: bool,
    pub model: String,
    /// What the agent of `AGENT_FILE` calls itself; none: the built-in one answers.
    pub agent: Option<String>,
    /// Names that are probably misspelt, and names without effect.
    pub remarks: Vec<String>,
}

/// Where `DIRECT_DATABASE_URL` leads.
#[derive(Debug, Clone)]
pub struct Direct {
    pub address: Asked<Address>,
    /// Whether a transaction pooler answers there.
    pub is_transaction_pooler: Asked<bool>,
}

/// What Twilio says of the account and of `TWILIO_FROM_NUMBER`.
#[derive(Debug, Clone)]
pub struct Twilio {
    pub account: Result<Account, RestError>,
    /// None: the setting is not set. None inside: the account has no such number.
    pub number: Option<Result<Option<PhoneNumber>, RestError>>,
}

/// How `PUBLIC_URL` answers.
#[derive(Debug, Clone)]
pub struct Public {
    pub addresses: Asked<Vec<IpAddr>>,
    /// Until when the certificate holds; none without TLS.
    pub certificate: Option<Result<DateTime<Utc>, Broken>>,
    /// `GET /healthz`.
    pub health: Result<Answer, Broken>,
    /// The status of the answer to a signed upgrade of `/api/voice/stream`.
    pub stream: Result<u16, Broken>,
    /// An unsigned `POST /api/voice/incoming`; none: it was not sent, because it might be believed.
    pub webhook: Option<Result<Answer, Broken>>,
}

/// An answer by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The host to which it redirects.
    pub leads_to: Option<String>,
    /// This program has written it.
    pub is_ours: bool,
    /// This program has written it, and says that it takes no new calls.
    pub is_draining: bool,
}

/// Why there is no answer by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Unreachable(String),
    #[error("TLS failed: {0}")]
    Tls(TlsFault),
    #[error("no answer within 4 s")]
    Silent,
    #[error("the answer is no HTTP")]
    NotHttp,
}

/// Why a handshake of TLS failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    #[error(
        "no CA that is trusted has issued the certificate, or the certificates of its issuers are missing"
    )]
    UnknownIssuer,
    #[error("the certificate is that of a CA, as a self-signed one often is")]
    OfACa,
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate does not hold yet")]
    NotYet,
    #[error("the certificate is not valid for the name in PUBLIC_URL")]
    OtherName,
    #[error("the port speaks no TLS; it may speak plain HTTP")]
    Plain,
    #[error("the server takes neither TLS 1.2 nor TLS 1.3")]
    OldVersion,
    /// As the library says it.
    #[error("{0}")]
    Other(String),
}

/// What the Realtime service says of the key, the model and the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Realtime {
    Answers,
    /// It will say the same again: what, and the setting it is about, if that is known.
    Refuses {
        /// The service's name of the fault; empty where it has none.
        code: String,
        said: String,
        setting: String,
    },
    /// It answered, and has had too many requests of this account.
    Limits(String),
    Fails(String),
}

/// Where records wait while the database is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub folder: String,
    /// For whoever runs the check.
    pub is_writable: bool,
    pub free_bytes: u64,
}

/// What the last load test has measured.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadTested {
    pub at: DateTime<Utc>,
    /// The most calls at once that were all completed.
    pub calls: u64,
    /// The slowest P95 of its scenarios.
    pub p95_ms: Option<f64>,
    pub verdict: Verdict,
    /// The scenarios that have this verdict.
    pub scenarios: Vec<String>,
}
