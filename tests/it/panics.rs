//! Panics on purpose, anywhere: the call goes on, no other call notices, and where it cannot go on a person
//! takes it.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use switchboard::sim::phone::{Caller, Event, Heard};
use switchboard::sim::speech::CALLER;

use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::toll::Toll;
use crate::support::twilio::{call_sid, rings, webhook};
use crate::support::world::{World, asks, is_answered};

const HUMAN: &str = "+14155550123";
/// Twenty callers ring at once, on a machine that may have more to do; an unattended panic costs 10 s, or the
/// call.
const MOST_SILENCE_MS: u64 = 8_000;

struct House {
    world: World,
    app: TestApp,
    _database: TestDatabase,
}

impl House {
    async fn open() -> Self {
        let database = TestDatabase::create().await;
        let mut world = World::around(&database.url).await;
        world.setup = world.setup.with("HUMAN_FALLBACK_NUMBER", HUMAN);
        Self { app: world.start(), world, _database: database }
    }

    /// A panic in this caller's call, at an input of this name.
    async fn panics(&self, caller: &Caller, input: &str, provoke: impl Future<Output = ()>) {
        self.app.panics_at(&format!("call-{}-{input}", caller.call_sid()), provoke).await;
    }

    /// Every frame of this caller came to one session, in order.
    fn heard_all_of(&self, caller: &Caller) {
        let sessions = self.world.realtime.report().sessions;
        let own: Vec<_> = sessions.iter().filter(|session| session.callers == [caller.number()]).collect();
        let [session] = own[..] else { panic!("{} sessions", own.len()) };
        let sequences = session.arrivals.iter().map(|(sequence, _)| *sequence);
        assert!(sequences.eq(0..session.arrivals.len() as u32), "a frame was lost or came twice");
        assert_eq!((session.untagged, session.corrupted), (0, 0));
    }

    /// The actor has failed, so a person is dialled, and the log says so.
    async fn gives_to_a_person(&self, caller: &Caller) {
        let answered = |(_, event): &(Duration, Event)| *event == Event::Answered;
        eventually("the person has the call", async || caller.events().iter().any(answered)).await;
        caller.hangs_up().await;
        let log = self.app.logged(caller.call_sid()).await;
        assert_eq!(
            (&log["call"]["outcome"], &log["call"]["reason"]),
            (&"transferred".into(), &"actor-failed".into())
        );
    }
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
    let house = House::open().await;
    let neighbour = house.world.network.rings().unwrap();
    let others = join_all(PANICS.map(|(when, input)| survives(&house, when, input)));
    let talk = async {
        is_answered(&neighbour).await;
        for question in &CALLER[..4] {
            asks(&neighbour, question).await;
        }
    };
    join(others, talk).await;
    neighbour.hangs_up().await;
    house.heard_all_of(&neighbour);
    let log = house.app.logged(neighbour.call_sid()).await;
    let mut toll = Toll::of("panics in other calls");
    toll.count(&neighbour, &CALLER[..4].iter().collect::<Vec<_>>(), &log);
    toll.stays_within(MOST_SILENCE_MS);
    house.app.empties().await;
    house.world.is_content();
}

async fn survives(house: &House, when: When, input: &str) {
    let caller = house.world.network.rings().unwrap();
    match when {
        When::Ringing => house.panics(&caller, input, is_answered(&caller)).await,
        _ => is_answered(&caller).await,
    }
    match when {
        When::Asking => house.panics(&caller, input, asks(&caller, &CALLER[0])).await,
        When::PressingAKey => house.panics(&caller, input, async { caller.presses('5') }).await,
        When::LosingTheStream => house.panics(&caller, input, async { caller.drops_socket() }).await,
        When::Ringing | When::HangingUp => {}
    }
    asks(&caller, &CALLER[1]).await;
    match when {
        When::HangingUp => house.panics(&caller, input, caller.hangs_up()).await,
        _ => caller.hangs_up().await,
    }
    let log = house.app.logged(caller.call_sid()).await;
    let said: &[_] = match (when, input) {
        // What the caller said may be lost with the panic, or with the session that was about to tell its
        // transcript.
        (When::Asking, "Service-Committed" | "Service-TranscriptCompleted" | "Service-ResponseCreated") => {
            &[&CALLER[1]]
        }
        (When::Asking, _) => &[&CALLER[0], &CALLER[1]],
        _ => &[&CALLER[1]],
    };
    let mut toll = Toll::of(format!("a panic at {input}, {when:?}"));
    toll.count(&caller, said, &log);
    toll.stays_within(MOST_SILENCE_MS);
    assert_eq!(log["call"]["outcome"], "completed", "{when:?} {input}: {log}");
}

#[actix_rt::test]
async fn the_fourth_panic_within_a_minute_brings_a_person() {
    let house = House::open().await;
    let caller = house.world.in_conversation(&[]).await;
    for _ in 0..4 {
        house.panics(&caller, "Digit", async { caller.presses('5') }).await;
    }
    house.gives_to_a_person(&caller).await;
    assert!(caller.silence_ms() < 3_000, "{} ms of silence", caller.silence_ms());
    house.app.empties().await;
}

#[actix_rt::test]
async fn a_call_whose_checkpoint_panics_too_is_given_to_a_person_at_once() {
    let house = House::open().await;
    let caller = house.world.in_conversation(&[]).await;
    let panics = house.panics(&caller, "Digit", async { caller.presses('5') });
    house.app.panics_at("call-restore", panics).await;
    house.gives_to_a_person(&caller).await;
    house.app.empties().await;
}

#[actix_rt::test]
async fn a_panic_of_the_registry_or_of_the_databases_actor_is_noticed_by_no_caller() {
    let house = House::open().await;
    let caller = house.world.in_conversation(&[]).await;
    house.app.registry_panics().await;
    house.app.panics_at("db-watch", async {}).await;
    asks(&caller, &CALLER[0]).await;
    house.app.panics_at("registry", async { caller.drops_socket() }).await;
    asks(&caller, &CALLER[1]).await;
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
    let caller = house.world.in_conversation(&[]).await;
    for _ in 0..4 {
        match place {
            "registry" => house.app.registry_panics().await,
            _ => house.app.panics_at(place, async {}).await,
        }
    }
    let worn_out_at = Instant::now();
    let rung = |heard: &Heard| matches!(heard, Heard::Said(said) if said.starts_with("One moment please."));
    eventually("a person is rung", async || caller.heard().iter().any(rung)).await;
    // No other instance is there: five times a second's pause. The sentence is included.
    assert!(worn_out_at.elapsed() < Duration::from_secs(12), "{:?}", worn_out_at.elapsed());
    assert_eq!(house.app.ends_with().await.code(), Some(70));
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
    let House { app, world: _world, _database } = House::open().await;
    let call = call_sid(1);
    rings(&app, &call).await.token(); // it is waited for
    for _ in 0..4 {
        app.registry_panics().await;
    }
    eventually("it says so", async || app.get("/healthz").await["status"] == "draining").await;
    assert_eq!(app.get("/readyz").await["status"], 503);
    assert!(rings(&app, &call_sid(2)).await.body.contains("<Redirect"), "another instance is to take it");
    let in_progress = [("CallSid", &*call), ("CallStatus", "in-progress")];
    assert_eq!(webhook(&app, "/api/voice/after-stream", &in_progress).await.status, 200);
    assert_eq!(app.ends_with().await.code(), Some(70));
}

/// The means to panic on purpose is one module behind one feature; no build without tests in it has the
/// feature.
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
