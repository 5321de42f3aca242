//! Tests of the Realtime socket.

use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::http::HeaderName;

#[test]
fn a_wait_in_a_header_is_a_number_of_seconds_and_at_most_a_year() {
    let wait = |value: &'static str| {
        let header = (HeaderName::from_static("retry-after"), HeaderValue::from_static(value));
        retry_after(&HeaderMap::from_iter([header])).map(|wait| wait.as_secs())
    };
    let year = 365 * 86_400;
    assert_eq!(["0", " 20 ", "1.5", "-0"].map(wait), [Some(0), Some(20), Some(1), Some(0)]);
    assert_eq!(["1e10", "18446744073709552", "1e300", "inf"].map(wait), [Some(year); 4]);
    assert_eq!(["", "-1", "nan", "soon", "Mon, 16 Aug 2010 03:45:01 GMT"].map(wait), [None; 5]);
}

type Peer = WebSocketStream<TcpStream>;

/// An uplink and the service's end of its socket.
async fn pair() -> (Uplink, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint {
        url: format!("ws://{}/v1/realtime", listener.local_addr().unwrap()).parse().unwrap(),
        model: "m".into(),
        api_key: Secret::new("sk-test".to_owned()),
    };
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(tcp).await.unwrap()
    };
    let (socket, peer) = tokio::join!(connect(&endpoint), accept);
    let uplink = Uplink::default();
    uplink.attach(socket.unwrap());
    (uplink, peer)
}

fn frame(number: u8) -> String {
    BASE64_STANDARD.encode([number; 160])
}

/// The first sample of each of the next `count` appended frames.
async fn heard(peer: &mut Peer, count: usize) -> Vec<u8> {
    let mut numbers = vec![];
    while numbers.len() < count {
        let message = tokio::time::timeout(Duration::from_secs(5), peer.next()).await;
        let text = message.expect("a message in time").unwrap().unwrap().into_text().unwrap();
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["type"], "input_audio_buffer.append");
        let audio = BASE64_STANDARD.decode(event["audio"].as_str().unwrap()).unwrap();
        assert_eq!(audio.len(), 160);
        numbers.push(audio[0]);
    }
    numbers
}

#[actix_rt::test]
async fn audio_before_the_gate_opens_is_sent_when_it_does_in_order() {
    let (uplink, mut peer) = pair().await;
    for number in 0..50 {
        uplink.audio(u64::from(number) * 20, frame(number).as_bytes());
    }
    uplink.open();
    uplink.audio(1000, frame(50).as_bytes());
    assert_eq!(heard(&mut peer, 51).await, (0..=50).collect::<Vec<u8>>());
}

#[actix_rt::test]
async fn the_ring_keeps_the_last_five_seconds() {
    let (uplink, mut peer) = pair().await;
    for number in 0..=255u8 {
        uplink.audio(u64::from(number) * 20, frame(number).as_bytes());
    }
    uplink.open();
    assert_eq!(heard(&mut peer, 250).await, (6..=255).collect::<Vec<u8>>());
    assert_eq!(uplink.counts().dropped, 6);
}

#[actix_rt::test]
async fn frames_that_hold_next_to_nothing_do_not_wait_without_end() {
    let (uplink, _peer) = pair().await;
    for number in 0..3 * RING_FRAMES as u64 {
        uplink.audio(number / 1_000, b"/w==");
    }
    assert_eq!(uplink.lock().ring.len(), RING_FRAMES);
    assert_eq!(uplink.counts().dropped, 2 * RING_FRAMES as u64);
}

#[actix_rt::test]
async fn a_hole_in_the_timestamps_is_filled_with_silence() {
    let (uplink, mut peer) = pair().await;
    uplink.open();
    uplink.audio(64, frame(1).as_bytes());
    uplink.audio(144, frame(2).as_bytes());
    assert_eq!(heard(&mut peer, 5).await, [1, 0xFF, 0xFF, 0xFF, 2]);
    assert_eq!((uplink.counts().gaps, uplink.counts().gap_ms), (1, 60));
}

#[actix_rt::test]
async fn silence_filled_in_meanwhile_is_not_filled_in_again() {
    let (uplink, mut peer) = pair().await;
    uplink.open();
    uplink.audio(0, frame(1).as_bytes());
    uplink.quiet(Duration::from_millis(750));
    uplink.audio(20 + 780, frame(2).as_bytes());
    let silence = [0xFF; 780 / 20];
    assert_eq!(heard(&mut peer, 41).await, [&[1][..], &silence, &[2]].concat());
}

#[actix_rt::test]
async fn a_socket_that_takes_nothing_delays_audio_and_loses_only_the_oldest() {
    let (uplink, mut peer) = pair().await;
    uplink.open();
    let filler = "x".repeat(900_000);
    while !uplink.lock().stalled {
        uplink.send(filler.clone()); // until the kernel's buffers are full
    }
    for number in 0..=255u8 {
        uplink.audio(u64::from(number) * 20, frame(number).as_bytes());
    }
    assert_eq!(uplink.counts().dropped, 6, "the ring holds 250 frames");
    let reader = async {
        loop {
            let text = peer.next().await.unwrap().unwrap().into_text().unwrap();
            if text.len() < 1_000 {
                break text;
            }
        }
    };
    let drainer = std::future::poll_fn(|cx| uplink.poll_received(1, cx));
    let first = tokio::select! { text = reader => text, _ = drainer => panic!("nothing was said") };
    let event: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(event["audio"], frame(6));
}

#[actix_rt::test]
async fn a_socket_that_takes_no_more_requests_is_lost_and_its_reader_says_so() {
    let (uplink, _peer) = pair().await;
    let reader = std::future::poll_fn(|cx| uplink.poll_received(1, cx));
    let writer = async {
        loop {
            uplink.send("x".repeat(900_000));
            tokio::task::yield_now().await;
        }
    };
    let received = tokio::select! { received = reader => received, () = writer => unreachable!() };
    assert!(matches!(received, Some(Received::Closed { fatal: false, .. })), "{received:?}");
}

#[test]
fn a_busy_service_is_tried_again_when_it_says_and_a_request_at_fault_is_not() {
    let answered = |status, name: &'static str, value: &'static str| {
        let headers =
            [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect();
        ConnectError::answered(status, &headers)
    };
    let wait = |status, name, value| answered(status, name, value).wait();
    assert_eq!(wait(429, "retry-after", "2"), Some(Duration::from_secs(2)));
    assert_eq!(wait(503, "retry-after-ms", "1500"), Some(Duration::from_millis(1_500)));
    assert_eq!(wait(500, "retry-after", "soon"), None);
    assert_eq!(wait(429, "retry-after", "-1"), None);
    for (status, refused) in [(400, true), (401, true), (404, true), (408, false), (429, false), (500, false)]
    {
        let is_refused = matches!(answered(status, "x", "y"), ConnectError::Refused { .. });
        assert_eq!(is_refused, refused, "{status}");
    }
}

#[actix_rt::test]
async fn a_refusal_by_close_code_is_fatal_and_other_ends_are_not() {
    for (code, expected) in [(3000u16, true), (1011, false)] {
        let (uplink, mut peer) = pair().await;
        let frame = CloseFrame { code: code.into(), reason: "invalid_request_error".into() };
        peer.send(Message::Close(Some(frame))).await.unwrap();
        let received = std::future::poll_fn(|cx| uplink.poll_received(1, cx)).await;
        assert!(matches!(received, Some(Received::Closed { fatal, .. }) if fatal == expected));
        assert!(std::future::poll_fn(|cx| uplink.poll_received(1, cx)).await.is_none());
    }
}

#[actix_rt::test]
async fn nobody_listening_is_an_error_with_its_cause() {
    let endpoint = Endpoint {
        url: "ws://127.0.0.1:9/v1/realtime".parse().unwrap(),
        model: "m".into(),
        api_key: Secret::new("sk-secret".to_owned()),
    };
    let error = connect(&endpoint).await.unwrap_err().to_string();
    assert!(error.contains("refused") && !error.contains("sk-secret"), "{error}");
}
