//! The doors: sockets, callbacks, and what they leave in the log.

use std::net::TcpListener;

use switchboard::sim::realtime::{self, Options};

use crate::support::app::Setup;
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{call_sid, rings, webhook};

#[actix_rt::test]
async fn a_socket_that_was_handed_over_is_listened_on() {
    let (database, realtime) =
        (TestDatabase::create().await, realtime::start(Options::default()).await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
    let app = setup.start_on(&listener);
    assert_eq!(app.origin, format!("http://{}", listener.local_addr().unwrap()));
    assert_eq!(app.get("/healthz").await["status"], "healthy");
}

#[actix_rt::test]
async fn a_callback_delivered_twice_is_logged_once() {
    let (database, realtime) =
        (TestDatabase::create().await, realtime::start(Options::default()).await.unwrap());
    let app = Setup::new(&database.url, &format!("http://{}", realtime.addr())).start();
    let call = call_sid(1);
    rings(&app, &call).await;
    for status in ["completed", "completed", "no-answer"] {
        let parameters = [("CallSid", &*call), ("CallStatus", status), ("SequenceNumber", "0")];
        assert_eq!(webhook(&app, "/api/voice/call-status", &parameters).await.status, 204);
    }
    let mut log = app.logged(&call).await;
    eventually("both are in the log", async || {
        log = app.get(&format!("/api/call-logs/{call}")).await;
        log["events"].as_array().unwrap().len() == 2
    })
    .await;
    let statuses: Vec<_> =
        log["events"].as_array().unwrap().iter().map(|event| event["data"]["CallStatus"].clone()).collect();
    assert_eq!(statuses, ["completed", "no-answer"]);
    assert_eq!(
        (&log["call"]["outcome"], &log["call"]["reason"]),
        (&"abandoned".into(), &"caller-hung-up".into())
    );
    app.empties().await;
}

#[actix_rt::test]
async fn every_socket_that_is_handed_over_is_answered() {
    let [first, second] = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let setup = Setup::new("postgres://nobody@127.0.0.1:9/none", "http://127.0.0.1:9").without_database();
    let app = setup.start_on_both(&first, &second);
    for listener in [first, second] {
        let url = format!("http://{}/healthz", listener.local_addr().unwrap());
        let answer = awc::Client::default().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    drop(app);
}
