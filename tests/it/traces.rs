//! Traces at a collector: a call is one, whatever took part in it.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use actix_web::web::{Bytes, Data, PayloadConfig, post, to};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use switchboard::sim::speech::CALLER;
use tokio::process::Command;
use tokio::sync::watch;

use crate::support::postgres::TestDatabase;
use crate::support::world::{World, asks, is_answered, streams_are};
use crate::support::{DEADLINE, eventually};

/// A hosted one: it wants to know who sends.
const KEY: &str = "hush-hush";

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    /// Listens; answers its origin.
    fn start(&self) -> String {
        let collector = Data::new(self.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(collector.clone())
                .app_data(PayloadConfig::new(4 << 20))
                .route("/v1/traces", post().to(take))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", server.addrs()[0]);
        actix_rt::spawn(server.run());
        origin
    }

    /// All spans, each with the instance that sent it.
    fn spans(&self) -> Vec<(String, Span)> {
        let exports = self.0.lock().unwrap();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        let spans = resources.flat_map(|sent| {
            let about = &sent.resource.as_ref().expect("a resource").attributes;
            assert_eq!(text(about, "service.name"), "switchboard");
            let spans = sent.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(|span| (text(about, "service.instance.id"), span.clone()))
        });
        spans.collect()
    }

    /// The spans of this call.
    fn trace(&self, call_sid: &str) -> Vec<(String, Span)> {
        self.spans().into_iter().filter(|(_, span)| span.trace_id == trace_id(call_sid)).collect()
    }

    /// The first span of this name in the trace of the call, and who sent it.
    async fn span(&self, call_sid: &str, name: &str) -> (String, Span) {
        let named = || self.trace(call_sid).into_iter().find(|(_, span)| span.name == name);
        eventually(&format!("the span {name} has come"), async || named().is_some()).await;
        named().unwrap()
    }

    /// Waits until the trace of the call has spans of this name with each of these values of the attribute.
    async fn has(&self, call_sid: &str, name: &str, attribute: &str, values: &[&str]) {
        for value in values {
            let is_it = |span: &Span| span.name == name && text(&span.attributes, attribute) == *value;
            let what = format!("the span {name} with {attribute} {value} has come");
            eventually(&what, async || self.trace(call_sid).iter().any(|(_, span)| is_it(span))).await;
        }
    }
}

fn trace_id(call_sid: &str) -> [u8; 16] {
    u128::from_str_radix(&call_sid[2..], 16).unwrap().to_be_bytes()
}

/// Listens as a Realtime service that wants another key, and says so as soon as it may; answers its origin.
fn refusing_service(may: watch::Receiver<bool>) -> String {
    let server = HttpServer::new(move || {
        let may = may.clone();
        App::new().default_service(to(move || {
            let mut may = may.clone();
            async move {
                may.wait_for(|may| *may).await.unwrap();
                HttpResponse::Unauthorized().finish()
            }
        }))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let origin = format!("ws://{}", server.addrs()[0]);
    actix_rt::spawn(server.run());
    origin
}

async fn take(collector: Data<Collector>, request: HttpRequest, export: Bytes) -> HttpResponse {
    if request.headers().get("api-key").is_none_or(|key| key != KEY) {
        return HttpResponse::Unauthorized().finish();
    }
    collector.0.lock().unwrap().push(ExportTraceServiceRequest::decode(export).unwrap());
    HttpResponse::Ok().finish()
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == name);
    match attribute.and_then(|attribute| attribute.value.clone()) {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        other => panic!("{name} is {other:?}"),
    }
}

fn number(attributes: &[KeyValue], name: &str) -> i64 {
    let attribute = attributes.iter().find(|attribute| attribute.key == name);
    match attribute.and_then(|attribute| attribute.value.clone()) {
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number,
        other => panic!("{name} is {other:?}"),
    }
}

async fn world(database: &TestDatabase, collector: &str) -> World {
    let mut world = World::around(&database.url).await;
    world.setup = world
        .setup
        .clone()
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .with("OTEL_EXPORTER_OTLP_HEADERS", &format!("api-key={KEY}"));
    world
}

#[actix_rt::test]
async fn a_call_is_one_trace_with_its_sid_for_an_id() {
    let (database, collector) = (TestDatabase::create().await, Collector::default());
    let world = world(&database, &collector.start()).await;
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    caller.hangs_up().await;
    app.logged(caller.call_sid()).await;
    app.empties().await;

    for name in ["webhook", "registry", "realtime connect", "realtime session"] {
        collector.span(caller.call_sid(), name).await;
    }
    let (_, call) = collector.span(caller.call_sid(), "call").await;
    let (_, stream) = collector.span(caller.call_sid(), "media stream").await;
    assert_eq!(stream.parent_span_id, call.span_id);
    let (_, session) = collector.span(caller.call_sid(), "realtime session").await;
    for (span, name) in [(&call, "epoch"), (&stream, "epoch"), (&session, "session")] {
        assert_eq!(number(&span.attributes, name), 1, "{}", span.name);
    }
    assert_eq!(call.parent_span_id, b"");
    assert_eq!(text(&call.attributes, "call.sid"), caller.call_sid());
    assert_eq!(text(&call.attributes, "outcome"), "completed");
    assert_eq!(text(&call.attributes, "reason"), "caller-hung-up");
    let notes: Vec<_> = call.events.iter().map(|event| event.name.as_str()).collect();
    assert!(notes.contains(&"the call has ended"), "{notes:?}");
    assert!(call.end_time_unix_nano - call.start_time_unix_nano > 1_000_000_000, "{call:?}");
}

#[actix_rt::test]
async fn whatever_touched_a_call_without_agent_is_in_its_trace() {
    let (database, collector) = (TestDatabase::create().await, Collector::default());
    let mut world = world(&database, &collector.start()).await;
    let (refuse, may) = watch::channel(false);
    world.setup = world.setup.clone().with("OPENAI_REALTIME_URL", &refusing_service(may));
    let app = world.start();
    let caller = world.network.ring().await.unwrap();
    refuse.send_replace(true); // the stream has started: it may be over before that otherwise
    caller.leaves_a_message(DEADLINE, &CALLER[0]).await.unwrap();
    caller.presses('#');
    caller.ends().await;
    app.empties().await;

    let sid = caller.call_sid();
    let (_, connect) = collector.span(sid, "realtime connect").await;
    let status = connect.status.clone().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "the service answered 401"));
    let notes: Vec<_> = connect.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(notes, ["no connection to the Realtime service"]);
    collector.has(sid, "call", "reason", &["realtime-refused"]).await;
    collector.span(sid, "media stream").await;
    let steered = ["/api/voice/incoming", "/api/voice/after-stream", "/api/voice/voicemail"];
    collector.has(sid, "webhook", "route", &steered).await;
    let told = ["/api/voice/stream-status", "/api/voice/recording-status", "/api/voice/call-status"];
    collector.has(sid, "webhook", "route", &told).await;
    let questions = ["admit", "claim", "after stream", "end", "call over"];
    collector.has(sid, "registry", "question", &questions).await;
    collector.span(sid, "registry handler").await;
    collector.has(sid, "db", "query", &["decide", "store_aftermath", "store_webhook"]).await;
    let written = async || {
        let trace = collector.trace(sid).into_iter();
        let writes = trace.filter(|(_, span)| span.name == "db write");
        writes.map(|(_, span)| text(&span.attributes, "records")).collect::<Vec<_>>().join(",")
    };
    eventually("the writes have come", async || {
        let written = written().await;
        ["opened", "event", "closed"].iter().all(|kind| written.contains(kind))
    })
    .await;
    let processed = ["stream-status", "recording-status", "call-status"];
    collector.has(sid, "webhook worker", "route", &processed).await;
    for (_, span) in collector.spans() {
        assert_eq!(span.trace_id, trace_id(sid), "there was no other call: {span:?}");
    }
}

#[actix_rt::test]
async fn what_is_done_about_a_call_that_was_left_behind_is_in_its_trace() {
    let (database, collector) = (TestDatabase::create().await, Collector::default());
    let mut world = world(&database, &collector.start()).await;
    world.setup = world.setup.clone().with("INSTANCE_ID", "here");
    let sid = "CA00000000000000000000000000000def";
    let columns = "call_sid, epoch, started_at, instance";
    database.query(&format!("INSERT INTO calls ({columns}) VALUES ('{sid}', 1, now(), 'here')")).await;
    let _app = world.start();
    let (_, span) = collector.span(sid, "left behind").await;
    let notes: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(notes, ["a call that was left behind is not on the line"], "nobody knows it");
}

#[actix_rt::test]
async fn a_call_that_outlives_its_process_is_one_trace() {
    let (database, collector) = (TestDatabase::create().await, Collector::default());
    let mut world = world(&database, &collector.start()).await;
    let setup = world.setup.clone();
    world.setup = setup.clone().with("INSTANCE_ID", "first");
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    let (sender, webhook) = collector.span(caller.call_sid(), "webhook").await;
    assert_eq!((sender.as_str(), webhook.parent_span_id.as_slice()), ("first", &b""[..]));

    app.kill();
    world.setup = setup.with("INSTANCE_ID", "second");
    let app = world.start();
    streams_are(&caller, 2).await;
    is_answered(&caller).await;
    asks(&caller, &CALLER[1]).await;
    caller.hangs_up().await;
    app.logged(caller.call_sid()).await;
    app.empties().await;
    let (sender, call) = collector.span(caller.call_sid(), "call").await;
    assert_eq!((sender.as_str(), call.parent_span_id.as_slice()), ("second", &b""[..]));
}

#[actix_rt::test]
async fn what_has_ended_is_sent_before_the_process_ends() {
    let (database, collector) = (TestDatabase::create().await, Collector::default());
    let world = world(&database, &collector.start()).await;
    let app = world.start();
    let caller = world.in_conversation(&[]).await;
    caller.hangs_up().await;
    app.logged(caller.call_sid()).await;
    app.empties().await;
    app.terminate();
    app.ends().await;
    let trace = collector.trace(caller.call_sid());
    assert!(trace.iter().any(|(_, span)| span.name == "call"), "{trace:?}");
}

#[actix_rt::test]
async fn what_a_worker_does_for_a_call_is_in_its_trace() {
    let (database, collector) = (TestDatabase::create().await, Collector::default());
    let world = world(&database, &collector.start()).await;
    let sid = "CA00000000000000000000000000000abc";
    let columns = "call_sid, epoch, started_at, ended_at";
    let row = format!("'{sid}', 1, now() - interval '1 h', now() - interval '5 min'");
    database.query(&format!("INSERT INTO calls ({columns}) VALUES ({row})")).await;
    let mut worker = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .arg("worker")
        .env_clear()
        .envs(world.setup.environment())
        .env("INSTANCE_ID", "worker")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (sender, job) = collector.span(sid, "job").await;
    assert_eq!((sender.as_str(), text(&job.attributes, "job").as_str()), ("worker", "prices"));
    let pid = rustix::process::Pid::from_raw(worker.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success());
}

#[actix_rt::test]
async fn a_collector_that_is_away_costs_spans_and_no_call() {
    let database = TestDatabase::create().await;
    let world = world(&database, "http://127.0.0.1:1").await;
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    let refused = r#"switchboard_trace_spans_total{result="refused"}"#;
    eventually("spans are lost", async || app.metric(refused).await > 0.0).await;
    caller.hangs_up().await;
    let log = app.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["outcome"], "completed");
    app.empties().await;
}
