//! The other tests of the database once more, behind a transaction pooler: in the clear, and with a checked
//! certificate.

use std::collections::HashMap;
use std::env;
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::thread::{self, ThreadId};

use crate::support::certificates::Authority;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{MADE_IN, TestDatabase, made};

/// Tells the tests, started by themselves as another process, by which way the database is to be reached.
const ROUTE: &str = "SWITCHBOARD_TEST_ROUTE";
/// Tests that need a way of their own, or ask what only the server itself knows.
const DIRECT_ONLY: [&str; 10] = [
    "database::connections",
    "database::load",
    "database::migrations",
    "database::outages",
    "database::pool",
    "database::records::a_call_that_says_too_much", // heavy, and the same by any way
    "database::refusals",
    "database::routes",
    "database::row_level_security::a_role_that_does_not_own",
    "database::tls",
];

#[test]
fn the_database_tests_pass_behind_a_transaction_pooler() {
    pass_by("pooler");
}

#[test]
fn the_database_tests_pass_behind_a_transaction_pooler_with_tls() {
    pass_by("pooler with TLS");
}

fn pass_by(route: &str) {
    let mut tests = Command::new(env::current_exe().unwrap());
    tests.arg("database::").env(ROUTE, route).env(MADE_IN, made());
    tests.args(DIRECT_ONLY.iter().flat_map(|name| ["--skip", name]));
    let output = tests.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !said.contains(" 0 passed"), "{route}: {said}");
}

/// The way to the database of this URL: straight, or by a pooler of the test's own, as a pooler ends with the
/// thread that started it.
pub(super) fn chosen(url: &str) -> String {
    static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
    static POOLERS: LazyLock<Mutex<HashMap<(String, ThreadId), PgBouncer>>> = LazyLock::new(Mutex::default);
    let Ok(route) = env::var(ROUTE) else { return url.to_owned() };
    if !url.contains("%2F") || url.contains("switchboard-link-") {
        return url.to_owned(); // nobody is there, or comes and goes
    }
    let mut poolers = POOLERS.lock().unwrap();
    let pooler = poolers.entry((url.to_owned(), thread::current().id())).or_insert_with(|| {
        let database = TestDatabase { url: url.to_owned() };
        match route.as_str() {
            "pooler" => PgBouncer::before(&database),
            _ => PgBouncer::with_tls_before(&database, &AUTHORITY.issue("127.0.0.1")),
        }
    });
    if route == "pooler" {
        return pooler.url.clone();
    }
    format!("{}&sslmode=verify-full&sslrootcert={}", pooler.url, AUTHORITY.file().display())
}
