//! Settings: read once, whole, from the environment and the optional agent file; all faults are reported
//! together.
//!
//! The tree of structs mirrors the tree of modules that they are handed to. A variable that is set but empty
//! counts as unset.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use actors::jobs::Retentions;
use actors::secret::Secret;
use actors::wire::twilio::rest;
use actors::wire::twilio::signature::SharedKey;
use hmac::{Hmac, Mac as _};
use ipnet::IpNet;
use sha2::Sha256;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use crate::private_postgres::data_home;
use crate::rate_limit::Quotas;

mod agent_file;
mod exposure;
mod reader;
mod remarks;
mod shared_keys;
mod traces;
mod unread;
mod values;

pub use agent_file::{Agent, read_agent_file};
pub use reader::{Fault, Faults};
pub use remarks::{Environment, Remark};
pub use traces::TraceSettings;

use reader::Reader;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use values::fuzz_agent_file;
use values::*;

/// Everything that `switchboard serve` is told from outside.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names this process in leases, spool and monitor (`INSTANCE_ID`; host name and port).
    pub instance_id: String,
    /// Signs our tokens and cookies (`SECRET_KEY`; derived from `TWILIO_AUTH_TOKEN`). Without both it is
    /// drawn at random, which serves one process.
    pub secret_key: Secret,
    pub http: HttpSettings,
    /// How often a client may ask (`RATE_LIMIT_API`, …).
    pub quotas: Quotas,
    pub registry: RegistrySettings,
    pub db: DatabaseSettings,
    pub realtime: RealtimeSettings,
    pub twilio: TwilioSettings,
    /// For how long personal data is kept (`RETENTION_TRANSCRIPT_DAYS`, …).
    pub retention: Retentions,
    /// From `AGENT_FILE`; the built-in one otherwise.
    pub agent: Agent,
    /// `AGENT_FILE`, which is read again when it changes.
    pub agent_file: Option<String>,
    /// Where the agent's phrases are kept, as the service has spoken them (`PHRASES_DIR`); processes may
    /// share it.
    pub phrases_dir: PathBuf,
    pub log: LogSettings,
    pub traces: TraceSettings,
}

#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `BIND_ADDR` and `PORT`; port 0 is any free one.
    pub bind: SocketAddr,
    /// The origin that Twilio sees (`PUBLIC_URL`). None, on a loopback address only: where it listens.
    pub public_url: Option<Url>,
    pub api_auth: ApiAuth,
    /// Those whose `X-Forwarded-For` is believed (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// How long a connection may be idle (`HTTP_KEEP_ALIVE_SECONDS`).
    pub keep_alive: Duration,
}

/// Who may use the API and the dashboard (`API_AUTH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiAuth {
    Required,
    /// Whoever sits at this machine; only with a loopback `BIND_ADDR` and `PUBLIC_URL`, and without
    /// `TRUSTED_PROXIES`.
    Off,
}

#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// The ceiling (`MAX_CONCURRENT_CALLS`).
    pub max_concurrent_calls: usize,
}

#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `DATABASE_URL` or `SUPABASE_URL`.
    pub url: Secret,
    /// For migrations (`DIRECT_DATABASE_URL`; the same).
    pub direct_url: Secret,
    pub pool_max: u32,
    pub idle_timeout: Duration,
    pub connect_timeout: Duration,
    /// Where records wait while the database is away (`SPOOL_DIR`); each process has a folder of its own in
    /// it.
    pub spool_dir: PathBuf,
}

#[derive(Debug, Clone)]
pub struct RealtimeSettings {
    pub api_key: Secret,
    /// `wss`, or `ws` to a loopback address; without query, which names the model.
    pub url: Url,
    pub model: String,
}

#[derive(Debug, Clone)]
pub struct TwilioSettings {
    pub account_sid: Option<String>,
    /// None only with `bypass_validation`.
    pub auth_token: Option<Secret>,
    /// Stands in for `auth_token` while one replaces the other (`TWILIO_AUTH_TOKEN_SECONDARY`).
    pub auth_token_secondary: Option<Secret>,
    /// Keys that webhooks may be signed with instead of the auth token (`TWILIO_SHARED_KEYS`).
    pub shared_keys: Vec<SharedKey>,
    /// Believe every webhook and stream (`BYPASS_TWILIO_VALIDATION`): for load tests on one machine only.
    pub bypass_validation: bool,
    /// The origin of the REST API (`TWILIO_API_BASE_URL`); http on a loopback host only.
    pub api_base_url: Url,
    /// Our number that sends messages and makes calls (`TWILIO_FROM_NUMBER`); E.164.
    pub from_number: Option<String>,
    /// Takes the call when nothing else helps; E.164.
    pub human_fallback_number: Option<String>,
}

#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Directives as `tracing` reads them (`RUST_LOG`).
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Everything that `switchboard migrate` is told from outside.
#[derive(Debug, Clone)]
pub struct MigrateSettings {
    /// `DIRECT_DATABASE_URL`, else `DATABASE_URL` or `SUPABASE_URL`.
    pub url: Secret,
    pub log: LogSettings,
}

/// Everything that `switchboard worker` is told from outside.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// `INSTANCE_ID`; host name and `worker`.
    pub instance_id: String,
    pub db: DatabaseSettings,
    pub twilio: TwilioSettings,
    pub retention: Retentions,
    pub log: LogSettings,
    pub traces: TraceSettings,
}

/// Everything that `switchboard ops` is told from outside.
#[derive(Debug, Clone)]
pub struct OpsSettings {
    /// `DATABASE_URL` or `SUPABASE_URL`.
    pub url: Secret,
    pub log: LogSettings,
}

/// The real environment, as [`Settings::read`] wants it. What is not UTF-8 is read with replacement
/// characters.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Settings {
    /// Reads the settings of `serve`. `lookup` gives the value of an environment variable; the agent file is
    /// read from disk.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let http = HttpSettings::read(&mut reader);
        let twilio = TwilioSettings::read(&mut reader);
        let agent = agent(&mut reader);
        exposure::check_bypass(twilio.bypass_validation, &http, &mut reader);
        unread::check(&mut reader);
        let settings = Self {
            instance_id: instance_id(&mut reader, &http.bind.port().to_string()),
            secret_key: secret_key(&mut reader, twilio.auth_token.as_ref()),
            quotas: quotas(&mut reader),
            registry: RegistrySettings::read(&mut reader),
            db: DatabaseSettings::read(&mut reader),
            realtime: RealtimeSettings::read(&mut reader),
            retention: retention(&mut reader),
            agent,
            agent_file: reader.optional("AGENT_FILE"),
            phrases_dir: folder(&mut reader, "PHRASES_DIR", "phrases"),
            log: LogSettings::read(&mut reader),
            traces: TraceSettings::read(&mut reader),
            http,
            twilio,
        };
        reader.finish(settings)
    }
}

impl Settings {
    /// What the Realtime service is told, and where that is set.
    pub fn places(&self) -> Vec<(&'static str, String)> {
        self.agent.places()
    }
}

impl OpsSettings {
    /// Reads the settings of `ops`: only those that it needs.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let settings = Self { url: database_url(&mut reader), log: LogSettings::read(&mut reader) };
        reader.finish(settings)
    }
}

impl MigrateSettings {
    /// Reads the settings of `migrate`: only those that it needs, so that it runs where no call is taken.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let direct = postgres_url(&mut reader, "DIRECT_DATABASE_URL");
        let url = direct.unwrap_or_else(|| database_url(&mut reader));
        let settings = Self { url, log: LogSettings::read(&mut reader) };
        reader.finish(settings)
    }
}

impl WorkerSettings {
    /// Reads the settings of `worker`.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let settings = Self {
            instance_id: instance_id(&mut reader, "worker"),
            db: DatabaseSettings::read(&mut reader),
            twilio: TwilioSettings::read(&mut reader),
            retention: retention(&mut reader),
            log: LogSettings::read(&mut reader),
            traces: TraceSettings::read(&mut reader),
        };
        reader.finish(settings)
    }
}

impl HttpSettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        let ip =
            reader.parsed("BIND_ADDR", IpAddr::V4(Ipv4Addr::LOCALHOST), "an IP address", |v| v.parse().ok());
        let port = reader.parsed("PORT", 8080, "a port number", |v| v.parse().ok());
        let public_url = reader.optional("PUBLIC_URL").and_then(|text| {
            let url = Url::parse(&text).ok().filter(is_public_origin);
            if url.is_none() {
                let origin = "is not the origin that Twilio sees, such as https://voice.example.com";
                let remedy =
                    "give scheme and host, without path, query or user; http only for a loopback host";
                reader.fault("PUBLIC_URL", origin, remedy);
            }
            url
        });
        if reader.is_unset("PUBLIC_URL") && !ip.is_loopback() {
            reader.fault(
                "PUBLIC_URL",
                "is not set",
                "give the origin that Twilio sees, such as https://voice.example.com",
            );
        }
        let api_auth = reader.parsed("API_AUTH", ApiAuth::Required, "`required` or `off`", |v| match v {
            "required" => Some(ApiAuth::Required),
            "off" => Some(ApiAuth::Off),
            _ => None,
        });
        let wanted = "addresses and networks such as `10.0.0.0/8,fd00::1`";
        let trusted_proxies = reader.parsed("TRUSTED_PROXIES", vec![], wanted, |v| {
            v.split(',').map(|one| network(one.trim())).collect()
        });
        // Longer than a balancer's, which is mostly 60 s: it must be the balancer that ends an idle
        // connection.
        let keep_alive = reader.number("HTTP_KEEP_ALIVE_SECONDS", 75, 1, 3_600);
        let http = Self {
            bind: SocketAddr::new(ip, port),
            public_url,
            api_auth,
            trusted_proxies,
            keep_alive: Duration::from_secs(keep_alive.into()),
        };
        exposure::check_api(&http, reader);
        http
    }
}

impl RegistrySettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        reader.parsed("FULL_HOUSE", (), "`message`, the one answer to a full house there is", |v| {
            (v == "message").then_some(())
        });
        Self { max_concurrent_calls: reader.number("MAX_CONCURRENT_CALLS", 20, 1, 10_000) as usize }
    }
}

impl DatabaseSettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        let url = database_url(reader);
        Self {
            direct_url: postgres_url(reader, "DIRECT_DATABASE_URL").unwrap_or_else(|| url.clone()),
            url,
            pool_max: reader.number("DB_POOL_MAX", 20, 1, 1_000),
            idle_timeout: milliseconds(reader, "DB_POOL_IDLE_TIMEOUT_MS", 30_000),
            connect_timeout: milliseconds(reader, "DB_POOL_CONNECT_TIMEOUT_MS", 10_000),
            spool_dir: folder(reader, "SPOOL_DIR", "spool"),
        }
    }
}

impl RealtimeSettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default_url = Url::parse("wss://api.openai.com/v1/realtime").expect("a constant URL parses");
        let url = match reader.optional("OPENAI_REALTIME_URL") {
            None => default_url,
            Some(text) => Url::parse(&text).ok().filter(is_realtime_url).unwrap_or_else(|| {
                let wrong = "is not a websocket URL such as wss://api.openai.com/v1/realtime";
                let remedy = "give it without query or user; ws only for a loopback host";
                reader.fault("OPENAI_REALTIME_URL", wrong, remedy);
                default_url
            }),
        };
        let model =
            reader.parsed("OPENAI_REALTIME_MODEL", "gpt-realtime-2.1".into(), "a model's name", |v| {
                (v.len() <= 128 && v.bytes().all(|b| b.is_ascii_graphic())).then(|| v.to_owned())
            });
        Self {
            api_key: reader.required_secret("OPENAI_API_KEY", "give an API key of your OpenAI project"),
            url,
            model,
        }
    }
}

impl TwilioSettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        let bypass_validation =
            reader.parsed("BYPASS_TWILIO_VALIDATION", false, "`true` or `false`", |v| match v {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            });
        let auth_token = if bypass_validation {
            reader.optional_secret("TWILIO_AUTH_TOKEN")
        } else {
            Some(reader.required_secret("TWILIO_AUTH_TOKEN", "give the account's primary auth token"))
        };
        let auth_token_secondary = reader.optional_secret("TWILIO_AUTH_TOKEN_SECONDARY");
        let account_sid = reader.optional("TWILIO_ACCOUNT_SID");
        if account_sid.as_deref().is_some_and(|sid| !is_account_sid(sid)) {
            reader.fault(
                "TWILIO_ACCOUNT_SID",
                "is not `AC` and 32 hexadecimal digits",
                "copy it from Twilio's console",
            );
        }
        let default_url = Url::parse("https://api.twilio.com").expect("a constant URL parses");
        let api_base_url = match reader.optional("TWILIO_API_BASE_URL") {
            None => default_url,
            Some(text) => Url::parse(&text).ok().filter(rest::is_api_origin).unwrap_or_else(|| {
                let wrong = "is not an origin such as https://api.twilio.com";
                let remedy = "give it without path, query or user; http only for a loopback host";
                reader.fault("TWILIO_API_BASE_URL", wrong, remedy);
                default_url
            }),
        };
        Self {
            account_sid,
            auth_token,
            auth_token_secondary,
            shared_keys: shared_keys::read(reader),
            bypass_validation,
            api_base_url,
            from_number: telephone_number(reader, "TWILIO_FROM_NUMBER"),
            human_fallback_number: telephone_number(reader, "HUMAN_FALLBACK_NUMBER"),
        }
    }
}

impl LogSettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            filter: reader.parsed(
                "RUST_LOG",
                "info".into(),
                "a log filter such as `info,actors=debug`",
                |v| EnvFilter::try_new(v).is_ok().then(|| v.to_owned()),
            ),
            format: reader.parsed("LOG_FORMAT", LogFormat::Text, "`text` or `json`", |v| match v {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
