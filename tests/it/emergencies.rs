//! The emergencies of docs/operating.md, acted out over the real program: what an operator sees, does, and
//! sees then.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use actors::access::Scope;
use actors::db::Accounts;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::accounts::{Visitor, add_token};
use crate::support::app::{Setup, TestApp};
use crate::support::eventually;
use crate::support::hang::Hang;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{TestDatabase, client};
use crate::support::twilio::{call_sid, webhook};
use crate::support::world::{World, is_answered};

const PERSON: &str = "+14155550123";
const NUMBER: &str = "+14155550199";

/// A program behind a transaction pooler that has three connections, and the operator.
struct House {
    database: TestDatabase,
    pooler: PgBouncer,
    app: TestApp,
    token: String,
}

/// What a command said, and its exit status.
#[derive(Debug)]
struct Said {
    status: i32,
    output: String,
    error: String,
}

impl House {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let pooler = PgBouncer::before(&database);
        let token = add_token(&database, "operator", &Scope::ALL).await;
        let setup = Setup::new(&pooler.url, "http://127.0.0.1:1")
            .with("API_AUTH", "required")
            .with("DIRECT_DATABASE_URL", &database.url)
            .with("DB_POOL_MAX", "2");
        Self { app: setup.start(), database, pooler, token }
    }

    fn operator(&self) -> Visitor {
        Visitor::of(&self.app).bearing(&self.token)
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.operator().get(&format!("/api/ops/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    async fn post(&self, path: &str, body: Option<Value>) -> Value {
        let answer = self.operator().post(&format!("/api/ops/{path}"), body).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// Another program with this role, by the pooler.
    async fn stranger(&self) -> Client {
        client(self.pooler.url.split('?').next().unwrap()).await
    }

    /// `switchboard ops …`, as an operator types it.
    async fn types(&self, arguments: &str) -> Said {
        self.types_with(arguments, &self.token).await
    }

    async fn types_with(&self, arguments: &str, token: &str) -> Said {
        let mut command = self.command(arguments, token);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code().unwrap();
        Said { status, output: text(output.stdout), error: text(output.stderr) }
    }

    fn command(&self, arguments: &str, token: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.arg("ops").args(arguments.split(' ')).env_clear();
        command.env("DATABASE_URL", &self.pooler.url).env("DIRECT_DATABASE_URL", &self.database.url);
        command.env("SWITCHBOARD_TOKEN", token);
        command.env("PORT", self.app.origin.rsplit(':').next().unwrap());
        command
    }

    /// Who did what, the oldest first.
    async fn audit(&self, action: &str) -> Vec<String> {
        let sql = format!("SELECT who, object, outcome FROM audit WHERE action = '{action}' ORDER BY id");
        self.database.query(&sql).await
    }
}

#[actix_rt::test]
async fn connections_that_are_used_up_by_idle_transactions_are_seen_and_freed() {
    let mut house = House::new().await;
    assert_eq!(house.get("status").await["missing"], Value::Null, "before");
    let mut strangers = Vec::new();
    for _ in 0..3 {
        let stranger = house.stranger().await;
        stranger.batch_execute("BEGIN; SELECT 'of a caller +14155550199'").await.unwrap();
        strangers.push(stranger);
    }
    house.token = add_token(&house.database, "fresh", &Scope::ALL).await;
    eventually("the operator sees that the database does not answer", async || {
        house.get("status").await["missing"].is_string()
    })
    .await;
    let screen = house.types("status").await;
    assert!(screen.output.contains("webhooks   not known"), "{screen:?}");
    eventually("the screen names the cure", async || {
        house.types("status").await.output.contains("`switchboard ops idle-transactions --kill`")
    })
    .await;
    for arguments in ["webhooks", "jobs", "alerts --open", "dead-letters", "audit"] {
        let said = house.types(arguments).await;
        assert_eq!(said.status, 0, "{arguments} goes past the pooler: {said:?}");
    }
    let found = house.get("idle-transactions").await;
    let sessions = found["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3, "{found}");
    assert!(sessions.iter().all(|session| session["isOurs"] == true && session["ended"] == false), "{found}");
    assert_eq!(sessions[0]["lastQuery"], "BEGIN; SELECT ?");

    let mut ended = BTreeSet::new();
    eventually("all three are ended", async || {
        let found = house.post("idle-transactions/kill", Some(json!({"olderThanSeconds": 1}))).await;
        let sessions = found["sessions"].as_array().unwrap();
        let told = sessions.iter().filter(|session| session["ended"] == true);
        ended.extend(told.map(|session| session["pid"].as_i64()));
        ended.len() == 3
    })
    .await;
    eventually("the database answers again", async || {
        let status = house.get("status").await;
        status["missing"] == Value::Null && status["health"]["database"] == "healthy"
    })
    .await;
    assert_eq!(house.get("idle-transactions").await["sessions"], json!([]));
    for stranger in strangers {
        assert!(stranger.batch_execute("SELECT 1").await.is_err(), "its session is gone");
    }
    let audit = house.audit("idle-transactions-ended").await;
    assert_eq!(audit.last().map(String::as_str), Some("token:fresh|1 s|ok"));

    let said = house.types("idle-transactions --kill").await;
    assert_eq!((said.status, said.output.trim()), (0, "no session is idle within a transaction"), "{said:?}");
}

#[actix_rt::test]
async fn a_pool_that_is_too_small_is_given_more_connections() {
    let house = House::new().await;
    let said = house.types("pool --size 25").await;
    assert_eq!(said.status, 0, "{said:?}");
    assert!(
        said.output.contains(" of 25 connections open") && said.output.contains("DB_POOL_MAX=2"),
        "{said:?}"
    );
    let pool = house.get("pool").await;
    assert_eq!((&pool["size"], &pool["configured"]), (&json!(25), &json!(2)));
    assert_eq!(house.audit("pool-resized").await, ["token:operator|25|ok"]);
}

#[actix_rt::test]
async fn a_slow_query_is_seen_with_whom_it_waits_for_and_jobs_are_paused_meanwhile() {
    let house = House::new().await;
    let holder = client(&house.database.url).await;
    holder.batch_execute("BEGIN; LOCK TABLE conferences IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let waiting = client(&house.database.url).await;
    waiting.batch_execute("SET lock_timeout = '700ms'").await.unwrap();
    let query = format!("SELECT count(*) FROM conferences WHERE friendly_name = '{NUMBER}'");
    // None runs for a second: they are ended before, as the program's deadlines end its own.
    let waiting = tokio::spawn(async move { while waiting.simple_query(&query).await.is_err() {} });
    let mut running = Value::Null;
    eventually("the query is seen", async || {
        running = house.get("slow-queries").await["running"].clone();
        running[0]["waitsFor"].as_str().is_some_and(|waits| waits.starts_with("Lock"))
    })
    .await;
    assert_eq!(running[0]["query"], "SELECT count(*) FROM conferences WHERE friendly_name = ?");
    assert_eq!(running[0]["blockedBy"].as_array().unwrap().len(), 1);
    assert!(!running.to_string().contains("14155550199"), "no caller's number: {running}");
    let said = house.types("slow-queries").await;
    assert!(said.output.contains("next: ") && said.output.contains("idle-transactions"), "{said:?}");

    let jobs = house.get("jobs").await;
    let name = jobs["jobs"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(house.post(&format!("jobs/{name}/pause"), None).await["paused"], true);
    let is_paused = format!("paused: {name}");
    let screen = house.types("status").await;
    assert!(screen.output.contains(&is_paused), "{screen:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap();
    let resumed = house.types(&format!("jobs --resume {name} --json")).await;
    let resumed: Value = serde_json::from_str(&resumed.output).unwrap();
    assert_eq!(resumed[0]["paused"], false);
    assert_eq!(house.audit("job-paused").await, [format!("token:operator|{name}|ok")]);
    let by_hand = house.audit("job-resumed").await;
    assert!(by_hand[0].starts_with("cli:") && by_hand[0].ends_with(&format!("|{name}|ok")), "{by_hand:?}");
    let nobody = house.operator().post("/api/ops/jobs/nonsense/pause", None).await;
    assert_eq!(nobody.status, 404);
    assert_eq!(house.types("jobs --pause nonsense").await.status, 64);
}

#[actix_rt::test]
async fn a_backlog_of_webhooks_is_seen_drained_and_what_was_given_up_is_tried_again() {
    let house = House::new().await;
    let holder = client(&house.database.url).await;
    holder.batch_execute("BEGIN; LOCK TABLE recordings IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for number in 1..=20 {
        let sid = format!("RE{number:032x}");
        let told =
            [("CallSid", &*call_sid(number)), ("RecordingSid", &sid), ("RecordingStatus", "completed")];
        assert_eq!(webhook(&house.app, "/api/voice/recording-status", &told).await.status, 204);
    }
    let mut backlog = Value::Null;
    eventually("the backlog is seen", async || {
        backlog = house.operator().get("/api/ops/webhooks").await.body;
        backlog["pending"] == 20 && backlog["oldestSeconds"].as_i64() >= Some(1)
    })
    .await;
    let said = house.types("webhooks").await;
    assert!(said.output.starts_with("20 wait, the oldest for "), "{said:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    eventually("the backlog is gone", async || {
        // Attempts that failed wait for up to a minute: time passes.
        house.database.query("UPDATE webhooks SET due_at = now() WHERE state = 'waiting'").await;
        house.get("webhooks").await["pending"] == 0
    })
    .await;
    assert_eq!(house.database.value("SELECT count(*) FROM recordings").await, "20");

    let dead = "UPDATE webhooks SET state = 'dead', attempts = 10, last_error = 'P0001 no room' WHERE id = \
        (SELECT min(id) FROM webhooks)";
    house.database.query(dead).await;
    let status = house.types("status").await;
    assert!(status.output.contains("switchboard ops dead-letters"), "{status:?}");
    let backlog = house.get("webhooks").await;
    let letter = &backlog["deadLetters"][0];
    assert_eq!((&backlog["dead"], &letter["lastError"]), (&json!(1), &json!("P0001 no room")), "{backlog}");
    let id = letter["id"].as_i64().unwrap();
    assert_eq!(house.post("webhooks/retry", Some(json!({"id": id}))).await, json!({"retried": 1}));
    eventually("it is processed", async || house.get("webhooks").await["dead"] == 0).await;
    assert_eq!(house.audit("dead-letters-retried").await, [format!("token:operator|{id}|ok")]);
    let said = house.types("dead-letters --retry all").await;
    assert_eq!((said.status, said.output.trim()), (0, "0 to be processed again"), "{said:?}");
    let audit = house.audit("dead-letters-retried").await;
    assert!(audit[1].starts_with("cli:") && audit[1].ends_with("|all|ok"), "{audit:?}");
}

#[actix_rt::test]
async fn callbacks_that_a_lock_keeps_in_the_spool_are_told_beside_those_in_the_database() {
    let house = House::new().await;
    let holder = client(&house.database.url).await;
    holder.batch_execute("BEGIN; LOCK TABLE webhooks IN EXCLUSIVE MODE").await.unwrap();
    let (call, recording) = (call_sid(1), format!("RE{:032x}", 1));
    let told = [("CallSid", &*call), ("RecordingSid", &recording), ("RecordingStatus", "completed")];
    assert_eq!(webhook(&house.app, "/api/voice/recording-status", &told).await.status, 204);
    let mut said = String::new();
    eventually("the spool is told", async || {
        said = house.types("webhooks").await.output;
        said.starts_with("0 wait in the database\n")
    })
    .await;
    assert!(said.contains("1 records wait in the spool of 127.0.0.1:"), "{said}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    eventually("nothing waits", async || house.types("webhooks").await.output.starts_with("0 wait\n")).await;
}

#[actix_rt::test]
async fn an_operator_drains_and_resumes_from_the_command_line_and_without_the_right_hears_which_is_missing() {
    let house = House::new().await;
    eventually("it is ready", async || Visitor::of(&house.app).get("/readyz").await.status == 200).await;
    let said = house.types("drain").await;
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.output.contains("no new calls are taken; 0 calls go on, 0 are expected"), "{said:?}");
    assert_eq!(Visitor::of(&house.app).get("/readyz").await.status, 503);
    let screen = house.types("status").await;
    assert!(screen.output.contains("draining: no new calls until"), "{screen:?}");
    assert!(house.types("resume --json").await.output.contains("\"draining\": false"));
    assert_eq!(Visitor::of(&house.app).get("/readyz").await.status, 200);
    let acts = [house.audit("drain").await, house.audit("resume").await].concat();
    assert!(acts.len() == 2 && acts.iter().all(|act| act.starts_with("token:operator|")), "{acts:?}");

    let viewer = add_token(&house.database, "viewer", &[Scope::Logs]).await;
    for arguments in ["drain", "pool --size 9", "log-level debug"] {
        let said = house.types_with(arguments, &viewer).await;
        assert_eq!(said.status, 1, "{arguments}: {said:?}");
        assert!(said.error.contains("this needs the scope `admin`"), "{said:?}");
    }
    let said = house.types_with("status", &viewer).await;
    assert!(said.status == 0 && said.output.contains("more with a token"), "{said:?}");
    for arguments in [
        "pool --size 0",
        "log-level info,actors=loud",
        "hang-up CA1",
        "drain --url here",
        "idle-transactions --kill --older-than 0",
        "nonsense",
    ] {
        assert_eq!(house.types(arguments).await.status, 64, "{arguments}");
    }
    let said = house.types("status --url http://127.0.0.1:1").await;
    assert!(said.status == 1 && said.error.contains("does not answer"), "{said:?}");
}

#[actix_rt::test]
async fn the_log_says_more_for_a_while_without_a_restart() {
    let database = TestDatabase::create().await;
    let app = Setup::new(&database.url, "http://127.0.0.1:1").with("RUST_LOG", "error").start();
    let post = async |path: &str, body: Option<Value>| {
        let answer = Visitor::of(&app).post(&format!("/api/ops/{path}"), body).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    };
    post("drain", None).await;
    let level = post("log-level", Some(json!({"level": "error,switchboard=info", "minutes": 5}))).await;
    assert_eq!(level["filter"], "error,switchboard=info,tokio_postgres=info");
    assert!(level["until"].is_string());
    post("resume", None).await;
    let shown = app.get("/api/ops/status").await["logLevel"].clone();
    assert_eq!(shown["filter"], level["filter"]);
    let log = app.log_at_its_end();
    assert!(!log.iter().any(|line| line.contains("wants no new calls here")), "before: {log:?}");
    assert!(log.iter().any(|line| line.contains("wants new calls here again")), "after: {log:?}");
}

#[actix_rt::test]
async fn a_live_call_is_given_to_the_person_of_the_settings() {
    let database = TestDatabase::create().await;
    let mut world = World::around(&database.url).await;
    world.setup = world.setup.with("HUMAN_FALLBACK_NUMBER", PERSON);
    let app = world.start();
    let caller = world.in_conversation(&[]).await;
    let path = format!("/api/ops/calls/{}/transfer", caller.call_sid());
    let answer = Visitor::of(&app).post(&path, Some(json!({"to": "+15005550009"}))).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    caller.ends().await;
    assert_eq!(world.network.calls_to(PERSON)[0].0, "completed", "and nobody of the request");
    let log = app.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["reason"], "operator", "{log}");
    let audit = database.query("SELECT who, object, outcome FROM audit WHERE action = 'transfer'").await;
    assert_eq!(audit, [format!("local|{}|ok", caller.call_sid())]);
    world.is_content();
    app.empties().await;
}

#[actix_rt::test]
async fn sessions_are_ended_by_way_of_the_pooler_and_those_of_other_roles_are_left_alone() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::before(&database);
    let name = database.value("SELECT current_database()").await;
    let role = format!("reporting_of_{name}");
    database.query(&format!("CREATE ROLE {role} LOGIN PASSWORD 'word'")).await;
    let url_of_role = database.url.replacen("switchboard@", &format!("{role}:word@"), 1);
    let (ours, foreign) = (client(&database.url).await, client(&url_of_role).await);
    for session in [&ours, &foreign] {
        session.batch_execute("BEGIN; SELECT 1").await.unwrap();
    }

    let operator = Accounts::connect(&pooler.url).await.unwrap().unwrap().operator();
    let found = operator.end_idle_transactions(0).await.unwrap();
    let told: Vec<_> = found.sessions.iter().map(|one| (&*one.role, one.is_ours, one.ended)).collect();
    assert_eq!(told, [("switchboard", true, true), (&*role, false, false)]);
    assert!(ours.batch_execute("SELECT 1").await.is_err(), "it is ended");
    foreign.batch_execute("COMMIT").await.expect("it is left alone");

    let of_role = Accounts::connect(&url_of_role).await.unwrap().unwrap().operator();
    let ours = client(&database.url).await;
    ours.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let seen = of_role.end_idle_transactions(0).await.unwrap();
    assert!(
        seen.sessions.is_empty() && seen.hidden >= 1,
        "an ordinary role is told what it cannot see: {seen:?}"
    );
    ours.batch_execute("COMMIT").await.unwrap();
}

#[actix_rt::test]
async fn the_picture_is_drawn_anew_as_long_as_somebody_watches() {
    let house = House::new().await;
    let mut command = house.command("status --watch", &house.token);
    let screens = tokio::task::spawn_blocking(move || {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let heads = lines.filter(|line| line.contains("  version ")).take(2).count();
        child.kill().unwrap();
        child.wait().unwrap();
        heads
    });
    assert_eq!(screens.await.unwrap(), 2);
}

#[actix_rt::test]
async fn during_a_drain_calls_go_on_and_a_caller_who_was_sent_elsewhere_is_answered_when_it_is_over() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    let before = world.in_conversation(&[]).await;
    let operator = Visitor::of(&app);
    let drained = operator.post("/api/ops/drain", None).await;
    assert_eq!((drained.status, &drained.body["active"]), (200, &json!(1)));
    let caller = world.network.rings().unwrap();
    eventually("the caller is sent elsewhere", async || {
        app.metric(r#"switchboard_admissions_total{result="draining"}"#).await >= 1.0
    })
    .await;
    assert_eq!(app.capacity().await, (1, 0), "the call from before goes on");
    assert_eq!(operator.post("/api/ops/resume", None).await.status, 200);
    is_answered(&caller).await;
    for caller in [before, caller] {
        caller.hangs_up().await;
        assert_eq!(app.logged(caller.call_sid()).await["call"]["outcome"], "completed");
    }
    world.is_content();
    app.empties().await;
}

#[actix_rt::test]
async fn a_database_that_hangs_is_said_to_be_away_and_delays_nothing_else() {
    let database = TestDatabase::create().await;
    let hang = Hang::before(&database).await;
    let app = Setup::new(&hang.url, "http://127.0.0.1:1").start();
    let operator = Visitor::of(&app);
    eventually("it has a database", async || app.get("/healthz").await["database"] == "healthy").await;
    hang.begins();
    let asked = async { operator.get("/api/ops/slow-queries").await.status };
    let (mut asked, others) = (std::pin::pin!(asked), async {
        assert_eq!(app.get("/api/call-monitor").await["draining"], false);
        let resized = Visitor::of(&app).get("/api/ops/pool").await;
        assert_eq!(resized.status, 200);
    });
    tokio::select! {
        biased;
        status = &mut asked => panic!("others have waited for the database: {status}"),
        () = others => {}
    }
    assert_eq!(asked.await, 503);
    hang.ends();
    eventually("it answers again", async || operator.get("/api/ops/slow-queries").await.status == 200).await;
}
