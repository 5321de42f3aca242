//! The inbox: what callers leave, who deals with it, and who is told of an urgent call.

use std::time::{Duration, Instant};

use actors::access::Role;
use serde_json::{Value, json};
use switchboard::sim::phone::{self, End};
use switchboard::sim::realtime::Options;
use switchboard::sim::speech::CALLER;

use crate::support::accounts::{Visitor, add_user, session};
use crate::support::app::{Setup, TestApp};
use crate::support::browser::Browser;
use crate::support::postgres::TestDatabase;
use crate::support::world::World;
use crate::support::{DEADLINE, eventually};

const NOWHERE: &str = "http://127.0.0.1:9";
const URGENT: &str = "+15005550001";
const CALL: &str = "CA00000000000000000000000000000001";

/// Writes an item of the inbox, so many minutes old.
async fn left(database: &TestDatabase, kind: &str, text: &str, minutes: u32) {
    let sql = format!(
        "INSERT INTO inbox (call_sid, dedupe_key, kind, at, from_number, name, text)
         VALUES ('{CALL}', '{kind} {text}', '{kind}', now() - interval '{minutes} minutes', '+14155550100',
             'Ada', '{text}')"
    );
    database.query(&sql).await;
}

async fn start(database: &TestDatabase) -> TestApp {
    let app = Setup::new(&database.url, NOWHERE).with("API_AUTH", "required").start();
    eventually("the database is there", async || app.get("/healthz").await["database"] == "healthy").await;
    app
}

fn texts(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap()).collect()
}

#[actix_rt::test]
async fn an_item_is_done_by_whoever_marks_it_first_until_somebody_takes_that_back() {
    let database = TestDatabase::create().await;
    for (name, role) in [("anna", Role::Operator), ("bert", Role::Admin), ("vera", Role::Viewer)] {
        add_user(&database, name, role).await;
    }
    for (kind, text, minutes) in [("message", "old", 30), ("call-back", "new", 1), ("urgent", "middle", 10)] {
        left(&database, kind, text, minutes).await;
    }
    database
        .query(&format!(
            "INSERT INTO calls (call_sid, epoch, started_at, urgent) VALUES ('{CALL}', 1, now(), TRUE)"
        ))
        .await;
    let app = start(&database).await;
    let sessions = [session(&app, "anna").await, session(&app, "bert").await, session(&app, "vera").await];
    let [anna, bert, vera] = sessions.map(|session| Visitor::of(&app).holding(&session));

    let page = vera.get("/api/inbox").await.body;
    assert_eq!(texts(&page), ["new", "middle", "old"]);
    assert_eq!(
        (&page["open"], &page["openUrgent"], &page["nextCursor"]),
        (&json!(3), &json!(1), &Value::Null)
    );
    let item = &page["items"][1];
    assert_eq!(
        (&item["kind"], &item["from"], &item["name"]),
        (&json!("urgent"), &json!("+14155550100"), &json!("Ada"))
    );
    assert!(page["items"].as_array().unwrap().iter().all(|item| item["urgent"] == true), "of an urgent call");
    let first = vera.get("/api/inbox?pageSize=2").await.body;
    let rest =
        vera.get(&format!("/api/inbox?pageSize=2&cursor={}", first["nextCursor"].as_str().unwrap())).await;
    assert_eq!((texts(&first), texts(&rest.body)), (vec!["new", "middle"], vec!["old"]));

    let path = |deed: &str| format!("/api/inbox/{}/{deed}", item["id"]);
    assert_eq!(vera.post(&path("done"), None).await.status, 403, "a viewer reads");
    let done = anna.post(&path("done"), None).await;
    assert_eq!((done.status, &done.body["doneBy"]), (200, &json!("user:anna")));
    let again = bert.post(&path("done"), None).await;
    assert_eq!((again.status, &again.body), (200, &done.body), "the first mark stays");
    assert_eq!(texts(&vera.get("/api/inbox").await.body), ["new", "old"]);
    assert_eq!(texts(&vera.get("/api/inbox?status=done").await.body), ["middle"]);
    assert_eq!(vera.get("/api/inbox?status=all").await.body["open"], 2);
    let reopened = bert.post(&path("reopen"), None).await;
    assert_eq!((reopened.status, &reopened.body["doneBy"]), (200, &Value::Null));
    assert_eq!(texts(&vera.get("/api/inbox").await.body), ["new", "middle", "old"]);
    for id in ["999", "x", "-1"] {
        assert_eq!(anna.post(&format!("/api/inbox/{id}/done"), None).await.status, 404, "{id}");
    }
    let audited = "SELECT who, action FROM audit WHERE action LIKE 'inbox%' ORDER BY id";
    assert_eq!(
        database.query(audited).await,
        ["user:anna|inbox-done", "user:bert|inbox-done", "user:bert|inbox-reopened"]
    );
}

/// A minute of the rules is 1.2 s: an urgent call is told again after 6 s.
fn quick(setup: Setup) -> Setup {
    setup
        .with("ALERT_INTERVAL_MS", "100")
        .with("URGENT_NOTIFICATION_NUMBER", URGENT)
        .with("TWILIO_FROM_NUMBER", "+15005550006")
}

/// The texts about urgent calls that the network has delivered.
fn told(world: &World) -> Vec<String> {
    let messages = world.network.messages().into_iter();
    let about = messages.filter(|message| message.body.contains("URGENT: "));
    about.inspect(|message| assert_eq!(message.to, URGENT)).map(|message| message.body).collect()
}

#[actix_rt::test]
async fn an_urgent_item_is_texted_by_one_of_two_instances_and_repeated_until_it_is_done() {
    let database = TestDatabase::create().await;
    let mut world = World::around(&database.url).await;
    world.setup = quick(world.setup).with("INSTANCE_ID", "first");
    let first = world.start();
    let second = world.setup.anew().with("INSTANCE_ID", "second").start();
    left(&database, "urgent", "my chest hurts", 0).await;
    for app in [&first, &second] {
        eventually("it knows of the item", async || app.metric("switchboard_urgent_open").await == 1.0).await;
    }
    eventually("a person is told", async || told(&world).len() == 1).await;
    let since = Instant::now();
    let text = told(&world).remove(0);
    assert!(text.starts_with("Switchboard URGENT: a caller needs help. Rang: +14155550100 at "), "{text}");
    assert!(!text.contains("chest"), "{text}");
    eventually("it is told again", async || told(&world).len() == 2).await;
    assert!(since.elapsed() >= Duration::from_secs(4), "one of them tells it, once in six seconds");
    assert!(told(&world)[1].starts_with("Switchboard still URGENT: "), "{:?}", told(&world));

    let id = first.get("/api/inbox").await["items"][0]["id"].clone();
    let request = awc::Client::default().post(second.url(&format!("/api/inbox/{id}/done")));
    let answer = request.insert_header(("Origin", second.origin.clone())).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    for app in [&first, &second] {
        eventually("it knows of the mark", async || app.metric("switchboard_urgent_open").await == 0.0).await;
    }
    let so_far = told(&world).len();
    // Longer than the pause between two notices: what does not happen can only be waited for.
    let later = Instant::now() + Duration::from_secs(8);
    eventually("the time of the next notice has passed", async || Instant::now() >= later).await;
    assert_eq!(told(&world).len(), so_far, "nobody is told any more");
}

/// A caller whose agent is away has left a message.
async fn voicemail(database: &TestDatabase) -> (World, TestApp) {
    let quota = Options { faults: vec!["quota".parse().unwrap()], ..Options::default() };
    let world = World::with(&database.url, phone::Options::default(), quota).await;
    let app = world.start();
    let caller = world.network.ring().await.unwrap();
    caller.leaves_a_message(DEADLINE, &CALLER[0]).await.unwrap();
    caller.presses('#');
    assert_eq!(caller.ends().await, End::ByBridge);
    eventually("it is in the inbox", async || app.get("/api/inbox").await["open"] == 1).await;
    (world, app)
}

#[actix_rt::test]
async fn a_voicemail_is_one_item_with_its_length_and_is_heard_through_the_program() {
    let database = TestDatabase::create().await;
    let (_world, app) = voicemail(&database).await;
    let page = app.get("/api/inbox").await;
    let item = &page["items"][0];
    assert_eq!((&item["kind"], &item["outcome"]), (&json!("voicemail"), &json!("voicemail")));
    assert!(item["durationSeconds"].as_u64() >= Some(1) && item["from"].is_string(), "{item}");
    let audio = async || {
        let request = awc::Client::default().get(app.url(&format!("/api/inbox/{}/recording", item["id"])));
        let mut answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.body().limit(8 << 20).await.unwrap())
    };
    let (status, wav) = audio().await;
    assert_eq!((status, &wav[..4]), (200, &b"RIFF"[..]));
    let opened = "SELECT count(*) FROM audit WHERE action = 'recording-opened'";
    assert_eq!(database.value(opened).await, "1");
    eventually("the status of the recording is processed", async || {
        database.value("SELECT count(*) FROM recordings").await == "1"
    })
    .await;
    assert_eq!(database.value("SELECT count(*) FROM inbox").await, "1", "both doors tell of one message");
    database.query("UPDATE recordings SET deleted_at = now()").await;
    assert_eq!(audio().await.0, 404, "it is deleted");
    assert_eq!(app.get("/api/inbox").await["items"][0]["recordingSid"], Value::Null);
}

#[actix_rt::test]
async fn the_page_shows_the_inbox_on_a_telephone_and_a_mark_can_be_undone() {
    let database = TestDatabase::create().await;
    let (_world, app) = voicemail(&database).await;
    left(&database, "urgent", "my chest hurts ".repeat(20).trim(), 5).await;
    let mut page = Browser::open(&app.url("/"), 800, 844).await;
    page.on_screen(390, 844).await;
    page.shows("document.querySelectorAll('#inbox-items li').length === 2").await;
    let text = async |page: &mut Browser, id: &str| {
        page.value(&format!("document.getElementById('{id}').textContent")).await.as_str().unwrap().to_owned()
    };
    assert_eq!(text(&mut page, "inbox-count").await, "2 open, 1 urgent");
    page.shows("document.title.startsWith('[1 urgent, 2 open] ')").await;
    page.shows("window.innerWidth === 390").await;
    let width = page.value("document.documentElement.scrollWidth").await;
    assert!(width.as_u64() <= Some(390), "{width}");
    let second = "document.querySelectorAll('#inbox-items li')[1]";
    assert_eq!(page.value(&format!("{second}.className.trim()")).await, "urgent");
    page.in_time_zone("Pacific/Kiritimati").await;
    page.value("location.reload()").await;
    page.shows("!!document.querySelector('#inbox-items time')?.title.includes('GMT+14')").await;

    page.value("document.querySelector('#inbox-items .player button').click()").await;
    page.shows("document.querySelector('#inbox-items audio')?.duration >= 1").await;

    let deed = |label: &str| {
        format!("document.querySelector('#inbox-items li.urgent [aria-label^=\"{label}\"]').click()")
    };
    page.value(&deed("Mark the item of Ada")).await;
    page.shows("document.getElementById('inbox-count').textContent === '1 open'").await;
    page.shows("document.activeElement.textContent === 'Undo'").await;
    assert_eq!(database.query("SELECT done_by FROM inbox WHERE kind = 'urgent'").await, ["local"]);
    page.shows("document.querySelector('#inbox-items audio') !== null").await;
    page.value("document.activeElement.click()").await;
    page.shows("document.getElementById('inbox-count').textContent === '2 open, 1 urgent'").await;
    assert_eq!(database.query("SELECT done_by FROM inbox WHERE kind = 'urgent'").await, ["∅"]);
}
