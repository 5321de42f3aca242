//! A claim that is given up half way: the client of the webhook or the media socket goes away. The slot comes
//! free, and the next caller has it.

use std::time::Duration;

use actors::wire::twilio::signature::sign;
use switchboard::sim::phone::Caller;
use switchboard::sim::speech::CALLER;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::app::{AUTH_TOKEN, TestApp};
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::toll::Toll;
use crate::support::twilio::{RawStream, call_sid, rings};
use crate::support::world::{World, asks, is_answered};

/// A house with two slots. One belongs to a caller who is to notice nothing.
struct House {
    world: World,
    app: TestApp,
    neighbour: Caller,
    _database: TestDatabase,
}

impl House {
    async fn open() -> Self {
        let database = TestDatabase::create().await;
        let mut world = World::around(&database.url).await;
        world.setup = world.setup.with("MAX_CONCURRENT_CALLS", "2");
        let app = world.start();
        let neighbour = world.in_conversation(&[]).await;
        Self { world, app, neighbour, _database: database }
    }

    /// The slot of the call without a stream comes free, the call ends with this outcome, and another caller
    /// has its slot.
    async fn has_room_again(self, fault: &str, outcome: &str) {
        let Self { world, app, neighbour, _database } = self;
        let freed = async {
            // A promised stream is waited for 15 s.
            eventually("the slot is free", async || app.capacity().await == (1, 0)).await;
        };
        let talk = async {
            for question in &CALLER[..4] {
                asks(&neighbour, question).await;
            }
        };
        tokio::join!(freed, talk);
        let next = world.in_conversation(&[&CALLER[0]]).await;
        let mut toll = Toll::of(fault);
        for (caller, questions) in [(&neighbour, 4), (&next, 1)] {
            caller.hangs_up().await;
            let log = app.logged(caller.call_sid()).await;
            assert_eq!(log["call"]["outcome"], "completed");
            toll.count(caller, &CALLER[..questions].iter().collect::<Vec<_>>(), &log);
        }
        let lost = app.logged(&call_sid(1)).await;
        assert_eq!(lost["call"]["outcome"], outcome, "its end is written");
        toll.must_be_nothing_lost(0);
        world.is_content();
        app.empties().await;
    }
}

#[actix_rt::test]
async fn the_slot_of_a_webhook_whose_client_goes_away_comes_free() {
    let house = House::open().await;
    let parameters = [("CallSid", &*call_sid(1)), ("From", "%2B14155550100"), ("CallStatus", "ringing")];
    let body = parameters.map(|(name, value)| format!("{name}={value}")).join("&");
    let signed = parameters.map(|(name, value)| (name.to_owned(), value.replace("%2B", "+")));
    let (url, path) = (house.app.url("/api/voice/incoming"), "/api/voice/incoming");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         x-twilio-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
        house.app.origin.trim_start_matches("http://"),
        sign(AUTH_TOKEN, &url, &signed),
        body.len()
    );
    // The registry panics at the question, so the client is gone before the answer.
    let gone = async {
        let address = house.app.origin.trim_start_matches("http://");
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client.set_zero_linger().unwrap();
    };
    house.app.panics_at("registry-AdmitCall", gone).await;
    // Whether it was admitted after all or not, Twilio asks again.
    assert!(rings(&house.app, &call_sid(1)).await.body.contains("<Connect"));
    assert_eq!(house.app.capacity().await, (1, 1));
    house.has_room_again("a panic at a webhook whose client goes away", "abandoned").await;
}

#[actix_rt::test]
async fn the_slot_of_a_stream_that_goes_away_at_its_claim_comes_free() {
    let house = House::open().await;
    let token = rings(&house.app, &call_sid(1)).await.token();
    let mut stream = RawStream::open(&house.app).await;
    stream.start(&call_sid(1), &token).await;
    drop(stream); // before anything can have come back
    house.has_room_again("the media socket goes away at its claim", "failed").await;
}

#[actix_rt::test]
async fn the_slot_of_a_stream_that_goes_away_while_the_registry_panics_comes_free() {
    let house = House::open().await;
    let token = rings(&house.app, &call_sid(1)).await.token();
    let mut stream = RawStream::open(&house.app).await;
    let gone = async {
        stream.start(&call_sid(1), &token).await;
        drop(stream);
    };
    house.app.panics_at("registry-ClaimStream", gone).await;
    house.has_room_again("a panic at the claim of a media socket that goes away", "abandoned").await;
}

/// As a real network loses it: Twilio asks what comes next, and the call goes on.
#[actix_rt::test]
async fn a_call_whose_socket_breaks_right_after_its_claim_goes_on() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    let mut toll = Toll::of("the media socket breaks right after its claim");
    for after_ms in [0, 1, 3, 10] {
        let caller = world.network.rings().unwrap();
        assert!(caller.is_connected().await);
        tokio::time::sleep(Duration::from_millis(after_ms)).await; // the moment itself
        caller.drops_socket();
        is_answered(&caller).await;
        asks(&caller, &CALLER[0]).await;
        caller.hangs_up().await;
        let log = app.logged(caller.call_sid()).await;
        assert_eq!(log["call"]["outcome"], "completed");
        toll.count(&caller, &[&CALLER[0]], &log);
    }
    toll.must_be_nothing_lost(0);
    world.is_content();
    app.empties().await;
}
