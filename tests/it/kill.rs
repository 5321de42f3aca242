//! The process is killed in mid-call and started again: the calls go on with their history.

use std::time::Duration;

use switchboard::sim::phone::{self, AfterDrop, Caller};
use switchboard::sim::realtime;
use switchboard::sim::speech::{AGENT, CALLER};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::postgres::TestDatabase;
use crate::support::toll::Toll;
use crate::support::twilio::{RawStream, call_sid, rings};
use crate::support::world::{World, asks, greetings, is_answered, streams_are, turns, turns_are_written};
use crate::support::{DEADLINE, eventually};

/// With what follows a lost media socket.
async fn world(after_drop: AfterDrop) -> (World, TestDatabase) {
    let database = TestDatabase::create().await;
    let phone = phone::Options { after_drop, ..phone::Options::default() };
    (World::with(&database.url, phone, realtime::Options::default()).await, database)
}

fn ordinals(turns: &[(u64, String)]) -> Vec<u64> {
    turns.iter().map(|(ordinal, _)| *ordinal).collect()
}

async fn a_killed_process_is_started_again(after_drop: AfterDrop) {
    let (world, _database) = world(after_drop).await;
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    turns_are_written(&app, &caller, 3).await;

    app.kill();
    let app = world.start();
    streams_are(&caller, 2).await;
    is_answered(&caller).await;
    asks(&caller, &CALLER[1]).await;
    caller.hangs_up().await;

    assert_eq!(greetings(&caller), 1, "nobody is greeted twice");
    let told = world.last_session_of(&caller).told;
    assert!(told.iter().any(|text| text == CALLER[0].text), "it knows the history: {told:?}");
    let log = app.logged(caller.call_sid()).await;
    let turns = turns(&log);
    assert_eq!(ordinals(&turns), [1, 2, 3, 4, 5, 6], "{turns:?}");
    assert_eq!(log["call"]["outcome"], "completed");
    let mut toll = Toll::of(format!("process killed, Twilio then: {after_drop:?}"));
    toll.count(&caller, &[&CALLER[0], &CALLER[1]], &log);
    toll.stays_within(5_000);
    world.is_content();
    app.empties().await;
}

#[actix_rt::test]
async fn a_call_goes_on_when_twilio_asks_what_comes_next() {
    a_killed_process_is_started_again(AfterDrop::Action).await;
}

#[actix_rt::test]
async fn a_call_that_twilio_leaves_alone_is_fetched_back() {
    a_killed_process_is_started_again(AfterDrop::Nothing).await;
}

#[actix_rt::test]
async fn a_call_that_ended_meanwhile_is_closed_by_asking_twilio() {
    let (world, _database) = world(AfterDrop::Nothing).await;
    let app = world.start();
    let caller = world.in_conversation(&[]).await;
    turns_are_written(&app, &caller, 1).await;
    app.kill();
    let call_sid = caller.call_sid().to_owned();
    tokio::time::timeout(Duration::from_secs(30), caller.hangs_up()).await.unwrap();
    let app = world.start();
    let log = app.logged(&call_sid).await;
    assert_eq!((&log["call"]["outcome"], &log["call"]["reason"]), (&"failed".into(), &"process-lost".into()));
    let is_counted = async || app.metric("switchboard_call_ends_total").await == 1.0;
    eventually("its end is counted", is_counted).await;
    app.empties().await;
}

/// A starting process asks Twilio about it, as if it had been left behind.
#[actix_rt::test]
async fn a_call_that_rings_while_the_process_starts_is_nobodys_loss() {
    let (world, database) = world(AfterDrop::Action).await;
    let twilio = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", twilio.local_addr().unwrap());
    let setup = world.setup.clone().with("TWILIO_API_BASE_URL", &api).with("INSTANCE_ID", "this");
    let row = format!("'{}', 1, 'this', now() - interval '1 min'", call_sid(1));
    database
        .query(&format!("INSERT INTO calls (call_sid, epoch, instance, started_at) VALUES ({row})"))
        .await;
    let app = setup.start_on(&world.listener);
    let mut asked = timeout(DEADLINE, twilio.accept()).await.expect("it asks").unwrap().0;
    let token = rings(&app, &call_sid(1)).await.token();
    asked.read_exact(&mut [0; 16]).await.unwrap();
    asked
        .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        .await
        .unwrap();
    timeout(DEADLINE, asked.read_to_end(&mut vec![])).await.expect("the answer is read").unwrap();

    let mut stream = RawStream::open(&app).await;
    stream.start(&call_sid(1), &token).await;
    assert!(stream.hears().await.contains(r#""event":"media""#), "the agent");
    stream.stop().await;
    app.empties().await;
}

/// The caller says nothing more: what they asked is known.
#[actix_rt::test]
async fn a_question_that_had_no_answer_is_answered_first() {
    let database = TestDatabase::create().await;
    let slow = realtime::Options { think_ms: 4_000, ..realtime::Options::default() };
    let world = World::with(&database.url, phone::Options::default(), slow).await;
    let app = world.start();
    let caller = world.in_conversation(&[]).await;
    caller.say(&CALLER[0]).await.unwrap();
    turns_are_written(&app, &caller, 2).await;

    app.kill();
    let app = world.start();
    streams_are(&caller, 2).await;
    is_answered(&caller).await;
    caller.hangs_up().await;
    let told = world.last_session_of(&caller).told;
    assert_eq!(
        told.iter().rev().nth(1).map(String::as_str),
        Some(CALLER[0].text),
        "the last before the note"
    );
    let log = app.logged(caller.call_sid()).await;
    let speakers: Vec<_> =
        log["turns"].as_array().unwrap().iter().map(|turn| turn["speaker"].clone()).collect();
    assert_eq!(speakers, ["agent", "caller", "agent"]);
    let mut toll = Toll::of("process killed before an answer that takes 4 s");
    toll.count(&caller, &[&CALLER[0]], &log);
    toll.stays_within(10_000);
    world.is_content();
    app.empties().await;
}

/// The greeting is heard once to its end, if not by then, from its beginning.
#[actix_rt::test]
async fn a_call_goes_on_after_a_kill_in_the_greeting() {
    let (world, _database) = world(AfterDrop::Action).await;
    let app = world.start();
    let caller = world.network.ring().await.unwrap();
    caller.hears_agent_within(crate::support::DEADLINE).await.unwrap();
    caller.listens_for(Duration::from_millis(400)).await.unwrap();
    app.kill();
    let app = world.start();
    streams_are(&caller, 2).await;
    goes_on(&world, &caller).await;
    let log = app.logged(caller.call_sid()).await;
    let heard = turns(&log);
    assert!(heard.iter().any(|(_, text)| text == AGENT[0].text), "{heard:?}");
    let mut toll = Toll::of("process killed in the greeting");
    toll.count(&caller, &[&CALLER[1]], &log);
    toll.stays_within(6_000);
    app.empties().await;
}

#[actix_rt::test]
async fn a_call_goes_on_after_a_kill_in_a_barge_in() {
    let (world, _database) = world(AfterDrop::Action).await;
    let app = world.start();
    let caller = world.in_conversation(&[]).await;
    caller.say(&CALLER[0]).await.unwrap();
    caller.hears_agent_within(crate::support::DEADLINE).await.unwrap();
    caller.listens_for(Duration::from_millis(700)).await.unwrap();
    let barges_in = async {
        caller.interrupts_with(&CALLER[2]).await.unwrap();
    };
    let killed = async {
        eventually("the caller interrupts", async || app.metric("switchboard_barge_ins_total").await > 0.0)
            .await;
        // What is not yet in the database dies with the process.
        turns_are_written(&app, &caller, 3).await;
        eventually("nothing waits to be written", async || {
            app.metric("switchboard_db_queue_depth").await == 0.0
        })
        .await;
        app.kill();
        world.start()
    };
    let ((), app) = tokio::join!(barges_in, killed);
    streams_are(&caller, 2).await;
    goes_on(&world, &caller).await;
    let log = app.logged(caller.call_sid()).await;
    let mut toll = Toll::of("process killed in a barge-in");
    toll.count(&caller, &[&CALLER[0], &CALLER[1]], &log); // half an interruption is no turn
    toll.stays_within(6_000);
    app.empties().await;
}

/// The agent speaks, a question is answered, and the caller hangs up.
async fn goes_on(world: &World, caller: &Caller) {
    is_answered(caller).await;
    asks(caller, &CALLER[1]).await;
    caller.hangs_up().await;
    assert!(greetings(caller) <= 2, "{:?}", caller.heard());
    world.is_content();
}

#[actix_rt::test]
async fn a_call_goes_on_after_a_kill_while_the_realtime_service_is_away() {
    let (mut world, _database) = world(AfterDrop::Action).await;
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    turns_are_written(&app, &caller, 3).await;
    let address = world.realtime.addr();
    let service = |listen| realtime::start(realtime::Options { listen, ..realtime::Options::default() });
    let gone = std::mem::replace(&mut world.realtime, service("127.0.0.1:0".parse().unwrap()).await.unwrap());
    gone.stop().await;
    app.kill();
    let app = world.start();
    eventually("the call is here again, without a session", async || {
        app.get("/api/call-monitor").await["calls"][0]["state"] == "connecting"
    })
    .await;
    world.realtime = service(address).await.unwrap();
    is_answered(&caller).await;
    asks(&caller, &CALLER[1]).await;
    caller.hangs_up().await;
    assert_eq!(greetings(&caller), 1);
    let log = app.logged(caller.call_sid()).await;
    let mut toll = Toll::of("process killed while the service is away");
    toll.count(&caller, &[&CALLER[0], &CALLER[1]], &log);
    toll.stays_within(8_000);
    world.is_content();
    app.empties().await;
}
