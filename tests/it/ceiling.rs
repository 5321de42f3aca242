//! The ceiling is exact, and every slot comes free.

use std::process::Command;

use rustix::process::{Resource, getrlimit};
use switchboard::sim::realtime::{self, Options};

use crate::support::app::{Setup, TestApp};
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{RawStream, call_sid, rings, webhook};

async fn app(ceiling: u32) -> (TestApp, realtime::Server) {
    app_before(Options::default(), ceiling).await
}

async fn app_before(service: Options, ceiling: u32) -> (TestApp, realtime::Server) {
    let database = TestDatabase::create().await;
    let realtime = realtime::start(service).await.unwrap();
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
    (setup.with("MAX_CONCURRENT_CALLS", &ceiling.to_string()).start(), realtime)
}

async fn over(app: &TestApp, call: u32) {
    let parameters = [("CallSid", &*call_sid(call)), ("CallStatus", "completed")];
    assert_eq!(webhook(app, "/api/voice/call-status", &parameters).await.status, 204);
}

#[actix_rt::test]
async fn the_call_over_the_ceiling_hears_a_sentence_whatever_the_timing() {
    let (app, _realtime) = app(5).await;
    let ringing = (0..20).map(|call| {
        let app = &app;
        async move { (call, rings(app, &call_sid(call)).await.body) }
    });
    let answers = futures_util::future::join_all(ringing).await;
    let (admitted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(_, body)| body.contains("<Connect"));
    assert_eq!((admitted.len(), refused.len()), (5, 15));
    assert!(refused.iter().all(|(_, body)| body.contains("<Say>") && body.contains("<Hangup/>")));
    let again = rings(&app, &call_sid(admitted[0].0)).await.body;
    assert!(again.contains("<Connect"), "a webhook delivered twice keeps its slot");
    assert_eq!(app.capacity().await, (0, 5));
    let log = app.logged(&call_sid(refused[0].0)).await;
    assert_eq!((&log["call"]["outcome"], &log["call"]["reason"]), (&"refused".into(), &"full-house".into()));
    rings(&app, &call_sid(refused[0].0)).await; // twice, as a webhook may be
    for (series, count) in [
        (r#"switchboard_admissions_total{result="admitted"}"#, 5.0),
        (r#"switchboard_admissions_total{result="full"}"#, 15.0),
        (r#"switchboard_call_ends_total{outcome="refused",reason="full-house"}"#, 15.0),
    ] {
        assert_eq!(app.metric(series).await, count, "{series}");
    }
    for (call, _) in admitted {
        over(&app, call).await;
        over(&app, call).await;
    }
    app.empties().await;
    assert!(rings(&app, &call_sid(100)).await.body.contains("<Connect"));
    over(&app, 100).await;
    app.empties().await;
}

/// A greeting takes hundreds of tokens, and a call has six responses in a minute.
#[actix_rt::test]
async fn an_account_without_the_tokens_for_another_call_turns_callers_away_until_calls_have_ended() {
    let small = Options { faults: vec!["token-limit=500".parse().unwrap()], ..Options::default() };
    let (app, _realtime) = app_before(small, 20).await;
    const FULL: &str = r#"switchboard_admissions_total{result="no-headroom"}"#;
    for call in 0..5 {
        assert!(rings(&app, &call_sid(call)).await.body.contains("<Connect"));
    }
    eventually("five greetings have told what a call needs", async || {
        app.metric(r#"switchboard_realtime_responses_total{status="completed"}"#).await >= 5.0
    })
    .await;
    assert_eq!(app.metric("switchboard_realtime_token_limit").await, 500.0);
    let refused = rings(&app, &call_sid(5)).await.body;
    assert!(refused.contains("<Say>") && refused.contains("<Hangup/>"), "{refused}");
    assert_eq!(app.metric(FULL).await, 1.0);
    let log = app.logged(&call_sid(5)).await;
    assert_eq!((&log["call"]["outcome"], &log["call"]["reason"]), (&"refused".into(), &"no-headroom".into()));
    let tokens = &app.get("/api/ops/status").await["realtime"]["tokens"];
    assert!(tokens["perCall"].as_u64().is_some_and(|needs| needs > 500), "{tokens}");
    for call in 0..5 {
        over(&app, call).await;
    }
    app.empties().await;
    assert!(rings(&app, &call_sid(6)).await.body.contains("<Connect"), "the first call is always taken");
    over(&app, 6).await;
    app.empties().await;
}

#[actix_rt::test]
async fn as_many_descriptors_are_had_as_the_hard_limit_allows() {
    let database = TestDatabase::create().await;
    let app = Setup::new(&database.url, "http://127.0.0.1:1").start_with_descriptors(50);
    let hard_limit = getrlimit(Resource::Nofile).maximum.expect("a limit");
    assert_eq!(app.metric("process_max_fds").await, hard_limit as f64);
}

#[test]
fn a_ceiling_that_the_descriptors_cannot_hold_is_refused() {
    let output = Command::new("sh")
        .args(["-c", r#"ulimit -n 280; exec timeout 20 "$0" serve"#, env!("CARGO_BIN_EXE_switchboard")])
        .env_clear()
        .envs(Setup::new("postgres://127.0.0.1:1/none", "http://127.0.0.1:1").environment())
        .env("MAX_CONCURRENT_CALLS", "100")
        .env("DB_POOL_MAX", "20")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("MAX_CONCURRENT_CALLS=100 takes 284 file descriptors") && said.contains("is 280"),
        "{said}"
    );
}

#[actix_rt::test]
async fn a_slot_that_no_stream_claims_is_free_after_fifteen_seconds() {
    let (app, _realtime) = app(1).await;
    let token = rings(&app, &call_sid(1)).await.token();
    app.empties().await;
    let log = app.logged(&call_sid(1)).await;
    assert_eq!((&log["call"]["outcome"], &log["call"]["reason"]), (&"abandoned".into(), &"unclaimed".into()));
    assert!(log["call"]["durationSeconds"].as_u64().unwrap() >= 14, "{log}");
    let mut late = RawStream::open(&app).await;
    late.start(&call_sid(1), &token).await;
    assert_eq!(late.close_code().await, 1008);
}

#[actix_rt::test]
async fn a_stream_that_is_lost_is_opened_again_and_the_old_token_is_not() {
    let (app, _realtime) = app(1).await;
    let call = call_sid(1);
    let first = rings(&app, &call).await.token();
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &first).await;
    stream.hears().await;
    drop(stream);
    let in_progress = [("CallSid", &*call), ("CallStatus", "in-progress")];
    let second = webhook(&app, "/api/voice/after-stream", &in_progress).await.token();
    eventually("the call waits for its stream", async || {
        app.get("/api/call-monitor").await["calls"][0]["state"] == "reconnecting"
    })
    .await;
    let mut replayed = RawStream::open(&app).await;
    replayed.start(&call, &first).await;
    assert_eq!(replayed.close_code().await, 1008);
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &second).await;
    eventually("the call is live again", async || {
        app.get("/api/call-monitor").await["calls"][0]["state"] == "live"
    })
    .await;
    stream.stop().await;
    app.empties().await;
}
