//! Whole calls, with simulated peers: what the caller hears, and what the log says of it.

use std::time::Duration;

use actors::secret::Secret;
use serde_json::Value;
use switchboard::sim::phone::{self, Heard, Network, Verdict};
use switchboard::sim::realtime::{self, Fault, Server};
use switchboard::sim::report::FrameCounts;
use switchboard::sim::speech;

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{call_sid, rings};
use crate::support::{DEADLINE, eventually};

/// The program with both simulated peers.
struct House {
    app: TestApp,
    realtime: Server,
}

impl House {
    async fn open(faults: &[&str]) -> Self {
        Self::with(faults, realtime::Options::default()).await
    }

    async fn with(faults: &[&str], options: realtime::Options) -> Self {
        let faults = faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
        let realtime = realtime::start(realtime::Options { faults, ..options }).await.unwrap();
        let database = TestDatabase::create().await;
        let app = Setup::new(&database.url, &format!("http://{}", realtime.addr())).start();
        Self { app, realtime }
    }

    fn phone(&self) -> phone::Options {
        phone::Options {
            url: self.app.origin.parse().unwrap(),
            realtime: Some(format!("http://{}", self.realtime.addr()).parse().unwrap()),
            auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
            quiet: true,
            ..phone::Options::default()
        }
    }

    /// The peers had nothing to complain of, and all slots are free.
    async fn closes(self, network: &Network) {
        self.app.empties().await;
        assert_eq!(network.violations().1, []);
        assert_eq!(self.realtime.report().violations, []);
    }
}

fn turns(log: &Value) -> Vec<(u64, &str, &str, bool)> {
    let turns = log["turns"].as_array().expect("turns").iter();
    turns
        .map(|turn| {
            (
                turn["ordinal"].as_u64().unwrap(),
                turn["speaker"].as_str().unwrap(),
                turn["text"].as_str().unwrap(),
                turn["cutOff"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[actix_rt::test]
async fn a_conversation_is_heard_and_written_down_as_it_was_held() {
    let house = House::open(&[]).await;
    let network = Network::start(house.phone()).unwrap();
    let (question, interruption) = (&speech::CALLER[0], &speech::CALLER[1]);

    let caller = network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller.say(question).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.listens_for(Duration::from_secs(1)).await.unwrap();
    let reaction = caller.interrupts_with(interruption).await.unwrap().expect("the agent was speaking");
    assert!(reaction < Duration::from_secs(1), "{reaction:?}");
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller.hangs_up().await;

    let log = house.app.logged(caller.call_sid()).await;
    let turns = turns(&log);
    let speakers: Vec<_> = turns.iter().map(|(ordinal, speaker, ..)| (*ordinal, *speaker)).collect();
    assert_eq!(speakers, [(1, "agent"), (2, "caller"), (3, "agent"), (4, "caller"), (5, "agent")]);
    assert_eq!((turns[1].2, turns[3].2), (question.text, interruption.text));

    let heard: Vec<_> = caller
        .heard()
        .into_iter()
        .map(|heard| match heard {
            Heard::Agent { clip, ms, .. } => (speech::clip(clip).expect("a clip").text, u64::from(ms)),
            other => panic!("{other:?}"),
        })
        .collect();
    for ((_, _, text, cut_off), (said, _)) in turns.iter().step_by(2).zip(&heard) {
        assert!(said.starts_with(text) && (text.len() < said.len()) == *cut_off, "{text:?} of {said:?}");
    }
    assert!(turns[2].3 && !turns[0].3 && !turns[4].3, "only the interrupted turn is cut off");
    let heard_ms = log["turns"][2]["heardMs"].as_u64().unwrap();
    assert!(heard_ms.abs_diff(heard[1].1) <= 100, "{heard_ms} ms written, {} ms heard", heard[1].1);
    assert_eq!(
        (&log["call"]["outcome"], &log["call"]["reason"]),
        (&"completed".into(), &"caller-hung-up".into())
    );
    assert_eq!(log["call"]["bargeIns"], 1);
    assert!(log["call"]["costUsd"].as_f64().unwrap() > 0.0);
    house.closes(&network).await;
}

#[actix_rt::test]
async fn twenty_callers_talk_at_once_and_the_next_one_is_turned_away() {
    let house = House::open(&[]).await;
    let options = phone::Options { calls: 20, seconds: Duration::from_secs(12), ..house.phone() };
    let callers = actix_rt::spawn(phone::simulate(options));
    eventually("twenty calls are live", async || {
        let monitor = house.app.get("/api/call-monitor").await;
        monitor["calls"].as_array().unwrap().iter().filter(|call| call["state"] == "live").count() == 20
    })
    .await;
    let next = rings(&house.app, &call_sid(21)).await.body;
    assert!(next.contains("<Say>") && !next.contains("<Connect"), "{next}");
    let outcome = callers.await.unwrap().unwrap();
    let failed: Vec<_> =
        outcome.calls.iter().filter(|call| !matches!(call.verdict, Verdict::Completed)).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let report = &outcome.report;
    assert_eq!((report.calls.completed, report.calls.fallback), (20, 0));
    assert_eq!(report.frames, Some(FrameCounts::default()));
    assert_eq!((outcome.violations, outcome.realtime_violations), (vec![], vec![]));
    house.app.empties().await;
}

#[actix_rt::test]
async fn nothing_the_caller_says_before_the_session_is_ready_is_lost() {
    let house = House::open(&["session-delay=3000"]).await;
    let network = Network::start(house.phone()).unwrap();
    let caller = network.ring().await.unwrap();
    caller.say(&speech::CALLER[0]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller.hangs_up().await;
    let log = house.app.logged(caller.call_sid()).await;
    assert!(turns(&log).iter().any(|(_, _, text, _)| *text == speech::CALLER[0].text), "{log}");
    house.closes(&network).await;
}

#[actix_rt::test]
async fn a_service_that_babbles_and_errs_a_little_ends_no_call() {
    let house = House::open(&["unknown-events", "benign-errors", "function-call=2", "rate-limit=3"]).await;
    let network = Network::start(house.phone()).unwrap();
    let caller = network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    for clip in &speech::CALLER[..3] {
        caller.say(clip).await.unwrap();
        caller.hears_agent_within(DEADLINE).await.unwrap();
        caller.waits_until_silent().await.unwrap();
    }
    caller.hangs_up().await;
    let log = house.app.logged(caller.call_sid()).await;
    let kinds: Vec<_> = log["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    assert!(kinds.contains(&"response-failed".into()), "{kinds:?}");
    let tools = log["tools"].as_array().unwrap();
    assert_eq!(
        (tools[0]["name"].as_str(), tools[0]["outcome"].as_str()),
        (Some("unknown"), Some("unknown-tool"))
    );
    assert_eq!(log["call"]["outcome"], "completed");
    house.closes(&network).await;
}

#[actix_rt::test]
async fn a_whole_answer_at_once_can_still_be_interrupted() {
    let house = House::open(&["burst"]).await;
    let network = Network::start(house.phone()).unwrap();
    let caller = network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.listens_for(Duration::from_millis(500)).await.unwrap();
    let reaction = caller.interrupts_with(&speech::CALLER[0]).await.unwrap().expect("the agent was speaking");
    assert!(reaction < Duration::from_secs(1), "{reaction:?}");
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.hangs_up().await;
    house.app.logged(caller.call_sid()).await;
    house.closes(&network).await;
}

/// Tokens that the log has of the call's responses.
fn tokens(log: &Value) -> u64 {
    let tokens = &log["usage"]["tokens"];
    ["input_tokens", "output_tokens"].map(|name| tokens[name].as_u64().unwrap()).iter().sum()
}

#[actix_rt::test]
async fn what_the_service_says_of_a_call_that_has_just_ended_is_in_its_log() {
    let late = realtime::Options { transcript_delay_ms: 450, ..realtime::Options::default() };
    let house = House::with(&["done-delay=450"], late).await;
    let network = Network::start(house.phone()).unwrap();
    let caller = network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller.say(&speech::CALLER[0]).await.unwrap();
    let session = || house.realtime.report().sessions.last().cloned().expect("a session");
    eventually("the utterance is committed", async || session().utterances == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await; // so long the caller waits for an answer
    caller.hangs_up().await;

    let mut log = house.app.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["reason"], "caller-hung-up");
    eventually("the last words and their price are logged", async || {
        log = house.app.get(&format!("/api/call-logs/{}", caller.call_sid())).await;
        let is_told = turns(&log).last().is_some_and(|(_, _, text, _)| *text == speech::CALLER[0].text);
        is_told && !session().open && tokens(&log) == session().billed_tokens
    })
    .await;
    assert_eq!(turns(&log).iter().map(|(ordinal, ..)| *ordinal).collect::<Vec<_>>(), [1, 2]);
    assert!(log["usage"]["transcription"]["used"]["audioTokens"].as_u64().unwrap() > 0, "{log}");
    let answer = session().billed_tokens;
    assert!(answer > 0, "the answer that nobody heard has its price: {answer}");
    house.closes(&network).await;
}
