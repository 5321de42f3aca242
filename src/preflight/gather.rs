//! Gathers the facts: everybody is asked at once, and nobody is waited for longer than
//! [`DEADLINE`].

use std::collections::BTreeSet;
use std::path::PathBuf;

use actors::call::recorder::Mode;
use actors::db::Address;
use actors::wire::https::{self, Tls};
use actors::wire::is_loopback;
use actors::wire::realtime::socket;
use actors::wire::roots;
use actors::wire::twilio::rest::RestError;
use actors::wire::twilio::settings::TwilioSettings;
use chrono::Utc;
use rustix::process::geteuid;
use tokio::time::timeout;

use super::DEADLINE;
use super::facts::{Asked, Facts, Said, Twilio};
use crate::descriptors;
use crate::http::settings::ApiAuth;
use crate::rate_limit::redis::probe;
use crate::settings::{Remark, Settings};

mod database;
mod load_test;
mod machine;
mod public;
mod realtime;
mod web;

pub use database::{direct as look_at_direct, look as look_at_database};
pub use realtime::try_once as try_realtime;

/// What is not in the settings of `serve`.
#[derive(Debug, Clone)]
pub struct Beside {
    pub has_secret_key: bool,
    pub remarks: Vec<Remark>,
    /// Where the last load test was reported.
    pub report: PathBuf,
}

/// Asks everybody. `database` is what the database's URL says.
pub async fn gather(settings: &Settings, database: Address, beside: &Beside) -> Facts {
    let said = said(settings, database, beside);
    let tls = tls(said.twilio_is_local);
    let (found, direct, redis, twilio, twilio_ahead_ms, public, realtime, disk, load_test) = tokio::join!(
        look_at_database(settings.db.url.expose()),
        database::direct(settings.direct_database_url.as_ref()),
        redis(settings),
        twilio(&settings.twilio),
        public::clock(&settings.twilio.api_base_url),
        public::look(settings, &tls),
        try_realtime(settings),
        machine::disk(settings.db.spool_dir.clone()),
        load_test::read(beside.report.clone()),
    );
    Facts {
        now: Utc::now(),
        said,
        database_ahead_ms: found.as_ref().ok().map(|(_, ahead_ms)| *ahead_ms),
        database: found.map(|(inspection, _)| inspection),
        direct,
        redis,
        twilio,
        public,
        realtime,
        twilio_ahead_ms,
        disk,
        is_root: geteuid().is_root(),
        descriptors: descriptors::raise(),
        load_test,
    }
}

/// Twilio believes public CAs. A simulated Twilio on this machine believes whom this machine believes.
fn tls(twilio_is_local: bool) -> Tls {
    if twilio_is_local { socket::tls() } else { https::trusting(roots::compiled_in()) }
}

fn said(settings: &Settings, database: Address, beside: &Beside) -> Said {
    let Settings { http, twilio, alerts, .. } = settings;
    let secret_key_is_weak = beside.has_secret_key && is_weak(settings.secret_key.expose());
    Said {
        database,
        pool_max: settings.db.pool_max,
        calls: settings.registry.max_concurrent_calls,
        has_secret_key: beside.has_secret_key,
        secret_key_is_weak,
        bypasses_validation: twilio.bypass_validation,
        api_is_open: http.api_auth == ApiAuth::Off,
        keeps_words: settings.recorder.as_ref().is_some_and(|recorder| recorder.mode == Mode::Full),
        public_url: http.public_url.clone(),
        twilio_is_local: is_loopback(&twilio.api_base_url),
        ends_tls: settings.tls.is_some(),
        keep_alive_seconds: http.keep_alive.as_secs(),
        trusted_proxies: http.trusted_proxies.iter().map(ToString::to_string).collect(),
        from_number: twilio.from_number.clone(),
        urgent_number: alerts.number.clone(),
        human_number: twilio.human_fallback_number.clone(),
        has_alert_webhook: alerts.webhook.is_some(),
        model: settings.realtime.model.clone(),
        agent: settings.agent_file.as_ref().map(|_| settings.agent.persona.name.clone()),
        remarks: beside.remarks.iter().map(Remark::to_string).collect(),
    }
}

/// Whether a key repeats a few characters: one that was drawn has eight or more different ones.
fn is_weak(key: &str) -> bool {
    key.chars().collect::<BTreeSet<_>>().len() < 8
}

async fn redis(settings: &Settings) -> Option<Asked<()>> {
    let asked = timeout(DEADLINE, probe::decides(settings.redis.as_ref()?)).await;
    Some(asked.unwrap_or_else(|_| Err(late())))
}

/// What Twilio says of the account and its number.
pub async fn twilio(settings: &TwilioSettings) -> Option<Twilio> {
    let api = settings.api().ok()??.within(2 * DEADLINE); // the deadline here is the one that counts
    let number = async {
        match &settings.from_number {
            None => None,
            Some(number) => Some(in_time(api.phone_number(number)).await),
        }
    };
    let (account, number) = tokio::join!(in_time(api.account()), number);
    Some(Twilio { account, number })
}

async fn in_time<T>(asked: impl Future<Output = Result<T, RestError>>) -> Result<T, RestError> {
    timeout(DEADLINE, asked).await.unwrap_or_else(|_| Err(RestError::Unanswered(late())))
}

/// What is said of whoever has not answered.
fn late() -> String {
    format!("no answer within {} s", DEADLINE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_few_characters_is_weak_and_one_that_was_drawn_is_not() {
        assert!(is_weak(&"a".repeat(32)) && is_weak(&"secret".repeat(6)));
        assert!(!is_weak("0123456789abcdef0123456789abcdef"));
        assert!((0..1_000).all(|_| !is_weak(&format!("{:032x}", rand::random::<u128>()))));
    }
}
