//! What peers do with their connections besides asking properly.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::app::{Setup, TestApp};
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{call_sid, rings, webhook};
use crate::support::{DEADLINE, eventually};

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.origin.strip_prefix("http://").unwrap()).await.unwrap()
}

async fn answer(app: &TestApp, request: &str) -> (TcpStream, String) {
    let mut socket = connect(app).await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, socket.read_to_string(&mut answer)).await.expect("the end of what is said").unwrap();
    (socket, answer)
}

#[actix_rt::test]
async fn a_peer_that_holds_back_a_body_is_answered_and_then_its_connection_is_closed() {
    let setup = Setup::new("postgres://nobody@127.0.0.1:9/none", "http://127.0.0.1:9").without_database();
    let app = setup.start();
    let cases = [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200"),
        ("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "HTTP/1.1 404"),
        ("POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "HTTP/1.1 404"),
        (
            "POST /api/voice/incoming HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nab",
            "HTTP/1.1 413",
        ),
        ("GET /he he HTTP/1.1\r\n\r\n", "HTTP/1.1 400"),
    ];
    for (request, status) in cases {
        let (mut socket, said) = answer(&app, request).await;
        assert!(said.starts_with(status), "{said}");
        let closed = format!("there is nobody any more: {request:?}");
        eventually(&closed, async || socket.write_all(b"x").await.is_err()).await;
    }
}

#[actix_rt::test]
async fn the_exported_log_is_plain_over_http_1_0() {
    let database = TestDatabase::create().await;
    let app = TestApp::start(&database, "http://127.0.0.1:9");
    let call = call_sid(1);
    rings(&app, &call).await;
    webhook(&app, "/api/voice/call-status", &[("CallSid", &call), ("CallStatus", "completed")]).await;
    // What a call's own log tells may wait to be written; an export has what is.
    eventually("the call's end is written", async || {
        database.value("SELECT count(*) FROM calls WHERE ended_at IS NOT NULL").await == "1"
    })
    .await;
    let export = "GET /api/call-logs.csv HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
    let (_, said) = answer(&app, export).await;
    let (_, csv) = said.split_once("\r\n\r\n").unwrap();
    let newer = awc::Client::default().get(app.url("/api/call-logs.csv")).send().await.unwrap().body().await;
    assert_eq!(csv.as_bytes(), newer.unwrap());
    assert!(csv.contains(&call), "{said}");
}
