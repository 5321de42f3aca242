//! What fails around a call, and what the caller hears of it: silence, calls lost, turns lost.

use std::time::Duration;

use actors::secret::Secret;
use serde_json::Value;
use switchboard::sim::phone::{self, Caller, Network};
use switchboard::sim::realtime::{self, Fault, Options, Server};
use switchboard::sim::speech::CALLER;

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::toll::Toll;
use crate::support::{DEADLINE, eventually, free_address};

async fn service(faults: &[&str]) -> Server {
    let faults = faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
    realtime::start(Options { listen: free_address(), faults, ..Options::default() }).await.unwrap()
}

async fn app(realtime: &Server) -> TestApp {
    let database = TestDatabase::create().await;
    Setup::new(&database.url, &format!("http://{}", realtime.addr())).start()
}

fn network(app: &TestApp) -> Network {
    let options = phone::Options {
        url: app.origin.parse().unwrap(),
        auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
        quiet: true,
        ..phone::Options::default()
    };
    Network::start(options).unwrap()
}

/// One question and its answer.
async fn asks(caller: &Caller, clip: usize) {
    caller.say(&CALLER[clip]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
}

async fn greeted(network: &Network) -> Caller {
    let caller = network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller
}

/// What the callers said, as the log has it.
fn caller_turns(log: &Value) -> Vec<&str> {
    let turns = log["turns"].as_array().unwrap().iter();
    turns.filter(|turn| turn["speaker"] == "caller").map(|turn| turn["text"].as_str().unwrap()).collect()
}

async fn a_session_that_ends_is_replaced(fault: &str, most_silence_ms: u64) {
    let realtime = service(&[fault]).await;
    let app = app(&realtime).await;
    let network = network(&app);
    let caller = greeted(&network).await;
    for clip in 0..3 {
        asks(&caller, clip).await;
    }
    caller.hangs_up().await;
    let log = app.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["outcome"], "completed");
    let report = realtime.report();
    assert!(report.sessions.len() > 1, "the session did not end");
    assert_eq!(report.violations, []);
    let mut toll = Toll::of(format!("session {fault}"));
    toll.count(&caller, &[&CALLER[0], &CALLER[1], &CALLER[2]], &log);
    toll.stays_within(most_silence_ms);
    app.empties().await;
}

#[actix_rt::test]
async fn the_service_closes_a_session_and_the_call_goes_on() {
    a_session_that_ends_is_replaced("close=11000", 6_000).await;
}

#[actix_rt::test]
async fn the_service_resets_a_session_and_the_call_goes_on() {
    a_session_that_ends_is_replaced("drop=11000", 6_000).await;
}

/// What the caller said to the stalled session is lost, so they are asked to repeat.
#[actix_rt::test]
async fn the_service_stalls_and_the_caller_is_heard_by_another_session() {
    let realtime = service(&["stall=9000"]).await;
    let app = app(&realtime).await;
    let network = network(&app);
    let caller = greeted(&network).await;
    eventually("the stall is noticed and another session is there", async || {
        realtime.report().sessions.len() == 2
    })
    .await;
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller.hangs_up().await;
    let log = app.logged(caller.call_sid()).await;
    assert_eq!((&log["call"]["outcome"], log["turns"].as_array().unwrap().len()), (&"completed".into(), 2));
    assert_eq!(realtime.report().violations, []);
    let mut toll = Toll::of("session stalls");
    toll.count(&caller, &[], &log);
    toll.stays_within(20_000);
    app.empties().await;
}

#[actix_rt::test]
async fn the_service_is_away_for_five_seconds_and_every_call_goes_on() {
    let realtime = service(&[]).await;
    let app = app(&realtime).await;
    let network = network(&app);
    let callers = futures_util::future::join_all((0..3).map(|_| greeted(&network))).await;
    let address = realtime.addr();
    realtime.stop().await;
    eventually("the loss is seen", async || {
        let monitor = app.get("/api/call-monitor").await;
        monitor["calls"].as_array().unwrap().iter().all(|call| call["state"] == "reconnecting")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await; // the outage itself
    let realtime = realtime::start(Options { listen: address, ..Options::default() }).await.unwrap();
    eventually("all calls are live again", async || {
        let monitor = app.get("/api/call-monitor").await;
        monitor["calls"].as_array().unwrap().iter().filter(|call| call["state"] == "live").count() == 3
    })
    .await;
    let mut toll = Toll::of("service away for 5 s");
    futures_util::future::join_all(callers.iter().map(|caller| asks(caller, 0))).await;
    for caller in &callers {
        caller.hangs_up().await;
        let log = app.logged(caller.call_sid()).await;
        assert_eq!(log["call"]["outcome"], "completed");
        assert_eq!(caller_turns(&log), [CALLER[0].text]);
        toll.count(caller, &[&CALLER[0]], &log);
    }
    assert_eq!(realtime.report().violations, []);
    toll.stays_within(10_000);
    app.empties().await;
}
