//! The agent cannot be had: the caller meets a person, or leaves a message that is kept.

use std::time::Duration;

use actors::secret::Secret;
use serde_json::Value;
use switchboard::sim::phone::{self, Caller, End, Heard, Network, Person};
use switchboard::sim::realtime::{self, Server};
use switchboard::sim::speech::CALLER;

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::outage::Outage;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{call_sid, webhook};
use crate::support::world::World;
use crate::support::{DEADLINE, eventually};

const PERSON: &str = "+14155550123";
const NOBODY_LISTENS: &str = "http://127.0.0.1:1";

/// A house whose Realtime service refuses for good.
struct House {
    app: TestApp,
    network: Network,
    realtime: Server,
    _database: TestDatabase,
}

impl House {
    async fn without_agent(person: Option<Person>) -> Self {
        let faults = vec!["quota".parse().unwrap()];
        let realtime = realtime::start(realtime::Options { faults, ..Default::default() }).await.unwrap();
        let database = TestDatabase::create().await;
        let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
        let setup = if person.is_some() { setup.with("HUMAN_FALLBACK_NUMBER", PERSON) } else { setup };
        let app = setup.start();
        let options = phone::Options {
            url: app.origin.parse().unwrap(),
            auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
            person: person.unwrap_or_default(),
            quiet: true,
            ..phone::Options::default()
        };
        Self { app, network: Network::start(options).unwrap(), realtime, _database: database }
    }

    /// Nothing was wrong with what was said to either side; answers the call's log.
    async fn logged(&self, caller: &Caller, outcome: &str) -> Value {
        let mut log = Value::Null;
        eventually("the outcome is logged", async || {
            log = self.app.get(&format!("/api/call-logs/{}", caller.call_sid())).await;
            log["call"]["outcome"] == outcome
        })
        .await;
        assert_eq!(log["call"]["reason"], "realtime-refused", "why the agent could not be had");
        assert_eq!(self.network.violations().1, []);
        assert_eq!(self.realtime.report().violations, []);
        println!("{outcome}: {} ms of silence", caller.silence_ms());
        self.app.empties().await;
        log
    }
}

fn events<'a>(log: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = log["events"].as_array().unwrap().iter();
    events.filter(|event| event["kind"] == kind).map(|event| &event["data"]).collect()
}

fn is_told(caller: &Caller, text: &str) -> bool {
    caller.heard().iter().any(|heard| matches!(heard, Heard::Said(said) if said.contains(text)))
}

#[actix_rt::test]
async fn a_message_is_left_when_neither_agent_nor_person_is_there() {
    let house = House::without_agent(None).await;
    let caller = house.network.ring().await.unwrap();
    caller.leaves_a_message(DEADLINE, &CALLER[0]).await.unwrap();
    caller.presses('#');
    assert_eq!(caller.ends().await, End::ByBridge);
    assert!(is_told(&caller, "Thank you for your message"), "{:?}", caller.heard());

    let log = house.logged(&caller, "voicemail").await;
    let left = events(&log, "voicemail");
    assert_eq!(left.len(), 1, "told by the action and by the recording's status: {log}");
    let sid = left[0]["recordingSid"].as_str().unwrap();
    assert!(sid.starts_with("RE") && left[0]["recordingUrl"].as_str().unwrap().ends_with(sid));
    assert!(left[0]["durationSeconds"].as_u64().unwrap() >= 1);
    eventually("its recording is in the log", async || {
        let log = house.app.get(&format!("/api/call-logs/{}", caller.call_sid())).await;
        log["recordings"][0]["recordingSid"] == sid && log["call"]["recordings"] == 1
    })
    .await;
}

#[actix_rt::test]
async fn a_message_is_in_the_log_with_its_length_and_that_somebody_has_listened_is_kept() {
    let house = House::without_agent(None).await;
    let caller = house.network.ring().await.unwrap();
    let path = format!("/api/call-logs/{}", caller.call_sid());
    let says_listened = async |headers: &[(&str, &str)]| {
        let request = awc::Client::default().post(house.app.url(&format!("{path}/voicemail/listened")));
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        request.send().await.expect("an answer").status().as_u16()
    };
    caller.is_beeped_within(DEADLINE).await.unwrap();
    assert_eq!(says_listened(&[]).await, 404, "no message is there yet");
    caller.leaves_a_message(DEADLINE, &CALLER[0]).await.unwrap();
    caller.presses('#');
    assert_eq!(caller.ends().await, End::ByBridge);
    house.logged(&caller, "voicemail").await;

    let message = house.app.get(&path).await["voicemail"].clone();
    let sid = message["recordingSid"].as_str().unwrap();
    assert!(sid.starts_with("RE") && message["recordingUrl"].as_str().unwrap().ends_with(sid), "{message}");
    assert!(message["durationSeconds"].as_u64() >= Some(1) && message["leftAt"].is_string(), "{message}");
    assert_eq!(message["listened"], false);

    assert_eq!(says_listened(&[("Origin", "https://elsewhere.example")]).await, 403);
    assert_eq!(house.app.get(&path).await["voicemail"]["listened"], false);
    for _ in 0..2 {
        assert_eq!(says_listened(&[]).await, 204);
    }
    let log = house.app.get(&path).await;
    assert_eq!(log["voicemail"]["listened"], true);
    assert_eq!(events(&log, "voicemail-listened").len(), 1, "said twice, it is kept once: {log}");
    assert_eq!(log["call"]["outcome"], "voicemail");
}

#[actix_rt::test]
async fn a_call_whose_agent_is_away_is_marked_and_one_that_it_answers_is_not() {
    let world = World::around(&TestDatabase::create().await.url).await;
    let app = world.start();
    let answered = world.in_conversation(&[]).await;
    answered.hangs_up().await;
    app.logged(answered.call_sid()).await;
    let World { network, realtime, .. } = world;
    realtime.stop().await;
    let caller = network.ring().await.unwrap();
    caller.is_beeped_within(Duration::from_secs(45)).await.unwrap(); // the service is tried for 30 s
    caller.hangs_up().await;
    let log = app.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["agentUnavailable"], true, "{log}");
    let list = app.get("/api/call-logs").await;
    let calls = list["calls"].as_array().unwrap().iter();
    let marked: Vec<_> = calls.map(|call| (&call["callSid"], &call["agentUnavailable"])).collect();
    let (away, there) = (Value::from(caller.call_sid()), Value::from(answered.call_sid()));
    assert_eq!(marked, [(&away, &Value::from(true)), (&there, &Value::Null)]);
    app.empties().await;
}

#[actix_rt::test]
async fn a_caller_who_hangs_up_has_left_a_message_if_they_said_anything() {
    let house = House::without_agent(None).await;
    let spoke = house.network.ring().await.unwrap();
    spoke.leaves_a_message(DEADLINE, &CALLER[0]).await.unwrap();
    spoke.hangs_up().await;
    house.logged(&spoke, "voicemail").await;

    let silent = house.network.ring().await.unwrap();
    silent.is_beeped_within(DEADLINE).await.unwrap();
    silent.hangs_up().await;
    let log = house.logged(&silent, "failed").await;
    assert_eq!(events(&log, "voicemail").len(), 0);
}

#[actix_rt::test]
async fn a_person_who_answers_has_the_call() {
    let house = House::without_agent(Some(Person::Answers)).await;
    let caller = house.network.ring().await.unwrap();
    caller.ends().await;
    assert!(is_told(&caller, "One moment"), "{:?}", caller.heard());
    let log = house.logged(&caller, "transferred").await;
    let results: Vec<_> = events(&log, "transfer").iter().map(|event| event["result"].clone()).collect();
    assert_eq!(results, ["rung", "taken", "ended"]);
}

#[actix_rt::test]
async fn a_person_who_does_not_answer_is_followed_by_a_voicemail_box() {
    let house = House::without_agent(Some(Person::Busy)).await;
    let caller = house.network.ring().await.unwrap();
    caller.leaves_a_message(DEADLINE, &CALLER[0]).await.unwrap();
    caller.presses('#');
    caller.ends().await;
    let log = house.logged(&caller, "voicemail").await;
    assert_eq!(events(&log, "transfer")[1]["result"], "busy");
    assert_eq!(events(&log, "voicemail").len(), 1);
}

#[actix_rt::test]
async fn a_message_that_is_left_while_the_database_is_away_is_kept() {
    let away = Outage::prepare().await.begin();
    let app = Setup::new(&away.url, NOBODY_LISTENS).start();
    let call = call_sid(1);
    let in_progress = [("CallSid", &*call), ("CallStatus", "in-progress")];
    let fallback = webhook(&app, "/api/voice/fallback", &in_progress).await;
    assert!(fallback.body.contains("<Record"), "{}", fallback.body);
    let url = "https://api.twilio.com/Recordings/RE00000000000000000000000000000001";
    let recording = [("RecordingUrl", url), ("RecordingDuration", "7"), ("Digits", "#")];
    for _ in 0..2 {
        let answer = webhook(&app, "/api/voice/voicemail", &[&in_progress[..], &recording].concat()).await;
        assert!(answer.body.contains("Thank you for your message"), "{}", answer.body);
    }
    let back = away.end();
    eventually("it is written", async || back.query("SELECT outcome FROM calls").await == ["voicemail"])
        .await;
    let kept = "SELECT data->>'recordingSid', data->>'durationSeconds' FROM call_events";
    assert_eq!(back.query(kept).await, ["RE00000000000000000000000000000001|7"]);
}

/// Nothing is left but the program itself.
#[actix_rt::test]
async fn a_person_takes_the_call_when_database_and_agent_are_both_away() {
    let database = "postgres://nobody@127.0.0.1:1/none";
    let setup = Setup::new(database, NOBODY_LISTENS).with("HUMAN_FALLBACK_NUMBER", PERSON).without_database();
    let app = setup.start();
    let options = phone::Options {
        url: app.origin.parse().unwrap(),
        auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
        quiet: true,
        ..phone::Options::default()
    };
    let network = Network::start(options).unwrap();
    let caller = network.ring().await.unwrap();
    let patience = Duration::from_secs(45); // the service is tried for 30 s
    caller.is_told_within(patience, "One moment").await.unwrap();
    caller.ends().await;
    assert_eq!(network.violations().1, []);
    println!("database and agent away: {} ms of silence", caller.silence_ms());
    app.empties().await;
}
