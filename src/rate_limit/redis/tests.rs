//! Against a real Redis.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use redis::aio::MultiplexedConnection;
use redis::cmd;

use super::link::connect;
use super::script::tests::decide_at;
use super::*;
use crate::rate_limit::Quota;
use crate::rate_limit::window::SlidingWindow;

#[path = "../../../tests/it/support/redis.rs"]
mod server;

use server::RedisServer;

const DEADLINE: Duration = Duration::from_secs(20);
const SECRET: &str = "a secret of thirty-two characters";

/// Below the ports that the system hands out by itself.
fn start(arguments: &[&str]) -> RedisServer {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 8_000) as u16;
    let mut addresses =
        std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], first + TAKEN.fetch_add(1, Relaxed))));
    let free = addresses.find(|address| TcpListener::bind(address).is_ok());
    RedisServer::start(free.expect("there is no end of them"), arguments)
}

fn quota(requests: u32, seconds: u64) -> Quota {
    Quota { requests, window: Duration::from_secs(seconds) }
}

fn quotas(requests: u32) -> Quotas {
    let quota = quota(requests, 3_600);
    Quotas { api: quota, webhook: quota, auth: quota }
}

fn client(number: u8) -> Client {
    Client::address([192, 0, 2, number].into())
}

/// One instance.
fn instance(url: &str, requests: u32) -> Shared {
    let settings = RedisSettings::parse(url).unwrap();
    let secret = Secret::new(SECRET.to_owned());
    Shared::start(&quotas(requests), settings, &secret, &prometheus::Registry::new()).unwrap()
}

async fn eventually(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !fact().await {
        assert!(Instant::now() < until, "it never came true that {what}");
        actix_rt::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The instance has its connection.
async fn is_connected(instance: &Shared) {
    eventually("it is connected", async || instance.link.is_up.get() == 1).await;
    assert!(!instance.is_alone());
}

fn alone(instance: &Shared, reason: Miss) -> u64 {
    instance.metrics.alone.with_label_values(&[reason.as_str()]).get()
}

/// How many of so many requests pass.
async fn passed(instance: &Shared, class: Class, client: Client, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(instance.take(class, client).await.is_allowed);
    }
    passed
}

async fn direct(server: &RedisServer) -> MultiplexedConnection {
    let (connection, driver) = connect(&RedisSettings::parse(&server.url()).unwrap()).await.unwrap();
    actix_rt::spawn(driver);
    connection
}

#[test]
fn redis_decides_as_the_memory_of_one_process_does() {
    let (server, system) = (start(&[]), actix_rt::System::new());
    let connection = system.block_on(direct(&server));
    let began = Duration::from_secs(1_800_000_000); // a time of Redis' clock
    let requests = prop::collection::vec((0..3_u8, 0..120_u64, 0..1_000_000_u64), 1..120);
    let cases = (1..12_u32, prop_oneof![Just(60), Just(61), Just(900), 60..86_400_u64], requests);
    let number = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(100));
    let outcome = runner.run(&cases, |(requests, seconds, asked)| {
        number.set(number.get() + 1);
        let mut connection = connection.clone();
        let quota = quota(requests, seconds);
        let (mut window, mut now) = (SlidingWindow::new(quota), began);
        system.block_on(async {
            for (client, step, micros) in asked {
                now += Duration::from_micros(seconds * step * step * 200 + micros);
                let key = format!("{{{}}}:{client}", number.get());
                let shared = decide_at(&mut connection, &key, quota, now).await.unwrap();
                prop_assert_eq!(shared, window.take(client, now));
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

#[actix_rt::test]
async fn a_clock_that_is_set_back_neither_frees_nor_locks_a_client_out_for_long() {
    let server = start(&[]);
    let mut connection = direct(&server).await;
    let (quota, hour) = (quota(1, 60), Duration::from_secs(3_600));
    let now = Duration::from_secs(1_800_000_000);
    let mut is_allowed = async |now| decide_at(&mut connection, "{a}", quota, now).await.unwrap().is_allowed;
    assert!(is_allowed(now).await);
    assert!(!is_allowed(now - Duration::from_secs(10)).await, "what is in view still counts");
    assert!(is_allowed(now - hour).await, "what is absurd is forgotten");
    assert!(!is_allowed(now - hour).await);
}

#[actix_rt::test]
async fn instances_share_a_limit_and_names_in_redis_tell_nothing_and_expire() {
    let server = start(&[]);
    let (one, other) = (instance(&server.url(), 5), instance(&server.url(), 5));
    is_connected(&one).await;
    is_connected(&other).await;
    assert_eq!(passed(&one, Class::Auth, client(1), 3).await, 3);
    assert_eq!(passed(&other, Class::Auth, client(1), 5).await, 2);
    assert_eq!(passed(&one, Class::Auth, client(1), 5).await, 0);
    assert_eq!(passed(&other, Class::Auth, client(2), 1).await, 1, "another client");
    assert_eq!(passed(&other, Class::Webhook, client(1), 1).await, 1, "another class");

    let mut connection = direct(&server).await;
    let keys: Vec<String> =
        cmd("KEYS").arg("switchboard:limit:*:*").query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in keys {
        assert!(!key.contains("192.0.2") && !key.contains("c00002"), "{key}");
        let expires: u64 = cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!((3_600_000..=3_840_000).contains(&expires), "{expires}");
    }
}

#[actix_rt::test]
async fn scripts_that_were_flushed_are_sent_again_within_the_same_decision() {
    let server = start(&[]);
    let instance = instance(&server.url(), 5);
    is_connected(&instance).await;
    let mut connection = direct(&server).await;
    for _ in 0..2 {
        let _: () = cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
        assert!(instance.link.decide("{a}", quota(5, 60)).await.is_ok());
    }
}

#[actix_rt::test]
async fn a_redis_that_is_killed_leaves_each_process_with_what_it_knows_and_is_found_again() {
    let mut server = start(&[]);
    let instance = instance(&server.url(), 5);
    is_connected(&instance).await;
    assert_eq!(passed(&instance, Class::Auth, client(1), 3).await, 3);
    server.kill();
    assert_eq!(passed(&instance, Class::Auth, client(1), 10).await, 2, "never open, and no new beginning");
    eventually("it is seen", async || instance.is_alone()).await;
    assert_eq!(passed(&instance, Class::Auth, client(2), 10).await, 5);
    assert!(alone(&instance, Miss::Away) + alone(&instance, Miss::Failed) >= 7, "for those that passed");

    server.start_again(); // empty
    is_connected(&instance).await;
    assert_eq!(passed(&instance, Class::Auth, client(1), 10).await, 0, "this process remembers");
    assert_eq!(passed(&instance, Class::Auth, client(3), 10).await, 5);
}

#[actix_rt::test]
async fn a_redis_that_answers_nothing_is_waited_for_a_few_times_and_then_no_more() {
    let server = start(&[]);
    let instance = instance(&server.url(), 1_000);
    is_connected(&instance).await;
    server.freeze();
    assert_eq!(passed(&instance, Class::Api, client(1), 200).await, 200);
    assert_eq!(alone(&instance, Miss::Late), 3, "each of them waited for its deadline");
    assert_eq!(alone(&instance, Miss::Away), 197, "they did not wait");
    eventually("it is seen", async || instance.is_alone()).await;
    server.thaw();
    is_connected(&instance).await;
}

#[actix_rt::test]
async fn a_crowd_that_waits_for_a_slow_redis_is_bounded() {
    let server = start(&[]);
    let instance = instance(&server.url(), 1_000);
    is_connected(&instance).await;
    server.freeze();
    let asked = (0..200).map(|_| instance.take(Class::Api, client(1)));
    let allowed = futures_util::future::join_all(asked).await;
    assert!(allowed.iter().all(|decision| decision.is_allowed));
    // The first late ones end the connection for all.
    let waited = alone(&instance, Miss::Late) + alone(&instance, Miss::Failed);
    assert_eq!((waited, alone(&instance, Miss::Busy)), (64, 136));
    server.thaw();
}

#[actix_rt::test]
async fn a_redis_that_takes_no_writes_is_away() {
    let server = start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let instance = instance(&server.url(), 5);
    eventually("it is tried", async || instance.is_alone()).await;
    assert_eq!(passed(&instance, Class::Auth, client(1), 10).await, 5);
}

#[actix_rt::test]
async fn a_password_is_given_and_a_wrong_one_means_away() {
    let server = start(&["--requirepass", "hunter2"]);
    let with = |login: &str| server.url().replace("redis://", &format!("redis://{login}"));
    let (right, wrong) = (instance(&with(":hunter2@"), 5), instance(&with("me:hush@"), 5));
    is_connected(&right).await;
    eventually("it is refused", async || wrong.is_alone()).await;
    let Err(cause) = connect(&RedisSettings::parse(&with("me:hush@")).unwrap()).await else {
        panic!("let in")
    };
    assert!(cause.contains("Password authentication failed") && !cause.contains("hush"), "{cause}");
}

#[test]
fn the_stricter_of_two_counts_holds_where_redis_lets_a_request_pass() {
    let decision =
        |is_allowed, remaining| Decision { is_allowed, remaining, more_in: Duration::from_secs(1) };
    let (shared, more) = (decision(true, 3), decision(true, 4));
    assert_eq!(stricter(shared, more), shared);
    assert_eq!(stricter(more, shared), shared);
    assert_eq!(stricter(shared, decision(false, 0)), decision(false, 0));
}
