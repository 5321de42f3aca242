//! `switchboard preflight` against real servers: a good deployment, a bad one, and servers that are away.

use std::process::{Output, Stdio};
use std::time::Duration;

use actors::access::Role;
use actors::secret::Secret;
use actors::wire::https;
use actors::wire::roots;
use actors::wire::twilio::rest::{NumberUrls, TwilioApi};
use chrono::Utc;
use serde_json::Value;
use switchboard::loadtest::result::{LoadTest, Scenario, Verdict};
use switchboard::sim::phone::network::{ACCOUNT_SID, NUMBER};
use switchboard::sim::phone::{Network, Options, Reach};
use switchboard::sim::realtime::{self, Server};
use switchboard::sim::report::CallsReport;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::accounts::add_user;
use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::certificates::Authority;
use crate::support::free_address;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::TestDatabase;
use crate::support::redis::RedisServer;
use crate::support::tls_proxy::TlsProxy;

mod servers;

use servers::{drops_upgrades, says, silence};

/// Far longer than it takes: a check that hangs fails the test.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What a check printed and how it ended.
#[derive(Debug)]
pub struct Checked {
    pub status: i32,
    lines: Vec<Value>,
    stderr: String,
    pub all: String,
}

impl Checked {
    /// The lines that do not pass: name and level.
    pub fn bad(&self) -> Vec<(&str, &str)> {
        let lines = self.lines.iter().map(|line| (text(line, "name"), text(line, "level")));
        lines.filter(|(_, level)| *level != "pass").collect()
    }

    fn seen(&self, name: &str) -> &str {
        let line = self.lines.iter().find(|line| line["name"] == name);
        text(line.unwrap_or_else(|| panic!("no {name}: {}", self.all)), "seen")
    }
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().expect("a text")
}

/// Runs a check.
pub async fn check(environment: &[(String, String)], more: &[&str], input: &str) -> Checked {
    run(environment, &[&["preflight", "--json"], more].concat(), input).await
}

/// Runs a command with these variables and nothing else.
pub async fn run(environment: &[(String, String)], arguments: &[&str], input: &str) -> Checked {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(arguments).env_clear().kill_on_drop(true);
    for (name, value) in environment {
        command.env(name, value);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input.as_bytes()).await; // it may have ended without reading
    drop(stdin);
    let ended = timeout(ENDS_WITHIN, child.wait_with_output()).await.expect("it ends in time");
    let Output { status, stdout, stderr } = ended.unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let all = format!("{stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap_or(Value::Null);
    let lines = report["lines"].as_array().cloned().unwrap_or_default();
    Checked { status: status.code().expect("it was not killed"), lines, stderr, all }
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The later ones go before the earlier ones.
pub fn with(mut environment: Vec<(String, String)>, more: &[(&str, &str)]) -> Vec<(String, String)> {
    environment.extend(owned(more));
    environment
}

/// A program behind nginx and PgBouncer, with Redis, a number at a simulated Twilio, and an administrator.
pub struct Deployment {
    setup: Setup,
    network: Network,
    authority: Authority,
    pub environment: Vec<(String, String)>,
    pub folder: tempfile::TempDir,
    _parts: (TestApp, TlsProxy, PgBouncer, RedisServer, Server),
}

impl Deployment {
    pub async fn good() -> Self {
        let database = TestDatabase::create().await;
        add_user(&database, "anna", Role::Admin).await;
        let pooler = PgBouncer::on_a_port_before(&database);
        let redis = RedisServer::start(free_address(), &[]);
        let realtime = realtime::start(realtime::Options::default()).await.unwrap();
        let (authority, listen) = (Authority::new(), free_address());
        let origin = format!("https://{listen}");
        let network = network(&origin, &authority);
        let folder = tempfile::tempdir().unwrap();
        let agent = folder.path().join("agent.toml");
        std::fs::write(&agent, "name = \"Harbor Clinic\"").unwrap();
        write_load_test(folder.path());
        let setup = Setup::new(&pooler.url, &format!("http://{}", realtime.addr()))
            .with("DIRECT_DATABASE_URL", &database.url)
            .with("REDIS_URL", &redis.url())
            .with("PUBLIC_URL", &origin)
            .with("TRUSTED_PROXIES", "127.0.0.1")
            .with("API_AUTH", "required")
            .with("AGENT_FILE", agent.to_str().unwrap())
            .with("TWILIO_ACCOUNT_SID", ACCOUNT_SID)
            .with("TWILIO_API_BASE_URL", &format!("http://{}", network.api_addr().unwrap()))
            .with("TWILIO_FROM_NUMBER", NUMBER)
            .with("URGENT_NOTIFICATION_NUMBER", "+14155550100")
            .with("HUMAN_FALLBACK_NUMBER", "+14155550101");
        let environment = setup.clone().environment();
        let environment = with(environment, &[("SSL_CERT_FILE", authority.file().to_str().unwrap())]);
        let app = setup.clone().start();
        let program = app.origin.trim_start_matches("http://").parse().unwrap();
        let proxy = TlsProxy::nginx(listen, &authority.issue("127.0.0.1"), program);
        let _parts = (app, proxy, pooler, redis, realtime);
        Self { setup, network, authority, environment, folder, _parts }
    }

    pub fn api(&self) -> TwilioApi {
        let base = format!("http://{}", self.network.api_addr().unwrap()).parse().unwrap();
        TwilioApi::new(base, ACCOUNT_SID, Secret::new(AUTH_TOKEN.to_owned())).unwrap()
    }

    /// The origin that Twilio sees.
    fn origin(&self) -> &str {
        let url = self.environment.iter().rev().find(|(name, _)| name == "PUBLIC_URL");
        &url.expect("it is set").1
    }

    /// With the last load test, and whatever else.
    async fn checked(&self, more: &[&str], input: &str) -> Checked {
        let report = ["--report", self.folder.path().to_str().unwrap()];
        check(&self.environment, &[&report[..], more].concat(), input).await
    }
}

/// The number, and the REST API that has it; nobody calls.
fn network(origin: &str, authority: &Authority) -> Network {
    Network::start(Options {
        url: origin.parse().unwrap(),
        reach: Reach {
            hosts: vec![],
            cacert: Some(https::trusting(roots::of_file(authority.file()).unwrap())),
        },
        auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
        api_listen: Some(([127, 0, 0, 1], 0).into()),
        quiet: true,
        ..Options::default()
    })
    .unwrap()
}

fn write_load_test(folder: &std::path::Path) {
    let mut report = CallsReport::default();
    (report.calls.asked, report.calls.completed) = (12, 12);
    let mut calls = Scenario { name: "calls".to_owned(), calls: Some(report), ..Scenario::default() };
    calls.response_ms.p95 = Some(912.0);
    let test = LoadTest {
        version: "1".to_owned(),
        started_at: Utc::now(),
        target: "http://127.0.0.1".to_owned(),
        cpus: 2,
        verdict: Verdict::Fine,
        scenarios: vec![calls],
    };
    std::fs::write(folder.join("result.json"), serde_json::to_vec(&test).unwrap()).unwrap();
}

#[actix_rt::test]
async fn a_good_deployment_passes_every_line_and_its_number_is_set_right() {
    let good = Deployment::good().await;
    let checked = good.checked(&[], "").await;
    assert_eq!((checked.bad(), checked.status), (vec![], 0), "{}", checked.all);
    assert!(checked.lines.len() >= 36, "{}", checked.all);
    assert!(!checked.all.contains(AUTH_TOKEN) && !checked.all.contains("hunter2"), "no secret is shown");

    let number = good.api().phone_number(NUMBER).await.unwrap().unwrap();
    let elsewhere = "https://demo.twilio.com/welcome".parse().unwrap();
    let urls = NumberUrls { voice: Some(&elsewhere), status_callback: Some(&elsewhere), fallback: None };
    good.api().change_number(&number.sid, urls).await.unwrap().unwrap();
    let wrong = [("number-voice", "fail"), ("number-status", "warn")];
    for (arguments, input) in [(&[][..], ""), (&["--fix"][..], "n\n"), (&["--fix"][..], "")] {
        let checked = good.checked(arguments, input).await;
        assert_eq!((checked.bad(), checked.status), (wrong.to_vec(), 2), "{arguments:?} {}", checked.all);
    }
    let mended = good.checked(&["--fix"], "y\n").await;
    assert!(mended.stderr.contains("Change this at Twilio? [y/N]"), "{}", mended.all);
    assert_eq!((mended.bad(), mended.status), (vec![], 0), "{}", mended.all);
    let changed = good.api().phone_number(NUMBER).await.unwrap().unwrap();
    assert_eq!((changed.voice_url, changed.status_callback), (number.voice_url, number.status_callback));

    let own = format!("{}/api/voice/fallback", good.origin());
    let refused = good.checked(&["--fix", "--yes", "--fallback-url", &own], "").await;
    assert!(
        refused.status == 64 && refused.stderr.contains("leads to the program itself"),
        "{}",
        refused.all
    );
    let bin = ["--fix", "--yes", "--fallback-url", "https://handler.example.com/twiml/EH1"];
    assert_eq!(good.checked(&bin, "").await.status, 0);
    let changed = good.api().phone_number(NUMBER).await.unwrap().unwrap();
    assert_eq!(changed.voice_fallback_url, bin[3]);
    assert_eq!(good.network.violations().0, 0, "{:?}", good.network.violations());
}

#[actix_rt::test]
async fn a_bad_deployment_has_a_line_for_everything_that_is_wrong() {
    let good = Deployment::good().await;
    let insert = "INSERT INTO instances (instance_id) VALUES ('b:1'), ('c:1')";
    let bad = TestDatabase::create().await;
    bad.query(insert).await;
    let name = bad.value("SELECT current_database()").await;
    bad.query(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let environment = with(
        good.environment.clone(),
        &[
            ("DATABASE_URL", &bad.url),
            ("REDIS_URL", ""),
            ("TRUSTED_PROXIES", ""),
            ("TWILIO_AUTH_TOKEN", "hush-of-twilio"),
            ("OPENAI_API_KEY", "bad-hush-of-openai"),
            ("OPENAI_REALTIME_MODEL", "gpt-realtime"),
            ("AGENT_FILE", ""),
            ("URGENT_NOTIFICATION_NUMBER", NUMBER),
            ("HUMAN_FALLBACK_NUMBER", ""),
            ("SPOOL_DIR", "/proc/spool"),
            ("MAX_CONCURENT_CALLS", "20"),
        ],
    );
    let checked = check(&environment, &["--report", "/nowhere"], "").await;
    let wanted = [
        ("settings", "warn"),
        ("pooler", "warn"),
        ("database-writable", "fail"),
        ("pool-size", "fail"),
        ("rate-limits", "fail"),
        ("secret-key", "warn"),
        ("first-user", "fail"),
        ("public-stream", "fail"),
        ("trusted-proxies", "warn"),
        ("twilio-account", "fail"),
        ("number", "warn"),
        ("number-voice", "warn"),
        ("number-fallback", "warn"),
        ("number-status", "warn"),
        ("realtime", "fail"),
        ("model", "warn"),
        ("agent", "warn"),
        ("alert-number", "fail"),
        ("human-fallback", "warn"),
        ("spool", "fail"),
        ("load-test", "warn"),
        ("load-test-verdict", "warn"),
        ("load-test-p95", "warn"),
    ];
    assert_eq!((checked.bad(), checked.status), (wanted.to_vec(), 2), "{}", checked.all);
    assert!(checked.seen("pool-size").starts_with("2 processes with 20"), "{}", checked.all);
    assert!(checked.seen("public-stream").contains("signed correctly is refused (403)"), "{}", checked.all);
    assert!(checked.seen("realtime").contains("invalid_api_key"), "{}", checked.all);
    assert!(!checked.all.contains("hush"), "no secret is shown: {}", checked.all);

    let old = TestDatabase::empty().await;
    let environment =
        with(good.environment.clone(), &[("DATABASE_URL", &old.url), ("DIRECT_DATABASE_URL", "")]);
    let checked = check(&environment, &[], "").await;
    let schema = checked.bad().into_iter().find(|(name, _)| *name == "schema");
    assert_eq!(schema, Some(("schema", "fail")), "{}", checked.all);
}

/// Variables of a deployment that is asked at these places.
fn places(database: &str, redis: &str, public: &str, twilio: &str, realtime: &str) -> Vec<(String, String)> {
    owned(&[
        ("DATABASE_URL", database),
        ("REDIS_URL", redis),
        ("PUBLIC_URL", public),
        ("TWILIO_API_BASE_URL", twilio),
        ("OPENAI_REALTIME_URL", realtime),
        ("OPENAI_API_KEY", "hush"),
        ("TWILIO_AUTH_TOKEN", "hush"),
        ("TWILIO_ACCOUNT_SID", ACCOUNT_SID),
        ("TWILIO_FROM_NUMBER", NUMBER),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ])
}

#[actix_rt::test]
async fn whoever_never_answers_is_named_and_delays_nobody_else() {
    let at = silence().await;
    let environment = places(
        &format!("postgres://u:hush@{at}/d"),
        &format!("redis://:hush@{at}"),
        &format!("https://{at}"),
        &format!("http://{at}"),
        &format!("ws://{at}/v1/realtime"),
    );
    let checked = check(&environment, &[], "").await;
    assert_eq!(checked.status, 2, "{}", checked.all);
    for name in ["database", "rate-limits", "public-health", "twilio-account", "realtime"] {
        assert!(checked.seen(name).contains("no answer within 4 s"), "{name}: {}", checked.all);
    }
    for (name, level) in
        [("public-stream", "warn"), ("number", "warn"), ("schema", "warn"), ("clock", "warn")]
    {
        assert!(checked.bad().contains(&(name, level)), "{name}: {}", checked.all);
    }
    assert!(!checked.all.contains("hush"), "{}", checked.all);
}

#[actix_rt::test]
async fn whoever_is_not_there_redirects_or_fails_is_told_with_what_was_seen() {
    let closed = free_address();
    let authority = Authority::new();
    let moved = "HTTP/1.1 301 Moved\r\nLocation: https://www.example.com/healthz?key=hush\r\ncontent-length: 0\r\n\r\n";
    let public = says(moved, Some(&authority.issue("127.0.0.1"))).await;
    let broken = says("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", None).await;
    let environment = places(
        &format!("postgres://u:hush@{closed}/d"),
        &format!("redis://:hush@{closed}"),
        &format!("https://{public}"),
        &format!("http://{broken}"),
        &format!("ws://{closed}/v1/realtime"),
    );
    let environment = with(environment, &[("SSL_CERT_FILE", authority.file().to_str().unwrap())]);
    let checked = check(&environment, &[], "").await;
    for name in ["database", "rate-limits", "realtime"] {
        assert!(checked.seen(name).contains("efused"), "{name}: {}", checked.all);
    }
    assert_eq!(checked.seen("public-health"), "PUBLIC_URL redirects to https://www.example.com");
    assert_eq!(checked.seen("public-stream"), "a media stream is answered with 301");
    let webhook = "POST /api/voice/incoming is redirected to https://www.example.com";
    assert_eq!(checked.seen("public-webhook"), webhook);
    assert!(checked.seen("twilio-account").contains("status 500"), "{}", checked.all);
    assert!(!checked.all.contains("hush"), "{}", checked.all);

    let expired = says(moved, Some(&authority.issue_expired("127.0.0.1"))).await;
    let stranger = says(moved, Some(&Authority::new().issue("127.0.0.1"))).await;
    let misnamed = says(moved, Some(&authority.issue("voice.example.com"))).await;
    for (at, told) in
        [(expired, "xpired"), (stranger, "no CA that is trusted"), (misnamed, "not valid for the name")]
    {
        let environment = with(environment.clone(), &[("PUBLIC_URL", &format!("https://{at}"))]);
        let checked = check(&environment, &[], "").await;
        assert!(checked.seen("certificate").contains(told), "{told}: {}", checked.all);
        assert!(checked.bad().contains(&("certificate", "fail")), "{}", checked.all);
    }
}

#[actix_rt::test]
async fn a_proxy_that_forwards_no_websocket_is_told_from_one_that_does() {
    let good = Deployment::good().await;
    let listen = free_address();
    let more = [("PUBLIC_URL", &*format!("https://{listen}")), ("INSTANCE_ID", "behind-it")];
    let setup = more.iter().fold(good.setup.anew(), |setup, (name, value)| setup.with(name, value));
    let app = setup.start();
    let program = app.origin.trim_start_matches("http://").parse().unwrap();
    drops_upgrades(listen, &good.authority.issue("127.0.0.1"), program).await;
    let checked = check(&with(good.environment.clone(), &more), &[], "").await;
    assert_eq!(checked.seen("public-health"), "the program answers at PUBLIC_URL", "{}", checked.all);
    assert_eq!(checked.seen("public-stream"), "the proxy forwards no websocket (400)", "{}", checked.all);
}

#[actix_rt::test]
async fn settings_that_cannot_be_read_are_all_named_at_once() {
    let checked =
        check(&owned(&[("PORT", "eighty"), ("PUBLIC_URL", "http://voice.example.com")]), &[], "").await;
    assert_eq!(checked.status, 64, "{}", checked.all);
    for name in ["PORT", "PUBLIC_URL", "DATABASE_URL", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY"] {
        assert!(checked.stderr.contains(&format!("\n  {name} ")), "{name}: {}", checked.stderr);
        assert!(checked.bad().contains(&(name, "fail")), "as JSON, too: {name}: {}", checked.all);
    }
    let odd = [("DATABASE_URL", "postgres://u:hush@h/d?sslmode=perhaps"), ("OPENAI_API_KEY", "k")];
    let checked = check(&with(owned(&odd), &[("TWILIO_AUTH_TOKEN", "t")]), &[], "").await;
    assert_eq!(checked.status, 64, "{}", checked.all);
    assert!(checked.stderr.contains("sslmode=perhaps") && !checked.all.contains("hush"), "{}", checked.all);
    assert_eq!(checked.bad(), [("DATABASE_URL", "fail")]);
}
