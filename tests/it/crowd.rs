//! Twenty callers at once, and everything dies under them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use switchboard::sim::phone::{Caller, End, Event};
use switchboard::sim::realtime;
use switchboard::sim::speech::{CALLER, Clip};
use tokio::time::{sleep, timeout};

use crate::support::app::TestApp;
use crate::support::postgres::TestDatabase;
use crate::support::toll::Toll;
use crate::support::world::{World, asks, greetings, is_answered, streams_are, turns, turns_are_written};

const CALLERS: usize = 20;

/// The n-th question of a caller.
fn question(caller: &Caller, nth: usize) -> &'static Clip {
    &CALLER[(usize::from(caller.number()) + nth) % CALLER.len()]
}

/// Twenty callers who have each had one answer, which is written.
async fn crowd(world: &World, app: &TestApp) -> Vec<Caller> {
    let callers = join_all((0..CALLERS).map(|number| async move {
        sleep(Duration::from_millis(50) * number as u32).await; // as they ring
        world.in_conversation(&[&CALLER[number % CALLER.len()]]).await
    }));
    let callers = callers.await;
    join_all(callers.iter().map(|caller| turns_are_written(app, caller, 3))).await;
    callers.iter().for_each(Caller::forgets_silence); // while they waited for each other
    callers
}

/// All have hung up; none has lost anything of their first question and of the one after the fault.
async fn have_lost_nothing(app: &TestApp, callers: &[Caller], after: usize, fault: &str, silence_ms: u64) {
    let mut toll = Toll::of(fault);
    for caller in callers {
        assert_eq!(greetings(caller), 1, "nobody is greeted twice");
        let log = app.logged(caller.call_sid()).await;
        let ordinals: Vec<_> = turns(&log).iter().map(|(ordinal, _)| *ordinal).collect();
        assert_eq!(ordinals, (1..=ordinals.len() as u64).collect::<Vec<_>>());
        assert_eq!(log["call"]["outcome"], "completed");
        toll.count(caller, &[question(caller, 0), question(caller, after)], &log);
    }
    app.empties().await;
    toll.stays_within(silence_ms);
}

#[actix_rt::test]
async fn the_process_is_killed_and_all_go_on_within_three_seconds_of_its_start() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    let callers = crowd(&world, &app).await;

    app.kill();
    sleep(Duration::from_secs(3)).await; // until somebody starts it again
    let started = Instant::now();
    let app = world.start();
    let go_on = join_all(callers.iter().map(|caller| async {
        streams_are(caller, 2).await;
        let back = started.elapsed();
        is_answered(caller).await;
        asks(caller, question(caller, 1)).await;
        caller.hangs_up().await;
        back
    }));
    let back = go_on.await.into_iter().max().unwrap();
    for caller in &callers {
        let told = world.last_session_of(caller).told;
        assert!(told.iter().any(|text| text == question(caller, 0).text), "without its history: {told:?}");
    }
    println!("{CALLERS} callers are back {} ms after the start", back.as_millis());
    assert!(back < Duration::from_secs(3), "{back:?}");
    have_lost_nothing(&app, &callers, 1, "20 callers, process killed, started 3 s later", 8_000).await;
    world.is_content();
}

/// What the callers ask in the outage is too old to be heard by anybody when it is over: the agent asks by
/// itself.
#[actix_rt::test]
async fn the_realtime_service_dies_for_ten_seconds_and_all_go_on() {
    let database = TestDatabase::create().await;
    let mut world = World::around(&database.url).await;
    let app = world.start();
    let callers = crowd(&world, &app).await;

    let address = world.realtime.addr();
    let service = |listen| realtime::start(realtime::Options { listen, ..realtime::Options::default() });
    let elsewhere = service("127.0.0.1:0".parse().unwrap()).await.unwrap();
    std::mem::replace(&mut world.realtime, elsewhere).stop().await;
    join_all(callers.iter().map(|caller| caller.say(question(caller, 1)))).await;
    sleep(Duration::from_secs(10)).await; // the outage itself
    world.realtime = service(address).await.unwrap();
    let back = Instant::now();
    timeout(Duration::from_secs(10), async {
        let live = |monitor: &serde_json::Value| {
            let calls = monitor["calls"].as_array().unwrap().iter();
            calls.filter(|call| call["state"] == "live").count()
        };
        while live(&app.get("/api/call-monitor").await) < CALLERS {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("all are live again");
    println!("{CALLERS} callers are back {} ms after the service", back.elapsed().as_millis());
    join_all(callers.iter().map(|caller| async {
        is_answered(caller).await;
        asks(caller, question(caller, 2)).await;
        caller.hangs_up().await;
    }))
    .await;
    have_lost_nothing(&app, &callers, 2, "20 callers, service dead for 10 s", 16_000).await;
    world.is_content();
}

/// Nobody answers Twilio for as long as it tries: the number's fallback has everybody, and the rows of their
/// calls are closed by the process that starts at last.
#[actix_rt::test]
async fn the_process_is_not_started_again_and_all_are_given_to_the_fallback() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    let callers = crowd(&world, &app).await;
    app.kill();
    let killed = Instant::now();
    let ends = timeout(Duration::from_secs(60), join_all(callers.iter().map(Caller::ends)));
    let ends = ends.await.expect("all calls are over");
    assert!(ends.iter().all(|end| *end == End::ByBridge), "{ends:?}");
    let fell_back =
        |caller: &&Caller| caller.events().iter().any(|(_, event)| matches!(event, Event::Fallback(_)));
    let fallen = callers.iter().filter(fell_back).count();
    println!(
        "{fallen} of {CALLERS} callers had the fallback, {} s after the kill",
        killed.elapsed().as_secs()
    );
    assert_eq!(fallen, CALLERS);

    let app = world.start();
    for caller in &callers {
        let log = app.logged(caller.call_sid()).await;
        let ended = (&log["call"]["outcome"], &log["call"]["reason"]);
        assert_eq!(ended, (&"failed".into(), &"process-lost".into()));
    }
    assert_eq!(app.capacity().await, (0, 0), "no slot is held");
    world.in_conversation(&[]).await.hangs_up().await;
    app.empties().await;
}
