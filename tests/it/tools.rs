//! The agent's tools over real sockets: what a caller's wish leads to, and that an emergency needs no model.

use actors::secret::Secret;
use serde_json::Value;
use switchboard::sim::phone::{self, Caller, Network};
use switchboard::sim::realtime::{self, Server};
use switchboard::sim::speech::REQUESTS;
use tokio::time::timeout;

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::{DEADLINE, eventually};

/// The program with both simulated peers, and a caller who has heard the greeting.
async fn greeted() -> (TestApp, Server, Network, Caller) {
    let realtime = realtime::start(realtime::Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let app = Setup::new(&database.url, &format!("http://{}", realtime.addr())).start();
    let options = phone::Options {
        url: app.origin.parse().unwrap(),
        auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
        quiet: true,
        ..phone::Options::default()
    };
    let network = Network::start(options).unwrap();
    let caller = network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    (app, realtime, network, caller)
}

/// The tools of the call's log, with their outcomes.
fn tools(log: &Value) -> Vec<(&str, &str)> {
    let tools = log["tools"].as_array().expect("tools").iter();
    tools.map(|tool| (tool["name"].as_str().unwrap(), tool["outcome"].as_str().unwrap())).collect()
}

async fn left(app: &TestApp, kind: &str) -> Value {
    let mut item = Value::Null;
    eventually("the staff see it", async || {
        let inbox = app.get("/api/inbox").await;
        let items = inbox["items"].as_array().expect("items");
        item = items.iter().find(|item| item["kind"] == kind).cloned().unwrap_or_default();
        !item.is_null()
    })
    .await;
    item
}

#[actix_rt::test]
async fn a_message_is_left_for_the_staff_and_the_call_ends_after_the_goodbye() {
    let (app, realtime, network, caller) = greeted().await;
    caller.say(&REQUESTS[2]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    let item = left(&app, "call-back").await;
    assert_eq!((item["name"].as_str(), item["callSid"].as_str()), (Some("Ann"), Some(caller.call_sid())));
    caller.waits_until_silent().await.unwrap();
    caller.say(&REQUESTS[3]).await.unwrap();
    timeout(DEADLINE, caller.ends()).await.expect("the agent hangs up");
    let log = app.logged(caller.call_sid()).await;
    assert_eq!(tools(&log), [("take_message", "ok"), ("end_call", "ok")]);
    assert_eq!(
        (&log["call"]["outcome"], &log["call"]["reason"]),
        (&"completed".into(), &"agent-hung-up".into())
    );
    let last = log["turns"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["speaker"], &last["cutOff"]), (&"agent".into(), &false.into()), "{last}");
    app.empties().await;
    assert_eq!((network.violations().1, realtime.report().violations), (vec![], vec![]));
}

#[actix_rt::test]
async fn urgent_words_are_told_to_the_staff_though_the_model_ignores_them() {
    let (app, realtime, network, caller) = greeted().await;
    caller.say(&REQUESTS[0]).await.unwrap();
    let item = left(&app, "urgent").await;
    assert_eq!(item["text"], REQUESTS[0].text);
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller.hangs_up().await;
    let log = app.logged(caller.call_sid()).await;
    assert_eq!((&log["call"]["urgent"], tools(&log)), (&true.into(), vec![]));
    app.empties().await;
    assert_eq!((network.violations().1, realtime.report().violations), (vec![], vec![]));
}
