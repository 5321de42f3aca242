//! What `sslmode` and `sslrootcert` ask for is what happens.

use std::process::Command;

use actors::db::{Db, DbStartError};
use prometheus::Registry;

use super::{settings, start};
use crate::support::certificates::{Authority, ServerCertificate};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{TestDatabase, client};
use crate::support::postgres_with_tls::PostgresWithTls;

/// The URL with these parameters behind it.
fn with(url: &str, parameters: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameters}")
}

/// Why nothing is answered there.
async fn refusal(url: &str) -> String {
    let error = start(url).log().call_logs(1, 50).await.unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    error
}

#[actix_rt::test]
async fn every_sslmode_reaches_postgresql_and_the_pooler_where_the_certificate_is_in_order() {
    let authority = Authority::new();
    let certificate = authority.issue("127.0.0.1");
    let server = PostgresWithTls::start(&certificate).await;
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::with_tls_before(&database, &certificate);
    let root = authority.file().display().to_string();
    for mode in ["require", "prefer", "no-verify", "verify-ca", "verify-full"] {
        let parameters = match mode {
            "verify-ca" | "verify-full" => format!("sslmode={mode}&sslrootcert={root}"),
            _ => format!("sslmode={mode}"),
        };
        for url in [&server.url, &pooler.url] {
            let db = start(&with(url, &parameters));
            assert_eq!(db.log().call_logs(1, 50).await.unwrap().total, 0, "{mode}");
            if url == &server.url {
                let encrypted = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                                 WHERE application_name = 'switchboard'";
                let row = client(&server.url).await.query_one(encrypted, &[]).await.unwrap();
                assert!(row.get::<_, bool>(0), "{mode}");
            }
        }
    }
    let plain = start(&with(&server.url, "sslmode=disable"));
    assert_eq!(plain.log().call_logs(1, 50).await.unwrap().total, 0);
}

#[actix_rt::test]
async fn a_server_that_is_not_what_was_asked_for_is_refused_with_the_cause_and_what_to_do() {
    let (authority, another) = (Authority::new(), Authority::new());
    let database = TestDatabase::create().await;
    let root = authority.file().display().to_string();
    let checked = |mode: &str| format!("sslmode={mode}&sslrootcert={root}");

    let elsewhere = PgBouncer::with_tls_before(&database, &authority.issue("db.example"));
    let said = refusal(&with(&elsewhere.url, &checked("verify-full"))).await;
    assert!(said.contains("not valid for name") && said.contains("db.example"), "{said}");
    assert!(said.contains("`sslmode=verify-ca`"), "{said}");
    let by_issuer = start(&with(&elsewhere.url, &checked("verify-ca")));
    assert_eq!(
        by_issuer.log().call_logs(1, 50).await.unwrap().total,
        0,
        "the name does not matter to verify-ca"
    );

    let unknown = PgBouncer::with_tls_before(&database, &another.issue("127.0.0.1"));
    for mode in ["verify-ca", "verify-full", "require"] {
        let said = refusal(&with(&unknown.url, &checked(mode))).await;
        assert!(said.contains("UnknownIssuer") && said.contains("`sslrootcert`"), "{mode}: {said}");
    }
    let said = refusal(&with(&unknown.url, "sslmode=verify-full")).await;
    assert!(said.contains("UnknownIssuer"), "without a file, whom this machine trusts counts: {said}");

    let expired = PgBouncer::with_tls_before(&database, &authority.issue_expired("127.0.0.1"));
    let said = refusal(&with(&expired.url, &checked("verify-ca"))).await;
    assert!(said.contains("expired") && said.contains("renew"), "{said}");

    let its_own = PgBouncer::with_tls_before(&database, &ServerCertificate::of_its_own("127.0.0.1"));
    let said = refusal(&with(&its_own.url, &checked("verify-full"))).await;
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(start(&with(&its_own.url, "sslmode=require")).log().call_logs(1, 50).await.unwrap().total, 0);
    let said = refusal(&with(&its_own.url, "sslmode=disable")).await;
    assert!(said.contains("SSL required") && said.contains("`sslmode=require`"), "{said}");

    let plain = PgBouncer::on_a_port_before(&database);
    for mode in ["sslmode=require", &checked("verify-full")] {
        let said = refusal(&with(&plain.url, mode)).await;
        assert!(said.contains("does not support TLS") && said.contains("turn `ssl` on"), "{mode}: {said}");
    }
    assert_eq!(start(&with(&plain.url, "sslmode=prefer")).log().call_logs(1, 50).await.unwrap().total, 0);
}

#[actix_rt::test]
async fn the_system_decides_whom_to_trust_where_it_is_asked_to() {
    let authority = Authority::new();
    let server = PostgresWithTls::start(&authority.issue("127.0.0.1")).await;
    for (trusted, code, says) in [(authority.file(), 0, ""), (Authority::new().file(), 1, "UnknownIssuer")] {
        let program = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", with(&server.url, "sslmode=verify-full&sslrootcert=system"))
            .env("SSL_CERT_FILE", trusted)
            .output()
            .unwrap();
        let said = String::from_utf8(program.stderr).unwrap();
        assert_eq!(program.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[actix_rt::test]
async fn a_url_that_cannot_be_used_is_told_before_anything_is_asked() {
    let refused = Db::start(settings("postgres://u:hunter2@h/d?sslmode=verify-ca"), &Registry::new()).err();
    let Some(DbStartError::Url(error)) = refused else { panic!("accepted") };
    assert!(error.to_string().contains("`sslmode=verify-ca`"), "{error}");
    let program = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .arg("migrate")
        .env_clear()
        .env("DATABASE_URL", "postgres://u:hunter2@h/d?schema=clinic")
        .output()
        .unwrap();
    let said = String::from_utf8(program.stderr).unwrap();
    assert_eq!(program.status.code(), Some(64), "{said}");
    assert!(said.contains("`schema`") && !said.contains("hunter2"), "{said}");
}

#[actix_rt::test]
async fn what_a_pooler_refuses_at_the_door_is_explained() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::before(&database);
    let said = refusal(&with(&pooler.url, "options=-c%20search_path%3Dclinic")).await;
    assert!(said.contains("unsupported startup parameter") && said.contains("`options`"), "{said}");
    let (server, _) = database.url.rsplit_once('/').unwrap();
    let said = refusal(&format!("{server}?sslmode=disable")).await;
    assert!(said.contains("does not exist") && said.contains("names no database"), "{said}");
}
