//! The process is killed in mid-call and started again: the calls go on with their history.

use std::net::TcpListener;
use std::time::Duration;

use actors::secret::Secret;
use serde_json::Value;
use switchboard::sim::phone::{self, Caller, Heard, Network};
use switchboard::sim::realtime::{self, Server};
use switchboard::sim::speech::{AGENT, CALLER};

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::toll::Toll;
use crate::support::{DEADLINE, eventually};

const ACCOUNT: &str = "AC00000000000000000000000000000001";

/// Everything around the program, which outlives it.
struct World {
    listener: TcpListener,
    setup: Setup,
    network: Network,
    realtime: Server,
    _database: TestDatabase,
}

impl World {
    /// With Twilio's REST API; what a lost media socket leads to is `after_drop`.
    async fn new(after_drop: phone::AfterDrop) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = phone::Options {
            url: format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(),
            auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
            api_listen: Some("127.0.0.1:0".parse().unwrap()),
            after_drop,
            quiet: true,
            ..phone::Options::default()
        };
        let network = Network::start(options).unwrap();
        let realtime = realtime::start(realtime::Options::default()).await.unwrap();
        let database = TestDatabase::create().await;
        let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()))
            .with("TWILIO_ACCOUNT_SID", ACCOUNT)
            .with("TWILIO_API_BASE_URL", &format!("http://{}", network.api_addr().unwrap()));
        Self { listener, setup, network, realtime, _database: database }
    }

    fn start(&self) -> TestApp {
        self.setup.clone().start_on(&self.listener)
    }
}

async fn asks(caller: &Caller, clip: usize) {
    caller.say(&CALLER[clip]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
}

fn turns(log: &Value) -> Vec<(u64, String)> {
    let turns = log["turns"].as_array().unwrap().iter();
    turns.map(|turn| (turn["ordinal"].as_u64().unwrap(), turn["text"].as_str().unwrap().to_owned())).collect()
}

/// A caller who has been greeted and has had one answer, which is written.
async fn in_conversation(world: &World, app: &TestApp) -> Caller {
    let caller = world.network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    asks(&caller, 0).await;
    eventually("three turns are written", async || {
        let log = app.get(&format!("/api/call-logs/{}", caller.call_sid())).await;
        log["turns"].as_array().is_some_and(|turns| turns.len() == 3)
    })
    .await;
    caller
}

async fn a_killed_process_is_started_again(after_drop: phone::AfterDrop) {
    let world = World::new(after_drop).await;
    let app = world.start();
    let caller = in_conversation(&world, &app).await;
    let greetings = |caller: &Caller| {
        let greeting = |heard: &&Heard| matches!(heard, Heard::Agent { clip, .. } if *clip == AGENT[0].id);
        caller.heard().iter().filter(greeting).count()
    };
    assert_eq!(greetings(&caller), 1);

    app.kill();
    let app = world.start();
    eventually("the call is live again", async || {
        app.get("/api/call-monitor").await["calls"][0]["state"] == "live"
    })
    .await;
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    asks(&caller, 1).await;
    caller.hangs_up().await;

    assert_eq!(greetings(&caller), 1, "nobody is greeted twice");
    let log = app.logged(caller.call_sid()).await;
    let turns = turns(&log);
    let ordinals: Vec<_> = turns.iter().map(|(ordinal, _)| *ordinal).collect();
    assert_eq!(ordinals, (1..=turns.len() as u64).collect::<Vec<_>>(), "{turns:?}");
    assert!(turns.len() >= 6, "{turns:?}");
    assert!(CALLER[..2].iter().all(|clip| turns.iter().any(|(_, text)| text == clip.text)), "{turns:?}");
    assert_eq!(log["call"]["outcome"], "completed");
    assert_eq!(world.network.violations().1, []);
    assert_eq!(world.realtime.report().violations, []);
    let mut toll = Toll::of(format!("process killed, Twilio then does: {after_drop:?}"));
    toll.count(&caller, &[&CALLER[0], &CALLER[1]], &log);
    toll.is_at_most(5_000);
    app.empties().await;
}

#[actix_rt::test]
async fn a_call_goes_on_when_twilio_asks_what_comes_next() {
    a_killed_process_is_started_again(phone::AfterDrop::Action).await;
}

#[actix_rt::test]
async fn a_call_that_twilio_leaves_alone_is_fetched_back() {
    a_killed_process_is_started_again(phone::AfterDrop::Nothing).await;
}

#[actix_rt::test]
async fn a_call_that_ended_meanwhile_is_closed_by_asking_twilio() {
    let world = World::new(phone::AfterDrop::Nothing).await;
    let app = world.start();
    let caller = in_conversation(&world, &app).await;
    app.kill();
    let call_sid = caller.call_sid().to_owned();
    tokio::time::timeout(Duration::from_secs(30), caller.hangs_up()).await.unwrap();
    let app = world.start();
    let log = app.logged(&call_sid).await;
    assert_eq!((&log["call"]["outcome"], &log["call"]["reason"]), (&"failed".into(), &"process-lost".into()));
    app.empties().await;
}
