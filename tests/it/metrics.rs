//! What is counted, as a real Prometheus sees it.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::http::Method;
use serde_json::Value;
use switchboard::sim::phone::Caller;
use switchboard::sim::speech::CALLER;
use tempfile::TempDir;

use crate::support::app::TestApp;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{RawStream, call_sid, post, rings, webhook};
use crate::support::world::{World, asks, is_answered, streams_are};
use crate::support::{DEADLINE, eventually, free_address};

/// One instance has no more series than this, whatever it is sent.
const MOST_SERIES: usize = 2_000;

/// A Prometheus of the test's own, which scrapes one program every second.
struct Prometheus {
    child: Child,
    origin: String,
    _folder: TempDir,
}

impl Prometheus {
    fn scraping(app: &TestApp) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let config = folder.path().join("prometheus.yml");
        let target = app.origin.strip_prefix("http://").unwrap();
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: switchboard, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .spawn()
            .expect("the distribution's package `prometheus` is there");
        Self { child, origin: format!("http://{address}"), _folder: folder }
    }

    /// The value of a query with one answer; none while it has none.
    async fn value(&self, query: &str) -> Option<f64> {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let url = format!("{}/api/v1/query?query={query}", self.origin);
        let answer: Value = awc::Client::default().get(url).send().await.ok()?.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    async fn sees(&self, query: &str, fits: impl Fn(f64) -> bool) {
        let what = format!("Prometheus sees {query}");
        eventually(&what, async || self.value(query).await.is_some_and(&fits)).await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn scrape(app: &TestApp) -> String {
    let mut response = awc::Client::default().get(app.url("/metrics")).send().await.unwrap();
    String::from_utf8(response.body().limit(1 << 20).await.unwrap().to_vec()).unwrap()
}

/// Asks Prometheus' own tool, which says nothing if all is well.
fn objections_of_promtool(metrics: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the distribution's package `prometheus` is there");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    format!("{}{}", String::from_utf8_lossy(&said), if output.status.success() { "" } else { "it failed" })
}

/// The caller speaks while the agent does.
async fn interrupts(caller: &Caller) {
    caller.say(&CALLER[0]).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.listens_for(Duration::from_secs(1)).await.unwrap();
    caller.interrupts_with(&CALLER[1]).await.unwrap().expect("the agent was speaking");
    caller.hears_agent_within(DEADLINE).await.unwrap();
}

#[actix_rt::test]
async fn a_real_prometheus_scrapes_an_instance_with_a_live_call() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    let prometheus = Prometheus::scraping(&app);
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    interrupts(&caller).await;

    prometheus.sees("up", |up| up == 1.0).await;
    prometheus.sees("switchboard_calls_active", |calls| calls == 1.0).await;
    prometheus.sees(r#"switchboard_actors_live{actor="call"}"#, |calls| calls == 1.0).await;
    prometheus.sees(r#"switchboard_actors_live{actor="pump"}"#, |streams| streams == 1.0).await;
    prometheus.sees("switchboard_db_up", |up| up == 1.0).await;
    for counted in [
        r#"switchboard_admissions_total{result="admitted"}"#,
        r#"switchboard_actor_handler_seconds_count{actor="call"}"#,
        r#"switchboard_actor_handler_seconds_count{actor="registry"}"#,
        "switchboard_caller_frames_total",
        "switchboard_turn_latency_seconds_count",
        "switchboard_mark_round_trip_seconds_count",
        "switchboard_barge_in_reaction_seconds_count",
        "switchboard_clear_to_silence_seconds_count",
        "switchboard_truncations_total",
        "switchboard_first_audio_seconds_count",
        r#"switchboard_realtime_tokens_total{direction="output",kind="audio"}"#,
        "switchboard_realtime_cost_dollars_total",
        "switchboard_realtime_sockets",
        r#"switchboard_actor_handler_seconds_count{actor="db"}"#,
        "switchboard_db_pool_wait_seconds_count",
        r#"switchboard_http_requests_total{route="/api/voice/incoming",method="POST",status="2xx"}"#,
        r#"switchboard_http_request_duration_seconds_count{route="/api/voice/stream"}"#,
        "process_resident_memory_bytes",
    ] {
        prometheus.sees(counted, |value| value > 0.0).await;
    }
    assert_eq!(objections_of_promtool(&scrape(&app).await), "");

    caller.hangs_up().await;
    let log = app.logged(caller.call_sid()).await;
    app.empties().await;
    assert!(log["call"]["costUsd"].is_number());
    eventually("the log has the cost that is counted", async || {
        let logged = app.logged(caller.call_sid()).await["call"]["costUsd"].as_f64().unwrap();
        (app.metric("switchboard_realtime_cost_dollars_total").await - logged).abs() < 1e-6
    })
    .await;
    assert!(app.metric("switchboard_first_audio_seconds_count").await > 0.0);
    eventually("no actor of the call is left", async || {
        scrape(&app).await.contains("switchboard_actors_live{actor=\"call\"} 0")
    })
    .await;
    eventually("no socket is left", async || app.metric("switchboard_realtime_sockets").await == 0.0).await;
}

/// A panic in what an actor does, and in reading what the service says to it.
#[actix_rt::test]
async fn panics_and_restarts_are_counted_by_actor() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    let caller = world.network.rings().unwrap();
    app.panics_at("call-parse", is_answered(&caller)).await;
    let digit = format!("call-{}-Digit", caller.call_sid());
    app.panics_at(&digit, async { caller.presses('5') }).await;
    app.panics_at("jobs", async {}).await;
    app.panics_at("pump", async { caller.presses('6') }).await;
    streams_are(&caller, 2).await;
    asks(&caller, &CALLER[0]).await;
    caller.hangs_up().await;
    app.empties().await;
    eventually("the runner of jobs lives again", async || {
        app.metric(r#"switchboard_actor_restarts_total{actor="jobs"}"#).await == 1.0
    })
    .await;
    let metrics = scrape(&app).await;
    for line in [
        r#"switchboard_actor_panics_total{actor="call"} 2"#,
        r#"switchboard_actor_restarts_total{actor="call"} 2"#,
        r#"switchboard_actor_panics_total{actor="jobs"} 1"#,
        r#"switchboard_actor_panics_total{actor="pump"} 1"#,
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line} is not in {metrics}");
    }
}

/// A rate is of a series that is there before its first event.
#[actix_rt::test]
async fn what_can_be_counted_is_there_from_the_start() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    let metrics = scrape(&app).await;
    for series in [
        r#"admissions_total{result="full"}"#,
        r#"call_ends_total{outcome="failed",reason="stream-lost"}"#,
        r#"realtime_connects_total{result="failed"}"#,
        r#"realtime_errors_total{severity="fatal"}"#,
        r#"realtime_responses_total{status="failed"}"#,
        r#"stream_faults_total{fault="overflow"}"#,
        r#"actor_panics_total{actor="pump"}"#,
        r#"job_runs_total{job="dead-letters",result="timed-out"}"#,
        r#"webhooks_received_total{result="unavailable",route="call-status"}"#,
        r#"webhooks_processed_total{result="dead",route="recording-status"}"#,
        r#"trace_spans_total{result="dropped"}"#,
    ] {
        let line = format!("switchboard_{series} 0");
        assert!(metrics.lines().any(|told| told == line), "{line} is not in {metrics}");
    }
}

#[actix_rt::test]
async fn an_actor_that_panicked_lives_again_and_its_restart_is_counted() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    app.panics_at("registry", async {
        let caller = world.in_conversation(&[]).await; // Twilio tries again
        caller.hangs_up().await;
    })
    .await;
    app.empties().await;
    let metrics = scrape(&app).await;
    for line in [
        r#"switchboard_actor_restarts_total{actor="registry"} 1"#,
        r#"switchboard_actors_live{actor="registry"} 1"#,
        r#"switchboard_actors_live{actor="db"} 1"#,
        r#"switchboard_actors_live{actor="jobs"} 1"#,
        r#"switchboard_actor_messages_waiting{actor="registry"} 0"#,
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line} is not in {metrics}");
    }
}

/// Sends much that nobody should send, all of it with this word in it.
async fn is_sent_oddities(app: &TestApp, word: &str, number: u32) {
    let client = awc::Client::default();
    for count in 0..60 {
        let path = app.url(&format!("/{word}/{count}?{word}={count}"));
        let method = Method::from_bytes(format!("{}{count}", word.to_uppercase()).as_bytes()).unwrap();
        client.request(method, path).send().await.unwrap();
        client.get(app.url(&format!("/api/call-logs/{word}{count}"))).send().await.unwrap();
    }
    for count in 0..20 {
        let odd = format!("{word}-{count}");
        let call = call_sid(number + count);
        post(app, "/api/voice/incoming", &[("CallSid", &call)], &odd).await;
        let parameters = [("CallSid", call.as_str()), ("CallStatus", &odd), (&odd, &odd)];
        webhook(app, "/api/voice/call-status", &parameters).await;
        let token = rings(app, &call).await.token();
        let mut stream = RawStream::open(app).await;
        if count % 2 == 0 {
            stream.start(&call, &odd).await;
        } else {
            stream.start(&call, &token).await;
            stream.send(format!(r#"{{"event":"{odd}","mark":{{"name":"{odd}"}}}}"#)).await;
            stream.send(format!(r#"{{"event":"mark","mark":{{"name":"{odd}"}}}}"#)).await;
            stream.send(odd).await;
        }
        stream.close_code().await;
        let ended = [("CallSid", call.as_str()), ("CallStatus", "completed")];
        webhook(app, "/api/voice/call-status", &ended).await;
        app.empties().await;
    }
}

#[actix_rt::test]
async fn odd_input_makes_no_series_of_its_own() {
    let database = TestDatabase::create().await;
    let world = World::around(&database.url).await;
    let app = world.start();
    let series = async || {
        let metrics = scrape(&app).await;
        metrics.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    is_sent_oddities(&app, "brew", 100).await;
    let before = series().await.len();
    is_sent_oddities(&app, "boil", 200).await;
    let after = series().await;
    let number = |line: &str| line.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 7);
    let named = after.iter().find(|line| {
        let (series, _) = line.rsplit_once(' ').unwrap();
        series.contains("brew") || series.contains("boil") || series.contains("CA0") || number(series)
    });
    assert_eq!(named, None);
    // What runs beside may add some.
    assert!(after.len() < before + 50, "{before} series, then {}", after.len());
    assert!(after.len() < MOST_SERIES, "{}", after.len());
    assert_eq!(objections_of_promtool(&scrape(&app).await), "");
}
