//! TLS in front of the program, as `deploy/` configures nginx and HAProxy: callers ring through it, and it
//! says whom a request is from.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actors::wire::twilio::signature::sign;
use actors::wire::{https, roots};
use awc::{Client, Connector};
use switchboard::loadtest::result::{LoadTest, Verdict};
use switchboard::sim::realtime::{self, Server};
use switchboard::sim::report::{CallsReport, FrameCounts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::certificates::{Authority, ServerCertificate};
use crate::support::free_address;
use crate::support::postgres::TestDatabase;
use crate::support::tls_proxy::TlsProxy;

/// A few short calls are over in far less.
const CALLS_END_WITHIN: Duration = Duration::from_secs(110);

/// A kind of proxy: where it listens, what it shows, and where it forwards to.
type Kind = fn(SocketAddr, &ServerCertificate, SocketAddr) -> TlsProxy;

/// A program behind a proxy that TLS ends in.
struct Behind {
    proxy: TlsProxy,
    app: TestApp,
    authority: Authority,
    realtime: Server,
}

impl Behind {
    async fn start(kind: Kind, database: &TestDatabase, settings: &[(&str, &str)]) -> Self {
        let (authority, listen) = (Authority::new(), free_address());
        let realtime = realtime::start(realtime::Options::default()).await.unwrap();
        let setup = Setup::new(&database.url, &format!("http://{}", realtime.addr()))
            .with("PUBLIC_URL", &format!("https://{listen}"))
            .with("TRUSTED_PROXIES", "127.0.0.1")
            .with("API_AUTH", "required");
        let setup = settings.iter().fold(setup, |setup, (name, value)| setup.with(name, value));
        let app = setup.start();
        let program = app.origin.trim_start_matches("http://").parse().unwrap();
        let proxy = kind(listen, &authority.issue("127.0.0.1"), program);
        Self { proxy, app, authority, realtime }
    }

    /// A command against it that trusts this CA: what it said to standard output and error, and its exit
    /// status.
    async fn run(&self, command: &str, trusted: &Path, more: &[&str]) -> (String, String, i32) {
        let realtime = format!("http://{}", self.realtime.addr());
        let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        program.args(command.split(' ')).args(["--url", &self.proxy.origin, "--realtime", &realtime]);
        program.arg("--cacert").arg(trusted).args(more);
        program.env("TWILIO_AUTH_TOKEN", AUTH_TOKEN).stdin(Stdio::null()).kill_on_drop(true);
        let ended = timeout(CALLS_END_WITHIN, program.output()).await.expect("it ends in time");
        let Output { status, stdout, stderr } = ended.expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&stdout), text(&stderr), status.code().expect("it was not killed"))
    }

    /// Five callers are answered, and no frame of theirs is lost.
    async fn answers_callers(&self) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let calls = ["--calls", "5", "--seconds", "8", "--ramp", "1", "--quiet", "--json"];
        let more = [&calls[..], &[file.path().to_str().unwrap()]].concat();
        let (said, error, status) = self.run("sim phone", &self.authority.file(), &more).await;
        assert_eq!(status, 0, "{said}{error}");
        let report: CallsReport = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
        assert_eq!((report.calls.asked, report.calls.completed), (5, 5), "{said}");
        assert_eq!((report.violations, &report.frames), (0, &Some(FrameCounts::default())), "{said}");
    }

    /// A client at this address of this machine.
    fn client(&self, address: &str) -> Client {
        client(&self.authority, address.parse().unwrap())
    }
}

fn client(authority: &Authority, address: IpAddr) -> Client {
    let tls = https::trusting(roots::of_file(authority.file()).unwrap());
    Client::builder().connector(Connector::new().local_address(address).rustls_0_23(tls)).finish()
}

#[actix_rt::test]
async fn callers_ring_through_nginx_and_all_are_answered() {
    let database = TestDatabase::create().await;
    Behind::start(TlsProxy::nginx, &database, &[]).await.answers_callers().await;
}

#[actix_rt::test]
async fn callers_ring_through_haproxy_and_all_are_answered() {
    let database = TestDatabase::create().await;
    Behind::start(TlsProxy::haproxy, &database, &[]).await.answers_callers().await;
}

#[actix_rt::test]
async fn a_load_test_of_calls_goes_through_nginx_though_nobody_may_look_at_the_monitor() {
    let database = TestDatabase::create().await;
    let behind = Behind::start(TlsProxy::nginx, &database, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let calls = ["--quick", "--calls", "4", "--seconds", "10", "--report", folder.path().to_str().unwrap()];
    let (said, error, _) = behind.run("loadtest calls", &behind.authority.file(), &calls).await;
    let result = std::fs::read(folder.path().join("result.json")).unwrap_or_else(|_| panic!("{said}{error}"));
    let test: LoadTest = serde_json::from_slice(&result).unwrap();
    let [calls] = &test.scenarios[..] else { panic!("{said}") };
    let report = calls.calls.as_ref().unwrap();
    assert_eq!((report.calls.asked, report.calls.completed), (4, 4), "{said}");
    // The figures of time are about this machine, which may be busy.
    for what in ["calls never seen active at once", "error rate", "frames lost"] {
        let check = calls.checks.iter().find(|check| check.what.starts_with(what));
        assert_eq!(check.unwrap_or_else(|| panic!("{what}: {said}")).verdict, Verdict::Fine, "{said}");
    }
}

#[actix_rt::test]
async fn the_certificate_of_another_ca_is_told_in_one_line_before_anybody_rings() {
    let database = TestDatabase::create().await;
    let behind = Behind::start(TlsProxy::nginx, &database, &[]).await;
    let stranger = Authority::new();
    let origin = &behind.proxy.origin;
    let wrong = format!("{origin}: none of the CAs in the file of --cacert has issued its certificate\n");
    for (command, expected) in [
        ("sim phone", (String::new(), wrong.clone(), 64)),
        ("loadtest calls", (String::new(), format!("the load test failed: {wrong}"), 1)),
        ("loadtest webhooks", (String::new(), format!("the load test failed: {wrong}"), 1)),
    ] {
        assert_eq!(behind.run(command, &stranger.file(), &[]).await, expected, "{command}");
    }
    let (_, error, status) = behind.run("sim phone", Path::new("/proc/nowhere"), &[]).await;
    assert_eq!(status, 64);
    assert!(error.starts_with("error: --cacert <FILE>: /proc/nowhere: "), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    assert_eq!(behind.app.metric("switchboard_admissions_total").await, 0.0);
}

#[actix_rt::test]
async fn nginx_says_whom_a_request_is_from_whatever_the_client_says() {
    says_whom_a_request_is_from(TlsProxy::nginx).await;
}

#[actix_rt::test]
async fn haproxy_says_whom_a_request_is_from_whatever_the_client_says() {
    says_whom_a_request_is_from(TlsProxy::haproxy).await;
}

async fn says_whom_a_request_is_from(kind: Kind) {
    let database = TestDatabase::create().await;
    let behind = Behind::start(kind, &database, &[("RATE_LIMIT_API", "2/1m")]).await;
    let url = |path: &str| format!("{}{path}", behind.proxy.origin);
    let asks = async |client: &Client, claims: &str| {
        let request = client.get(url("/api/call-logs")).insert_header(("X-Forwarded-For", claims));
        request.send().await.unwrap().status().as_u16()
    };
    let (one, other) = (behind.client("127.0.0.2"), behind.client("127.0.0.3"));
    let asked = [asks(&one, "192.0.2.1").await, asks(&one, "192.0.2.2").await, asks(&one, "192.0.2.3").await];
    assert_eq!(asked, [401, 401, 429], "it is one client, whoever it says that it is");
    assert_eq!(asks(&other, "127.0.0.2").await, 401, "and this is another one");

    let status = async |signed: String| {
        let form = [("CallSid", "CA00000000000000000000000000000001"), ("CallStatus", "completed")];
        let pairs = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = one
            .post(url("/api/voice/call-status"))
            .insert_header(("X-Twilio-Signature", sign(AUTH_TOKEN, &signed, &pairs)))
            .insert_header(("X-Forwarded-Proto", "http"))
            .insert_header(("X-Forwarded-Host", "evil.example.com"))
            .insert_header(("Forwarded", "for=192.0.2.1;proto=http;host=evil.example.com"));
        request.send_form(&form).await.unwrap().status().as_u16()
    };
    assert_eq!(status(url("/api/voice/call-status")).await, 204);
    assert_eq!(status("http://evil.example.com/api/voice/call-status".to_owned()).await, 403);
    assert_eq!(status(behind.app.url("/api/voice/call-status")).await, 403);
}

/// A program that answers with the head that came, and keeps its connections, which are counted.
async fn echo(connections: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_rt::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            actix_rt::spawn(echoes(socket));
        }
    });
    address
}

async fn echoes(mut socket: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        head.push(socket.read_u8().await?);
        if head.ends_with(b"\r\n\r\n") {
            let start = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len());
            socket.write_all(&[start.as_bytes(), &head].concat()).await?;
            head.clear();
        }
    }
}

async fn forwards_as_it_came(kind: Kind) {
    let (authority, listen, connections) = (Authority::new(), free_address(), Arc::default());
    let program = echo(Arc::clone(&connections)).await;
    let proxy = kind(listen, &authority.issue("127.0.0.1"), program);
    let before = connections.load(Ordering::Relaxed);
    let path = "/api//voice/%7Ea/../b?x=a%2Fb&y=+%20";
    for _ in 0..10 {
        let url = format!("{}{path}", proxy.origin);
        let client = client(&authority, "127.0.0.2".parse().unwrap()); // it has a connection of its own
        let mut response = client.get(url).send().await.unwrap();
        let head = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap().to_lowercase();
        assert!(head.starts_with(&format!("get {} http/1.1\r\n", path.to_lowercase())), "{head}");
        for line in [&format!("host: {listen}"), "x-forwarded-for: 127.0.0.2", "x-forwarded-proto: https"] {
            assert!(head.lines().any(|said| said == line), "{line}: {head}");
        }
        assert!(!head.contains("\r\nconnection:"), "the connection is kept: {head}");
    }
    assert_eq!(connections.load(Ordering::Relaxed) - before, 1, "ten clients in turn share one connection");
}

#[actix_rt::test]
async fn nginx_forwards_path_and_query_as_they_came_over_a_connection_that_it_keeps() {
    forwards_as_it_came(TlsProxy::nginx).await;
}

#[actix_rt::test]
async fn haproxy_forwards_path_and_query_as_they_came_over_a_connection_that_it_keeps() {
    forwards_as_it_came(TlsProxy::haproxy).await;
}
