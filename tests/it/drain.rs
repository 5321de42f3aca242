//! Going down: whoever is still on the line is given to a person, not dropped.

use std::time::Duration;

use switchboard::sim::realtime::{self, Options};

use crate::support::app::Setup;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{RawStream, call_sid, rings, webhook};

#[actix_rt::test]
async fn a_caller_who_is_handed_over_by_a_process_that_ends_is_given_to_a_person() {
    let realtime = realtime::start(Options::default()).await.unwrap();
    let database = TestDatabase::create().await;
    let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()))
        .with("HUMAN_FALLBACK_NUMBER", "+14155550123");
    let app = setup.start();
    let call = call_sid(1);
    let token = rings(&app, &call).await.token();
    let mut stream = RawStream::open(&app).await;
    stream.start(&call, &token).await;
    stream.hears().await;

    app.terminate();
    app.drains().await;
    assert_eq!(rings(&app, &call_sid(2)).await.status, 503, "no new calls");
    app.terminate();
    assert_eq!(stream.close_code().await, 1000);
    tokio::time::sleep(Duration::from_millis(300)).await; // as far away as Twilio is
    let in_progress = [("CallSid", &*call), ("CallStatus", "in-progress")];
    let answer = webhook(&app, "/api/voice/after-stream", &in_progress).await;
    assert!(answer.body.contains("+14155550123"), "{}", answer.body);
}
