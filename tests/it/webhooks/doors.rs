//! What is let in, what is acknowledged, and what is the same message.

use crate::support::app::{Setup, TestApp};
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{call_sid, webhook};

const CONFERENCE_EVENTS: &str = "/api/voice/conference-events";

type Parameters<'a> = &'a [(&'a str, &'a str)];

async fn app() -> (TestDatabase, TestApp) {
    let database = TestDatabase::create().await;
    let setup = Setup::new(&database.url, "http://127.0.0.1:1");
    let app = setup.start();
    (database, app)
}

#[actix_rt::test]
async fn the_loop_of_a_webhook_storm_is_acknowledged_and_each_is_there_once() {
    let database = TestDatabase::create().await;
    let app =
        Setup::new(&database.url, "http://127.0.0.1:1").with("BYPASS_TWILIO_VALIDATION", "true").start();
    let posted = (1..=500).flat_map(|number| [number, number]).map(|number| {
        let url = app.url(CONFERENCE_EVENTS);
        let body = format!("ConferenceSid=test_{number}&StatusCallbackEvent=participant-join");
        async move {
            let form = ("Content-Type", "application/x-www-form-urlencoded");
            awc::Client::default()
                .post(url)
                .insert_header(form)
                .send_body(body)
                .await
                .unwrap()
                .status()
                .as_u16()
        }
    });
    let answers = futures_util::future::join_all(posted).await;
    assert!(answers.iter().all(|status| *status == 204));
    eventually("all are processed", async || {
        database.value("SELECT count(*) FROM webhooks WHERE state = 'done'").await == "500"
    })
    .await;
    assert_eq!(database.value("SELECT count(*) FROM webhooks").await, "500");
    assert_eq!(database.value("SELECT count(*) FROM conferences").await, "500");
    assert_eq!(app.metric("switchboard_webhooks_received_total").await, 1_000.0);
    assert_eq!(app.metric("switchboard_webhook_delay_seconds_count").await, 500.0);
}

#[actix_rt::test]
async fn what_is_missing_is_named_and_nothing_else_is_asked_for() {
    let (database, app) = app().await;
    let (call, long) = (call_sid(1), "x".repeat(65));
    let refused: [(&str, Parameters<'_>, &str); 8] = [
        ("conference-events", &[("StatusCallbackEvent", "conference-end")], "ConferenceSid is missing"),
        ("conference-events", &[("ConferenceSid", "CF1")], "StatusCallbackEvent is missing"),
        (
            "conference-events",
            &[("ConferenceSid", &long), ("StatusCallbackEvent", "x")],
            "ConferenceSid is too long to be an identifier",
        ),
        ("recording-status", &[("RecordingStatus", "completed")], "RecordingSid is missing"),
        (
            "recording-status",
            &[("RecordingSid", "RE1"), ("RecordingStatus", "")],
            "RecordingStatus is missing",
        ),
        ("call-status", &[("CallSid", &call)], "CallStatus is missing"),
        ("call-status", &[("CallStatus", "completed")], "CallSid is missing"),
        ("stream-status", &[("CallSid", &call)], "StreamEvent is missing"),
    ];
    for (route, parameters, detail) in refused {
        let answer = webhook(&app, &format!("/api/voice/{route}"), parameters).await;
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, problem["detail"].as_str()), (400, Some(detail)));
    }
    let taken: [(&str, Parameters<'_>); 4] = [
        (
            "conference-events",
            &[("ConferenceSid", "test_1"), ("StatusCallbackEvent", "never-heard-of"), ("X", "1")],
        ),
        ("recording-status", &[("RecordingSid", "RE1"), ("RecordingStatus", "never-heard-of")]),
        ("call-status", &[("CallSid", &call), ("CallStatus", "never-heard-of")]),
        ("stream-status", &[("CallSid", &call), ("StreamEvent", "never-heard-of")]),
    ];
    for (route, parameters) in taken {
        assert_eq!(webhook(&app, &format!("/api/voice/{route}"), parameters).await.status, 204);
    }
    super::all_processed(&database).await;
    assert_eq!(database.query("SELECT state, count(*) FROM webhooks GROUP BY 1").await, ["done|4"]);
    assert_eq!(database.value("SELECT body->>'X' FROM webhooks WHERE conference_sid = 'test_1'").await, "1");
}

#[actix_rt::test]
async fn equal_tokens_and_equal_numbers_are_the_same_message() {
    let (database, app) = app().await;
    let tokened = async |token: &'static str, event: &str| {
        let parameters = [("ConferenceSid", "CF1"), ("StatusCallbackEvent", event)];
        let path = CONFERENCE_EVENTS;
        let owned: Vec<_> = parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let url = app.url(path);
        let signature = actors::wire::twilio::signature::sign(crate::support::app::AUTH_TOKEN, &url, &owned);
        let request = awc::Client::default()
            .post(url)
            .insert_header(("X-Twilio-Signature", signature))
            .insert_header(("I-Twilio-Idempotency-Token", token));
        assert_eq!(request.send_form(&parameters).await.unwrap().status().as_u16(), 204);
    };
    tokened("a", "participant-join").await;
    tokened("a", "participant-join").await;
    tokened("b", "participant-join").await;
    assert_eq!(database.value("SELECT count(*) FROM webhooks").await, "2");
    for (number, event) in [("1", "participant-mute"), ("1", "participant-mute"), ("2", "participant-mute")] {
        let parameters =
            [("ConferenceSid", "CF1"), ("StatusCallbackEvent", event), ("SequenceNumber", number)];
        webhook(&app, CONFERENCE_EVENTS, &parameters).await;
    }
    assert_eq!(database.value("SELECT count(*) FROM webhooks").await, "4");
}

#[actix_rt::test]
async fn the_delay_is_measured_from_twilios_own_time() {
    let (database, app) = app().await;
    let ago = (chrono::Utc::now() - chrono::Duration::seconds(1_000)).to_rfc2822();
    let parameters =
        [("ConferenceSid", "CF1"), ("StatusCallbackEvent", "conference-end"), ("Timestamp", &*ago)];
    assert_eq!(webhook(&app, CONFERENCE_EVENTS, &parameters).await.status, 204);
    super::all_processed(&database).await;
    eventually("it is measured", async || app.metric("switchboard_webhook_delay_seconds_count").await == 1.0)
        .await;
    let delay = app.metric("switchboard_webhook_delay_seconds_sum").await;
    assert!((1_000.0..1_060.0).contains(&delay), "{delay}");
}
