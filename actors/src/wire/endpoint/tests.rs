//! A server of sockets that answers whatever a test wants, and asked what it was sent.

use std::time::Duration;

use call_control::policy::tools::Schema;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::secret::Secret;

const SOON: Duration = Duration::from_secs(20);

fn call_sid() -> CallSid {
    "CA00000000000000000000000000000007".parse().unwrap()
}

/// Reads a request with its body.
async fn request(tcp: &mut TcpStream) -> String {
    let mut read = vec![];
    loop {
        tcp.read_buf(&mut read).await.unwrap();
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
    }
}

struct Asked {
    result: Result<String, ToolFault>,
    request: String,
    /// What the server could send before we hung up.
    sent_bytes: usize,
}

/// One question, answered with `head` and then `body` as often as `times` says, in chunks where the head says
/// so.
async fn asked(head: &str, body: &[u8], times: usize, change: impl FnOnce(&mut Endpoint)) -> Asked {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/slots", listener.local_addr().unwrap()).parse().unwrap();
    let mut endpoint = Endpoint { url, within: 20_000, secret: None, answer: None };
    change(&mut endpoint);
    let serves = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let request = request(&mut tcp).await;
        let mut sent_bytes = 0;
        tcp.write_all(head.as_bytes()).await.unwrap();
        let is_chunked = head.contains("chunked");
        let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
        for _ in 0..times {
            match tcp.write_all(if is_chunked { &chunk } else { body }).await {
                Ok(()) => sent_bytes += body.len(),
                Err(_) => break,
            }
        }
        if is_chunked {
            drop(tcp.write_all(b"0\r\n\r\n").await);
        }
        drop(tcp.shutdown().await);
        (request, sent_bytes)
    };
    let arguments = json!({"day": "Monday"});
    let asks = ask(&endpoint, call_sid(), &arguments);
    let (result, (request, sent_bytes)) =
        timeout(SOON, async { tokio::join!(asks, serves) }).await.expect("an answer in time");
    Asked { result, request, sent_bytes }
}

const OK: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[actix_rt::test]
async fn the_arguments_are_sent_once_with_the_secret_and_the_answer_is_json_again() {
    let asked = asked(OK, b"{ \"free\": [1, 2] }", 1, |endpoint| {
        endpoint.secret = Some(Secret::new("s3cret".into()));
    });
    let Asked { result, request, .. } = asked.await;
    assert_eq!(result.as_deref(), Ok(r#"{"free":[1,2]}"#));
    let request = request.to_lowercase();
    assert!(request.starts_with("post /slots http/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: bearer s3cret\r\n"), "{request}");
    assert!(request.contains("switchboard-call-sid: ca00000000000000000000000000000007\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"day\":\"monday\"}"), "{request}");
}

#[actix_rt::test]
async fn an_error_a_redirect_and_an_answer_that_is_no_json_are_told_apart() {
    for (head, body, fault) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n",
            "{}",
            ToolFault::Status { status: 503 },
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n",
            "",
            ToolFault::Redirected,
        ),
        (OK, "<html>", ToolFault::NotJson),
        (OK, "{\"free\":", ToolFault::NotJson),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "{}", ToolFault::NotJson),
    ] {
        let Asked { result, .. } = asked(head, body.as_bytes(), 1, |_| {}).await;
        assert_eq!(result, Err(fault));
    }
    let Asked { result, .. } =
        asked("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", b"", 0, |_| {}).await;
    assert_eq!(result.as_deref(), Ok("null"));
}

#[actix_rt::test]
async fn an_answer_that_does_not_fit_its_schema_is_told_with_the_place() {
    let schema = Schema::new(json!({"type": "object", "properties": {"free": {"type": "array"}}})).unwrap();
    let Asked { result, .. } =
        asked(OK, br#"{"free":"no"}"#, 1, |endpoint| endpoint.answer = Some(schema)).await;
    let Err(ToolFault::Unfit { wrong }) = result else { panic!("{result:?}") };
    assert!(wrong.starts_with("/free: "), "{wrong}");
}

#[actix_rt::test]
async fn of_an_answer_of_a_gigabyte_little_is_read_whether_its_length_is_told_or_not() {
    let piece = vec![b'1'; 1 << 20];
    let told = "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    for head in [told, OK] {
        let Asked { result, sent_bytes, .. } = asked(head, &piece, 1 << 10, |_| {}).await;
        assert_eq!(result, Err(ToolFault::TooLong), "{head}");
        assert!(sent_bytes < 32 << 20, "{sent_bytes} bytes were taken");
    }
}

#[actix_rt::test]
async fn an_endpoint_that_hangs_is_given_up_when_its_time_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let endpoint = Endpoint { url, within: 60, secret: None, answer: None };
    let asks = timeout(SOON, ask(&endpoint, call_sid(), &Value::Null));
    let (result, _tcp) = tokio::join!(asks, listener.accept());
    assert_eq!(result.unwrap(), Err(ToolFault::TimedOut));
    drop(listener);
    let result = timeout(SOON, ask(&Endpoint { within: 5_000, ..endpoint }, call_sid(), &Value::Null)).await;
    assert_eq!(result.unwrap(), Err(ToolFault::Unreachable));
}
