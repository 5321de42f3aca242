//! The service over real sockets.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::sim::report::RealtimeState;
use crate::sim::speech::{self, AGENT, CALLER, SILENCE};
use crate::sim::tag::{FRAME_BYTES, NO_CLIP, Tag, monotonic_us};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const DEADLINE: Duration = Duration::from_secs(10);

async fn connect(server: &Server, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
    let url = format!("ws://{}/v1/realtime?model=gpt-realtime-2.1", server.addr());
    let mut request = url.into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    Ok(connect_async(request).await?.0)
}

async fn send(socket: &mut Socket, event: Value) {
    socket.send(Message::text(event.to_string())).await.unwrap();
}

/// The next event of this type.
async fn expect(socket: &mut Socket, kind: &str) -> Value {
    let found = async {
        loop {
            let message = socket.next().await.expect("the socket is open").unwrap();
            let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    };
    timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no {kind}"))
}

/// The code with which the service closes.
async fn close_code(socket: &mut Socket) -> u16 {
    let closed = async {
        loop {
            if let Message::Close(frame) = socket.next().await.expect("a close frame comes").unwrap() {
                return frame.expect("with a code").code.into();
            }
        }
    };
    timeout(DEADLINE, closed).await.unwrap()
}

async fn configure(socket: &mut Socket) {
    let input = json!({
        "format": {"type": "audio/pcmu"},
        "transcription": {"model": "gpt-transcribe"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": false},
    });
    let audio = json!({"input": input, "output": {"format": {"type": "audio/pcmu"}}});
    send(socket, json!({"type": "session.update", "session": {"type": "realtime", "audio": audio}})).await;
    expect(socket, "session.updated").await;
}

async fn get(server: &Server, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

const KEY: (&str, &str) = ("Authorization", "Bearer sk-test");

#[tokio::test]
async fn a_conversation_is_held_over_a_socket_and_reported() {
    let server = start(Options::default()).await.unwrap();
    let mut socket = connect(&server, &[KEY]).await.unwrap();
    let created = expect(&mut socket, "session.created").await;
    assert_eq!(created["session"]["audio"]["input"]["format"]["type"], "audio/pcm");
    configure(&mut socket).await;
    send(&mut socket, json!({"type": "response.create"})).await;
    let greeting = expect(&mut socket, "response.done").await;
    assert_eq!(greeting["response"]["output"][0]["content"][0]["transcript"], AGENT[0].text);

    let frames = speech::frames(&CALLER[2]).map(|frame| (frame, CALLER[2].id));
    let silence = std::iter::repeat_n(([SILENCE; FRAME_BYTES], NO_CLIP), 40);
    let mut due = Instant::now();
    for (sequence, (mut frame, clip)) in frames.chain(silence).enumerate() {
        Tag { source: 9, sequence: sequence as u32, clip, sent_us: monotonic_us() }.write(&mut frame);
        send(&mut socket, json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode(frame)}))
            .await;
        due += Duration::from_millis(2);
        sleep_until(due).await;
    }
    let delta = expect(&mut socket, "response.output_audio.delta").await;
    let audio = STANDARD.decode(delta["delta"].as_str().unwrap()).unwrap();
    let tag = Tag::read(audio.first_chunk().unwrap()).unwrap();
    assert_eq!((tag.source, tag.sequence, tag.clip), (1, 1 << 16, 102));
    let transcript = expect(&mut socket, "conversation.item.input_audio_transcription.completed").await;
    assert_eq!(transcript["transcript"], CALLER[2].text);
    expect(&mut socket, "response.done").await;

    let (status, body) = get(&server, "/report").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let report: RealtimeReport = serde_json::from_str(&body).unwrap();
    assert_eq!(report, server.report());
    assert!(report.sessions[0].open);
    let (_, state) = get(&server, "/state").await;
    let state: RealtimeState = serde_json::from_str(&state).unwrap();
    assert_eq!((state.last_session, state.refused), (1, 0));
    assert!(!state.late.is_empty(), "it knows how late it was");
    let (_, later) = get(&server, "/report?after=1").await;
    assert_eq!(serde_json::from_str::<RealtimeReport>(&later).unwrap().sessions, []);
    socket.close(None).await.unwrap();
    let report = server.stop().await;
    let [session] = &report.sessions[..] else { panic!("{report:?}") };
    assert_eq!((session.session, session.open, session.callers.as_slice()), (1, false, &[9][..]));
    assert_eq!(session.arrivals.len(), CALLER[2].audio.len().div_ceil(FRAME_BYTES) + 40);
    assert!(session.arrivals.iter().all(|(_, latency_us)| *latency_us < 1_000_000));
    assert_eq!((session.untagged, session.corrupted, session.responses.len()), (0, 0, 2));
    assert_eq!(report.violations, []);
}

#[tokio::test]
async fn a_handshake_that_is_not_in_order_is_turned_away_as_the_service_does_it() {
    let server = start(Options::default()).await.unwrap();
    let Err(Error::Http(response)) = connect(&server, &[]).await else { panic!("no key, no session") };
    assert_eq!(response.status(), 401);
    for (headers, code, close) in [
        (&[("Authorization", "Bearer bad-key")][..], "invalid_api_key", 3000),
        (&[KEY, ("OpenAI-Beta", "realtime=v1")][..], "invalid_value", 4000),
    ] {
        let mut socket = connect(&server, headers).await.unwrap();
        assert_eq!(expect(&mut socket, "error").await["error"]["code"], code);
        assert_eq!(close_code(&mut socket).await, close);
    }
    let report = server.stop().await;
    let kinds: Vec<_> =
        report.violations.iter().map(|violation| (violation.source, violation.kind.as_str())).collect();
    assert_eq!(kinds, [(0, "missing-authorization"), (0, "beta-header")]);
    assert_eq!(report.sessions, []);
}

#[tokio::test]
async fn other_paths_and_no_http_at_all_get_an_answer() {
    let server = start(Options::default()).await.unwrap();
    assert_eq!(get(&server, "/healthz").await, ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    assert_eq!(get(&server, "/").await.0, "HTTP/1.1 404 Not Found");
    assert_eq!(get(&server, "/v1/realtime?model=x").await.0, "HTTP/1.1 400 Bad Request");
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(&[0x16; 64]).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn the_socket_ends_as_the_fault_says() {
    let faults = |fault: &str| Options { faults: vec![fault.parse().unwrap()], ..Options::default() };
    for (fault, status) in [("refuse", 503), ("refuse=401", 401)] {
        let refusing = start(faults(fault)).await.unwrap();
        let Err(Error::Http(response)) = connect(&refusing, &[KEY]).await else { panic!("it refuses") };
        assert_eq!(response.status(), status);
        refusing.stop().await;
    }

    let closing = start(faults("close=50")).await.unwrap();
    let mut socket = connect(&closing, &[KEY]).await.unwrap();
    configure(&mut socket).await;
    assert_eq!(close_code(&mut socket).await, 1001);

    let dropping = start(faults("drop=50")).await.unwrap();
    let mut socket = connect(&dropping, &[KEY]).await.unwrap();
    configure(&mut socket).await;
    assert!(matches!(timeout(DEADLINE, socket.next()).await.unwrap(), Some(Err(_))));

    let stalling = start(faults("stall=0")).await.unwrap();
    let mut socket = connect(&stalling, &[KEY]).await.unwrap();
    configure(&mut socket).await;
    send(&mut socket, json!({"type": "response.create"})).await;
    assert!(timeout(Duration::from_millis(400), socket.next()).await.is_err());
    for server in [closing, dropping, stalling] {
        server.stop().await;
    }
}

#[tokio::test]
async fn stopping_closes_the_sessions() {
    let server = start(Options::default()).await.unwrap();
    let mut socket = connect(&server, &[KEY]).await.unwrap();
    expect(&mut socket, "session.created").await;
    let (report, code) = tokio::join!(server.stop(), close_code(&mut socket));
    assert_eq!((code, report.sessions[0].open), (1001, false));
}

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

#[test]
fn the_flags_are_read_and_wrong_ones_are_usage_errors() {
    let command = ["sim", "--listen", "[::1]:0", "--think-ms", "5", "--fault", "burst", "--fault", "drop=9"];
    let options = Command::try_parse_from(command).unwrap().options;
    assert_eq!((options.listen, options.think_ms), ("[::1]:0".parse().unwrap(), 5));
    assert_eq!(options.faults, [Fault::Burst, Fault::Drop(Duration::from_millis(9))]);
    for wrong in [["--listen", "0.0.0.0:0"], ["--listen", "localhost"], ["--fault", "flood"]] {
        let error = Command::try_parse_from(["sim"].into_iter().chain(wrong)).unwrap_err();
        assert!(error.use_stderr());
    }
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    assert!(start(options).await.unwrap_err().to_string().contains("loopback"));
}
