//! Going down: whoever is still on the line goes on at another instance, or is given to a person; nobody is
//! dropped.

use std::time::Duration;

use actors::secret::Secret;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use switchboard::sim::phone::{self, Caller, Event, Heard, Network};
use switchboard::sim::realtime::{self, Options};
use switchboard::sim::speech::{AGENT, CALLER};

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::proxy::Proxy;
use crate::support::twilio::{RawStream, call_sid, rings, webhook};
use crate::support::{DEADLINE, eventually};

const PERSON: &str = "+14155550123";

fn network(origin: &str) -> Network {
    let options = phone::Options {
        url: origin.parse().unwrap(),
        auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
        quiet: true,
        ..phone::Options::default()
    };
    Network::start(options).unwrap()
}

/// The first signal drains, the second does not wait for the calls' ends.
async fn hands_over(app: &TestApp) {
    app.terminate();
    app.drains().await;
    app.terminate();
}

async fn greeted(network: &Network) -> Caller {
    let caller = network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller
}

async fn asks(caller: &Caller, clip: usize) {
    caller.say(&CALLER[clip]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
}

fn greetings(caller: &Caller) -> usize {
    let greeting = |heard: &&Heard| matches!(heard, Heard::Agent { clip, .. } if *clip == AGENT[0].id);
    caller.heard().iter().filter(greeting).count()
}

fn count(caller: &Caller, event: &Event) -> usize {
    caller.events().iter().filter(|(_, happened)| happened == event).count()
}

/// By hand, without anybody else to take the call: five times a second's pause, then a person.
#[actix_rt::test]
async fn a_caller_whom_nobody_takes_up_is_given_to_a_person() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
    let app = setup.with("HUMAN_FALLBACK_NUMBER", PERSON).start();
    let call = call_sid(1);
    let token = rings(&app, &call).await.token();
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &token).await;
    stream.hears().await;

    hands_over(&app).await;
    assert_eq!(stream.close_code().await, 1000);
    let row = "SELECT next_step, outcome, reason FROM calls";
    assert_eq!(
        database.query(row).await,
        ["handed-over|failed|shutdown"],
        "recorded before the stream is closed"
    );
    assert_eq!(app.metric("switchboard_drain_forced_ends_total").await, 1.0);
    assert_eq!(app.metric("switchboard_call_ends_total").await, 0.0, "its end is for whoever has it then");

    let in_progress = [("CallSid", &*call), ("CallStatus", "in-progress")];
    let again =
        format!(r#"<Pause length="1"/><Redirect method="POST">{}#"#, app.url("/api/voice/after-stream"));
    for _ in 0..5 {
        let answer = webhook(&app, "/api/voice/after-stream", &in_progress).await;
        assert!(answer.body.contains(&again), "{}", answer.body);
    }
    for _ in 0..2 {
        let answer = webhook(&app, "/api/voice/after-stream", &in_progress).await;
        assert!(answer.body.contains(PERSON), "{}", answer.body);
    }
    assert_eq!(app.metric("switchboard_call_ends_total").await, 1.0);
    let over = [("CallSid", &*call), ("CallStatus", "completed")];
    assert_eq!(webhook(&app, "/api/voice/call-status", &over).await.status, 204);
    app.ends().await;
}

#[actix_rt::test]
async fn the_end_of_a_caller_who_hangs_up_before_another_instance_has_them_is_counted() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let app = TestApp::start(&database, &format!("http://{}", realtime.addr()));
    let call = call_sid(1);
    let token = rings(&app, &call).await.token();
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &token).await;
    stream.hears().await;
    hands_over(&app).await;
    assert_eq!(stream.close_code().await, 1000);
    let (in_progress, over) = (
        [("CallSid", &*call), ("CallStatus", "in-progress")],
        [("CallSid", &*call), ("CallStatus", "completed")],
    );
    webhook(&app, "/api/voice/after-stream", &in_progress).await;
    let again = rings(&app, &call_sid(2)).await; // a caller more, so that the process does not end yet
    assert!(again.body.contains("<Redirect"), "{}", again.body);
    for _ in 0..2 {
        assert_eq!(webhook(&app, "/api/voice/call-status", &over).await.status, 204);
    }
    let end = r#"switchboard_call_ends_total{outcome="failed",reason="shutdown"}"#;
    assert_eq!(app.metric(end).await, 1.0);
    app.ends().await;
}

#[actix_rt::test]
async fn a_new_call_waits_for_another_instance_and_then_meets_a_full_house() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let app = TestApp::start(&database, &format!("http://{}", realtime.addr()));
    let call = call_sid(1);
    let token = rings(&app, &call).await.token(); // keeps the process from ending at once
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &token).await;
    stream.hears().await;
    app.terminate();
    app.drains().await;
    assert_eq!(app.get("/readyz").await["status"], 503);

    let again = format!(r#"<Pause length="1"/><Redirect method="POST">{}#"#, app.url("/api/voice/incoming"));
    for _ in 0..5 {
        let answer = rings(&app, &call_sid(2)).await;
        assert!(answer.body.contains(&again), "{}", answer.body);
    }
    for _ in 0..2 {
        assert!(rings(&app, &call_sid(2)).await.body.contains("All our lines are busy"));
    }
    assert_eq!(app.metric("switchboard_call_ends_total").await, 1.0);
    let log = app.logged(&call_sid(2)).await;
    assert_eq!((&log["call"]["outcome"], &log["call"]["reason"]), (&"refused".into(), &"shutdown".into()));
    stream.stop().await;
    app.ends().await;
}

/// As Twilio does it.
#[actix_rt::test]
async fn a_process_that_goes_down_alone_answers_until_its_callers_have_met_a_person() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
    let app = setup.with("HUMAN_FALLBACK_NUMBER", PERSON).start();
    let network = network(&app.origin);
    let caller = greeted(&network).await;
    hands_over(&app).await;
    caller.ends().await;
    assert_eq!(count(&caller, &Event::Fetched("/api/voice/after-stream".into())), 6);
    assert_eq!(count(&caller, &Event::Dialled(PERSON.into())), 1);
    assert_eq!(network.violations().1, []);
    println!("drained alone: {} ms of silence", caller.silence_ms());
    app.ends().await;
    let outcome = "SELECT outcome, reason FROM calls";
    assert_eq!(database.query(outcome).await, ["transferred|shutdown"]);
}

/// Twenty callers, and a proxy that sends new connections to the second instance.
#[actix_rt::test]
async fn every_caller_goes_on_at_the_second_instance() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let (database, proxy) = (TestDatabase::create().await, Proxy::start().await);
    let instance = |name: &str| {
        let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
        setup.with("PUBLIC_URL", &proxy.origin).with("INSTANCE_ID", name).start()
    };
    let first = instance("first");
    proxy.leads_to(&first.origin);
    let network = network(&proxy.origin);
    let callers = join_all((0..20).map(|_| greeted(&network))).await;
    join_all(callers.iter().map(|caller| asks(caller, 0))).await;

    let second = instance("second");
    proxy.leads_to(&second.origin);
    hands_over(&first).await;
    let before: Vec<_> = callers.iter().map(Caller::silence_ms).collect();
    eventually("all calls are live at the second instance", async || {
        let monitor = second.get("/api/call-monitor").await;
        monitor["calls"].as_array().unwrap().iter().filter(|call| call["state"] == "live").count() == 20
    })
    .await;
    first.ends().await;
    join_all(callers.iter().map(async |caller| {
        caller.waits_until_silent().await.unwrap();
        asks(caller, 1).await;
        caller.hangs_up().await;
    }))
    .await;

    for caller in &callers {
        assert_eq!(greetings(caller), 1, "nobody is greeted twice");
        let log = second.logged(caller.call_sid()).await;
        assert_eq!(
            (&log["call"]["outcome"], &log["call"]["instance"]),
            (&"completed".into(), &"second".into())
        );
        let turns = log["turns"].as_array().unwrap();
        let ordinals: Vec<_> = turns.iter().map(|turn| turn["ordinal"].as_u64().unwrap()).collect();
        assert_eq!(ordinals, (1..=turns.len() as u64).collect::<Vec<_>>());
        let said: Vec<&Value> =
            turns.iter().filter(|turn| turn["speaker"] == "caller").map(|turn| &turn["text"]).collect();
        assert_eq!(said, [CALLER[0].text, CALLER[1].text], "no turn is lost");
    }
    assert_eq!(network.violations().1, []);
    assert_eq!(realtime.report().violations, []);
    let silences: Vec<_> = callers.iter().map(Caller::silence_ms).collect();
    println!("longest silence of each caller: before {before:?} ms, with the hand-over {silences:?} ms");
    assert!(silences.iter().all(|&ms| Duration::from_millis(ms) < Duration::from_secs(6)), "{silences:?}");
    second.empties().await;
}

#[actix_rt::test]
async fn a_caller_who_finds_the_second_instance_full_is_given_to_a_person() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let instance = |name: &str| {
        let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
        let setup = setup.with("INSTANCE_ID", name).with("MAX_CONCURRENT_CALLS", "1");
        setup.with("HUMAN_FALLBACK_NUMBER", PERSON).start()
    };
    let (first, second) = (instance("first"), instance("second"));
    let [moving, staying] = [call_sid(1), call_sid(2)];
    let mut streams = Vec::new();
    for (app, call) in [(&first, &moving), (&second, &staying)] {
        let token = rings(app, call).await.token();
        let mut stream = RawStream::open(app).await;
        stream.start(call, &token).await;
        stream.hears().await;
        streams.push(stream);
    }
    hands_over(&first).await;
    assert_eq!(streams.remove(0).close_code().await, 1000);
    let in_progress = [("CallSid", &*moving), ("CallStatus", "in-progress")];
    let answer = webhook(&second, "/api/voice/after-stream", &in_progress).await;
    assert!(answer.body.contains(PERSON), "{}", answer.body);
    let row = format!("SELECT outcome, reason FROM calls WHERE call_sid = '{moving}'");
    eventually("its end is written", async || database.query(&row).await == ["failed|full-house"]).await;
    streams.remove(0).stop().await;
    second.empties().await;
    first.ends().await;
}

/// Every question that a drain asks of the registry may be the one that fails.
#[actix_rt::test]
async fn a_registry_that_panics_during_a_drain_cuts_no_call() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let app = TestApp::start(&database, &format!("http://{}", realtime.addr()));
    let call = call_sid(1);
    let token = rings(&app, &call).await.token();
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &token).await;
    stream.hears().await;

    app.panics_at("registry", async { app.terminate() }).await; // at the question to refuse new calls
    let told = async || app.get("/api/call-monitor").await["draining"] == true;
    eventually("the registry is told again", told).await;
    app.panics_at("registry", async {}).await; // at the question whether a call is left
    assert_eq!(app.get("/healthz").await["status"], "draining", "it still answers");
    assert_eq!(app.capacity().await, (1, 0), "the call goes on");
    assert!(rings(&app, &call_sid(2)).await.body.contains("<Redirect"), "new calls are refused all the same");
    app.panics_at("registry", async { app.terminate() }).await; // while the call is handed over
    assert_eq!(stream.close_code().await, 1000);
    let row = "SELECT next_step, outcome, reason FROM calls";
    assert_eq!(database.query(row).await, ["handed-over|failed|shutdown"]);
    let over = [("CallSid", &*call), ("CallStatus", "completed")];
    assert_eq!(webhook(&app, "/api/voice/call-status", &over).await.status, 204);
    app.ends().await;
}

#[actix_rt::test]
async fn a_call_that_panics_at_its_hand_over_is_handed_over_all_the_same() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let app = TestApp::start(&database, &format!("http://{}", realtime.addr()));
    let call = call_sid(1);
    let token = rings(&app, &call).await.token();
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &token).await;
    stream.hears().await;
    app.panics_at(&format!("call-{call}-Shutdown"), hands_over(&app)).await;
    assert_eq!(stream.close_code().await, 1000);
    let row = "SELECT next_step, outcome, reason FROM calls";
    assert_eq!(database.query(row).await, ["handed-over|failed|shutdown"]);
    app.ends().await;
}

#[actix_rt::test]
async fn signals_that_ask_for_nothing_change_nothing_and_quit_drains() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let app = TestApp::start(&database, &format!("http://{}", realtime.addr()));
    let call = call_sid(1);
    let token = rings(&app, &call).await.token();
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &token).await;
    stream.hears().await;
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::ALARM] {
        app.signal(signal);
        assert_eq!(app.capacity().await, (1, 0), "{signal:?}");
        assert_eq!(app.get("/healthz").await["status"], "healthy", "{signal:?}");
    }
    app.signal(Signal::QUIT);
    app.drains().await;
    assert_eq!(app.capacity().await, (1, 0), "the call goes on");
    app.signal(Signal::HUP);
    app.drains().await;
    stream.stop().await;
    app.ends().await;
}
