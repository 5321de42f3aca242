//! The dashboard, in a real browser.

use std::time::Duration;

use switchboard::sim::realtime::{self, Options};

use crate::support::app::{Setup, TestApp};
use crate::support::chromium;
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{RawStream, call_sid, rings};

/// The page as it is after so long; its clock stands still only while it waits for an answer.
async fn page_after(time: Duration, app: &TestApp) -> String {
    let profile = tempfile::tempdir().unwrap();
    let options = ["--dump-dom".to_owned(), format!("--virtual-time-budget={}", time.as_millis())];
    chromium::open(&app.url("/"), profile.path(), &options).await
}

/// The text of the element with this id.
fn text<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, element) = page.split_once(&format!(" id=\"{id}\"")).unwrap();
    let (_, content) = element.split_once('>').unwrap();
    content.split_once('<').unwrap().0
}

/// So many requests to the API were counted.
async fn asked(app: &TestApp) -> f64 {
    app.metric("switchboard_rate_limit_decisions_total").await
}

#[actix_rt::test]
async fn three_pages_behind_one_address_stay_within_a_hundred_requests_a_minute() {
    let (database, realtime) =
        (TestDatabase::create().await, realtime::start(Options::default()).await.unwrap());
    let app = TestApp::start(&database, &format!("http://{}", realtime.addr()));
    let page = page_after(Duration::from_secs(60), &app).await;
    assert_eq!(text(&page, "state"), "healthy");
    assert_eq!(text(&page, "log-empty"), "No calls yet.");
    let asked = asked(&app).await;
    assert!((20.0..=33.0).contains(&asked), "{asked}");
}

#[actix_rt::test]
async fn a_page_that_asks_too_often_shows_what_it_has_and_says_when_it_goes_on() {
    let (database, realtime) =
        (TestDatabase::create().await, realtime::start(Options::default()).await.unwrap());
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()));
    let app = setup.with("RATE_LIMIT_API", "2/1m").start();
    let call = call_sid(1);
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &rings(&app, &call).await.token()).await;
    assert!(stream.hears().await.contains(r#""event":"media""#), "the agent");

    let page = page_after(Duration::from_secs(45), &app).await;
    // A page may ask five times as often as others; then it waits: sixteen without a limit.
    let asked = asked(&app).await;
    assert!((11.0..=13.0).contains(&asked), "{asked}");
    let trouble = text(&page, "trouble");
    assert!(trouble.starts_with("This address asks too often. Calls and log go on at "), "{trouble}");
    assert!(trouble.contains(" The calls shown are from "), "{trouble}");
    assert_eq!(text(&page, "state"), "healthy");
    assert_eq!(text(&page, "database"), "healthy");
    assert_eq!(text(&page, "active"), "1");

    stream.stop().await;
    eventually("the call is over", async || app.metric("switchboard_calls_active").await == 0.0).await;
}
