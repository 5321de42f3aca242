//! Settings: read once, whole, from the environment and the optional agent file; all faults are reported
//! together.
//!
//! The struct of a part's settings is defined in the part. This module reads the variables into it. A
//! variable that is set but empty counts as unset.

use std::path::PathBuf;

use actors::alerts::AlertSettings;
use actors::call::recorder::RecorderSettings;
use actors::db::DbSettings;
use actors::jobs::Retentions;
use actors::secret::Secret;
use actors::wire::realtime::socket::Endpoint;
use actors::wire::twilio::settings::TwilioSettings;

use crate::http::settings::HttpSettings;
use crate::logging::LogSettings;
use crate::rate_limit::Quotas;
use crate::rate_limit::redis::RedisSettings;
use crate::tls::TlsSettings;
use crate::traces::TraceSettings;

mod agent_file;
mod alerts;
pub(crate) mod catalog;
mod db;
mod env_file;
mod exposure;
mod http;
mod log;
mod origin;
mod reader;
mod realtime;
mod recorder;
mod redis;
mod remarks;
mod secret_file;
mod shared_keys;
mod tls;
mod traces;
mod twilio;
mod unread;
mod values;

pub use agent_file::{Agent, read_agent_file};
pub use env_file::{EnvFile, quoted};
pub use origin::{Shown, shown, table};
pub use reader::{Fault, Faults};
pub use remarks::{Environment, Remark};
pub use secret_file::{Place, file_variable, places};

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
    /// The certificate that the doors show (`TLS_CERT_FILE`, `TLS_KEY_FILE`); none: TLS ends elsewhere.
    pub tls: Option<TlsSettings>,
    /// How often a client may ask (`RATE_LIMIT_API`, …).
    pub quotas: Quotas,
    /// Where all instances count requests together (`REDIS_URL`).
    pub redis: Option<RedisSettings>,
    pub registry: RegistrySettings,
    pub db: DbSettings,
    /// `DIRECT_DATABASE_URL`: an operator's way past a pooler whose connections are used up.
    pub direct_database_url: Option<Secret>,
    pub realtime: Endpoint,
    pub twilio: TwilioSettings,
    pub alerts: AlertSettings,
    /// For how long personal data is kept (`RETENTION_TRANSCRIPT_DAYS`, …).
    pub retention: Retentions,
    /// From `AGENT_FILE`; the built-in one otherwise.
    pub agent: Agent,
    /// `AGENT_FILE`, which is read again when it changes.
    pub agent_file: Option<String>,
    /// Where the agent's phrases are kept, as the service has spoken them (`PHRASES_DIR`); processes may
    /// share it.
    pub phrases_dir: PathBuf,
    /// What is recorded of the calls for a replay; none: nothing (`FLIGHT_RECORDER`).
    pub recorder: Option<RecorderSettings>,
    pub log: LogSettings,
    pub traces: TraceSettings,
}

#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// The ceiling (`MAX_CONCURRENT_CALLS`).
    pub max_concurrent_calls: usize,
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
    pub db: DbSettings,
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
    /// `DIRECT_DATABASE_URL`: a way past a pooler whose connections are used up.
    pub direct_url: Option<Secret>,
    pub log: LogSettings,
}

/// Everything that `switchboard ops test-alert` is told from outside.
#[derive(Debug, Clone)]
pub struct TestAlertSettings {
    pub instance_id: String,
    pub twilio: TwilioSettings,
    pub alerts: AlertSettings,
    pub log: LogSettings,
}

/// The real environment, as [`Settings::read`] wants it. What is not UTF-8 is read with replacement
/// characters.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Whether a variable, or a secret in a file, is set in the real environment.
pub fn is_set(name: &str) -> bool {
    !secret_file::places(name, &environment).is_empty()
}

impl Settings {
    /// Reads the settings of `serve`. `lookup` gives the value of an environment variable; the agent file is
    /// read from disk.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let http = http::read(&mut reader);
        let twilio = twilio::read(&mut reader);
        let agent = agent(&mut reader);
        exposure::check_bypass(twilio.bypass_validation, &http, &mut reader);
        unread::check(&mut reader);
        let instance_id = instance_id(&mut reader, &http.bind.port().to_string());
        let retention = retention(&mut reader);
        let settings = Self {
            secret_key: secret_key(&mut reader, twilio.auth_token.as_ref()),
            quotas: quotas(&mut reader),
            redis: redis::read(&mut reader),
            tls: tls::read(&mut reader),
            registry: RegistrySettings::read(&mut reader),
            direct_database_url: reader.optional_secret("DIRECT_DATABASE_URL"),
            db: db::read(instance_id.clone(), &mut reader),
            realtime: realtime::read(&mut reader),
            alerts: alerts::read(&mut reader),
            recorder: recorder::read(&mut reader, &retention),
            retention,
            agent,
            agent_file: reader.optional("AGENT_FILE"),
            phrases_dir: folder(&mut reader, "PHRASES_DIR", "phrases"),
            log: log::read(&mut reader),
            traces: traces::read(&mut reader),
            instance_id,
            http,
            twilio,
        };
        reader.finish(settings)
    }
}

impl Settings {
    /// The scheme of the doors.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// What the Realtime service is told, and where that is set.
    pub fn places(&self) -> Vec<(&'static str, String)> {
        self.agent.places()
    }
}

impl OpsSettings {
    /// Reads the settings of `ops`: only those that it needs.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let direct_url = postgres_url(&mut reader, "DIRECT_DATABASE_URL");
        let settings = Self { direct_url, url: database_url(&mut reader), log: log::read(&mut reader) };
        reader.finish(settings)
    }
}

impl TestAlertSettings {
    /// Reads the settings of `ops test-alert`, which needs no database.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let settings = Self {
            instance_id: instance_id(&mut reader, "test"),
            twilio: twilio::read(&mut reader),
            alerts: alerts::read(&mut reader),
            log: log::read(&mut reader),
        };
        reader.finish(settings)
    }
}

impl MigrateSettings {
    /// Reads the settings of `migrate`: only those that it needs, so that it runs where no call is taken.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let direct = postgres_url(&mut reader, "DIRECT_DATABASE_URL");
        let url = direct.unwrap_or_else(|| database_url(&mut reader));
        let settings = Self { url, log: log::read(&mut reader) };
        reader.finish(settings)
    }
}

impl WorkerSettings {
    /// Reads the settings of `worker`.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&lookup);
        let instance_id = instance_id(&mut reader, "worker");
        let settings = Self {
            db: db::read(instance_id.clone(), &mut reader),
            twilio: twilio::read(&mut reader),
            retention: retention(&mut reader),
            log: log::read(&mut reader),
            traces: traces::read(&mut reader),
            instance_id,
        };
        reader.finish(settings)
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

#[cfg(test)]
mod tests;
