//! What the database says of itself, for a check before the first call: one look by a command's own
//! connections, which changes nothing.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::RunQueryDsl;
use tokio_postgres::config::{Host, SslMode};

use super::connect::connection::Connection;
use super::connect::error::DbError;
use super::connect::health::SchemaState;
use super::connect::migrate;
use super::connect::url::{BadUrl, Target};
use super::tables::instances::gone_after;
use super::tables::schema::{instances, users};

/// What a database URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Names and addresses; none for a socket of this machine.
    pub hosts: Vec<String>,
    pub ports: Vec<u16>,
    /// The way to it does not leave this machine.
    pub is_local: bool,
    /// It is never asked without TLS.
    pub is_encrypted: bool,
}

/// What a look at the database found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Two connections were seen to share one of the server's. Not seen: it is none, or it is busy.
    pub is_transaction_pooler: bool,
    pub schema: SchemaState,
    /// It refuses writes.
    pub is_read_only: bool,
    /// By its own clock.
    pub now: DateTime<Utc>,
    /// The names of the processes that serve now; none if the schema does not tell.
    pub instances: Option<Vec<String>>,
    /// Administrators who can log in; none if the schema does not tell.
    pub admins: Option<i64>,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// It is none.
    pub fn of(url: &str) -> Result<Self, BadUrl> {
        let config = Target::parse(url)?.config;
        let is_local = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
            }
        };
        let addresses = config.get_hostaddrs();
        let named = config.get_hosts().iter().filter_map(|host| match host {
            Host::Tcp(name) => Some(name.clone()),
            Host::Unix(_) => None,
        });
        let mut ports = config.get_ports().to_vec();
        if ports.is_empty() {
            ports.push(5432);
        }
        ports.dedup();
        Ok(Self {
            // An address goes before the name that it stands for.
            hosts: if addresses.is_empty() {
                named.collect()
            } else {
                addresses.iter().map(ToString::to_string).collect()
            },
            ports,
            is_local: config.get_hosts().iter().all(is_local)
                && addresses.iter().all(|address| address.is_loopback()),
            is_encrypted: config.get_ssl_mode() == SslMode::Require,
        })
    }
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct Server {
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

const SERVER: &str = "SELECT current_setting('transaction_read_only')::BOOLEAN OR pg_is_in_recovery() \
                      AS is_read_only, clock_timestamp() AS now";

/// Looks at the database. Has no deadline of its own: its caller has one. The connections belong to the
/// runtime it runs on.
///
/// # Errors
/// The URL is none; or the database cannot be reached, or refuses a question.
pub async fn inspect(url: &str) -> Result<Result<Inspection, DbError>, BadUrl> {
    let target = Target::parse(url)?;
    Ok(look(&target).await)
}

async fn look(target: &Target) -> Result<Inspection, DbError> {
    let mut connection = Connection::open(target).await.map_err(DbError::Unavailable)?;
    let server: Server = diesel::sql_query(SERVER).get_result(&mut connection).await?;
    let schema = migrate::compare(&mut connection).await?;
    let is_usable = matches!(schema, SchemaState::Fits | SchemaState::Newer);
    let (mut alive, mut admins) = (None, None);
    if is_usable {
        let names = instances::table
            .filter((instances::heartbeat_at + gone_after()).ge(diesel::dsl::now))
            .order(instances::instance_id)
            .select(instances::instance_id);
        alive = Some(names.load(&mut connection).await?);
        let enabled = users::table.filter(users::disabled_at.is_null().and(users::role.eq("admin")));
        admins = Some(enabled.count().get_result(&mut connection).await?);
    }
    let is_transaction_pooler = migrate::leads_through_a_pooler(&mut connection, target).await?;
    Ok(Inspection {
        is_transaction_pooler,
        schema,
        is_read_only: server.is_read_only,
        now: server.now,
        instances: alive,
        admins,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_whether_the_way_leaves_the_machine_and_whether_it_is_encrypted() {
        for (url, hosts, ports, is_local, is_encrypted) in [
            (
                "postgres://u@db.example.com:6543/d?sslmode=require",
                &["db.example.com"][..],
                vec![6543],
                false,
                true,
            ),
            ("postgres://u@db.example.com/d", &["db.example.com"], vec![5432], false, false),
            ("postgres://u@db.example.com/d?sslmode=prefer", &["db.example.com"], vec![5432], false, false),
            ("postgres://u@db/d?hostaddr=10.0.0.5", &["10.0.0.5"], vec![5432], false, false),
            ("postgres://u@localhost/d", &["localhost"], vec![5432], true, false),
            ("postgres://u@127.0.0.1:6432/d?sslmode=disable", &["127.0.0.1"], vec![6432], true, false),
            ("postgres://u@[::1]/d", &["::1"], vec![5432], true, false),
            ("postgres://u@%2Ftmp:6432/d", &[], vec![6432], true, false),
            (
                "postgres://u@localhost,db.example.com/d",
                &["localhost", "db.example.com"],
                vec![5432],
                false,
                false,
            ),
        ] {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            let wanted = Address { hosts, ports, is_local, is_encrypted };
            assert_eq!(Address::of(url), Ok(wanted), "{url}");
        }
        assert!(Address::of("mysql://u@h/d").is_err());
    }
}
