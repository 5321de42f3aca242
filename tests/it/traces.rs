//! Traces at a collector: a call is one, whatever took part in it.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use actix_web::web::{Bytes, Data, PayloadConfig, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use switchboard::sim::speech::CALLER;
use tokio::process::Command;

use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::world::{World, asks, is_answered, streams_are};

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

    /// The spans of this call, each with the instance that sent it.
    fn trace(&self, call_sid: &str) -> Vec<(String, Span)> {
        let exports = self.0.lock().unwrap();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        let spans = resources.flat_map(|sent| {
            let about = &sent.resource.as_ref().expect("a resource").attributes;
            assert_eq!(text(about, "service.name"), "switchboard");
            let spans = sent.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(|span| (text(about, "service.instance.id"), span.clone()))
        });
        let id = u128::from_str_radix(&call_sid[2..], 16).unwrap().to_be_bytes();
        spans.filter(|(_, span)| span.trace_id == id).collect()
    }

    /// The first span of this name in the trace of the call, and who sent it.
    async fn span(&self, call_sid: &str, name: &str) -> (String, Span) {
        let named = || self.trace(call_sid).into_iter().find(|(_, span)| span.name == name);
        eventually(&format!("the span {name} has come"), async || named().is_some()).await;
        named().unwrap()
    }
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
    assert_eq!(call.parent_span_id, b"");
    assert_eq!(text(&call.attributes, "call.sid"), caller.call_sid());
    let notes: Vec<_> = call.events.iter().map(|event| event.name.as_str()).collect();
    assert!(notes.contains(&"the call has ended"), "{notes:?}");
    assert!(call.end_time_unix_nano - call.start_time_unix_nano > 1_000_000_000, "{call:?}");
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
