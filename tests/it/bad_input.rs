//! Bad input gets a clear answer and costs nothing else: no slot, no other call, no panic (the app's drop
//! looks).

use std::process::Command;

use serde_json::Value;
use switchboard::sim::realtime::{self, Fault, Options, Server};
use tokio_tungstenite::tungstenite::Message;

use crate::support::app::{Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{RawStream, STREAM, call_sid, post, rings, webhook};

async fn realtime(faults: &[&str]) -> Server {
    let faults = faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
    realtime::start(Options { faults, ..Options::default() }).await.unwrap()
}

async fn app() -> (TestApp, Server) {
    let (database, realtime) = (TestDatabase::create().await, realtime(&[]).await);
    (TestApp::start(&database, &format!("http://{}", realtime.addr())), realtime)
}

/// A stream that has started: the caller of call 1 is on the line.
async fn on_the_line(app: &TestApp) -> RawStream {
    let call = call_sid(1);
    let token = rings(app, &call).await.token();
    let mut stream = RawStream::open(app).await;
    stream.start(&call, &token).await;
    assert!(stream.hears().await.contains(r#""event":"media""#), "the greeting");
    stream
}

#[actix_rt::test]
async fn a_message_that_is_no_json_closes_its_stream_with_1007() {
    let (app, _realtime) = app().await;
    let mut stream = on_the_line(&app).await;
    stream.send("{").await;
    assert_eq!(stream.close_code().await, 1007);
    webhook(&app, "/api/voice/call-status", &[("CallSid", &call_sid(1)), ("CallStatus", "completed")]).await;
    app.empties().await;
}

#[actix_rt::test]
async fn what_cannot_be_a_stream_is_closed_before_it_starts() {
    let (app, _realtime) = app().await;
    let media =
        format!(r#"{{"event":"media","media":{{"timestamp":"0","payload":"//8="}},"streamSid":"{STREAM}"}}"#);
    let cases: [(Message, u16); 4] = [
        ("not JSON".into(), 1007),
        ("x".repeat(65 * 1024).into(), 1009),
        (Message::binary(vec![1, 2, 3]), 1003),
        (media.into(), 1002),
    ];
    for (message, code) in cases {
        let mut stream = RawStream::open(&app).await;
        stream.send(message).await;
        assert_eq!(stream.close_code().await, code);
    }
    assert_eq!(app.capacity().await, (0, 0));
}

#[actix_rt::test]
async fn a_token_opens_one_stream_of_its_own_call() {
    let (app, _realtime) = app().await;
    let mut stream = on_the_line(&app).await;
    let second = rings(&app, &call_sid(2)).await.token();
    let of_the_live_call = rings(&app, &call_sid(1)).await.token();
    for (call, token) in [(1, of_the_live_call.as_str()), (3, &second), (2, "1.2.3"), (2, "")] {
        let mut other = RawStream::open(&app).await;
        other.start(&call_sid(call), token).await;
        assert_eq!(other.close_code().await, 1008, "call {call}");
    }
    assert_eq!(app.capacity().await, (1, 1), "the live call and the ringing one");
    stream.stop().await;
    webhook(&app, "/api/voice/call-status", &[("CallSid", &call_sid(2)), ("CallStatus", "canceled")]).await;
    app.empties().await;
}

#[actix_rt::test]
async fn forged_requests_are_refused_before_anything_else() {
    let (app, _realtime) = app().await;
    let call = call_sid(1);
    for path in
        ["incoming", "after-stream", "call-status", "stream-status", "conference-events", "recording-status"]
    {
        let path = format!("/api/voice/{path}");
        for signature in ["", "nonsense", "zWKoPiW3WyS6ajufWxfOtpAOLnY="] {
            let answer = post(&app, &path, &[("CallSid", &call)], signature).await;
            assert_eq!(
                (answer.status, answer.content_type.as_str()),
                (403, "application/problem+json"),
                "{path}"
            );
        }
    }
    assert_eq!(RawStream::open_signed(&app, "zWKoPiW3WyS6ajufWxfOtpAOLnY=").await.err(), Some(403));
    assert_eq!(app.capacity().await, (0, 0));
}

#[actix_rt::test]
async fn a_webhook_without_a_call_names_what_is_missing() {
    let (app, _realtime) = app().await;
    for (parameters, detail) in [
        (vec![("From", "+14155550100")], "CallSid is missing"),
        (vec![("CallSid", "CA1")], "CallSid must be `CA` and 32 hexadecimal digits"),
    ] {
        let answer = webhook(&app, "/api/voice/incoming", &parameters).await;
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, problem["detail"].as_str()), (400, Some(detail)));
    }
}

#[actix_rt::test]
async fn with_the_database_away_calls_go_on_and_callbacks_are_kept_on_disk() {
    let realtime = realtime(&[]).await;
    let origin = format!("http://{}", realtime.addr());
    let app = Setup::new("postgres://nobody@127.0.0.1:1/none", &origin).without_database().start();
    let mut stream = on_the_line(&app).await;
    let health = app.get("/healthz").await;
    assert_eq!((&health["status"], &health["database"]), (&"degraded".into(), &"unavailable".into()));
    let parameters = [("CallSid", &*call_sid(1)), ("StreamEvent", "stream-started"), ("StreamSid", STREAM)];
    assert_eq!(webhook(&app, "/api/voice/stream-status", &parameters).await.status, 204);
    assert!(app.get("/healthz").await["spool"]["pending"].as_u64().unwrap() > 0);
    assert!(stream.hears().await.contains(r#""event":"m"#), "the agent goes on");
    stream.stop().await;
    app.empties().await;
}

#[actix_rt::test]
async fn an_unreachable_realtime_service_gives_the_caller_to_a_person() {
    let database = TestDatabase::create().await;
    let setup = Setup::new(&database.url, "http://127.0.0.1:1").with("HUMAN_FALLBACK_NUMBER", "+14155550123");
    let app = setup.start();
    given_to_a_person(&app, "realtime-unavailable").await;
}

#[actix_rt::test]
async fn a_refused_key_gives_the_caller_to_a_person_and_is_tried_once() {
    let (database, realtime) = (TestDatabase::create().await, realtime(&[]).await);
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()))
        .with("OPENAI_API_KEY", "bad-key")
        .with("HUMAN_FALLBACK_NUMBER", "+14155550123");
    let app = setup.start();
    given_to_a_person(&app, "realtime-refused").await;
    assert_eq!(app.metric("switchboard_realtime_connects_total").await, 1.0);
}

#[actix_rt::test]
async fn an_account_without_quota_gives_the_caller_to_a_person() {
    let (database, realtime) = (TestDatabase::create().await, realtime(&["quota"]).await);
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()))
        .with("HUMAN_FALLBACK_NUMBER", "+14155550123");
    let app = setup.start();
    given_to_a_person(&app, "realtime-refused").await;
}

/// The call fails for this reason, and Twilio is told to dial the human fallback.
async fn given_to_a_person(app: &TestApp, reason: &str) {
    let call = call_sid(1);
    assert!(rings(app, &call).await.body.contains("<Connect"));
    app.empties().await;
    assert_eq!(app.logged(&call).await["call"]["reason"], reason);
    let answer =
        webhook(app, "/api/voice/after-stream", &[("CallSid", &call), ("CallStatus", "in-progress")]).await;
    assert!(answer.body.contains("+14155550123"), "{}", answer.body);
    webhook(app, "/api/voice/call-status", &[("CallSid", &call), ("CallStatus", "completed")]).await;
}

#[test]
fn missing_settings_are_all_named_and_end_with_64() {
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .arg("serve")
        .env_clear()
        .env("FULL_HOUSE", "queue")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64));
    for name in ["DATABASE_URL", "OPENAI_API_KEY", "TWILIO_AUTH_TOKEN", "FULL_HOUSE"] {
        assert!(said.contains(name), "{name} in: {said}");
    }
}
