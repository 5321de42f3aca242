//! A caller is given to a person: music, a whisper, a key, a conference. Or the next one is rung, or a
//! message is left.

use std::time::Duration;

use serde_json::Value;
use switchboard::sim::phone::{self, Caller, End, Event, Heard, Person};
use switchboard::sim::realtime;
use switchboard::sim::speech::CALLER;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use crate::support::accounts::Visitor;
use crate::support::app::TestApp;
use crate::support::outage::Outage;
use crate::support::postgres::TestDatabase;
use crate::support::world::World;
use crate::support::{DEADLINE, eventually};

const RECEPTION: &str = "+14155550101";
const NURSE: &str = "+14155550102";
const ON_DUTY: &str = "+14155550123";
const FILE: &str = r#"
[[destinations]]
name = "reception"
description = "Appointments."
number = "+14155550101"
ring_seconds = 5

[[destinations]]
name = "nurse"
number = "+14155550102"
ring_seconds = 5
"#;
/// A person who presses no key is waited for so long, their announcement and a piece of music included.
const NO_KEY: Duration = Duration::from_secs(40);

/// A program with people behind it, and a caller who talks with its agent.
struct House {
    world: World,
    app: TestApp,
    caller: Caller,
    _file: NamedTempFile,
    database: Option<TestDatabase>,
}

/// A program whose people do as they are told.
struct Setting {
    people: Vec<(&'static str, Person)>,
    file: String,
    more: Vec<(&'static str, &'static str)>,
    api_unanswered: u32,
}

impl Setting {
    fn with(people: &[(&'static str, Person)]) -> Self {
        Self { people: people.to_vec(), file: FILE.to_owned(), more: vec![], api_unanswered: 0 }
    }

    async fn begins(self) -> House {
        let database = TestDatabase::create().await;
        let url = database.url.clone();
        self.begins_at(&url, Some(database)).await
    }

    async fn begins_at(self, database_url: &str, database: Option<TestDatabase>) -> House {
        let person_at = self.people.iter().map(|(number, person)| ((*number).to_owned(), *person)).collect();
        let api_unanswered = self.api_unanswered;
        let options = phone::Options { person_at, api_unanswered, ..phone::Options::default() };
        let mut world = World::with(database_url, options, realtime::Options::default()).await;
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.file).unwrap();
        world.setup = world
            .setup
            .with("HUMAN_FALLBACK_NUMBER", ON_DUTY)
            .with("AGENT_FILE", file.path().to_str().unwrap());
        for (name, value) in self.more {
            world.setup = world.setup.with(name, value);
        }
        let app = world.start();
        let caller = world.in_conversation(&[]).await;
        House { world, app, caller, _file: file, database }
    }
}

impl House {
    /// An operator gives the call to a person, as the agent can.
    async fn gives_away(&self) {
        let path = format!("/api/ops/calls/{}/transfer", self.caller.call_sid());
        let answer = Visitor::of(&self.app).post(&path, None).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    async fn is_answered(&self) {
        let answered = |(_, event): &(Duration, Event)| *event == Event::Answered;
        eventually("the person has the call", async || self.caller.events().iter().any(answered)).await;
    }

    /// The bridge ends the caller's call, after all that were to be rung.
    async fn is_over(&self) {
        let end = timeout(3 * NO_KEY, self.caller.ends()).await;
        assert_eq!(end, Ok(End::ByBridge), "{:?}", self.caller.heard());
    }

    async fn leaves_a_message(&self, limit: Duration) {
        self.caller.leaves_a_message(limit, &CALLER[0]).await.unwrap();
        self.caller.presses('#');
        self.is_over().await;
        assert!(is_told(&self.caller, "Thank you for your message"), "{:?}", self.caller.heard());
    }

    /// What the log says of the transfer, once it has this outcome: who, how, and what came of it.
    async fn story(&self, outcome: &str) -> Vec<String> {
        let log = self.logged(outcome).await;
        let events = log["events"].as_array().unwrap().iter();
        let transfers = events.filter(|event| event["kind"] == "transfer").map(|event| &event["data"]);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        transfers
            .map(|data| {
                let [who, way, result] = ["destination", "way", "result"].map(|key| word(&data[key]));
                format!("{who} {way} {result}")
            })
            .collect()
    }

    async fn logged(&self, outcome: &str) -> Value {
        let mut log = Value::Null;
        eventually("the outcome is logged", async || {
            log = self.app.get(&format!("/api/call-logs/{}", self.caller.call_sid())).await;
            log["call"]["outcome"] == outcome
        })
        .await;
        log
    }

    async fn ends(self) {
        println!("{} ms of silence", self.caller.silence_ms());
        assert!(self.caller.silence_ms() < 4_000, "somebody who waits hears something");
        self.world.is_content();
        self.app.empties().await;
    }
}

fn is_told(caller: &Caller, text: &str) -> bool {
    caller.heard().iter().any(|heard| matches!(heard, Heard::Said(said) if said.contains(text)))
}

fn was_told(heard: &[Heard], text: &str) -> bool {
    heard.iter().any(|heard| matches!(heard, Heard::Said(said) if said.contains(text)))
}

#[actix_rt::test]
async fn a_person_who_presses_the_key_meets_the_caller_in_a_conference() {
    let house = Setting::with(&[]).begins().await;
    house.gives_away().await;
    house.is_over().await;
    assert!(is_told(&house.caller, "We are calling reception"), "{:?}", house.caller.heard());
    assert!(is_told(&house.caller, "Thank you for calling"), "{:?}", house.caller.heard());
    eventually("the person's call is over", async || !house.world.network.calls_to(RECEPTION).is_empty())
        .await;
    let (status, heard) = house.world.network.calls_to(RECEPTION).remove(0);
    assert_eq!(status, "completed");
    assert!(was_told(&heard, "A call for reception, from 1 4 1, 5 5 5"), "{heard:?}");
    assert!(was_told(&heard, "Press 1") && was_told(&heard, "You are being connected"), "{heard:?}");
    let story = house.story("transferred").await;
    assert_eq!(
        story,
        ["reception conference rung", "reception conference taken", "reception conference ended"]
    );
    eventually("both were in the conference", async || {
        let log = house.app.get(&format!("/api/call-logs/{}", house.caller.call_sid())).await;
        let participants = log["conference"]["participants"].as_array().map(Vec::len);
        participants == Some(2)
    })
    .await;
    house.ends().await;
}

#[actix_rt::test]
async fn the_person_whom_the_agent_chose_is_rung_first_and_hears_why() {
    let house = Setting::with(&[(NURSE, Person::Busy)]).begins().await;
    let asked = format!(
        r#"INSERT INTO call_events (call_sid, at, kind, data)
           VALUES ('{}', now(), 'transfer-asked', '{{"destination": "nurse", "reason": "a rash\non the arm."}}')"#,
        house.caller.call_sid()
    );
    house.database.as_ref().unwrap().query(&asked).await;
    house.gives_away().await;
    house.is_over().await;
    assert!(is_told(&house.caller, "We are calling nurse"), "{:?}", house.caller.heard());
    eventually("the person's call is over", async || !house.world.network.calls_to(RECEPTION).is_empty())
        .await;
    let (_, heard) = house.world.network.calls_to(RECEPTION).remove(0);
    assert!(was_told(&heard, "About: a rash on the arm."), "{heard:?}");
    let story = house.story("transferred").await;
    assert_eq!(story[..2], ["nurse conference rung", "nurse conference busy"]);
    house.ends().await;
}

#[actix_rt::test]
async fn nobody_takes_the_call_so_all_are_rung_in_order_and_a_message_is_left() {
    let people = [(RECEPTION, Person::Busy), (NURSE, Person::Machine), (ON_DUTY, Person::Busy)];
    let house = Setting::with(&people).begins().await;
    house.gives_away().await;
    house.leaves_a_message(NO_KEY + DEADLINE).await;
    assert!(is_told(&house.caller, "We are now calling nurse"), "{:?}", house.caller.heard());
    assert!(is_told(&house.caller, "We are now calling the person on duty"), "{:?}", house.caller.heard());
    let story = house.story("voicemail").await;
    assert_eq!(
        story,
        [
            "reception conference rung",
            "reception conference busy",
            "nurse conference rung",
            "nurse conference not-taken",
            "person on duty conference rung",
            "person on duty conference busy",
        ]
    );
    let rows = "SELECT kind, from_number, done_at IS NULL FROM inbox";
    let database = house.database.as_ref().unwrap();
    eventually("the message is in the inbox", async || {
        database.query(rows).await == ["voicemail|+14155550000|t"]
    })
    .await;
    house.ends().await;
}

#[actix_rt::test]
async fn whoever_declines_or_does_not_answer_is_followed_by_the_next() {
    let people = [(RECEPTION, Person::Declines), (NURSE, Person::NoAnswer)];
    let house = Setting::with(&people).begins().await;
    house.gives_away().await;
    eventually_within(NO_KEY, || !house.world.network.calls_to(ON_DUTY).is_empty()).await;
    house.is_over().await;
    let mut story = house.story("transferred").await;
    story.retain(|line| !line.ends_with("rung"));
    assert_eq!(
        story,
        [
            "reception conference declined",
            "reception conference not-taken",
            "nurse conference no-answer",
            "person on duty conference taken",
            "person on duty conference ended",
        ]
    );
    house.ends().await;
}

#[actix_rt::test]
async fn a_caller_who_does_not_want_to_wait_leaves_a_message_and_nobody_is_rung_any_more() {
    let house = Setting::with(&[(RECEPTION, Person::NoAnswer)]).begins().await;
    house.gives_away().await;
    house.caller.is_told_within(DEADLINE, "press 1").await.unwrap();
    house.caller.presses('1');
    house.leaves_a_message(DEADLINE).await;
    eventually("the person's call is over", async || !house.world.network.calls_to(RECEPTION).is_empty())
        .await;
    assert!(["canceled", "no-answer"].contains(&house.world.network.calls_to(RECEPTION)[0].0));
    assert_eq!(house.story("voicemail").await, ["reception conference rung", "reception conference message"]);
    house.ends().await;
}

#[actix_rt::test]
async fn a_person_who_takes_the_call_of_a_caller_who_has_hung_up_is_told_so() {
    let house = Setting::with(&[]).begins().await;
    house.gives_away().await;
    house.caller.is_told_within(DEADLINE, "We are calling reception").await.unwrap();
    house.caller.hangs_up().await;
    eventually("the person's call is over", async || !house.world.network.calls_to(RECEPTION).is_empty())
        .await;
    let (_, heard) = house.world.network.calls_to(RECEPTION).remove(0);
    assert!(was_told(&heard, "The caller has hung up"), "{heard:?}");
    let story = house.story("completed").await;
    assert_eq!(story, ["reception conference rung", "reception conference caller-hung-up"]);
    house.ends().await;
}

#[actix_rt::test]
async fn a_cold_transfer_rings_the_person_at_once_and_asks_for_no_key() {
    let cold = FILE.replacen("ring_seconds = 5", "ring_seconds = 5\ntransfer = \"cold\"", 1);
    let house = Setting { file: cold, ..Setting::with(&[(RECEPTION, Person::NoKey)]) }.begins().await;
    house.gives_away().await;
    house.is_over().await;
    assert_eq!(house.world.network.calls_to(RECEPTION), [("completed", vec![])]);
    assert_eq!(house.story("transferred").await, ["reception cold rung", "reception cold ended"]);
    house.ends().await;
}

#[actix_rt::test]
async fn without_the_rest_api_the_callers_own_call_rings_the_person_and_the_key_counts_all_the_same() {
    let people = [(RECEPTION, Person::Machine)];
    let away = vec![("TWILIO_API_BASE_URL", "http://127.0.0.1:1")];
    let house = Setting { more: away, ..Setting::with(&people) }.begins().await;
    house.gives_away().await;
    eventually_within(NO_KEY, || !house.world.network.calls_to(NURSE).is_empty()).await;
    house.is_over().await;
    let (_, heard) = house.world.network.calls_to(NURSE).remove(0);
    assert!(was_told(&heard, "A call for nurse"), "{heard:?}");
    let story = house.story("transferred").await;
    assert_eq!(
        story,
        [
            "reception whisper rung",
            "reception whisper not-taken",
            "nurse whisper rung",
            "nurse whisper taken",
            "nurse whisper ended",
        ]
    );
    house.ends().await;
}

#[actix_rt::test]
async fn a_request_that_was_carried_out_and_never_answered_leads_to_the_person_all_the_same() {
    let house = Setting { api_unanswered: 1, ..Setting::with(&[]) }.begins().await;
    house.gives_away().await;
    house.is_over().await;
    let story = house.story("transferred").await;
    assert_eq!(story.last().unwrap(), "reception conference ended");
    assert_eq!(house.world.network.calls_to(RECEPTION).len(), 1, "nobody is rung twice");
    house.ends().await;
}

#[actix_rt::test]
async fn a_transfer_survives_the_death_of_the_process_that_began_it() {
    let people = [(RECEPTION, Person::NoAnswer)];
    let house = Setting::with(&people).begins().await;
    house.gives_away().await;
    house.caller.is_told_within(DEADLINE, "We are calling reception").await.unwrap();
    eventually("nothing of the stream is under way", async || {
        let log = house.app.get(&format!("/api/call-logs/{}", house.caller.call_sid())).await;
        log["events"].as_array().unwrap().iter().any(|event| event["kind"] == "stream-stopped")
    })
    .await;
    let House { world, app, caller, _file, database } = house;
    app.kill();
    let app = world.start();
    let house = House { world, app, caller, _file, database };
    house.is_answered().await;
    house.is_over().await;
    let story = house.story("transferred").await;
    assert_eq!(story.last().unwrap(), "nurse conference ended");
    house.ends().await;
}

#[actix_rt::test]
async fn a_transfer_needs_no_database_and_its_story_is_kept_until_there_is_one() {
    let outage = Outage::prepare().await;
    let setting = Setting::with(&[(RECEPTION, Person::NoAnswer)]);
    let house = setting.begins_at(&outage.url, None).await;
    house.gives_away().await;
    house.caller.is_told_within(DEADLINE, "We are calling reception").await.unwrap();
    let outage = outage.begin();
    house.is_over().await;
    assert!(is_told(&house.caller, "Thank you for calling"), "{:?}", house.caller.heard());
    let _back = outage.end();
    let story = house.story("transferred").await;
    assert_eq!(story.last().unwrap(), "nurse conference ended");
    house.ends().await;
}

/// Waits for a fact that takes longer than usual.
async fn eventually_within(limit: Duration, fact: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !fact() {
        assert!(tokio::time::Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
