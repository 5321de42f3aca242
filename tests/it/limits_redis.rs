//! Limits that several processes share through Redis, and what becomes of them without it.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;

use futures_util::future::join_all;
use tempfile::TempDir;

use crate::support::app::{Setup, TestApp};
use crate::support::certificates::{Authority, ServerCertificate};
use crate::support::postgres::TestDatabase;
use crate::support::redis::RedisServer;
use crate::support::{eventually, free_address};

const ALONE: &str = "switchboard_rate_limit_alone_total";

/// Two programs with one limit.
fn pair(database: &TestDatabase, redis: &str, limit: &str) -> [TestApp; 2] {
    let one = Setup::new(&database.url, "http://127.0.0.1:1")
        .with("REDIS_URL", redis)
        .with("RATE_LIMIT_API", limit)
        .with("INSTANCE_ID", "one");
    let other = one.anew().with("INSTANCE_ID", "other");
    [one.start(), other.start()]
}

async fn look(app: &TestApp) -> u16 {
    awc::Client::default().get(app.url("/api/call-logs")).send().await.unwrap().status().as_u16()
}

/// How many of so many looks at the log pass.
async fn passed(app: &TestApp, looks: usize) -> usize {
    join_all((0..looks).map(|_| look(app))).await.iter().filter(|status| **status == 200).count()
}

async fn warns(app: &TestApp) -> bool {
    let warnings = app.get("/healthz").await["warnings"].clone();
    warnings.as_array().unwrap().contains(&"redis-away".into())
}

async fn are_connected(apps: &[TestApp]) {
    for app in apps {
        eventually("it is connected", async || app.metric("switchboard_redis_up").await == 1.0).await;
    }
}

#[actix_rt::test]
async fn two_programs_share_one_limit_and_go_on_alone_while_redis_is_away() {
    let (database, mut redis) = (TestDatabase::create().await, RedisServer::start(free_address(), &[]));
    let apps = pair(&database, &redis.url(), "10/1h");
    are_connected(&apps).await;
    assert_eq!(passed(&apps[0], 6).await, 6);
    assert_eq!(passed(&apps[1], 20).await, 4, "they share ten");
    assert_eq!(passed(&apps[0], 5).await, 0);
    for app in &apps {
        assert!(!warns(app).await);
        assert_eq!(app.metric(ALONE).await, 0.0);
    }

    redis.kill();
    for app in &apps {
        eventually("it is seen", async || warns(app).await).await;
        assert_eq!(app.get("/healthz").await["status"], "healthy", "calls go on");
    }
    assert_eq!(passed(&apps[0], 20).await, 4, "it has let six pass");
    assert_eq!(passed(&apps[1], 20).await, 6, "it has let four pass");
    assert_eq!(apps[0].metric(ALONE).await, 4.0, "what it refuses by itself is not asked for");

    redis.start_again();
    for app in &apps {
        eventually("it is seen", async || !warns(app).await).await;
        assert_eq!(passed(app, 5).await, 0, "the empty Redis would let them pass");
    }
}

#[actix_rt::test]
async fn a_frozen_redis_delays_a_few_answers_by_its_deadline_and_the_others_not_at_all() {
    let (database, redis) = (TestDatabase::create().await, RedisServer::start(free_address(), &[]));
    let apps = pair(&database, &redis.url(), "1000/1h");
    are_connected(&apps).await;
    redis.freeze();
    for _ in 0..100 {
        assert_eq!(look(&apps[0]).await, 200);
    }
    let late =
        awc::Client::default().get(apps[0].url("/metrics")).send().await.unwrap().body().await.unwrap();
    let late = String::from_utf8(late.to_vec()).unwrap();
    let of = |reason: &str| {
        let name = format!("{ALONE}{{reason=\"{reason}\"}} ");
        late.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
    };
    assert_eq!([of("late"), of("away")], ["3", "97"]);
    assert!(warns(&apps[0]).await);
    redis.thaw();
    eventually("it answers again", async || !warns(&apps[0]).await).await;
}

/// A Redis that speaks nothing but TLS, and its URL.
fn redis_with_tls(certificate: &ServerCertificate) -> (RedisServer, TempDir, String) {
    let (address, folder) = (free_address(), TempDir::new().unwrap());
    certificate.write(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (chain, key, port) = (file("server.crt"), file("server.key"), address.port().to_string());
    let tls = ["--port", "0", "--tls-port", &port, "--tls-cert-file", &chain, "--tls-key-file", &key];
    let redis = RedisServer::start(address, &[&tls[..], &["--tls-auth-clients", "no"]].concat());
    (redis, folder, format!("rediss://{address}"))
}

#[actix_rt::test]
async fn two_programs_share_one_limit_over_tls_and_believe_no_strangers_redis() {
    let (database, ours) = (TestDatabase::create().await, Authority::new());
    let start = |url: &str| {
        let one = Setup::new(&database.url, "http://127.0.0.1:1")
            .with("REDIS_URL", url)
            .with("RATE_LIMIT_API", "10/1h")
            .with("SSL_CERT_FILE", ours.file().to_str().unwrap())
            .with("INSTANCE_ID", "one");
        let other = one.anew().with("INSTANCE_ID", "other");
        [one.start(), other.start()]
    };
    let (_redis, _folder, url) = redis_with_tls(&ours.issue("127.0.0.1"));
    let apps = start(&url);
    are_connected(&apps).await;
    assert_eq!(passed(&apps[0], 6).await, 6);
    assert_eq!(passed(&apps[1], 20).await, 4, "they share ten");
    drop(apps);

    let (_stranger, _folder, url) = redis_with_tls(&ServerCertificate::of_its_own("127.0.0.1"));
    let apps = start(&url);
    for app in &apps {
        eventually("it is refused", async || warns(app).await).await;
        assert_eq!(app.metric("switchboard_redis_up").await, 0.0);
    }
    assert_eq!(passed(&apps[0], 20).await, 10, "each counts alone");
    assert_eq!(passed(&apps[1], 20).await, 10);
}

#[actix_rt::test]
async fn a_wrong_password_is_told_once_and_never_shown() {
    let redis = RedisServer::start(free_address(), &["--requirepass", "hunter2"]);
    let url = redis.url().replace("redis://", "redis://:swordfish@");
    let address = free_address();
    let setup = Setup::new("postgres://nobody@127.0.0.1:9/none", "http://127.0.0.1:9")
        .with("REDIS_URL", &url)
        .with("RUST_LOG", "debug")
        .with("PORT", &address.port().to_string());
    let (mut log, pipe) = std::io::pipe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    let said = thread::spawn(move || {
        let mut said = String::new();
        log.read_to_string(&mut said).unwrap();
        said
    });
    command.arg("serve").env_clear().envs(setup.environment()).stdout(Stdio::null()).stderr(pipe);
    let mut program = command.spawn().unwrap();
    drop(command);
    eventually("it is refused", async || {
        let answer = awc::Client::default().get(format!("http://{address}/healthz")).send().await;
        let Ok(mut answer) = answer else { return false };
        String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap().contains("\"redis-away\"")
    })
    .await;
    // It is asked to end, and writes what it has to say before.
    let pid = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    program.wait().unwrap();
    let said = said.join().unwrap();
    assert_eq!(said.matches("Redis is away:").count(), 1, "{said}");
    assert!(said.contains("Password authentication failed") && !said.contains("swordfish"), "{said}");
}

#[test]
fn a_redis_url_that_cannot_be_meant_ends_the_program_at_once() {
    let setup = Setup::new("postgres://127.0.0.1:1/none", "http://127.0.0.1:1");
    let environment = setup.with("REDIS_URL", "redis://:swordfish@cache/first").environment();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    let ended = command.arg("serve").env_clear().envs(environment).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(64), "{said}");
    assert!(said.contains("REDIS_URL names no database by its number"), "{said}");
    assert!(!said.contains("swordfish"), "{said}");
}
