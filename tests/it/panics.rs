//! Panics on purpose, anywhere: the call goes on, no other call notices, and where it cannot go on a person takes it.

use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actors::secret::Secret;
use futures_util::future::{join, join_all};
use switchboard::sim::phone::{self, Caller, Event, Network};
use switchboard::sim::realtime::{self, Server};
use switchboard::sim::speech::CALLER;

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{call_sid, rings, webhook};
use crate::support::{DEADLINE, eventually};

const HUMAN: &str = "+14155550123";

struct House {
    app: TestApp,
    realtime: Server,
    network: Network,
}

impl House {
    async fn open() -> Self {
        let realtime = realtime::start(realtime::Options::default()).await.unwrap();
        let database = TestDatabase::create().await;
        let app = Setup::new(&database.url, &format!("http://{}", realtime.addr()))
            .with("HUMAN_FALLBACK_NUMBER", HUMAN)
            .start();
        let options = phone::Options {
            url: app.origin.parse().unwrap(),
            auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
            quiet: true,
            ..phone::Options::default()
        };
        Self { app, realtime, network: Network::start(options).unwrap() }
    }

    /// A panic in this caller's call, at an input of this name.
    async fn panics(&self, caller: &Caller, input: &str, provoke: impl Future<Output = ()>) {
        self.app.panics_at(&format!("call-{}-{input}", caller.call_sid()), provoke).await;
    }

    /// Every frame of this caller came to one session, in order.
    fn heard_all_of(&self, caller: &Caller) {
        let sessions = self.realtime.report().sessions;
        let own: Vec<_> = sessions.iter().filter(|session| session.callers == [caller.number()]).collect();
        let [session] = own[..] else { panic!("{} sessions", own.len()) };
        let sequences = session.arrivals.iter().map(|(sequence, _)| *sequence);
        assert!(sequences.eq(0..session.arrivals.len() as u32), "a frame was lost or came twice");
        assert_eq!((session.untagged, session.corrupted), (0, 0));
    }
}

async fn hears_a_turn(caller: &Caller) {
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
}

async fn asks(caller: &Caller, clip: usize) {
    caller.say(&CALLER[clip]).await.unwrap();
    hears_a_turn(caller).await;
}

/// When in a call a panic is ordered.
#[derive(Debug, Clone, Copy)]
enum When {
    Ringing,
    Asking,
    PressingAKey,
    LosingTheStream,
    HangingUp,
}

/// Every input that a well-behaved service and network bring, where it hurts.
const PANICS: [(When, &str); 19] = [
    (When::Ringing, "StreamOpened"),
    (When::Ringing, "Service-SessionCreated"),
    (When::Ringing, "Service-SessionUpdated"),
    (When::Ringing, "Service-ResponseCreated"),
    (When::Ringing, "Service-Audio"),
    (When::Asking, "Mark"),
    (When::Asking, "Tick"),
    (When::Asking, "Pong"),
    (When::Asking, "Service-SpeechStarted"),
    (When::Asking, "Service-SpeechStopped"),
    (When::Asking, "Service-Committed"),
    (When::Asking, "Service-TranscriptCompleted"),
    (When::Asking, "Service-ResponseCreated"),
    (When::Asking, "Service-Audio"),
    (When::Asking, "Service-OutputItemDone"),
    (When::Asking, "Service-ResponseDone"),
    (When::PressingAKey, "Digit"),
    (When::LosingTheStream, "StreamLost"),
    (When::HangingUp, "StreamStopped"),
];

#[actix_rt::test]
async fn a_panic_at_any_input_costs_no_call_and_no_other_call_notices() {
    let house = Rc::new(House::open().await);
    let neighbour = house.network.rings().unwrap();
    let others = join_all(PANICS.map(|(when, input)| survives(&house, when, input)));
    let talk = async {
        hears_a_turn(&neighbour).await;
        for clip in 0..4 {
            asks(&neighbour, clip).await;
        }
    };
    join(others, talk).await;
    let silence_ms = neighbour.silence_ms();
    neighbour.hangs_up().await;
    house.heard_all_of(&neighbour);
    assert!(silence_ms < 3_000, "the neighbour heard {silence_ms} ms of silence");
    assert_eq!(house.app.logged(neighbour.call_sid()).await["call"]["outcome"], "completed");
    house.app.empties().await;
    assert_eq!(house.network.violations().1, []);
    assert_eq!(house.realtime.report().violations, []);
}

async fn survives(house: &House, when: When, input: &str) {
    let caller = house.network.rings().unwrap();
    match when {
        When::Ringing => house.panics(&caller, input, hears_a_turn(&caller)).await,
        _ => hears_a_turn(&caller).await,
    }
    match when {
        When::Asking => house.panics(&caller, input, asks(&caller, 0)).await,
        When::PressingAKey => house.panics(&caller, input, async { caller.presses('5') }).await,
        When::LosingTheStream => house.panics(&caller, input, async { caller.drops_socket() }).await,
        When::Ringing | When::HangingUp => {}
    }
    asks(&caller, 1).await;
    let silence_ms = caller.silence_ms();
    match when {
        When::HangingUp => house.panics(&caller, input, caller.hangs_up()).await,
        _ => caller.hangs_up().await,
    }
    let log = house.app.logged(caller.call_sid()).await;
    println!(
        "{when:?} {input}: {silence_ms} ms of silence, {} turns",
        log["turns"].as_array().unwrap().len()
    );
    assert_eq!(log["call"]["outcome"], "completed", "{when:?} {input}: {log}");
}

#[actix_rt::test]
async fn the_fourth_panic_within_a_minute_brings_a_person() {
    let house = House::open().await;
    let caller = house.network.ring().await.unwrap();
    hears_a_turn(&caller).await;
    for _ in 0..4 {
        house.panics(&caller, "Digit", async { caller.presses('5') }).await;
    }
    let dialled = |(_, event): &(Duration, Event)| *event == Event::Dialled(HUMAN.into());
    eventually("the person is dialled", async || caller.events().iter().any(dialled)).await;
    caller.hangs_up().await;
    let log = house.app.logged(caller.call_sid()).await;
    assert_eq!((&log["call"]["outcome"], &log["call"]["reason"]), (&"failed".into(), &"actor-failed".into()));
    assert!(caller.silence_ms() < 3_000, "{} ms of silence", caller.silence_ms());
    house.app.empties().await;
}

#[actix_rt::test]
async fn a_panic_of_the_registry_or_of_the_databases_actor_is_noticed_by_no_caller() {
    let house = House::open().await;
    let caller = house.network.ring().await.unwrap();
    hears_a_turn(&caller).await;
    house.app.panics_at("registry", async { drop(house.app.get("/api/call-monitor").await) }).await;
    house.app.panics_at("db-watch", async {}).await;
    asks(&caller, 0).await;
    house.app.panics_at("registry", async { caller.drops_socket() }).await;
    asks(&caller, 1).await;
    house.app.panics_at("db-watch", async {}).await;
    house.app.panics_at("registry", caller.hangs_up()).await;
    let log = house.app.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["outcome"], "completed");
    assert!(log["turns"].as_array().unwrap().len() >= 5, "{log}");
    house.app.empties().await;
    house.heard_all_of(&caller);
}

async fn hands_its_calls_over_and_ends_with_70(place: &str) {
    let house = House::open().await;
    let caller = house.network.ring().await.unwrap();
    hears_a_turn(&caller).await;
    for _ in 0..4 {
        let provoke = async {
            if place == "registry" {
                house.app.get("/api/call-monitor").await;
            }
        };
        house.app.panics_at(place, provoke).await;
    }
    let worn_out_at = Instant::now();
    let dialled = |(_, event): &(Duration, Event)| *event == Event::Dialled(HUMAN.into());
    eventually("the person is dialled", async || caller.events().iter().any(dialled)).await;
    assert!(worn_out_at.elapsed() < Duration::from_secs(5), "{:?}", worn_out_at.elapsed()); // the sentence included
    assert_eq!(house.app.ends().await.code(), Some(70));
}

#[actix_rt::test]
async fn a_registry_that_panics_too_often_ends_the_process_and_its_caller_gets_a_person() {
    hands_its_calls_over_and_ends_with_70("registry").await;
}

#[actix_rt::test]
async fn a_database_actor_that_panics_too_often_ends_the_process_and_its_caller_gets_a_person() {
    hands_its_calls_over_and_ends_with_70("db-watch").await;
}

#[actix_rt::test]
async fn a_process_that_is_about_to_end_says_so_and_takes_no_calls() {
    let realtime = realtime::start(realtime::Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let app = TestApp::start(&database, &format!("http://{}", realtime.addr()));
    let call = call_sid(1);
    rings(&app, &call).await.token(); // it is waited for
    for _ in 0..4 {
        app.panics_at("registry", async { drop(app.get("/api/call-monitor").await) }).await;
    }
    eventually("it says so", async || app.get("/healthz").await["status"] == "draining").await;
    assert_eq!(app.get("/readyz").await["status"], 503);
    assert_eq!(rings(&app, &call_sid(2)).await.status, 503);
    let in_progress = [("CallSid", &*call), ("CallStatus", "in-progress")];
    assert_eq!(webhook(&app, "/api/voice/after-stream", &in_progress).await.status, 200);
    assert_eq!(app.ends().await.code(), Some(70));
}

/// The means to panic on purpose is one module behind one feature; no build without tests in it has the feature.
#[test]
fn a_default_build_has_no_means_to_panic_on_purpose() {
    let features = |edges| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--offline", "--locked", "--workspace", "--edges", edges, "--invert", "actors"]);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().contains("fault-injection")
    };
    assert!(!features("normal,build,features"));
    assert!(features("normal,build,dev,features"), "or this test proves nothing");
    assert!(
        include_str!("../../actors/src/lib.rs").contains("#[cfg(feature = \"fault-injection\")]\nmod fault;")
    );
}
