//! Admission and release: the plain data, and the whole way through the registry actor.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use actors::call::conversation::Rules;
use actors::call::{CallSetup, Ledger, ToolRunner};
use actors::db::record::{NextStep, Record};
use actors::metrics::{MetricSet as _, Metrics};
use actors::registry::Registry;
use actors::registry::slots::Slots;
use actors::secret::Secret;
use actors::wire::realtime::socket::Endpoint;
use actors::wire::twilio::sid::CallSid;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::BoxFuture;

fn sid(number: u64) -> CallSid {
    format!("CA{number:032x}").parse().expect("a valid identifier")
}

fn slots(criterion: &mut Criterion) {
    let mut slots = Slots::new(20);
    for number in 0..19 {
        slots.reserve(sid(number), 0, 0, |_| ());
    }
    let (call, now) = (sid(99), 0);
    criterion.bench_function("registry/slots: admit and release", |bencher| {
        bencher.iter(|| {
            black_box(slots.reserve(black_box(call), 0, now, |_| ()));
            black_box(slots.release(call, now))
        });
    });
}

/// Nothing is kept.
struct Nowhere;

impl Ledger for Nowhere {
    fn record(&self, record: Record) {
        black_box(record);
    }

    fn decide(&self, _: CallSid, _: u32, _: NextStep) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Each admission starts a call's actor, which opens a socket that nobody answers; each release ends it.
fn actor(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let setup = CallSetup {
        instance: "bench".into(),
        persona: Arc::default(),
        endpoint: Endpoint {
            url: "ws://127.0.0.1:9/v1/realtime".parse().expect("it is a URL"),
            model: "none".into(),
            api_key: Secret::new("none".into()),
        },
        rules: Rules::default(),
        phrases: Arc::default(),
        ledger: Arc::new(Nowhere),
        metrics: Metrics::build().expect("names and labels are valid"),
        recorder: None,
        tools: ToolRunner::default(),
    };
    let registry = system.block_on(async { Registry::start(20, Arc::new(setup)) });
    let mut number = 0;
    criterion.bench_function("registry/actor: admit and release", |bencher| {
        bencher.iter(|| {
            number += 1;
            system.block_on(async {
                registry.admit(sid(number), String::new(), String::new()).await.expect("it answers");
                registry.call_over(sid(number)).await.expect("it answers");
                while registry.capacity().available < 20 {
                    tokio::task::yield_now().await;
                }
            });
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = slots, actor
}
criterion_main!(benches);
