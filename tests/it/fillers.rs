//! The agent's phrases: what the caller hears in its own voice while the service is late, away or lost.

use std::path::Path;
use std::time::{Duration, Instant};

use actors::secret::Secret;
use serde_json::Value;
use switchboard::sim::phone::{self, Caller, Heard, Network};
use switchboard::sim::realtime::{self, Fault, Options, Server};
use switchboard::sim::report::FrameCounts;
use switchboard::sim::speech::{CALLER, PHRASES};

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::{DEADLINE, eventually, free_address};

/// The first filler comes after two seconds, every other one within four: the rest is for the machine.
const MOST_SILENCE_MS: u64 = 3_500;

async fn service(think_ms: u64, faults: &[&str]) -> Server {
    let faults = faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
    realtime::start(Options { listen: free_address(), think_ms, faults, ..Options::default() }).await.unwrap()
}

/// The program with a person to fall back to.
async fn app(realtime: &Server, phrases_dir: &Path) -> TestApp {
    let database = TestDatabase::create().await;
    Setup::new(&database.url, &format!("http://{}", realtime.addr()))
        .with("HUMAN_FALLBACK_NUMBER", "+14155550123")
        .with("PHRASES_DIR", phrases_dir.to_str().unwrap())
        .start()
}

async fn has_all_phrases(app: &TestApp) {
    let all = PHRASES.len() as f64;
    eventually("all phrases are at hand", async || app.metric("switchboard_phrases_at_hand").await == all)
        .await;
}

fn network(app: &TestApp) -> Network {
    let options = phone::Options {
        url: app.origin.parse().unwrap(),
        auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
        quiet: true,
        ..phone::Options::default()
    };
    Network::start(options).unwrap()
}

async fn greeted(network: &Network) -> Caller {
    let caller = network.ring().await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller
}

/// The clip and length of each phrase that was heard.
fn phrases(caller: &Caller) -> Vec<(u16, u32)> {
    let heard = caller.heard();
    let phrase = |heard: &Heard| match heard {
        Heard::Phrase { clip, ms } => Some((*clip, *ms)),
        _ => None,
    };
    heard.iter().filter_map(phrase).collect()
}

/// Fillers are events of the log and no turns; the turns are dense.
fn is_logged(log: &Value, fillers: usize) {
    let events = log["events"].as_array().unwrap().iter();
    assert_eq!(events.filter(|event| event["kind"] == "filler").count(), fillers);
    let turns = log["turns"].as_array().unwrap();
    assert!(turns.iter().zip(1..).all(|(turn, ordinal)| turn["ordinal"] == ordinal), "{turns:?}");
    let is_phrase = |turn: &Value| PHRASES.iter().any(|phrase| turn["text"] == phrase.text);
    assert!(!turns.iter().any(is_phrase), "{turns:?}");
}

#[actix_rt::test]
async fn an_outage_of_six_seconds_is_bridged() {
    let folder = tempfile::tempdir().unwrap();
    let realtime = service(200, &[]).await;
    let app = app(&realtime, folder.path()).await;
    has_all_phrases(&app).await;
    let network = network(&app);
    let caller = greeted(&network).await;
    let address = realtime.addr();
    let lost = Instant::now();
    realtime.stop().await;
    eventually("a filler is heard", async || !phrases(&caller).is_empty()).await;
    println!("the first filler was heard after {} ms", lost.elapsed().as_millis());
    assert!(lost.elapsed() < Duration::from_millis(2_700), "{:?}", lost.elapsed());
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(lost.elapsed())).await; // the outage itself
    let realtime = realtime::start(Options { listen: address, ..Options::default() }).await.unwrap();
    eventually("the call is live again", async || {
        app.get("/api/call-monitor").await["calls"][0]["state"] == "live"
    })
    .await;
    caller.say(&CALLER[0]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller.hangs_up().await;

    let fillers = phrases(&caller);
    println!("{fillers:?}, {} ms of silence", caller.silence_ms());
    let clips: Vec<_> = fillers.iter().map(|(clip, _)| *clip).collect();
    assert!(matches!(clips[..], [200, 201] | [200, 201, 200]), "they take turns: {clips:?}");
    assert!(caller.silence_ms() < MOST_SILENCE_MS, "{} ms", caller.silence_ms());
    assert_eq!(caller.frame_faults(), FrameCounts::default());
    is_logged(&app.logged(caller.call_sid()).await, fillers.len());
    assert_eq!(realtime.report().violations, []);
    app.empties().await;
}

#[actix_rt::test]
async fn a_rate_limited_answer_is_bridged() {
    let folder = tempfile::tempdir().unwrap();
    let realtime = service(200, &[]).await;
    has_all_phrases(&app(&realtime, folder.path()).await).await;

    let realtime = service(1_500, &["rate-limit=2"]).await; // a second phrase of a session, too
    let app = app(&realtime, folder.path()).await;
    has_all_phrases(&app).await;
    let network = network(&app);
    let caller = greeted(&network).await;
    caller.say(&CALLER[0]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    caller.hangs_up().await;
    let fillers = phrases(&caller);
    println!("{fillers:?}, {} ms of silence", caller.silence_ms());
    assert!(matches!(fillers[..], [(200, 900..)]), "one, whole: {fillers:?}");
    assert!(caller.silence_ms() < MOST_SILENCE_MS, "{} ms", caller.silence_ms());
    assert_eq!(caller.frame_faults(), FrameCounts::default());
    is_logged(&app.logged(caller.call_sid()).await, 1);
    assert_eq!(realtime.report().violations, []);
    app.empties().await;
}

#[actix_rt::test]
async fn phrases_are_kept_on_disk_and_the_agent_says_goodbye_with_one_when_the_service_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let realtime = service(200, &[]).await;
    has_all_phrases(&app(&realtime, folder.path()).await).await;

    let realtime = service(200, &["quota"]).await; // it refuses to make any
    let app = app(&realtime, folder.path()).await;
    has_all_phrases(&app).await;
    let network = network(&app);
    let caller = network.ring().await.unwrap();
    caller.ends().await;
    let heard = caller.heard();
    let [Heard::Phrase { clip: 202, ms }, Heard::Said(said), ..] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((*ms, said.as_str()), (PHRASES[2].frames() * 20, "One moment please."));
    let dialled = caller.events().into_iter().any(|(_, event)| matches!(event, phone::Event::Dialled(_)));
    assert!(dialled, "{:?}", caller.events());
    assert_eq!(app.logged(caller.call_sid()).await["call"]["reason"], "realtime-refused");
    app.empties().await;
}

#[actix_rt::test]
async fn a_call_that_fails_before_a_phrase_is_at_hand_is_given_to_a_person_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let realtime = service(1_000, &["quota"]).await;
    let app = app(&realtime, folder.path()).await;
    let network = network(&app);
    let caller = network.ring().await.unwrap();
    caller.ends().await;
    assert!(matches!(&caller.heard()[..], [Heard::Said(said), ..] if said == "One moment please."));
    assert_eq!(app.metric("switchboard_phrases_at_hand").await, 0.0);
    app.empties().await;
}

/// Barge-ins, answers and fillers in any order: the ear tells them apart, and nothing is missing.
#[actix_rt::test]
async fn a_slow_service_is_bridged_for_every_caller_and_every_frame_is_where_it_belongs() {
    let folder = tempfile::tempdir().unwrap();
    let realtime = service(2_500, &[]).await;
    let app = app(&realtime, folder.path()).await;
    has_all_phrases(&app).await;
    let options = phone::Options {
        url: app.origin.parse().unwrap(),
        realtime: Some(format!("http://{}", realtime.addr()).parse().unwrap()),
        auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
        calls: 5,
        seconds: Duration::from_secs(15),
        quiet: true,
        ..phone::Options::default()
    };
    let outcome = phone::simulate(options).await.unwrap();
    let bridged = |call: &phone::CallDetail| {
        call.ear.heard().iter().filter(|heard| matches!(heard, Heard::Phrase { .. })).count()
    };
    let fillers: Vec<_> = outcome.calls.iter().map(bridged).collect();
    println!("{fillers:?}, {:?}", outcome.report.frames);
    assert!(fillers.iter().all(|fillers| *fillers > 0), "{fillers:?}");
    assert_eq!(outcome.report.frames, Some(FrameCounts::default()));
    assert_eq!((outcome.violations, outcome.realtime_violations), (vec![], vec![]));
    app.empties().await;
}
