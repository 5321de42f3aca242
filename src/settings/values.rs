//! Single values of the settings: how each is read, and what it may be.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use actors::jobs::Retentions;
use actors::secret::Secret;
use actors::wire::is_loopback;
use hmac::{Hmac, Mac as _};
use ipnet::IpNet;
use sha2::Sha256;
use url::Url;

use super::agent_file::{Agent, read_agent_file};
use super::reader::Reader;
use crate::private_postgres::data_home;
use crate::rate_limit::Quotas;

pub(super) fn instance_id(reader: &mut Reader<'_>, suffix: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    // It names a folder.
    let wanted = "up to 64 letters, digits, `.`, `_`, `:` and `-`, the first a letter or digit";
    reader.parsed("INSTANCE_ID", format!("{host}:{suffix}"), wanted, |v| {
        let fits = v.len() <= 64
            && v.starts_with(|c: char| c.is_ascii_alphanumeric())
            && v.chars().all(|c| c.is_ascii_alphanumeric() || "._:-".contains(c));
        fits.then(|| v.to_owned())
    })
}

pub(super) fn secret_key(reader: &mut Reader<'_>, auth_token: Option<&Secret>) -> Secret {
    match (reader.optional_secret("SECRET_KEY"), auth_token) {
        (Some(key), _) => {
            if key.expose().len() < 32 {
                reader.fault(
                    "SECRET_KEY",
                    "is too short",
                    "give at least 32 characters, the same on all instances",
                );
            }
            key
        }
        (None, Some(token)) => {
            let mut mac = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes())
                .expect("HMAC takes keys of any length");
            mac.update(b"switchboard secret key");
            Secret::new(format!("{:x}", mac.finalize().into_bytes()))
        }
        (None, None) => Secret::new(format!("{:032x}", rand::random::<u128>())),
    }
}

pub(super) fn quotas(reader: &mut Reader<'_>) -> Quotas {
    let Quotas { api, webhook, auth } = Quotas::default();
    let wanted = "a number of requests and a window, such as `100/1m`";
    let mut quota = |name, default| reader.parsed(name, default, wanted, |v| v.parse().ok());
    Quotas {
        api: quota("RATE_LIMIT_API", api),
        webhook: quota("RATE_LIMIT_WEBHOOK", webhook),
        auth: quota("RATE_LIMIT_AUTH", auth),
    }
}

pub(super) fn database_url(reader: &mut Reader<'_>) -> Secret {
    postgres_url(reader, "DATABASE_URL").or_else(|| postgres_url(reader, "SUPABASE_URL")).unwrap_or_else(
        || {
            reader.missing(
                "DATABASE_URL",
                "give the database, such as postgresql://user:password@host:6543/db",
            );
            Secret::new(String::new())
        },
    )
}

/// None when it is unset; what is wrong with it is never shown, as it holds a password.
pub(super) fn postgres_url(reader: &mut Reader<'_>, name: &str) -> Option<Secret> {
    let url = reader.optional_secret(name)?;
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme)) {
        reader.fault(name, "is not a PostgreSQL URL", "begin it with postgresql://");
    }
    Some(url)
}

/// For how many days the rows of bookkeeping are kept.
const EVENT_DAYS: u32 = 365;
/// For how many days is known who did what: longer than a year, so that a yearly check finds all of it.
const AUDIT_DAYS: u32 = 400;

pub(super) fn retention(reader: &mut Reader<'_>) -> Retentions {
    let mut days = |name, default| {
        reader.parsed(name, default, "a number of days from 1 to 36500", |v| {
            v.parse().ok().filter(|days| (1..=36_500).contains(days)).map(Some)
        })
    };
    let keep = Retentions {
        transcript_days: days("RETENTION_TRANSCRIPT_DAYS", None),
        recording_days: days("RETENTION_RECORDING_DAYS", None),
        number_days: days("RETENTION_NUMBER_DAYS", None),
        event_days: days("RETENTION_EVENT_DAYS", Some(EVENT_DAYS)),
        audit_days: days("RETENTION_AUDIT_DAYS", Some(AUDIT_DAYS)),
    };
    let has_twilio = !reader.is_unset("TWILIO_ACCOUNT_SID") && !reader.is_secret_unset("TWILIO_AUTH_TOKEN");
    if keep.recording_days.is_some() && !has_twilio {
        let wrong = "is set, and the way to Twilio, where recordings are, is not known";
        reader.fault("RETENTION_RECORDING_DAYS", wrong, "set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN");
    }
    keep
}

pub(super) fn agent(reader: &mut Reader<'_>) -> Agent {
    super::agent_file::check_tool_hosts(reader);
    match reader.optional("AGENT_FILE") {
        None => Agent::built_in(reader),
        Some(path) => Agent::parse(&path, read_agent_file(&path), reader),
    }
}

/// None when it is unset; a faulty one is not shown.
pub(super) fn telephone_number(reader: &mut Reader<'_>, name: &str) -> Option<String> {
    let number = reader.optional(name)?;
    if !is_e164(&number) {
        reader.fault(name, "is not a telephone number", "write it in E.164, such as +15005550006");
    }
    Some(number)
}

/// Without the variable, the folder of this name in the data folder.
pub(super) fn folder(reader: &mut Reader<'_>, variable: &str, name: &str) -> PathBuf {
    reader.optional(variable).map_or_else(|| data_home().join(name), PathBuf::from)
}

pub(super) fn milliseconds(reader: &mut Reader<'_>, name: &str, default: u32) -> Duration {
    Duration::from_millis(reader.number(name, default, 1, 3_600_000).into())
}

/// A network, or a single address.
/// One of IPv4 that is written as IPv6 has it is none: it would never match.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| address.into()));
    network.filter(|network: &IpNet| network.addr() == network.addr().to_canonical())
}

pub(super) fn is_public_origin(url: &Url) -> bool {
    let scheme_fits = url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
    scheme_fits && has_no_extras(url) && url.path() == "/"
}

pub(super) fn is_realtime_url(url: &Url) -> bool {
    (url.scheme() == "wss" || url.scheme() == "ws" && is_loopback(url)) && has_no_extras(url)
}

pub(super) fn has_no_extras(url: &Url) -> bool {
    url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none()
}

pub(super) fn is_account_sid(text: &str) -> bool {
    text.strip_prefix("AC")
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// `+`, then 2 to 15 digits of which the first is not 0 (ITU-T E.164).
pub(super) fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_agent_file(data: &[u8]) {
    super::agent_file::fuzz(data);
}
