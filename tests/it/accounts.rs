//! Users, sessions, tokens and the audit: the handle and the commands, over a real PostgreSQL behind a
//! transaction pooler.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use actors::access::{Role, Scopes};
use actors::db::{Accounts, AddError, AuditEntry, AuditFilter, Db, NewSession};
use actors::secret::Secret;
use chrono::{TimeDelta, Utc};
use prometheus::Registry;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use switchboard::auth::{password, token};

use crate::database::settings;
use crate::support::app::Setup;
use crate::support::eventually;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{TestDatabase, client};

const PASSWORD: &str = "correct horse battery";
const KEY: [u8; 32] = [7; 32];

/// A database, a pooler before it, and the commands.
struct World {
    database: TestDatabase,
    pooler: PgBouncer,
}

/// What a command said, and its exit status.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: i32,
    output: String,
    error: String,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        Self { pooler: PgBouncer::before(&database), database }
    }

    async fn accounts(&self) -> Accounts {
        Accounts::connect(&self.pooler.url).await.unwrap().unwrap()
    }

    fn run(&self, arguments: &str, input: &str) -> Said {
        run(&self.pooler.url, arguments, input)
    }

    /// The command does what it is told.
    fn does(&self, arguments: &str, input: &str) -> Said {
        let said = self.run(arguments, input);
        assert_eq!(said.status, 0, "{arguments}: {said:?}");
        said
    }

    /// Adds the user `anna`.
    fn add_anna(&self, role: &str) {
        self.does(&format!("user add anna --role {role}"), PASSWORD);
    }

    /// Logs `anna` in, as a server does after it compared the password.
    async fn log_in(&self, accounts: &Accounts) -> bool {
        let user = accounts.user("anna").await.unwrap().unwrap();
        let session = NewSession {
            key_hash: KEY,
            user_id: user.id,
            password_changed_at: user.password_changed_at,
            expires_at: Utc::now() + TimeDelta::hours(1),
            client: "192.0.2.7".to_owned(),
        };
        accounts.open_session(&session).await.unwrap()
    }

    /// Waits until a query waits for a lock of another one.
    async fn somebody_waits(&self) {
        let waits = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("a query waits", async || self.database.value(waits).await == "1").await;
    }
}

fn run(url: &str, arguments: &str, input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(arguments.split(' '))
        .env_clear()
        .env("DATABASE_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that wants no input may be gone before it is written.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { status: output.status.code().unwrap(), output: text(output.stdout), error: text(output.stderr) }
}

/// The columns of a table that a command printed, without those that are times.
fn columns(text: &str, count: usize) -> Vec<Vec<&str>> {
    text.lines().skip(1).map(|line| line.split_whitespace().take(count).collect()).collect()
}

#[actix_rt::test]
async fn a_user_is_added_listed_and_found_whatever_the_capitals() {
    let world = World::new().await;
    let added = world.does("user add Anna --role operator", &format!("{PASSWORD}\nmore\n"));
    assert_eq!((added.output.as_str(), added.error.as_str()), ("Anna can log in, as operator\n", ""));
    world.does("user add bert --role viewer", PASSWORD);
    let db = Db::start(settings(&world.pooler.url), &Registry::new()).unwrap();
    for accounts in [world.accounts().await, db.accounts()] {
        let user = accounts.user("ANNA").await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.role, user.is_disabled), ("Anna", Role::Operator, false));
        assert!(password::verify(&user.password_hash, &Secret::new(PASSWORD.to_owned())));
        assert_eq!(accounts.user("nobody").await, Ok(None));
        assert_eq!(accounts.user("an\0na").await, Ok(None));
        assert_eq!(accounts.user_count().await, Ok(2));
    }

    let listed = world.does("user list", "");
    let users = columns(&listed.output, 3);
    assert_eq!(users, [["Anna", "operator", "active"], ["bert", "viewer", "active"]]);
    let listed = world.does("user list --json", "");
    let users: Value = serde_json::from_str(&listed.output).unwrap();
    assert_eq!((&users[1]["name"], &users[1]["role"]), (&json!("bert"), &json!("viewer")));
    assert_eq!(users[1]["disabledAt"], Value::Null);
    assert!(!listed.output.contains("argon2"), "{}", listed.output);
}

#[actix_rt::test]
async fn a_name_is_taken_once_whatever_its_capitals() {
    let world = World::new().await;
    world.add_anna("admin");
    let said = world.run("user add ANNA --role viewer", PASSWORD);
    assert_eq!(said.status, 64);
    assert_eq!(said.error, "there is a user named \"ANNA\" already; capitals make no difference\n");
    world.does("token add board --scopes monitor --expires 1d", "");
    let said = world.run("token add Board --scopes logs --expires 1d", "");
    assert_eq!(said.status, 64);
    assert_eq!(
        said.error,
        "there is a token named \"Board\" already; revoke it first, or take another name\n"
    );
    let accounts = world.accounts().await;
    let taken = accounts.add_user("anna", "hash", Role::Viewer).await;
    assert_eq!(taken, Err(AddError::NameTaken));
    let until = Utc::now() + TimeDelta::hours(1);
    let again = accounts.add_token("board", &KEY, "logs".parse().unwrap(), until).await;
    assert_eq!(again, Err(AddError::NameTaken));
    assert_eq!(accounts.user("anna").await.unwrap().unwrap().role, Role::Admin);
}

#[actix_rt::test]
async fn a_session_is_its_user_until_it_ends_or_expires() {
    let world = World::new().await;
    world.add_anna("viewer");
    let accounts = world.accounts().await;
    assert_eq!(accounts.session(&KEY).await, Ok(None));
    assert!(world.log_in(&accounts).await);
    let session = accounts.session(&KEY).await.unwrap().unwrap();
    assert_eq!((session.name.as_str(), session.role), ("anna", Role::Viewer));
    world.does("user role anna operator", "");
    assert_eq!(accounts.session(&KEY).await.unwrap().unwrap().role, Role::Operator, "it holds at once");
    assert_eq!(accounts.session(&[8; 32]).await, Ok(None));

    world.database.query("UPDATE sessions SET expires_at = now()").await;
    assert_eq!(accounts.session(&KEY).await, Ok(None), "it has expired");
    world.database.query("UPDATE sessions SET expires_at = now() + interval '1 hour'").await;
    assert_eq!(accounts.end_session(&KEY).await, Ok(true));
    assert_eq!(accounts.session(&KEY).await, Ok(None), "it has ended");
    assert_eq!(accounts.end_session(&KEY).await, Ok(false));
}

#[actix_rt::test]
async fn another_password_ends_the_sessions_and_whoever_compared_the_old_one_gets_none() {
    let world = World::new().await;
    world.add_anna("viewer");
    let accounts = world.accounts().await;
    assert!(world.log_in(&accounts).await);
    let before = accounts.user("anna").await.unwrap().unwrap();
    world.does("user passwd Anna", "another horse battery\n");
    assert_eq!(accounts.session(&KEY).await, Ok(None));

    let late = NewSession {
        key_hash: [9; 32],
        user_id: before.id,
        password_changed_at: before.password_changed_at,
        expires_at: Utc::now() + TimeDelta::hours(1),
        client: String::new(),
    };
    assert_eq!(accounts.open_session(&late).await, Ok(false));
    assert_eq!(accounts.session(&[9; 32]).await, Ok(None));
    let after = accounts.user("anna").await.unwrap().unwrap();
    let is = |text: &str| password::verify(&after.password_hash, &Secret::new(text.to_owned()));
    assert!(is("another horse battery") && !is(PASSWORD));
}

#[actix_rt::test]
async fn a_disabled_user_has_no_session_and_gets_none_until_enabled() {
    let world = World::new().await;
    world.add_anna("viewer");
    let accounts = world.accounts().await;
    assert!(world.log_in(&accounts).await);
    world.does("user disable anna", "");
    assert_eq!(accounts.session(&KEY).await, Ok(None));
    assert!(accounts.user("anna").await.unwrap().unwrap().is_disabled);
    assert_eq!(accounts.user_count().await, Ok(0));
    assert!(!world.log_in(&accounts).await);
    assert_eq!(columns(&world.does("user list", "").output, 3), [["anna", "viewer", "disabled"]]);

    world.does("user enable anna", "");
    assert_eq!(accounts.session(&KEY).await, Ok(None), "what has ended does not come back");
    world.database.query("DELETE FROM sessions").await;
    assert!(world.log_in(&accounts).await);
}

/// The password is changed in a transaction that is under way when the session is opened.
#[actix_rt::test]
async fn a_session_that_is_opened_while_the_password_changes_is_refused() {
    let world = World::new().await;
    world.add_anna("viewer");
    let change = client(&world.database.url).await;
    change.batch_execute("BEGIN; UPDATE users SET password_changed_at = now()").await.unwrap();
    let accounts = world.accounts().await;
    let opened = async {
        world.somebody_waits().await;
        change.batch_execute("COMMIT").await.unwrap();
    };
    assert!(!futures_util::future::join(world.log_in(&accounts), opened).await.0);
    assert_eq!(accounts.session(&KEY).await, Ok(None));
}

/// The session is opened in a transaction that is under way when the password is changed.
#[actix_rt::test]
async fn a_password_that_changes_while_a_session_is_opened_ends_that_session() {
    let world = World::new().await;
    world.add_anna("viewer");
    let opening = client(&world.database.url).await;
    let open = "BEGIN; INSERT INTO sessions (key_hash, user_id, expires_at)
        SELECT decode(repeat('07', 32), 'hex'), id, now() + interval '1 hour' FROM users FOR SHARE";
    opening.batch_execute(open).await.unwrap();
    let accounts = world.accounts().await;
    let opened = async {
        world.somebody_waits().await;
        opening.batch_execute("COMMIT").await.unwrap();
    };
    let (changed, ()) = futures_util::future::join(accounts.set_password("anna", "hash"), opened).await;
    assert_eq!(changed, Ok(true));
    assert_eq!(accounts.session(&KEY).await, Ok(None));
    assert_eq!(world.database.value("SELECT count(*) FROM sessions").await, "1");
}

#[actix_rt::test]
async fn a_token_is_printed_once_and_holds_until_it_is_revoked() {
    let world = World::new().await;
    let added = world.does("token add prometheus --scopes metrics,monitor --expires 90d", "");
    let text = added.output.strip_suffix('\n').unwrap();
    assert!(token::is_token(text), "{added:?}");
    assert!(!added.error.contains(text) && added.error.contains("monitor,metrics"), "{}", added.error);

    let accounts = world.accounts().await;
    let hash = token::hash(&Secret::new(text.to_owned()));
    let found = accounts.token(&hash).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.scopes), ("prometheus", "metrics,monitor".parse().unwrap()));
    let days = (found.expires_at - Utc::now()).num_days();
    assert!((89..=90).contains(&days), "{days}");
    assert_eq!(accounts.token(&[0; 32]).await, Ok(None));

    for listed in [world.does("token list", ""), world.does("token list --json", "")] {
        assert!(listed.output.contains("prometheus") && !listed.output.contains(text), "{listed:?}");
    }
    world.does("token revoke Prometheus", "");
    assert_eq!(accounts.token(&hash).await, Ok(None));
    assert_eq!(columns(&world.does("token list", "").output, 2), [["prometheus", "revoked"]]);
    world.does("token add prometheus --scopes metrics --expires 1h", "");
}

#[actix_rt::test]
async fn a_token_that_has_expired_holds_no_more_and_its_name_is_free() {
    let world = World::new().await;
    let accounts = world.accounts().await;
    let scopes: Scopes = "logs".parse().unwrap();
    accounts.add_token("export", &KEY, scopes, Utc::now() + TimeDelta::hours(1)).await.unwrap();
    assert!(accounts.token(&KEY).await.unwrap().is_some());
    world.database.query("UPDATE api_tokens SET expires_at = now()").await;
    assert_eq!(accounts.token(&KEY).await, Ok(None));
    assert_eq!(columns(&world.does("token list", "").output, 2), [["export", "expired"]]);
    accounts.add_token("EXPORT", &[8; 32], scopes, Utc::now() + TimeDelta::hours(1)).await.unwrap();
    assert_eq!(accounts.token(&KEY).await, Ok(None));
    assert!(accounts.token(&[8; 32]).await.unwrap().is_some());
}

#[actix_rt::test]
async fn the_use_of_a_token_is_noted_once_a_minute() {
    let world = World::new().await;
    let accounts = world.accounts().await;
    let until = Utc::now() + TimeDelta::hours(1);
    accounts.add_token("export", &KEY, "logs".parse().unwrap(), until).await.unwrap();
    let used = "SELECT last_used_at FROM api_tokens";
    assert_eq!(world.database.value(used).await, "∅");
    accounts.token(&KEY).await.unwrap().unwrap();
    let first = world.database.value(used).await;
    assert_ne!(first, "∅");
    accounts.token(&KEY).await.unwrap().unwrap();
    assert_eq!(world.database.value(used).await, first);
    let earlier =
        "UPDATE api_tokens SET last_used_at = last_used_at - interval '61 s' RETURNING last_used_at";
    let earlier = world.database.value(earlier).await;
    accounts.token(&KEY).await.unwrap().unwrap();
    assert_ne!(world.database.value(used).await, earlier);
}

/// As during a failover.
#[actix_rt::test]
async fn a_database_that_takes_no_writes_locks_nobody_out() {
    let world = World::new().await;
    world.add_anna("viewer");
    let accounts = world.accounts().await;
    assert!(world.log_in(&accounts).await);
    let until = Utc::now() + TimeDelta::hours(1);
    accounts.add_token("export", &KEY, "logs".parse().unwrap(), until).await.unwrap();
    let name = world.database.value("SELECT current_database()").await;
    world.database.query(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let accounts = Accounts::connect(&world.database.url).await.unwrap().unwrap();
    assert!(accounts.token(&KEY).await.unwrap().is_some());
    assert!(accounts.session(&KEY).await.unwrap().is_some());
    assert!(accounts.end_session(&KEY).await.is_err());
}

#[actix_rt::test]
async fn what_makes_no_sense_is_refused_with_64_and_changes_nothing() {
    let world = World::new().await;
    for (arguments, input, said) in [
        ("user add anna --role admin", "short", "the password has 5 characters: give it at least 12"),
        (
            "user add anna --role admin",
            &"a".repeat(300),
            "the password has 300 characters: give it at most 256",
        ),
        ("user add anna --role admin", "", "standard input is empty"),
        ("user add anna --role root", PASSWORD, "is not a role (expected viewer, operator or admin)"),
        ("user add anna", PASSWORD, "--role"),
        ("user add an:na --role admin", PASSWORD, "expected up to 64 letters"),
        ("user passwd anna", "short", "give it at least 12"),
        ("user passwd anna", PASSWORD, "there is no user named \"anna\""),
        ("user role anna admin", "", "there is no user named \"anna\""),
        ("user disable anna", "", "there is no user named \"anna\""),
        ("user enable anna", "", "there is no user named \"anna\""),
        ("token add board --scopes everything --expires 1d", "", "\"everything\" is not a scope"),
        ("token add board --scopes monitor", "", "--expires"),
        ("token add board --scopes monitor --expires never", "", "such as `12h` or `90d`"),
        ("token revoke board", "", "there is no living token named \"board\""),
        ("ops audit --limit 0", "", "--limit"),
        ("ops audit --since yesterday", "", "--since"),
    ] {
        let answer = world.run(arguments, input);
        assert_eq!(answer.status, 64, "{arguments}: {answer:?}");
        assert!(answer.error.contains(said), "{arguments}: {}", answer.error);
        assert_eq!(answer.output, "", "{arguments}");
    }
    let rows = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM api_tokens)";
    assert_eq!(world.database.value(rows).await, "0");
}

#[actix_rt::test]
async fn a_command_without_its_database_or_without_the_tables_says_so() {
    let said = run("", "user list", "");
    assert!((said.status, said.error.contains("DATABASE_URL")) == (64, true), "{said:?}");
    let said = run("postgres://nobody@127.0.0.1:9/none", "user list", "");
    assert!((said.status, said.error.contains("unavailable")) == (1, true), "{said:?}");
    let empty = TestDatabase::empty().await;
    let said = run(&empty.url, "token list", "");
    assert!((said.status, said.error.contains("`switchboard migrate`")) == (1, true), "{said:?}");
}

#[actix_rt::test]
async fn each_command_is_in_the_audit_without_a_secret() {
    let world = World::new().await;
    world.add_anna("admin");
    world.run("user role bert viewer", "");
    world.does("user passwd anna", "another horse battery");
    let token = world.does("token add board --scopes monitor --expires 1d", "").output;
    world.does("token revoke board", "");
    world.does("user list", "");
    let listed = world.does("ops audit --json", "").output;
    let rows: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| [&row["action"], &row["object"], &row["outcome"]].map(|v| v.as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        told,
        [
            ["users-listed", "-", "ok"],
            ["token-revoked", "board", "ok"],
            ["token-added", "board", "ok"],
            ["user-password-set", "anna", "ok"],
            ["user-role-set", "bert", "failed"],
            ["user-added", "anna", "ok"],
        ]
    );
    let who = rows[0]["who"].as_str().unwrap();
    assert!(who.starts_with("cli:") && who.len() > 4, "{who}");
    for secret in [PASSWORD, "another horse battery", "argon2", token.trim()] {
        assert!(!listed.contains(secret), "{listed}");
    }
    let text = world.does("ops audit --action user-added --since 1h --limit 1", "").output;
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.ends_with(&format!("  {who}  -  user-added  anna  ok\n")), "{text}");
    assert_eq!(world.does("ops audit --who nobody", "").output, "");
}

#[actix_rt::test]
async fn the_audit_is_read_in_pages_and_by_who_what_and_when() {
    let world = World::new().await;
    let accounts = world.accounts().await;
    for number in 0..5 {
        let entry = AuditEntry {
            who: format!("user:{}", number % 2),
            client: Some("192.0.2.7".to_owned()),
            action: "transcript-opened".to_owned(),
            object: Some("é".repeat(300)),
            outcome: "ok".to_owned(),
        };
        accounts.audit(&entry).await.unwrap();
    }
    world.database.query("UPDATE audit SET at = now() - interval '2 days' WHERE id <= 2").await;
    let everything = AuditFilter::default();
    let first = accounts.audit_page(None, 2, &everything).await.unwrap();
    assert_eq!(first.iter().map(|row| row.id).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(first[0].object.as_deref(), Some("é".repeat(200).as_str()));
    let rest = accounts.audit_page(Some(4), 1_000, &everything).await.unwrap();
    assert_eq!(rest.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 2, 1]);

    let ids = async |filter: AuditFilter| -> Vec<i64> {
        let rows = accounts.audit_page(None, 10, &filter).await.unwrap();
        rows.iter().map(|row| row.id).collect()
    };
    let yesterday = Some(Utc::now() - TimeDelta::days(1));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(ids(AuditFilter { who: text("user:1"), ..AuditFilter::default() }).await, [4, 2]);
    assert_eq!(ids(AuditFilter { action: text("login"), ..AuditFilter::default() }).await, [0; 0]);
    assert_eq!(ids(AuditFilter { object: text(&"é".repeat(200)), ..AuditFilter::default() }).await.len(), 5);
    assert_eq!(ids(AuditFilter { since: yesterday, ..AuditFilter::default() }).await, [5, 4, 3]);
    assert_eq!(ids(AuditFilter { until: yesterday, ..AuditFilter::default() }).await, [2, 1]);
}

#[actix_rt::test]
async fn a_program_that_nobody_can_log_in_to_says_how_the_first_user_is_added() {
    let world = World::new().await;
    let setup = Setup::new(&world.pooler.url, "http://127.0.0.1:9").with("API_AUTH", "required");
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .arg("serve")
        .env_clear()
        .envs(setup.with("RUST_LOG", "error,switchboard=info").environment())
        .stdout(Stdio::piped())
        .stderr(log.reopen().unwrap())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let origin = first.trim().strip_prefix("switchboard listening on ").unwrap();
    let warns = async || {
        let mut answer = awc::Client::default().get(format!("{origin}/healthz")).send().await.unwrap();
        let health: Value = answer.json().await.unwrap();
        health["warnings"].as_array().unwrap().contains(&"no-users".into())
    };
    eventually("it warns", warns).await;
    world.add_anna("admin");
    eventually("it warns no more", async || !warns().await).await;
    kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
    assert!(program.wait().unwrap().success());
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert_eq!(log.matches("`switchboard user add NAME --role admin`").count(), 1, "{log}");
}
