use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, web};
use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::{Door, serve};
use super::stream::Stream;
use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);
const LARGE: usize = 1 << 20;
/// More than sockets hold.
const HUGE: usize = 64 << 20;

/// A server whose routes note that they were called.
struct Running {
    address: SocketAddr,
    server: ServerHandle,
    calls: Arc<Mutex<Vec<String>>>,
    /// Lets one request of `/held` go on.
    release: Sender<()>,
}

fn ends() -> Ends {
    Ends::register(&prometheus::Registry::new()).unwrap()
}

/// A free port, and a door of one worker.
fn door(most: usize) -> (TcpListener, Door) {
    let door = Door {
        workers: 1,
        bounds: Bounds { keep_alive: MINUTE, most },
        most_with_calls: 1_000,
        ends: ends(),
        tls: None,
        finish_within: Duration::from_secs(1),
    };
    (TcpListener::bind("127.0.0.1:0").unwrap(), door)
}

fn start(most: usize) -> Running {
    let (listener, door) = door(most);
    let address = listener.local_addr().unwrap();
    let (calls, (release, held)) = (Arc::<Mutex<Vec<String>>>::default(), channel());
    let (noted, held) = (calls.clone(), Arc::new(Mutex::new(held)));
    let routes = move || {
        let (noted, held) = (noted.clone(), held.clone());
        let note = move |request: actix_web::HttpRequest| {
            noted.lock().unwrap().push(request.path().to_owned());
            let answer = answer(request.path(), &held);
            async move { answer }
        };
        App::new().wrap(from_fn(in_turn)).default_service(web::to(note))
    };
    let server = serve(vec![listener], &door, routes).unwrap();
    let handle = server.handle();
    actix_rt::spawn(server);
    Running { address, server: handle, calls, release }
}

fn answer(path: &str, held: &Mutex<Receiver<()>>) -> HttpResponse {
    match path {
        "/held" => {
            let _ = held.lock().unwrap().recv_timeout(3 * DEADLINE); // the worker stands still
            HttpResponse::Ok().finish()
        }
        // A head: of a body the server itself takes no more than a part before that is written.
        "/huge" => HttpResponse::Ok().insert_header(("x-huge", "x".repeat(HUGE))).finish(),
        "/streamed" => {
            let pieces = ["one,", "two"].map(|piece| Ok::<_, actix_web::Error>(Bytes::from(piece)));
            HttpResponse::Ok().streaming(stream::iter(pieces))
        }
        _ => HttpResponse::Ok().finish(),
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection of which one request was answered.
    async fn used(&self) -> TcpStream {
        let mut socket = self.connect().await;
        asks(&mut socket, "/", "HTTP/1.1\r\nHost: a").await;
        assert!(piece(&mut socket).await.starts_with("HTTP/1.1 200"));
        socket
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

async fn asks(socket: &mut TcpStream, path: &str, rest: &str) {
    socket.write_all(format!("GET {path} {rest}\r\n\r\n").as_bytes()).await.unwrap();
}

async fn piece(socket: &mut TcpStream) -> String {
    let mut piece = vec![0; 4 << 10];
    let count = timeout(DEADLINE, socket.read(&mut piece)).await.expect("in time").unwrap();
    String::from_utf8(piece[..count].to_vec()).unwrap()
}

/// Everything up to the end of the connection.
async fn rest(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    timeout(DEADLINE, socket.read_to_end(&mut all)).await.expect("it ends").unwrap();
    String::from_utf8(all).unwrap()
}

#[actix_rt::test]
async fn requests_that_come_together_let_other_connections_go_first() {
    let running = start(100);
    let mut greedy = running.connect().await;
    let mut other = running.used().await;
    let together =
        ["GET /held HTTP/1.1\r\nHost: a\r\n\r\n", &"GET /greedy HTTP/1.1\r\nHost: a\r\n\r\n".repeat(90)];
    greedy.write_all(together.concat().as_bytes()).await.unwrap();
    asks(&mut other, "/other", "HTTP/1.1\r\nHost: a").await;
    running.release.send(()).unwrap();
    assert!(piece(&mut other).await.starts_with("HTTP/1.1 200"));
    let before = running.calls().iter().position(|path| path == "/other").unwrap();
    assert!(before < 10, "{before} requests went first");
    running.server.stop(false).await;
}

#[actix_rt::test]
async fn the_doors_of_the_program_let_other_connections_go_first() {
    let (listener, door) = door(100);
    let address = listener.local_addr().unwrap();
    let app = crate::http::tests::app(&[("API_AUTH", "off")]);
    let (release, held) = channel();
    let held = Arc::new(Mutex::new(held));
    let doors = move || {
        let held = held.clone();
        let hold = move || std::future::ready(answer("/held", &held));
        App::new().app_data(app.clone()).route("/held", web::get().to(hold)).configure(crate::http::routes)
    };
    let server = serve(vec![listener], &door, doors).unwrap();
    let handle = server.handle();
    actix_rt::spawn(server);
    let mut greedy = TcpStream::connect(address).await.unwrap();
    let mut other = TcpStream::connect(address).await.unwrap();
    asks(&mut other, "/healthz", "HTTP/1.1\r\nHost: localhost").await;
    assert!(piece(&mut other).await.starts_with("HTTP/1.1 200"));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let together = [get("/held"), get("/healthz").repeat(8), get("/held")].concat();
    greedy.write_all(together.as_bytes()).await.unwrap();
    asks(&mut other, "/healthz", "HTTP/1.1\r\nHost: localhost").await;
    release.send(()).unwrap();
    let between = piece(&mut other).await; // or else the worker stands still once more
    assert!(between.starts_with("HTTP/1.1 200"), "{between}");
    release.send(()).unwrap();
    handle.stop(false).await;
}

#[actix_rt::test]
async fn no_request_starts_while_answers_wait_unread() {
    let running = start(100);
    let mut unread = running.connect().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let together = [get("/huge"), get("/next").repeat(9)].concat();
    unread.write_all(together.as_bytes()).await.unwrap();
    for _ in 0..200 {
        running.used().await; // everything that can go on does so meanwhile
    }
    let started: Vec<_> = running.calls().into_iter().filter(|path| path != "/").collect();
    // The server may start one before it tries to write the first answer.
    assert!(started.len() <= 2, "started behind an answer that waits unread: {started:?}");
    let mut answer = vec![0; HUGE];
    timeout(DEADLINE, unread.read_exact(&mut answer)).await.expect("the rest comes").unwrap();
    let mut next = String::new();
    while next.matches("HTTP/1.1 200").count() < 9 {
        next += piece(&mut unread).await.trim_start_matches('x'); // the end of the first one goes before
    }
    running.server.stop(false).await;
}

#[actix_rt::test]
async fn silent_connections_give_way_to_new_ones_and_before_those_that_are_used() {
    let running = start(10);
    let mut used = running.used().await;
    let mut silent = Vec::new();
    for _ in 0..30 {
        silent.push(running.connect().await);
    }
    running.used().await;
    for socket in &mut silent[..20] {
        assert_eq!(rest(socket).await, "", "the oldest are ended without a word");
    }
    asks(&mut used, "/", "HTTP/1.1\r\nHost: a").await;
    assert!(piece(&mut used).await.starts_with("HTTP/1.1 200"));
    running.server.stop(false).await;
}

#[actix_rt::test]
async fn a_stream_over_http_1_0_is_a_plain_body_that_the_close_ends() {
    let running = start(10);
    for rest_of_head in ["HTTP/1.0", "HTTP/1.0\r\nConnection: keep-alive"] {
        let mut socket = running.connect().await;
        asks(&mut socket, "/streamed", rest_of_head).await;
        let answer = rest(&mut socket).await.to_ascii_lowercase();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "one,two");
        assert!(!head.contains("transfer-encoding") && !head.contains("keep-alive"), "{head}");
    }
    let mut socket = running.connect().await;
    asks(&mut socket, "/streamed", "HTTP/1.1\r\nHost: a\r\nConnection: close").await;
    assert!(rest(&mut socket).await.ends_with("\r\n\r\n4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n"));
    running.server.stop(false).await;
}

/// A connection to itself: what it says comes in, unless there is more than the system takes.
async fn pair(connections: &Rc<Connections>, now: Instant) -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let io = listener.accept().unwrap().0;
    io.set_nonblocking(true).unwrap();
    (peer, Stream::new(TcpStream::from_std(io).unwrap(), connections.add(now)))
}

#[actix_rt::test]
async fn a_connection_on_which_nothing_came_ends_without_a_word() {
    let connections = Connections::new(Bounds { keep_alive: MINUTE, most: 10 }, ends());
    let now = Instant::now();
    let (mut peer, mut stream) = pair(&connections, now).await;
    {
        let mut speaks = Box::pin(stream.speaks());
        assert!(speaks.as_mut().now_or_never().is_none(), "the server has not seen it");
        connections.sweep(now + MINUTE - Duration::from_secs(1));
        assert!(speaks.as_mut().now_or_never().is_none(), "it may stay");
        connections.sweep(now + MINUTE);
        assert!(speaks.await.is_err());
    }
    drop(stream);
    assert_eq!(rest(&mut peer).await, "");
}

#[actix_rt::test]
async fn little_is_read_at_once_and_nothing_while_a_request_waits_or_answers_are_unread() {
    let connections = Connections::new(Bounds { keep_alive: MINUTE, most: 10 }, ends());
    let (mut peer, mut stream) = pair(&connections, Instant::now()).await;
    peer.write_all(&[b'x'; 9 << 10]).await.unwrap();
    stream.speaks().await.unwrap();
    let connection = stream.connection.clone();
    let mut buffer = vec![0; 64 << 10];
    connection.waits.set(true);
    assert!(stream.read(&mut buffer).now_or_never().is_none());
    connection.waits.set(false);
    connection.blocked_since.set(Some(Instant::now()));
    assert!(stream.read(&mut buffer).now_or_never().is_none());
    connection.blocked_since.set(None);
    let request = UnderWay::new(connection.clone());
    assert!(stream.read(&mut buffer).now_or_never().is_none(), "what follows a request is not its own");
    connection.body_since.set(Some(Instant::now()));
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 4 << 10, "its body is read");
    connection.body_since.set(None);
    drop(request);
    assert!(stream.read(&mut buffer).now_or_never().is_none(), "others have their turn");
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 4 << 10);
    connection.becomes_call();
    connection.blocked_since.set(Some(Instant::now()));
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 1 << 10, "a media stream passes");
}

#[actix_rt::test]
async fn a_request_waits_for_its_turn_while_answers_are_unread() {
    let connections = Connections::new(Bounds { keep_alive: MINUTE, most: 10 }, ends());
    let (_peer, mut stream) = pair(&connections, Instant::now()).await;
    let connection = stream.connection.clone();
    while stream.write(&[b'x'; LARGE]).now_or_never().is_some() {}
    assert!(connection.is_blocked());
    let mut turn = Box::pin(connection.turn());
    assert!(turn.as_mut().now_or_never().is_none(), "others go first");
    assert!(turn.as_mut().now_or_never().is_none(), "and the answers are unread");
    connections.sweep(Instant::now() + STALLED_AFTER);
    assert!(turn.now_or_never().is_some());
    assert!(stream.write(b"x").await.is_err(), "the peer is given up");
    assert_eq!(connections.ends.stalled.get(), 1);
}

#[test]
fn connections_end_when_they_are_overdue_and_not_before() {
    let connections = Connections::new(Bounds { keep_alive: MINUTE, most: 10 }, ends());
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    // What is the state, from which second on it ends.
    let ends_after = |state: &dyn Fn(&Connection)| {
        let connection = connections.add(now);
        connection.state.set(State::Used);
        state(&connection);
        (0..1_000).find(|&second| connections.overdue(&connection, at(second)).is_some())
    };
    assert_eq!(ends_after(&|_| {}), Some(62), "after the server, which ends it at 60");
    assert_eq!(ends_after(&|one| one.state.set(State::Silent)), Some(60));
    assert_eq!(ends_after(&|one| one.requests.set(1)), None, "it is answered some time");
    let holds_back = |one: &Connection| one.body_since.set(Some(now));
    assert_eq!(ends_after(&holds_back), Some(2), "it was answered without its body");
    let awaited = |one: &Connection| {
        one.requests.set(1);
        holds_back(one);
    };
    assert_eq!(ends_after(&awaited), Some(20));
    assert_eq!(ends_after(&|one| one.blocked_since.set(Some(now))), Some(30));
}

#[test]
fn who_waits_for_a_body_gives_way_and_who_is_answered_does_not() {
    let connections = Connections::new(Bounds { keep_alive: MINUTE, most: 3 }, ends());
    let now = Instant::now();
    let [answered, holds_back, used] = [0, 1, 2].map(|_| connections.add(now));
    for one in [&answered, &holds_back, &used] {
        one.state.set(State::Used);
    }
    answered.requests.set(1);
    holds_back.requests.set(1);
    holds_back.body_since.set(Some(now));
    used.idle_since.set(now + Duration::from_secs(1));
    connections.add(now + MINUTE);
    assert!(holds_back.has_ended());
    connections.add(now + MINUTE);
    connections.add(now + MINUTE);
    assert_eq!(connections.ends.crowded.get(), 3);
    assert!(!answered.has_ended(), "its answer is on the way");
    answered.becomes_call();
    assert_eq!(connections.open.borrow().len(), 2);
}
