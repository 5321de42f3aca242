//! Two kills in a row with calls on the line. Twilio leaves the calls alone: each new process fetches them
//! back.

use futures_util::future::join_all;
use switchboard::sim::phone::{self, AfterDrop, Caller};
use switchboard::sim::realtime;
use switchboard::sim::speech::CALLER;

use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::toll::Toll;
use crate::support::world::{World, asks, greetings, is_answered, streams_are, turns_are_written};

const CALLS: usize = 3;

/// Calls that were each asked one thing, which is written.
async fn on_the_line(database: &TestDatabase) -> (World, TestApp, Vec<Caller>) {
    let phone = phone::Options { after_drop: AfterDrop::Nothing, ..phone::Options::default() };
    let world = World::with(&database.url, phone, realtime::Options::default()).await;
    let app = world.start();
    let question = [&CALLER[0]];
    let callers = join_all((0..CALLS).map(|_| world.in_conversation(&question))).await;
    join_all(callers.iter().map(|caller| turns_are_written(&app, caller, 3))).await;
    (world, app, callers)
}

/// Each caller is in their stream of this number, and asks the question of the same number.
async fn all_go_on(callers: &[Caller], stream: usize) {
    join_all(callers.iter().map(async |caller| {
        streams_are(caller, stream).await;
        is_answered(caller).await;
        asks(caller, &CALLER[stream - 1]).await;
    }))
    .await;
}

async fn end(fault: &str, world: &World, app: &TestApp, callers: &[Caller], questions: usize) {
    let questions: Vec<_> = CALLER[..questions].iter().collect();
    let mut toll = Toll::of(fault);
    for caller in callers {
        caller.hangs_up().await;
        assert_eq!(greetings(caller), 1, "nobody is greeted twice");
        let log = app.logged(caller.call_sid()).await;
        assert_eq!(log["call"]["outcome"], "completed");
        toll.count(caller, &questions, &log);
    }
    toll.must_be_nothing_lost(0);
    assert_eq!(world.realtime.report().violations, []);
    app.empties().await;
}

#[actix_rt::test]
async fn calls_are_fetched_back_after_each_of_two_kills() {
    let database = TestDatabase::create().await;
    let (world, app, callers) = on_the_line(&database).await;
    app.kill();
    let app = world.start();
    all_go_on(&callers, 2).await;
    join_all(callers.iter().map(|caller| turns_are_written(&app, caller, 6))).await;
    app.kill();
    let app = world.start();
    all_go_on(&callers, 3).await;
    end("process killed twice, calls fetched back each time", &world, &app, &callers, 3).await;
    world.is_content();
}

#[actix_rt::test]
async fn calls_are_fetched_back_after_a_kill_of_the_process_that_had_just_taken_them_over() {
    let database = TestDatabase::create().await;
    let (world, app, callers) = on_the_line(&database).await;
    app.kill();
    let app = world.start();
    eventually("they are taken over", async || app.capacity().await.1 == CALLS as u64).await;
    app.kill();
    let app = world.start();
    all_go_on(&callers, 2).await;
    end("process killed, and killed again before it has fetched its calls back", &world, &app, &callers, 2)
        .await;
    // Where the kill met a status callback on its way, the network notes a connection that broke (15003).
    let violations = world.network.violations().1;
    assert!(violations.iter().all(|violation| violation.kind == "15003"), "{violations:?}");
}
