//! TLS in the program itself: callers ring over it, and its certificate is renewed while they talk.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream as StdStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actors::wire::twilio::signature::sign;
use actors::wire::{https, roots};
use awc::{Client, Connector};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::ServerName;
use serde_json::Value;
use switchboard::sim::realtime;
use switchboard::sim::report::{CallsReport, FrameCounts};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::app::{AUTH_TOKEN, Setup};
use crate::support::certificates::{Authority, ServerCertificate};
use crate::support::postgres::TestDatabase;
use crate::support::{DEADLINE, eventually};

/// A few short calls are over in far less.
const CALLS_END_WITHIN: Duration = Duration::from_secs(110);

/// The program, which ends with the test.
struct Program {
    child: Child,
    origin: String,
    authority: Authority,
    folder: TempDir,
}

impl Program {
    fn start(database_url: &str, realtime: &str) -> Self {
        let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
        authority.issue("127.0.0.1").write(folder.path());
        let mut command = command(Setup::new(database_url, realtime), &folder);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let origin = line.trim().strip_prefix("switchboard listening on ").unwrap().to_owned();
        Self { child, origin, authority, folder }
    }

    fn shows(&self, certificate: &ServerCertificate) {
        certificate.write(self.folder.path());
    }

    fn address(&self) -> &str {
        self.origin.strip_prefix("https://").expect("it says that it has TLS")
    }

    /// A client with a connection of its own.
    fn client(&self) -> Client {
        let tls = https::trusting(roots::of_file(self.authority.file()).unwrap());
        Client::builder().connector(Connector::new().rustls_0_23(tls)).finish()
    }

    async fn health(&self) -> Value {
        let url = format!("{}/healthz", self.origin);
        self.client().get(url).send().await.expect("an answer").json().await.expect("JSON")
    }

    async fn warns_of(&self, warning: &str) -> bool {
        self.health().await["warnings"].as_array().unwrap().contains(&warning.into())
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let tls = https::trusting(roots::of_file(self.authority.file()).unwrap());
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        timeout(DEADLINE, TlsConnector::from(tls).connect(name, stream)).await.unwrap().unwrap()
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self) -> Vec<u8> {
        self.connect().await.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(setup: Setup, folder: &TempDir) -> Command {
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let setup = setup.with("TLS_CERT_FILE", &path("server.crt")).with("TLS_KEY_FILE", &path("server.key"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.arg("serve").env_clear().envs(setup.environment()).stdin(Stdio::null());
    command
}

/// A program that takes no calls.
fn idle() -> Program {
    Program::start("postgres://nobody@127.0.0.1:9/none", "http://127.0.0.1:9")
}

#[actix_rt::test]
async fn callers_ring_over_tls_while_the_certificate_is_renewed_and_no_frame_is_lost() {
    let database = TestDatabase::create().await;
    let realtime = realtime::start(realtime::Options::default()).await.unwrap();
    let realtime_origin = format!("http://{}", realtime.addr());
    let program = Program::start(&database.url, &realtime_origin);
    let (first, report) = (program.shown().await, program.folder.path().join("report.json"));
    let mut phone = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
    phone.args(["sim", "phone", "--url", &program.origin, "--realtime", &realtime_origin, "--cacert"]);
    phone.arg(program.authority.file()).args(["--calls", "3", "--seconds", "25", "--ramp", "1", "--quiet"]);
    phone.arg("--json").arg(&report).env("TWILIO_AUTH_TOKEN", AUTH_TOKEN).stdin(Stdio::null());
    let phone = phone.kill_on_drop(true).spawn().unwrap();
    eventually("somebody talks", async || program.health().await["calls"]["active"] == 3).await;

    program.shows(&program.authority.issue("127.0.0.1"));
    eventually("the new certificate is shown", async || program.shown().await != first).await;
    assert!(program.health().await["calls"]["active"].as_u64().unwrap() > 0, "they go on");
    let ended = timeout(CALLS_END_WITHIN, phone.wait_with_output()).await.expect("in time").unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let report: CallsReport = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!((report.calls.asked, report.calls.completed), (3, 3));
    assert_eq!((report.violations, &report.frames), (0, &Some(FrameCounts::default())));
}

#[actix_rt::test]
async fn a_webhook_over_tls_is_believed_by_the_signature_of_its_https_address() {
    let program = idle();
    let url = format!("{}/api/voice/incoming", program.origin);
    let form = [("CallSid", "any")];
    let pairs = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let status = async |signed: &str| {
        let request = program
            .client()
            .post(&url)
            .insert_header(("X-Twilio-Signature", sign(AUTH_TOKEN, signed, &pairs)));
        request.send_form(&form).await.unwrap().status().as_u16()
    };
    assert_eq!(status(&url.replacen("https", "http", 1)).await, 403);
    assert_ne!(status(&url).await, 403, "it is signed");
}

#[actix_rt::test]
async fn a_faulty_new_pair_is_told_and_the_old_certificate_shown_until_a_good_one_comes() {
    let program = idle();
    let first = program.shown().await;
    assert!(!program.warns_of("certificate-not-used").await);
    std::fs::write(program.folder.path().join("server.key"), "no key").unwrap();
    eventually("it is told", async || program.warns_of("certificate-not-used").await).await;
    program.shows(&program.authority.issue_expired("127.0.0.1"));
    program.hang_up();
    eventually("it is told", async || program.warns_of("certificate-not-used").await).await;
    assert!(program.shown().await == first);
    program.shows(&program.authority.issue("127.0.0.1"));
    eventually("the new one is shown", async || program.shown().await != first).await;
    eventually("the warning goes", async || !program.warns_of("certificate-not-used").await).await;
}

#[actix_rt::test]
async fn a_pair_that_does_not_fit_ends_the_program_at_once_and_names_the_file() {
    let folder = TempDir::new().unwrap();
    let said = |folder: &TempDir| {
        let setup = Setup::new("postgres://nobody@127.0.0.1:9/none", "http://127.0.0.1:9");
        let ended = command(setup, folder).output().unwrap();
        assert_eq!(ended.status.code(), Some(64));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let nothing = said(&folder);
    assert!(
        nothing.contains("TLS_CERT_FILE is ") && nothing.contains("server.crt: it cannot be read"),
        "{nothing}"
    );
    let (one, other) = (Authority::new(), TempDir::new().unwrap());
    one.issue("127.0.0.1").write(folder.path());
    one.issue("127.0.0.1").write(other.path());
    std::fs::copy(other.path().join("server.key"), folder.path().join("server.key")).unwrap();
    let wrong = said(&folder);
    assert!(wrong.contains("server.key: it is not the key of the certificate in TLS_CERT_FILE"), "{wrong}");
}

#[actix_rt::test]
async fn whoever_speaks_plain_http_or_never_ends_the_handshake_is_let_go() {
    let program = idle();
    let (address, mut answer) = (program.address().to_owned(), Vec::new());
    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let read = timeout(DEADLINE, plain.read_to_end(&mut answer)).await.expect("an end in time");
    assert!(read.is_ok(), "it ends in order: {read:?}");
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 200"));

    // The first bytes of a ClientHello, and no more.
    let slow = StdStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut &slow, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
    slow.set_read_timeout(Some(DEADLINE)).unwrap();
    let end = tokio::task::spawn_blocking(move || (&slow).read(&mut [0; 64])).await.unwrap();
    assert_eq!(end.expect("an end in time"), 0);

    // A client that keeps a connection ready is not hurried.
    let mut ready = program.connect().await;
    ready.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut said = String::new();
    timeout(DEADLINE, ready.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[actix_rt::test]
async fn a_container_asks_for_its_health_whoever_has_issued_the_certificate() {
    let program = idle();
    let mut health = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
    health.args(["ops", "health", "--address", program.address()]).env_clear().stdin(Stdio::null());
    health.env("TLS_CERT_FILE", program.folder.path().join("server.crt"));
    let answer = timeout(DEADLINE, health.output()).await.expect("in time").unwrap();
    assert!(answer.status.success() && answer.stdout.starts_with(b"200 "), "{answer:?}");
}
