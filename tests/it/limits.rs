//! The limits of the document, in the real program: as many as they say pass, the next one has to wait, and
//! no caller notices.

use futures_util::future::join_all;
use switchboard::sim::realtime::{self, Options};

use crate::support::app::{Setup, TestApp};
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{Answer, RawStream, call_sid, post, rings, webhook};

const CONFERENCE_EVENTS: &str = "/api/voice/conference-events";
const ACCOUNT: (&str, &str) = ("AccountSid", "AC00000000000000000000000000000001");
/// An empty setting is an unset one.
const DEFAULT: &str = "";

/// A callback of the account, signed.
async fn callback(app: &TestApp, number: u32) -> Answer {
    let conference = format!("test_{number}");
    let parameters = [ACCOUNT, ("ConferenceSid", &*conference), ("StatusCallbackEvent", "participant-join")];
    webhook(app, CONFERENCE_EVENTS, &parameters).await
}

/// So many callbacks at once; how many of them are answered with each status.
async fn storm(app: &TestApp, numbers: std::ops::RangeInclusive<u32>) -> Vec<(u16, usize)> {
    let answers = join_all(numbers.map(|number| callback(app, number))).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses.chunk_by(|one, other| one == other).map(|same| (same[0], same.len())).collect()
}

#[actix_rt::test]
async fn a_storm_of_five_hundred_callbacks_passes_the_next_one_waits_and_a_live_call_goes_on() {
    let (database, realtime) =
        (TestDatabase::create().await, realtime::start(Options::default()).await.unwrap());
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
    let app = setup.with("RATE_LIMIT_WEBHOOK", DEFAULT).start();
    let call = call_sid(1);
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &rings(&app, &call).await.token()).await;
    assert!(stream.hears().await.contains(r#""event":"media""#), "the agent");

    assert_eq!(storm(&app, 1..=500).await, [(204, 500)]);
    assert_eq!(storm(&app, 501..=510).await, [(429, 10)]);
    assert_eq!(app.metric("switchboard_rate_limited_total").await, 10.0);

    stream.close().await;
    eventually("the loss is seen", async || {
        app.get("/api/call-monitor").await["calls"][0]["state"] == "reconnecting"
    })
    .await;
    let in_progress = [ACCOUNT, ("CallSid", &*call), ("CallStatus", "in-progress")];
    let next = webhook(&app, "/api/voice/after-stream", &in_progress).await;
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &next.token()).await;
    eventually("the call is live again", async || {
        app.get("/api/call-monitor").await["calls"][0]["state"] == "live"
    })
    .await;
    assert_eq!(rings(&app, &call_sid(2)).await.status, 200, "another caller");

    for call in [call, call_sid(2)] {
        let completed = [ACCOUNT, ("CallSid", &*call), ("CallStatus", "completed")];
        assert_eq!(webhook(&app, "/api/voice/call-status", &completed).await.status, 429);
    }
    app.empties().await; // the calls are over all the same
    eventually("what was acknowledged is processed", async || {
        database.value("SELECT count(*) FROM webhooks WHERE state = 'done'").await == "500"
    })
    .await;
}

#[actix_rt::test]
async fn the_loop_of_five_hundred_unsigned_callbacks_in_a_load_test_passes() {
    let database = TestDatabase::create().await;
    let app = Setup::new(&database.url, "http://127.0.0.1:1")
        .with("BYPASS_TWILIO_VALIDATION", "true")
        .with("RATE_LIMIT_WEBHOOK", DEFAULT)
        .start();
    let unsigned = async |number: u32| {
        let conference = format!("test_{number}");
        let parameters = [("ConferenceSid", &*conference), ("StatusCallbackEvent", "participant-join")];
        post(&app, CONFERENCE_EVENTS, &parameters, "").await.status
    };
    assert!(join_all((1..=500).map(&unsigned)).await.iter().all(|status| *status == 204));
    assert_eq!(unsigned(501).await, 429);
}

#[actix_rt::test]
async fn forged_callbacks_are_refused_and_cost_a_signed_one_nothing() {
    let database = TestDatabase::create().await;
    let app = Setup::new(&database.url, "http://127.0.0.1:1").with("RATE_LIMIT_WEBHOOK", "10/1m").start();
    let forged = (1..=50).map(|number| {
        let app = &app;
        async move {
            let conference = format!("test_{number}");
            let parameters = [ACCOUNT, ("ConferenceSid", &*conference), ("StatusCallbackEvent", "x")];
            post(app, CONFERENCE_EVENTS, &parameters, "c2lnbmF0dXJl").await.status
        }
    });
    assert!(join_all(forged).await.iter().all(|status| *status == 403));
    assert_eq!(storm(&app, 1..=10).await, [(204, 10)]);
    assert_eq!(storm(&app, 11..=11).await, [(429, 1)]);
}

#[actix_rt::test]
async fn the_hundredth_look_at_the_log_passes_and_the_next_one_is_told_to_wait() {
    let database = TestDatabase::create().await;
    let setup = Setup::new(&database.url, "http://127.0.0.1:1");
    let app = setup.with("RATE_LIMIT_API", DEFAULT).start();
    let looks = |number: usize| {
        let look = |_| async {
            let answer = awc::Client::default().get(app.url("/api/call-logs?page=1")).send().await.unwrap();
            let wait = answer.headers().get("Retry-After").map(|wait| wait.to_str().unwrap().to_owned());
            (answer.status().as_u16(), wait)
        };
        join_all((0..number).map(look))
    };
    assert!(looks(100).await.iter().all(|(status, wait)| (*status, wait) == (200, &None)));
    let [(429, Some(wait))] = &looks(1).await[..] else { panic!("one too many") };
    assert!((1..=62).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert_eq!(app.get("/healthz").await["status"], "healthy");
}
