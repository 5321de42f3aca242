//! PostgreSQL is away at the worst moments: the calls go on, and what was said in them is in the log once it
//! is back.

use std::time::Duration;

use switchboard::sim::phone::Caller;
use switchboard::sim::speech::CALLER;

use crate::support::eventually;
use crate::support::outage::Outage;
use crate::support::toll::Toll;
use crate::support::world::{
    World, asks, greetings, is_answered, is_caught_up, is_spooled, streams_are, turns, turns_are_written,
};

/// By ordinal, what the caller said.
async fn said(app: &crate::support::app::TestApp, caller: &Caller) -> Vec<(u64, String)> {
    let log = app.logged(caller.call_sid()).await;
    let by_caller = |(_, text): &(u64, String)| CALLER.iter().any(|clip| clip.text == text);
    turns(&log).into_iter().filter(by_caller).collect()
}

/// What was said before the outage is not known; what was said in it is, and the caller is asked for the
/// rest.
#[actix_rt::test]
async fn a_call_that_began_before_the_outage_goes_on_after_a_kill_in_it() {
    let outage = Outage::prepare().await;
    let world = World::around(&outage.url).await;
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    turns_are_written(&app, &caller, 3).await;
    let outage = outage.begin();
    asks(&caller, &CALLER[1]).await;
    is_spooled(&app, 3).await; // the caller's turn, the agent's as it was made and as it was heard

    app.kill();
    let app = world.start();
    streams_are(&caller, 2).await;
    is_answered(&caller).await;
    let told = world.last_session_of(&caller).told;
    assert_eq!(told.len(), 3, "two turns and a note: {told:?}");
    assert_eq!(told[0], CALLER[1].text);
    asks(&caller, &CALLER[2]).await;
    let _back = outage.end();
    is_caught_up(&app).await;
    asks(&caller, &CALLER[3]).await;
    caller.hangs_up().await;

    assert_eq!(greetings(&caller), 1, "nobody is greeted twice");
    let log = app.logged(caller.call_sid()).await;
    let ordinals: Vec<_> = turns(&log).iter().map(|(ordinal, _)| *ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3, 4, 5, 10_001, 10_002, 10_003, 10_004, 10_005]);
    let texts: Vec<_> = said(&app, &caller).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, CALLER[..4].iter().map(|clip| clip.text).collect::<Vec<_>>(), "in order");
    assert_eq!(log["call"]["outcome"], "completed");
    let mut toll = Toll::of("PostgreSQL stopped, process killed");
    toll.count(&caller, &[&CALLER[0], &CALLER[1], &CALLER[2], &CALLER[3]], &log);
    toll.stays_within(6_000);
    world.is_content();
    app.empties().await;
}

/// Its history is in the spool, whole.
#[actix_rt::test]
async fn a_call_that_began_in_the_outage_keeps_its_history_through_two_kills() {
    let outage = Outage::prepare().await;
    let world = World::around(&outage.url).await;
    let outage = outage.begin();
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    is_spooled(&app, 6).await; // the call, and what the agent said as it was made and as it was heard

    app.kill();
    let app = world.start();
    streams_are(&caller, 2).await;
    is_answered(&caller).await;
    asks(&caller, &CALLER[1]).await;
    is_spooled(&app, 12).await;
    app.kill();
    let app = world.start();
    streams_are(&caller, 3).await;
    is_answered(&caller).await;
    let told = world.last_session_of(&caller).told;
    assert_eq!((told.len(), &*told[1], &*told[4]), (7, CALLER[0].text, CALLER[1].text), "{told:?}");
    let _back = outage.end();
    is_caught_up(&app).await;
    caller.hangs_up().await;

    assert_eq!(greetings(&caller), 1, "nobody is greeted twice");
    let log = app.logged(caller.call_sid()).await;
    let ordinals: Vec<_> = turns(&log).iter().map(|(ordinal, _)| *ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3, 4, 5, 6, 7]);
    let mut toll = Toll::of("PostgreSQL away from before the ring, process killed twice");
    toll.count(&caller, &[&CALLER[0], &CALLER[1]], &log);
    toll.stays_within(6_000);
    world.is_content();
    app.empties().await;
}

/// The moment in a call at which PostgreSQL goes away; it comes back when the call is over.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    Ring,
    Claim,
    MidTurn,
    HangUp,
    Drain,
}

async fn postgres_goes_away_at(moment: Moment) {
    let prepared = Outage::prepare().await;
    let world = World::around(&prepared.url).await;
    let app = world.start();
    eventually("the schema is known", async || app.get("/readyz").await["ready"] != false).await;
    let mut prepared = Some(prepared);
    let mut away = None;
    let mut at = |now: Moment| {
        if now == moment {
            away = prepared.take().map(Outage::begin);
        }
    };
    at(Moment::Ring);
    let caller = world.network.rings().unwrap();
    eventually("the call is admitted", async || app.get("/api/call-monitor").await["calls"][0].is_object())
        .await;
    at(Moment::Claim);
    is_answered(&caller).await;
    let asked = async { caller.say(&CALLER[0]).await.unwrap() };
    let midway = async {
        world.hears_more_of(&caller, Duration::from_millis(300)).await;
        at(Moment::MidTurn);
    };
    tokio::join!(asked, midway);
    is_answered(&caller).await;
    if moment == Moment::Drain {
        turns_are_written(&app, &caller, 3).await;
        app.terminate();
        app.drains().await;
    }
    at(Moment::Drain);
    at(Moment::HangUp);
    let next = async {
        if moment != Moment::Drain {
            return app;
        }
        app.ends().await; // with what it could not write: the next one writes it
        world.start()
    };
    let ((), app) = tokio::join!(caller.hangs_up(), next);
    let _back = away.expect("it is away by now").end();
    is_caught_up(&app).await;
    let log = app.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["outcome"], "completed", "{moment:?}");
    let ordinals: Vec<_> = turns(&log).iter().map(|(ordinal, _)| *ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3], "{moment:?}");
    let mut toll = Toll::of(format!("PostgreSQL stopped: {moment:?}"));
    toll.count(&caller, &[&CALLER[0]], &log);
    toll.stays_within(4_000);
    app.empties().await;
}

#[actix_rt::test]
async fn postgres_goes_away_before_the_ring() {
    postgres_goes_away_at(Moment::Ring).await;
}

#[actix_rt::test]
async fn postgres_goes_away_before_the_stream_opens() {
    postgres_goes_away_at(Moment::Claim).await;
}

#[actix_rt::test]
async fn postgres_goes_away_in_mid_turn() {
    postgres_goes_away_at(Moment::MidTurn).await;
}

#[actix_rt::test]
async fn postgres_goes_away_before_the_hang_up() {
    postgres_goes_away_at(Moment::HangUp).await;
}

#[actix_rt::test]
async fn postgres_goes_away_in_a_drain() {
    postgres_goes_away_at(Moment::Drain).await;
}

/// The stream is lost, and what comes next is asked of a process that cannot ask the database.
#[actix_rt::test]
async fn postgres_is_away_when_twilio_asks_what_comes_next() {
    let outage = Outage::prepare().await;
    let world = World::around(&outage.url).await;
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    turns_are_written(&app, &caller, 3).await;
    let outage = outage.begin();
    caller.drops_socket();
    streams_are(&caller, 2).await;
    asks(&caller, &CALLER[1]).await;
    caller.hangs_up().await;
    let _back = outage.end();
    is_caught_up(&app).await;
    let log = app.logged(caller.call_sid()).await;
    let ordinals: Vec<_> = turns(&log).iter().map(|(ordinal, _)| *ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3, 4, 5]);
    assert_eq!(greetings(&caller), 1);
    let mut toll = Toll::of("PostgreSQL stopped: after-stream");
    toll.count(&caller, &[&CALLER[0], &CALLER[1]], &log);
    toll.stays_within(4_000);
    world.is_content();
    app.empties().await;
}
