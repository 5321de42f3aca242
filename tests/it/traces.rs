//! Traces at a collector: a call is one, whatever took part in it.

use std::sync::{Arc, Mutex};

use actix_web::web::{Data, Json, JsonConfig, post};
use actix_web::{App, HttpResponse, HttpServer};
use serde_json::Value;
use switchboard::sim::speech::CALLER;

use crate::support::postgres::TestDatabase;
use crate::support::world::World;
use crate::support::{eventually, free_port};

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    /// Listens; answers its origin.
    fn start(&self) -> String {
        let collector = Data::new(self.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(collector.clone())
                .app_data(JsonConfig::default().limit(4 << 20))
                .route("/v1/traces", post().to(take))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", server.addrs()[0]);
        actix_rt::spawn(server.run());
        origin
    }

    /// The spans of this trace.
    fn trace(&self, id: &str) -> Vec<Value> {
        let exports = self.0.lock().unwrap();
        let spans = exports.iter().flat_map(|export| {
            export["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans").clone()
        });
        spans.filter(|span| span["traceId"] == id).collect()
    }
}

async fn take(collector: Data<Collector>, export: Json<Value>) -> HttpResponse {
    collector.0.lock().unwrap().push(export.into_inner());
    HttpResponse::Ok().json(serde_json::json!({}))
}

async fn world(database: &TestDatabase, collector: &str) -> World {
    let mut world = World::around(&database.url).await;
    world.setup = world.setup.clone().with("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
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

    let id = caller.call_sid()[2..].to_lowercase();
    let named = |name: &str| collector.trace(&id).into_iter().find(|span| span["name"] == name);
    for name in ["webhook", "registry", "call", "media stream", "realtime connect", "realtime session"] {
        eventually(&format!("the span {name} has come"), async || named(name).is_some()).await;
    }
    let (call, stream) = (named("call").unwrap(), named("media stream").unwrap());
    assert_eq!(stream["parentSpanId"], call["spanId"]);
    assert_eq!(call["parentSpanId"], "");
    let sid = serde_json::json!({"key": "call.sid", "value": {"stringValue": caller.call_sid()}});
    assert_eq!(call["attributes"][0], sid);
    let notes = call["events"].as_array().unwrap();
    assert!(notes.iter().any(|note| note["name"] == "the call has ended"), "{notes:?}");
    let nanos = |field: &str| call[field].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("endTimeUnixNano") - nanos("startTimeUnixNano") > 1_000_000_000, "{call}");
}

#[actix_rt::test]
async fn a_collector_that_is_away_costs_spans_and_no_call() {
    let database = TestDatabase::create().await;
    let world = world(&database, &format!("http://127.0.0.1:{}", free_port())).await;
    let app = world.start();
    let caller = world.in_conversation(&[&CALLER[0]]).await;
    eventually("spans are lost", async || app.metric("switchboard_trace_spans_total").await > 0.0).await;
    caller.hangs_up().await;
    let log = app.logged(caller.call_sid()).await;
    assert_eq!(log["call"]["outcome"], "completed");
    app.empties().await;
}
