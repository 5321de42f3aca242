//! The database, and what several processes share.

use actors::db::{Address, Inspection, SchemaState};

use super::processes;
use super::public::is_private;
use crate::preflight::facts::{Direct, Facts, Said};
use crate::preflight::{Level, Line};

/// Where Supabase has its transaction pooler.
const POOLER_PORT: u16 = 6543;
const DIRECT: &str = "direct-url";
/// The document's pool of one process.
const POOL: u32 = 20;
/// Connections that all processes may have together.
const MOST_CONNECTIONS: u32 = 25;

pub(super) fn lines(facts: &Facts) -> Vec<Line> {
    let database = facts.database.as_ref();
    let said = &facts.said;
    let is_pooler = is_pooler(said, database.ok());
    let known = |name, judge: fn(&Inspection) -> Line| match database {
        Ok(found) => judge(found),
        Err(_) => Line::unknown(name, "database"),
    };
    vec![
        reachable(database),
        pooler(said, is_pooler),
        direct_url(facts.direct.as_ref(), is_pooler),
        tls("database-tls", "DATABASE_URL", &said.database),
        known("schema", schema),
        known("database-writable", writable),
        pool_size(facts),
        rate_limits(facts),
        secret_key(facts),
        known("first-user", first_user),
    ]
}

/// Whether the database answers.
pub fn reachable<T>(database: Result<T, &String>) -> Line {
    match database {
        Ok(_) => Line::pass("database", "PostgreSQL answers"),
        Err(why) => Line::fail("database", why.as_str(), unreachable(why)),
    }
}

/// What helps against this.
fn unreachable(why: &str) -> &'static str {
    const KNOWN: [(&[&str], &str); 5] = [
        (
            &["password authentication failed", "SASL authentication failed", "no such user", "28P01"],
            "check the user and the password in DATABASE_URL",
        ),
        (
            &["3D000", "no such database", "\" does not exist"],
            "check the name of the database, and the user, in DATABASE_URL",
        ),
        (
            &["server_login_retry"],
            "repair the server behind PgBouncer; once it is back, PgBouncer tries it again after up to 15 s",
        ),
        (
            &["53300", "too many clients", "connection slots", "no more connections"],
            "free connections with `switchboard ops idle-transactions --kill`, or allow more",
        ),
        (
            &["no answer within"],
            "check DATABASE_URL, and whether the server runs; if a pooler has no connection left, see `switchboard \
             ops idle-transactions`",
        ),
    ];
    let known = KNOWN.iter().find(|(signs, _)| signs.iter().any(|sign| why.contains(sign)));
    known.map_or("check DATABASE_URL, and whether the server runs", |(_, remedy)| remedy)
}

/// None: the database does not say, and its port does not tell.
fn is_pooler(said: &Said, found: Option<&Inspection>) -> Option<bool> {
    if said.database.ports.contains(&POOLER_PORT) {
        return Some(true);
    }
    found.map(|found| found.is_transaction_pooler)
}

fn ports(address: &Address) -> String {
    let ports: Vec<_> = address.ports.iter().map(u16::to_string).collect();
    format!("port {}", ports.join(", "))
}

fn pooler(said: &Said, is_pooler: Option<bool>) -> Line {
    match is_pooler {
        Some(true) => Line::pass("pooler", format!("a transaction pooler, {}", ports(&said.database))),
        Some(false) => Line::warn(
            "pooler",
            format!("{} is a direct or session connection", ports(&said.database)),
            "give DATABASE_URL the port of a transaction pooler: 6543 at Supabase",
        ),
        None => Line::unknown("pooler", "database"),
    }
}

fn direct_url(direct: Option<&Direct>, is_pooler: Option<bool>) -> Line {
    match (direct, is_pooler) {
        (Some(direct), _) => direct_connection(direct),
        (None, None) => Line::unknown(DIRECT, "database"),
        (None, Some(true)) => Line::warn(
            DIRECT,
            "DIRECT_DATABASE_URL is not set, and `switchboard migrate` refuses a transaction pooler",
            "set DIRECT_DATABASE_URL to the direct connection: port 5432 at Supabase",
        ),
        (None, Some(false)) => {
            Line::pass(DIRECT, "`switchboard migrate` uses DATABASE_URL, which is no transaction pooler")
        }
    }
}

/// Whether `switchboard migrate` can use `DIRECT_DATABASE_URL`.
pub fn direct_connection(direct: &Direct) -> Line {
    let Direct { address, is_transaction_pooler } = direct;
    let address = match address {
        Ok(address) => address,
        Err(why) => return Line::fail(DIRECT, why.as_str(), "give DIRECT_DATABASE_URL a PostgreSQL URL"),
    };
    let is_pooler = address.ports.contains(&POOLER_PORT);
    match is_transaction_pooler {
        Ok(seen) if *seen || is_pooler => pooled(address),
        Err(_) if is_pooler => pooled(address),
        Err(why) => {
            let seen = format!("DIRECT_DATABASE_URL cannot be reached: {why}");
            let remedy = "check DIRECT_DATABASE_URL; at Supabase, a network without IPv6 needs the session \
                          pooler, port 5432 of the pooler's host";
            Line::fail(DIRECT, seen, remedy)
        }
        Ok(_) => match tls(DIRECT, "DIRECT_DATABASE_URL", address) {
            Line { level: Level::Pass, .. } => Line::pass(
                DIRECT,
                format!("`switchboard migrate` has a direct connection, {}", ports(address)),
            ),
            line => line,
        },
    }
}

fn pooled(address: &Address) -> Line {
    let seen = format!(
        "DIRECT_DATABASE_URL leads to a transaction pooler, {}, which `switchboard migrate` refuses",
        ports(address)
    );
    Line::fail(DIRECT, seen, "give DIRECT_DATABASE_URL the direct connection: port 5432 at Supabase")
}

/// How the way to this address is encrypted; `setting` has the address.
fn tls(name: &'static str, setting: &str, address: &Address) -> Line {
    let remedy = "add sslmode=require, or better sslmode=verify-full";
    if address.is_local {
        Line::pass(name, "the database is on this machine")
    } else if address.is_encrypted {
        Line::pass(name, "connections are encrypted")
    } else if address.hosts.iter().all(|host| is_nearby(host)) {
        let seen = format!("{setting} allows a connection without TLS, inside a private network");
        Line::warn(name, seen, remedy)
    } else {
        let seen = format!("{setting} leads to another machine and allows a connection without TLS");
        Line::fail(name, seen, remedy)
    }
}

/// A name without a dot, which only a private network resolves, or a private address.
fn is_nearby(host: &str) -> bool {
    match host.parse() {
        Ok(address) => is_private(&address),
        Err(_) => !host.contains('.'),
    }
}

fn schema(found: &Inspection) -> Line {
    let name = "schema";
    match &found.schema {
        SchemaState::Fits => Line::pass(name, "all migrations are applied"),
        SchemaState::Newer => {
            let seen = "the database has migrations that this program does not know";
            Line::warn(name, seen, "update the program")
        }
        SchemaState::Older { missing } => {
            let seen = match missing.as_slice() {
                [one] => format!("the migration {one} is missing"),
                _ => format!("{} migrations are missing", missing.len()),
            };
            Line::fail(name, seen, "run `switchboard migrate`")
        }
        SchemaState::Hidden { role } => {
            let seen = format!("the role `{role}` does not own the tables, whose rows are hidden from it");
            Line::fail(name, seen, format!("connect as the owner, or run `GRANT owner TO {role}`"))
        }
        SchemaState::Unknown => Line::unknown(name, "database"),
    }
}

fn writable(found: &Inspection) -> Line {
    let name = "database-writable";
    if found.is_read_only {
        let remedy = "connect to the primary; at a provider, look for a full disk or a quota";
        return Line::fail(name, "the database takes no writes", remedy);
    }
    Line::pass(name, "the database takes writes")
}

fn pool_size(facts: &Facts) -> Line {
    let (name, size) = ("pool-size", facts.said.pool_max);
    let processes = u32::try_from(processes(facts)).unwrap_or(u32::MAX);
    let sum = size.saturating_mul(processes);
    let seen = match processes {
        1 => format!("{size} connections"),
        _ => format!("{processes} processes with {size} connections each are {sum}"),
    };
    if sum > MOST_CONNECTIONS {
        let fits = (MOST_CONNECTIONS / processes).clamp(1, POOL);
        let seen = format!("{seen}, and the most is {MOST_CONNECTIONS}");
        Line::fail(name, seen, format!("set DB_POOL_MAX={fits} for each process"))
    } else if processes == 1 && size < POOL {
        Line::warn(name, format!("{seen}, and {POOL} are meant for 20 calls"), "set DB_POOL_MAX=20")
    } else {
        Line::pass(name, format!("{seen}; a `switchboard worker` has its own, which are not counted"))
    }
}

fn rate_limits(facts: &Facts) -> Line {
    let name = "rate-limits";
    let processes = processes(facts);
    match &facts.redis {
        Some(Ok(())) => Line::pass(name, "Redis counts requests for all processes"),
        Some(Err(why)) => {
            let seen = format!("Redis does not answer: {why}");
            Line::fail(name, seen, "check REDIS_URL, and whether Redis runs")
        }
        None if processes > 1 => Line::fail(
            name,
            format!("{processes} processes count requests, each by itself"),
            "set REDIS_URL, the same for all processes",
        ),
        None => Line::pass(name, "the only process counts requests in memory"),
    }
}

fn secret_key(facts: &Facts) -> Line {
    let name = "secret-key";
    if facts.said.secret_key_is_weak {
        let seen = "SECRET_KEY repeats a few characters: who guesses it can make sessions and stream tokens";
        Line::fail(name, seen, "draw another one: `openssl rand -hex 32`; everybody has to log in again then")
    } else if facts.said.has_secret_key {
        Line::pass(name, "SECRET_KEY is set")
    } else if processes(facts) > 1 {
        let seen =
            "SECRET_KEY is not set: when the auth token changes, processes do not accept each other's tokens";
        Line::warn(name, seen, "set SECRET_KEY, the same for all processes: `openssl rand -hex 32`")
    } else {
        Line::pass(name, "one process has a key derived from TWILIO_AUTH_TOKEN")
    }
}

fn first_user(found: &Inspection) -> Line {
    let name = "first-user";
    let remedy = "run `switchboard user add NAME --role admin`";
    match found.admins {
        None => Line::unknown(name, "schema"),
        Some(0) => Line::fail(name, "no administrator can log in", remedy),
        Some(1) => Line::pass(name, "one administrator can log in"),
        Some(count) => Line::pass(name, format!("{count} administrators can log in")),
    }
}
