//! `postgres://…` as people paste it, into what tokio-postgres understands.
//!
//! tokio-postgres refuses every parameter it does not know, so those meant for other clients are taken out.
//! One that asks for something this program cannot do is refused by name rather than ignored: a connection is
//! never less safe, and never somewhere else, than its URL says.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::chain;
use super::tls::{self, Check};
use crate::wire::roots;

/// Parameters of other clients that mean nothing to this one: it prepares no statements, and has a pool of
/// its own.
const FOREIGN: [&str; 13] = [
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "pool_mode",
    "max_conns",
    "statement_cache_size",
    "prepared_statements",
    "prepareThreshold",
    "socket_timeout",
    "supa",
    "workaround",
    "uselibpqcompat",
    "sslsni",
];

/// Parameters that tokio-postgres knows.
const OURS: [&str; 18] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "sslnegotiation",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// One address of a host is tried for this long, unless the URL has a `connect_timeout`: time for a lost
/// packet to be sent again, and for another address within the pool's own limit.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

const DIRECT_TLS: &str = "TLS without PostgreSQL's own negotiation is not supported; leave it out";

/// What is wrong with a database URL, and what to do. The URL itself is never repeated: it holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error("a database URL begins with `postgres://`")]
    Scheme,
    /// The name of the parameter, what is wrong with it, and what to do.
    #[error("`{0}`: {1}")]
    Parameter(String, String),
    #[error("{0}")]
    Malformed(String),
}

/// A database and how to reach it. Not printable: it holds the password.
#[derive(Clone)]
pub(in crate::db) struct Target {
    pub(in crate::db) config: Config,
    pub(in crate::db) tls: MakeRustlsConnect,
    /// Parameters of the URL that were meant for other clients.
    pub(in crate::db) ignored: Vec<String>,
}

impl Target {
    /// Reads the URL, and the file of `sslrootcert`.
    pub(in crate::db) fn parse(url: &str) -> Result<Self, BadUrl> {
        let (base, query) = split(url)?;
        let mut kept = Vec::new();
        let mut ignored = Vec::new();
        let (mut mode, mut root) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "sslmode" => mode = Some(value.to_owned()),
                "sslrootcert" => root = Some(decode(value)),
                "schema" | "currentSchema" if value == "public" => ignored.push(key.to_owned()),
                "sslnegotiation" if value != "postgres" => {
                    return Err(BadUrl::Parameter(format!("sslnegotiation={value}"), DIRECT_TLS.to_owned()));
                }
                "sslaccept" if value == "accept_invalid_certs" => ignored.push(key.to_owned()),
                _ if FOREIGN.contains(&key) => ignored.push(key.to_owned()),
                _ if OURS.contains(&key) => kept.push(pair),
                _ => return Err(BadUrl::Parameter(key.to_owned(), refusal(key).to_owned())),
            }
        }
        let mut config: Config =
            format!("{base}?{}", kept.join("&")).parse().map_err(|error| BadUrl::Malformed(chain(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(BadUrl::Malformed("a database URL names a host".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("switchboard");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(ADDRESS_TIMEOUT);
        }
        let (ssl_mode, check) = encryption(mode.as_deref(), root.as_deref())?;
        // As with libpq, on a unix socket it means nothing.
        let on_sockets = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
            && config.get_hostaddrs().is_empty();
        config.ssl_mode(if on_sockets { SslMode::Disable } else { ssl_mode });
        Ok(Self { config, tls: check.connector(), ignored })
    }

    /// Why no connection came about, and what to do where that is known: in one line, without the password.
    pub(in crate::db) fn explain(&self, error: &tokio_postgres::Error) -> String {
        let said = chain(error);
        let code = error.code().map(|code| code.code());
        let is_mistake = tls::remedy(error).is_some() || is_mistake(code, &said);
        let said = match self.remedy(error, &said) {
            Some(remedy) => format!("{said}; {remedy}"),
            None => said,
        };
        if is_mistake { format!("{MISTAKE}: {said}") } else { said }
    }

    fn remedy(&self, error: &tokio_postgres::Error, said: &str) -> Option<&'static str> {
        let is = |code: &str| error.code().is_some_and(|said| said.code() == code);
        if let Some(remedy) = tls::remedy(error) {
            return Some(remedy);
        }
        if said.contains("server does not support TLS") {
            return Some(
                "turn `ssl` on at the server, or leave `sslmode` out where the network is to be trusted",
            );
        }
        if said.contains("SSL required") || said.contains("no encryption") {
            return Some("the server insists on TLS: `sslmode=require`");
        }
        if said.contains("unsupported startup parameter") {
            return Some(
                "a transaction pooler takes no `options`: leave it out, and say it with `ALTER ROLE … SET …`",
            );
        }
        if is("3D000") && self.config.get_dbname().is_none() {
            return Some("the URL names no database: add `/name` behind the host");
        }
        None
    }
}

/// How the cause begins where waiting does not help.
pub(in crate::db) const MISTAKE: &str = "wrong settings, not an outage";

/// Whether a failed connect is a permanent mistake in the URL or at the server, by SQLSTATE and text.
fn is_mistake(code: Option<&str>, said: &str) -> bool {
    // Wrong user or password, no such database, no right to connect to it.
    matches!(code, Some("28000" | "28P01" | "3D000" | "42501"))
        || [
            "server does not support TLS",
            "SSL required",
            "no encryption",
            "unsupported startup parameter",
            // As poolers say it, under codes that they also use for an outage.
            "no such database",
            "no such user",
            "Tenant or user not found",
        ]
        .iter()
        .any(|mistake| said.contains(mistake))
}

/// The URL without its query, and the query. What may be a part of the password stays unsaid.
fn split(url: &str) -> Result<(&str, &str), BadUrl> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or(BadUrl::Scheme)?;
    let malformed = |what: &str| Err(BadUrl::Malformed(what.to_owned()));
    if rest.contains("[YOUR-PASSWORD]") {
        return malformed("`[YOUR-PASSWORD]` stands where the password belongs");
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if rest[authority.len()..].contains('@') || authority.matches('@').count() > 1 {
        return malformed(
            "special characters of the password are to be percent-encoded: `@` is `%40`, `/` is `%2F`, `?` is `%3F`",
        );
    }
    Ok(url.split_once('?').unwrap_or((url, "")))
}

fn decode(value: &str) -> String {
    // As a form's value, but for the plus sign, which is one.
    let value = value.replace('+', "%2B");
    form_urlencoded::parse(value.as_bytes()).next().map(|(value, _)| value.into_owned()).unwrap_or_default()
}

/// Why a parameter that asks for something cannot have it.
fn refusal(key: &str) -> &'static str {
    match key {
        "schema" | "currentSchema" | "search_path" => {
            "a transaction pooler does not keep a search path; leave it out, and say `ALTER ROLE … SET search_path = …`"
        }
        "statement_timeout" | "idle_in_transaction_session_timeout" | "lock_timeout" => {
            "a transaction pooler does not keep it; leave it out: each query has a time limit of its own"
        }
        "sslcert" | "sslkey" | "sslpassword" => {
            "client certificates are not supported; leave it out, and log in with a password"
        }
        "sslcrl" | "sslcrldir" => "revocation lists are not supported; leave it out",
        "ssl" | "sslaccept" => {
            "say `sslmode=require`, or `sslmode=verify-full` to have the certificate checked"
        }
        _ => "this parameter is not known; leave it out",
    }
}

/// What libpq makes of `sslmode` and `sslrootcert`. Differs from it in that `verify-full` without a root
/// trusts whom the machine trusts, and `allow` is `prefer`.
fn encryption(mode: Option<&str>, root: Option<&str>) -> Result<(SslMode, Check), BadUrl> {
    let sslmode =
        |why: &str| BadUrl::Parameter(format!("sslmode={}", mode.unwrap_or("prefer")), why.to_owned());
    let by_system = root == Some("system");
    let roots = || match root {
        None | Some("system") => {
            roots::of_the_system().map_err(|why| BadUrl::Parameter("sslrootcert=system".to_owned(), why))
        }
        Some(file) => roots::of_file(file).map_err(|why| BadUrl::Parameter("sslrootcert".to_owned(), why)),
    };
    Ok(match mode {
        None if by_system => (SslMode::Require, Check::IssuerAndName(roots()?)),
        Some("verify-full") => (SslMode::Require, Check::IssuerAndName(roots()?)),
        Some("disable") => (SslMode::Disable, Check::Nothing),
        _ if by_system => {
            return Err(sslmode(
                "with `sslrootcert=system` anybody's certificate would do; say `sslmode=verify-full`",
            ));
        }
        Some("verify-ca") if root.is_none() => {
            return Err(sslmode(
                "needs the CA's certificate: add `sslrootcert=` and the path of its PEM file",
            ));
        }
        Some("verify-ca") => (SslMode::Require, Check::Issuer(roots()?)),
        Some("require") if root.is_some() => (SslMode::Require, Check::Issuer(roots()?)),
        Some("require" | "no-verify") => (SslMode::Require, Check::Nothing),
        None | Some("prefer" | "allow") => (SslMode::Prefer, Check::Nothing),
        Some(_) => {
            return Err(sslmode("use `disable`, `prefer`, `require`, `verify-ca` or `verify-full`"));
        }
    })
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
