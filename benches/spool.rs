//! What a record waits for while the database is away: until it is durable in the spool, on the disk of
//! temporary files.

use std::time::Duration;

use actors::db::record::Event;
use actors::db::webhooks::{Route, Webhook};
use actors::db::{Db, DbSettings};
use actors::secret::Secret;
use chrono::Utc;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::try_join_all;
use serde_json::json;

/// They come together, and are written together.
const WEBHOOKS: usize = 64;
const CALL: &str = "CA00000000000000000000000000000001";

fn event() -> Event {
    Event {
        call_sid: CALL.parse().expect("a valid identifier"),
        at: Utc::now(),
        kind: "voicemail".to_owned(),
        data: json!({ "RecordingSid": "RE00000000000000000000000000000001", "RecordingDuration": "17" }),
        dedupe_key: None,
    }
}

fn webhook(number: usize) -> Webhook {
    let body = json!({ "CallSid": CALL, "CallStatus": "completed", "SequenceNumber": number.to_string() });
    Webhook {
        route: Route::CallStatus,
        dedupe_key: number.to_string(),
        call_sid: Some(CALL.to_owned()),
        conference_sid: None,
        body,
        twilio_at: None,
        received_at: Utc::now(),
    }
}

fn appended(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = DbSettings {
        url: Secret::new("postgres://nobody@127.0.0.1:1/none".to_owned()),
        pool_max: 1,
        idle_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        spool_dir: folder.path().to_owned(),
        instance: "bench".to_owned(),
    };
    let system = actix_rt::System::new();
    let db = system.block_on(async { Db::start(settings, &prometheus::Registry::new()).expect("it starts") });
    let doors = db.doors();
    // While one waits in the spool, all others go there, and the database is not asked.
    system.block_on(doors.store_event(event())).expect("it is spooled");

    let mut group = criterion.benchmark_group("spool");
    group.bench_function("an event", |bencher| {
        bencher.iter(|| system.block_on(doors.store_event(event())).expect("it is spooled"));
    });
    group.throughput(Throughput::Elements(WEBHOOKS as u64));
    group.bench_function(format!("{WEBHOOKS} webhooks at once"), |bencher| {
        bencher.iter(|| {
            let stored = (0..WEBHOOKS).map(|number| doors.store_webhook(webhook(number)));
            system.block_on(try_join_all(stored)).expect("they are spooled")
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = appended
}
criterion_main!(benches);
