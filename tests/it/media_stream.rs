//! The faults of Twilio's media stream: it drops, falls silent, stops without a close, closes without a stop,
//! comes twice, and ends late. Epochs decide; slots and rows are right after each.

use std::time::Duration;

use futures_util::future::join;
use serde_json::Value;
use switchboard::sim::phone::Event;
use switchboard::sim::speech::CALLER;

use crate::support::app::TestApp;
use crate::support::postgres::TestDatabase;
use crate::support::toll::Toll;
use crate::support::twilio::{Answer, RawStream, call_sid, rings, webhook};
use crate::support::world::{World, asks, is_answered, turns};
use crate::support::{DEADLINE, eventually};

struct House {
    world: World,
    app: TestApp,
    database: TestDatabase,
}

impl House {
    async fn open() -> Self {
        let database = TestDatabase::create().await;
        let world = World::around(&database.url).await;
        Self { app: world.start(), world, database }
    }

    /// A stream of call 1, once the agent is heard on it.
    async fn stream(&self, token: &str) -> RawStream {
        let mut stream = RawStream::open(&self.app).await;
        stream.start(&call_sid(1), token).await;
        assert!(stream.hears().await.contains(r#""event":"media""#), "the agent");
        stream
    }

    /// Twilio asks what comes after a stream of call 1.
    async fn after_stream(&self) -> Answer {
        let in_progress = [("CallSid", &*call_sid(1)), ("CallStatus", "in-progress")];
        webhook(&self.app, "/api/voice/after-stream", &in_progress).await
    }

    async fn is_live(&self) {
        eventually("the call is live", async || {
            self.app.get("/api/call-monitor").await["calls"][0]["state"] == "live"
        })
        .await;
        assert_eq!(self.app.capacity().await, (1, 0));
    }

    /// The only call is over, its slot is free, and its row says so, once.
    async fn has_written(&self, row: &str) {
        self.app.empties().await;
        eventually("the row is written", async || {
            self.database.query("SELECT epoch, outcome, reason FROM calls").await == [row]
        })
        .await;
        assert_eq!(self.app.metric("switchboard_call_ends_total").await, 1.0);
        self.world.is_content();
    }
}

fn event<'a>(log: &'a Value, kind: &str) -> Option<&'a Value> {
    log["events"].as_array().unwrap().iter().find(|event| event["kind"] == kind)
}

#[actix_rt::test]
async fn the_socket_drops_in_mid_answer_and_the_caller_hears_it_all_the_same() {
    let house = House::open().await;
    let caller = house.world.in_conversation(&[]).await;
    caller.say(&CALLER[0]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.drops_socket();
    let ended = |(_, event): &(Duration, Event)| matches!(event, Event::StreamEnded(_));
    eventually("the socket is gone", async || caller.events().iter().any(ended)).await;
    is_answered(&caller).await;
    asks(&caller, &CALLER[1]).await;
    caller.hangs_up().await;
    let log = house.app.logged(caller.call_sid()).await;
    let mut toll = Toll::of("the media socket drops in mid-answer");
    toll.count(&caller, &[&CALLER[0], &CALLER[1]], &log);
    toll.stays_within(3_000);
    assert_eq!(house.world.realtime.report().sessions.len(), 1, "the session goes on");
    house.has_written("2|completed|caller-hung-up").await;
}

#[actix_rt::test]
async fn frames_stop_in_mid_sentence_and_the_call_goes_on_when_they_come_again() {
    let house = House::open().await;
    let caller = house.world.in_conversation(&[]).await;
    let breaks = async {
        house.world.hears_more_of(&caller, Duration::from_millis(900)).await; // into the sentence
        caller.is_inaudible(true);
    };
    join(asks(&caller, &CALLER[0]), breaks).await; // the service hears silence, and answers what it has heard
    eventually("it is noticed", async || house.app.metric("switchboard_one_way_audio_total").await == 1.0)
        .await;
    house.is_live().await;
    caller.is_inaudible(false);
    asks(&caller, &CALLER[1]).await;
    caller.hangs_up().await;
    let log = house.app.logged(caller.call_sid()).await;
    assert!(turns(&log).iter().any(|(_, text)| text == CALLER[1].text), "{log}");
    assert!(event(&log, "one-way-audio").is_some(), "{log}");
    let quiet_ms =
        event(&log, "two-way-audio").expect("they came again")["data"]["quietMs"].as_u64().unwrap();
    assert!(quiet_ms >= 3_000, "{quiet_ms}");
    let gaps = ["gaps_total", "gap_seconds_total"].map(|what| format!("switchboard_caller_{what}"));
    let [gaps, gap_seconds] = [house.app.metric(&gaps[0]).await, house.app.metric(&gaps[1]).await];
    assert_eq!(gaps, 1.0);
    assert!((gap_seconds - quiet_ms as f64 / 1_000.0).abs() < 0.25, "{gap_seconds} s of {quiet_ms} ms");
    assert_eq!(house.world.realtime.report().sessions.len(), 1, "the session goes on");
    house.has_written("1|completed|caller-hung-up").await;
}

#[actix_rt::test]
async fn a_stop_without_a_close_is_a_hang_up_and_the_socket_is_closed_by_us() {
    let house = House::open().await;
    let mut stream = house.stream(&rings(&house.app, &call_sid(1)).await.token()).await;
    stream.stop().await;
    house.has_written("1|completed|caller-hung-up").await;
    assert_eq!(stream.close_code().await, 1000);
}

#[actix_rt::test]
async fn a_close_without_a_stop_is_a_lost_stream_and_another_one_goes_on() {
    let house = House::open().await;
    let stream = house.stream(&rings(&house.app, &call_sid(1)).await.token()).await;
    stream.close().await;
    eventually("the loss is seen", async || {
        house.app.get("/api/call-monitor").await["calls"][0]["state"] == "reconnecting"
    })
    .await;
    let mut stream = house.stream(&house.after_stream().await.token()).await;
    house.is_live().await;
    stream.stop().await;
    house.has_written("2|completed|caller-hung-up").await;
}

#[actix_rt::test]
async fn a_close_without_a_stop_of_a_call_that_is_over_is_a_hang_up() {
    let house = House::open().await;
    let stream = house.stream(&rings(&house.app, &call_sid(1)).await.token()).await;
    stream.close().await;
    let completed = [("CallSid", &*call_sid(1)), ("CallStatus", "completed")];
    let answer = webhook(&house.app, "/api/voice/after-stream", &completed).await;
    assert!(!answer.body.contains("<Connect"), "{}", answer.body);
    house.has_written("1|completed|caller-hung-up").await;
}

#[actix_rt::test]
async fn the_newer_of_two_streams_has_the_call_and_the_end_of_the_older_changes_nothing() {
    let house = House::open().await;
    let first_token = rings(&house.app, &call_sid(1)).await.token();
    let mut first = house.stream(&first_token).await;
    let mut again = RawStream::open(&house.app).await;
    again.start(&call_sid(1), &first_token).await;
    assert_eq!(again.close_code().await, 1008, "a token opens one stream");
    first.frame(20).await;
    house.is_live().await;

    let token = house.after_stream().await.token(); // before we know that the first one has ended
    let mut second = house.stream(&token).await;
    first.stop().await; // late
    assert_eq!(first.close_code().await, 1000);
    let mut late = RawStream::open(&house.app).await;
    late.start(&call_sid(1), &first_token).await;
    assert_eq!(late.close_code().await, 1008, "an epoch that is over");
    second.frame(20).await;
    house.is_live().await;
    second.stop().await;
    house.has_written("2|completed|caller-hung-up").await;
}

#[actix_rt::test]
async fn an_old_end_between_the_promise_of_a_stream_and_its_coming_changes_nothing() {
    let house = House::open().await;
    let first = house.stream(&rings(&house.app, &call_sid(1)).await.token()).await;
    let token = house.after_stream().await.token();
    assert_eq!(house.after_stream().await.body.matches("<Stream").count(), 1, "asked again, promised again");
    first.close().await;
    eventually("the loss is seen", async || {
        house.app.get("/api/call-monitor").await["calls"][0]["state"] == "reconnecting"
    })
    .await;
    let mut second = house.stream(&token).await;
    house.is_live().await;
    second.stop().await;
    house.has_written("2|completed|caller-hung-up").await;
}
