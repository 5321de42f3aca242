//! The load tests as a person runs them: what they find, and the exit status.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use switchboard::loadtest::result::{Check, LoadTest, Scenario, Verdict};
use switchboard::sim::realtime;
use switchboard::sim::report::{CallCounts, CallsReport, FrameCounts};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::report_page;
use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::certificates::Authority;
use crate::support::eventually;
use crate::support::postgres::{TestDatabase, client};

/// `--quick` is over in well under two minutes, with the start of the private instance.
const QUICK: Duration = Duration::from_secs(110);

/// Runs `switchboard loadtest`, and answers what it said and its exit status.
async fn loadtest(arguments: &[&str]) -> (String, i32) {
    run(Command::new(env!("CARGO_BIN_EXE_switchboard")), arguments).await
}

/// The same with a command that is the program, or becomes it.
async fn run(mut command: Command, arguments: &[&str]) -> (String, i32) {
    command.arg("loadtest").args(arguments).env("TWILIO_AUTH_TOKEN", AUTH_TOKEN).env_remove("DATABASE_URL");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let Output { status, stdout, stderr } =
        timeout(QUICK, command.output()).await.expect("it ends in time").expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    println!("{said}");
    (said, status.code().expect("it was not killed"))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON")
}

/// The line that says what was breached in `scenario`, and that it was `what`.
fn says_that_was_breached(said: &str, scenario: &str, what: &str) -> bool {
    said.lines().any(|line| line.starts_with(&format!("breached in {scenario}: {what}")))
}

#[actix_rt::test]
async fn all_scenarios_end_green_on_a_private_instance() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().to_str().unwrap();
    let (said, status) = loadtest(&["all", "--quick", "--report", report]).await;
    assert_eq!(status, 0, "{said}");

    let test: LoadTest = read(&folder.path().join("result.json"));
    assert_eq!(test.verdict, Verdict::Fine);
    let names: Vec<_> = test.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names, ["calls", "webhooks", "database"]);
    let [calls, webhooks, database] = &test.scenarios[..] else { panic!("{names:?}") };
    assert_eq!((calls.asked, webhooks.asked, database.asked), (10, 500, 100));
    assert_eq!(calls.calls.as_ref().unwrap().calls.completed, 10);
    let active = calls.samples.iter().filter_map(|sample| sample.active_calls).max();
    assert_eq!(active, Some(10), "all of them were seen at once");
    for scenario in &test.scenarios {
        assert!(
            !scenario.samples.is_empty() && scenario.samples.iter().any(|sample| sample.pool_limit.is_some())
        );
        assert!(scenario.samples.iter().all(|sample| sample.memory_limit_mib > sample.memory_mib));
        assert!(counted(scenario) > 0, "{} has a distribution", scenario.name);
    }
    assert_eq!((counted(webhooks), counted(database)), (500, 100));
    let plots = report_page::plots_on_a_screen(folder.path()).await;
    for title in [
        "Latency added to frames (ms)",
        "Response time (ms)",
        "Database connections",
        "Memory (MiB)",
        "Calls",
    ] {
        assert!(plots.iter().any(|plot| plot == title), "{title}: {plots:?}");
    }

    let port = serves(|stream| answers(stream, |_| Duration::ZERO));
    let origin = format!("http://127.0.0.1:{port}");
    let old = folder.path().join("result.json");
    let queries = ["--queries", "5", "--query-seconds", "1", "--compare", old.to_str().unwrap()];
    let (said, _) = loadtest(&[&["database", "--url", &origin], &queries[..]].concat()).await;
    let (_, beside) = said.split_once("\nold: fine, ").unwrap_or_else(|| panic!("{said}"));
    assert!(beside.contains("\ncalls: only in the old result\n"), "{said}");
    let row = |name: &str| {
        let figures = beside.lines().find_map(|line| line.strip_prefix(name)).expect("the row");
        figures.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        (row("database "), row("asked ")),
        (vec!["old".into(), "new".into()], vec!["100".into(), "5".into()])
    );
}

fn counted(scenario: &Scenario) -> u64 {
    scenario.distribution.iter().map(|bucket| bucket.count).sum()
}

/// Waits until a process that `parent` has started runs this command of the program.
async fn child(parent: u32, command: &str) -> Pid {
    let is_it = |pid: &str| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        // The name in the second field may have spaces; the parent is the second after its parenthesis.
        let stat = read("stat");
        let parent_of_it = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parent_of_it == Some(&parent.to_string()) && read("cmdline").split('\0').nth(1) == Some(command)
    };
    let mut found = None;
    eventually("the process runs", async || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
        found = names.into_iter().filter(|name| is_it(name)).find_map(|pid| pid.parse().ok());
        found.is_some()
    })
    .await;
    Pid::from_raw(found.unwrap()).unwrap()
}

#[actix_rt::test]
async fn an_instance_that_dies_is_critical_and_what_was_found_before_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = "--calls 2 --seconds 3 --webhooks 20 --webhook-seconds 2 --queries 10 --query-seconds 1";
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["loadtest", "all", "--report"]).arg(folder.path()).args(sizes.split(' '));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut running = command.spawn().unwrap();
    let mut progress = BufReader::new(running.stderr.take().unwrap()).lines();
    let the_second_begins = async {
        while let Some(line) = progress.next_line().await.unwrap() {
            if line.starts_with("webhooks: ") {
                return;
            }
        }
        panic!("it ended before");
    };
    timeout(QUICK, the_second_begins).await.expect("it comes to the second scenario");
    kill_process(child(running.id().unwrap(), "serve").await, Signal::KILL).unwrap();
    let ended = timeout(QUICK, running.wait_with_output()).await.expect("it ends in time").unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("calls completed                 2\n"), "{said}");
    assert!(says_that_was_breached(&said, "end", "programs that did not end well 1"), "{said}");
    assert!(said.contains("the program did not end well: see "), "{said}");
    let test: LoadTest = read(&folder.path().join("result.json"));
    let names: Vec<_> = test.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names, ["calls", "webhooks", "database", "end"]);
    assert!(folder.path().join("report.html").exists());
}

/// Every second query of the log, and what comes with it, waits until a lock is gone.
async fn slows_down(database: Client) {
    loop {
        let slow = "BEGIN; LOCK TABLE calls IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.9); COMMIT";
        database.batch_execute(slow).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await; // those who waited get their turn
    }
}

#[actix_rt::test]
async fn a_slow_database_is_a_warning_that_names_the_call_log() {
    let database = TestDatabase::create().await;
    let realtime = realtime::start(realtime::Options::default()).await.unwrap();
    let app = TestApp::start(&database, &format!("http://{}", realtime.addr()));
    let slow = actix_rt::spawn(slows_down(client(&database.url).await));
    let queries = ["--queries", "60", "--query-seconds", "10", "--at-once", "3"];
    let (said, status) = loadtest(&[&["database", "--url", &app.origin], &queries[..]].concat()).await;
    slow.abort();
    assert_eq!(status, 1, "{said}");
    assert!(says_that_was_breached(&said, "database", "call log P95"), "{said}");
    assert!(!says_that_was_breached(&said, "database", "error rate"), "{said}");
}

#[actix_rt::test]
async fn a_realtime_service_that_errs_at_six_percent_is_critical_though_the_calls_survive_it() {
    let database = TestDatabase::create().await;
    let faults = vec!["errors=6".parse().unwrap()];
    let realtime =
        realtime::start(realtime::Options { faults, ..realtime::Options::default() }).await.unwrap();
    let origin = format!("http://{}", realtime.addr());
    let app = TestApp::start(&database, &origin);
    let file = tempfile::NamedTempFile::new().unwrap();
    let json = file.path().to_str().unwrap();
    let calls = ["--calls", "10", "--seconds", "20", "--json", json];
    let (said, status) =
        loadtest(&[&["calls", "--url", &app.origin, "--realtime", &origin], &calls[..]].concat()).await;
    assert_eq!(status, 2, "{said}");
    let what = "failed responses of the Realtime service";
    assert!(says_that_was_breached(&said, "calls", what), "{said}");
    let report: CallsReport = read(file.path());
    assert_eq!((report.calls.asked, report.calls.completed), (10, 10), "{said}");
    app.empties().await;
}

fn check<'a>(scenario: &'a Scenario, what: &str) -> &'a Check {
    scenario.checks.iter().find(|check| check.what.starts_with(what)).unwrap_or_else(|| panic!("{what}"))
}

#[actix_rt::test]
async fn what_is_over_the_ceiling_is_turned_away_and_the_others_keep_their_quality() {
    let folder = tempfile::tempdir().unwrap();
    let overload = ["calls", "--overload", "--quick", "--seconds", "12", "--report"];
    let (said, status) = loadtest(&[&overload[..], &[folder.path().to_str().unwrap()]].concat()).await;
    let test: LoadTest = read(&folder.path().join("result.json"));
    let [overload] = &test.scenarios[..] else { panic!("{said}") };
    let report = overload.calls.as_ref().unwrap();
    let CallCounts { asked, completed, refused, failed, .. } = report.calls;
    assert_eq!((asked, completed, refused, failed), (30, 20, 10, 0), "{said}");
    assert_eq!((report.violations, &report.frames), (0, &Some(FrameCounts::default())), "{said}");
    // The quality that is asked for is a matter of milliseconds: this machine may be too busy for it, and
    // late itself.
    let late = ["added latency P99", "own lag P99", "response time P95"];
    for breached in overload.breached() {
        assert!(late.iter().any(|what| breached.what.starts_with(what)), "{breached}");
    }
    assert_eq!(status, i32::from(overload.verdict.exit_status()));
}

#[actix_rt::test]
async fn a_limit_below_what_is_asked_is_critical_and_the_finding_says_what_gave_way() {
    let database = TestDatabase::create().await;
    let realtime = realtime::start(realtime::Options::default()).await.unwrap();
    let origin = format!("http://{}", realtime.addr());
    let app = Setup::new(&database.url, &origin).with("MAX_CONCURRENT_CALLS", "3").start();
    let search = ["calls", "--find-limit", "--quick", "--seconds", "2"];
    let there = ["--url", &app.origin, "--realtime", &origin];
    let (said, status) = loadtest(&[&search[..], &there].concat()).await;
    assert_eq!(status, 2, "{said}");
    let finding = "limit (critical): holds 0 calls with added latency P99 within 20 ms and no lost frame; at 20 gave way: ";
    let finding = said.lines().find_map(|line| line.strip_prefix(finding)).expect("the finding");
    assert!(finding.contains("calls not completed 85 % "), "{finding}");
    assert!(says_that_was_breached(&said, "limit", "calls short of what is asked 20 "), "{said}");
    app.empties().await;
}

#[actix_rt::test]
async fn a_program_that_refuses_is_not_put_under_load_and_the_setting_is_named() {
    let database = TestDatabase::create().await;
    let app = TestApp::start(&database, "http://127.0.0.1:1");
    let (said, status) = loadtest(&["webhooks", "--url", &app.origin, "--auth-token", "another"]).await;
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(&format!("the program needs PUBLIC_URL={}", app.origin)), "{said}");
    let app = Setup::new(&database.url, "http://127.0.0.1:1")
        .with("API_AUTH", "required")
        .with("INSTANCE_ID", "with-logins")
        .start();
    for scenario in ["database", "calls"] {
        let (said, status) = loadtest(&[scenario, "--url", &app.origin]).await;
        assert_eq!(status, 1, "{said}");
        assert!(said.contains("the program needs API_AUTH=off"), "{said}");
    }
}

#[actix_rt::test]
async fn after_rounds_of_calls_no_slot_actor_task_or_socket_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let soak = ["calls", "--calls", "3", "--seconds", "3", "--for", "1s", "--report"];
    let (said, _) = loadtest(&[&soak[..], &[folder.path().to_str().unwrap()]].concat()).await;
    let test: LoadTest = read(&folder.path().join("result.json"));
    let leaks = test.scenarios.last().unwrap();
    assert_eq!(leaks.name, "leaks", "{said}");
    for left in
        ["slots still held", "actors more", "tasks more", "file descriptors more", "times it was started"]
    {
        assert_eq!(check(leaks, left).verdict, Verdict::Fine, "{said}");
    }
    let calls =
        |name: &str| test.scenarios.iter().find(|scenario| scenario.name == name).unwrap().calls.as_ref();
    assert_eq!(["calls", "calls 2"].map(|name| calls(name).unwrap().calls.completed), [3, 3], "{said}");
}

#[actix_rt::test]
async fn a_soak_loads_the_same_process_again_and_looks_for_what_it_keeps() {
    let storm = ["webhooks", "--webhooks", "50", "--webhook-seconds", "1", "--for", "1s"];
    let (said, status) = loadtest(&storm).await;
    assert_eq!(status, 0, "{said}");
    for scenario in ["webhooks (fine)", "webhooks 2 (fine)", "(round 2 of 2, ", "leaks (fine)"] {
        assert!(said.contains(scenario), "{scenario}: {said}");
    }
}

/// Answers every request on this connection with what `/healthz` answers, so long after its first line has
/// come.
fn answers(mut stream: impl Read + Write, after: impl Fn(&str) -> Duration) {
    const HEALTHY: &str = r#"{"status":"healthy","poolStats":{"total":1,"idle":1,"waiting":0},"calls":{"active":0,"limit":20}}"#;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            std::thread::sleep(after(&String::from_utf8_lossy(&head)));
            head.clear();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{HEALTHY}", HEALTHY.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A server whose every connection is given to `handle`; its port.
fn serves(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, handle) = (stream.unwrap(), handle.clone());
            std::thread::spawn(move || handle(stream));
        }
    });
    port
}

#[actix_rt::test]
async fn a_certificate_of_a_private_authority_is_believed_where_it_is_trusted_and_connections_are_used_again()
{
    let (authority, stranger, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    authority.issue("127.0.0.1").write(folder.path());
    let chain = vec![CertificateDer::from_pem_file(folder.path().join("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.path().join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let connections = Arc::new(AtomicU32::new(0));
    let counted = connections.clone();
    let port = serves(move |stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        let connection = ServerConnection::new(config.clone()).unwrap();
        answers(StreamOwned::new(connection, stream), |_| Duration::ZERO);
    });
    let origin = format!("https://127.0.0.1:{port}");
    let queries = ["database", "--url", &origin, "--queries", "40", "--query-seconds", "2", "--at-once", "1"];
    let trusting = async |authority: &Authority| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.env("SSL_CERT_FILE", authority.file()).env_remove("SSL_CERT_DIR");
        run(command, &queries).await
    };
    let (said, _) = trusting(&authority).await;
    assert!(!said.contains("errors") && !says_that_was_breached(&said, "database", "error rate"), "{said}");
    let used = connections.load(Ordering::Relaxed);
    assert!((1..=10).contains(&used), "{used} connections for more than 40 requests");
    let (said, status) = trusting(&stranger).await;
    assert_eq!(status, 1, "{said}");
    let why = "no CA that this machine trusts has issued its certificate; name the CA's file with --cacert";
    assert_eq!(said, format!("the load test failed: {origin}: {why}\n"));
}

#[actix_rt::test]
async fn a_page_of_metrics_that_is_long_in_coming_is_no_lack_of_health() {
    let slow_page = |head: &str| Duration::from_secs(if head.starts_with("GET /metrics ") { 8 } else { 0 });
    let port = serves(move |stream| answers(stream, slow_page));
    let origin = format!("http://127.0.0.1:{port}");
    let queries = ["--queries", "7", "--query-seconds", "7", "--at-once", "1"];
    let (said, _) = loadtest(&[&["database", "--url", &origin], &queries[..]].concat()).await;
    assert!(says_that_was_breached(&said, "database", "memory unknown"), "{said}");
    assert!(!says_that_was_breached(&said, "database", "looks at /healthz"), "{said}");
}

#[actix_rt::test]
async fn what_this_machine_lacks_is_a_warning_and_no_error_of_the_program() {
    let port = serves(|stream| answers(stream, |_| Duration::from_millis(300)));
    let origin = format!("http://127.0.0.1:{port}");
    let with = |descriptors: u32| {
        let mut command = Command::new("sh");
        let script = format!(r#"ulimit -n {descriptors}; exec "$0" "$@""#);
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_switchboard"));
        command
    };
    let queries = ["--queries", "100", "--query-seconds", "1", "--at-once", "100"];
    let (said, status) = run(with(40), &[&["database", "--url", &origin], &queries[..]].concat()).await;
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("no file descriptor left here"), "{said}");
    assert!(says_that_was_breached(&said, "database", "not sent for want of something here"), "{said}");
    assert!(!says_that_was_breached(&said, "database", "error rate"), "{said}");

    let (said, status) = run(with(100), &["calls", "--url", &origin, "--calls", "20"]).await;
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("file descriptors for 9 calls, and 20 are asked for"), "{said}");
}

#[actix_rt::test]
async fn wrong_arguments_and_a_result_that_is_none_are_told_before_anything_is_started() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{}").unwrap();
    let old = file.path().to_str().unwrap();
    for wrong in [
        &["calls", "--url", "https://voice.example.com"][..],
        &["calls", "--url", "https://other.example.com", "--allow-host", "voice.example.com"],
        &["calls", "--url", "http://voice.example.com", "--allow-host", "voice.example.com"],
        &["calls", "--url", "https://api.twilio.com", "--allow-host", "api.twilio.com"],
        &["calls", "--allow-host", "voice.example.com"],
        &["calls", "--url", "https://127.0.0.1:1", "--cacert", "/proc/nowhere"],
        &["webhooks", "--calls", "3"],
        &["all", "--compare", old],
        &["all", "--report", "/proc/nowhere"],
        &["all", "--json", "/proc/nowhere/result.json"],
        &["calls", "--find-limit", "--url", "http://127.0.0.1:1"],
        &["everything"],
    ] {
        let (said, status) = loadtest(wrong).await;
        assert_eq!(status, 64, "{wrong:?}: {said}");
    }
}
