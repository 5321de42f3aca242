//! Background jobs: shared by processes, paused, failing, given back; and what each of them does.

mod accounts;
mod retention;
mod runner;
mod work;

use std::time::Duration;

use actors::db::{Db, DbSettings};
use actors::secret::Secret;
use prometheus::Registry;

use crate::support::postgres::spool_dir;

/// The settings of an instance of its own.
fn settings(url: &str, instance: &str) -> DbSettings {
    DbSettings {
        url: Secret::new(url.to_owned()),
        pool_max: 4,
        idle_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        spool_dir: spool_dir(),
        instance: instance.to_owned(),
    }
}

/// A database handle of an instance's own.
fn db(url: &str, instance: &str) -> Db {
    Db::start(settings(url, instance), &Registry::new()).unwrap()
}
