//! A scrape of an instance with 20 live calls: everything is gathered and written down.

use std::hint::black_box;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actors::call::end::Outcome;
use actors::metrics::Metrics;
use criterion::{Criterion, criterion_group, criterion_main};
use prometheus::{HistogramOpts, HistogramVec, Registry};
use switchboard::http::metrics::encode;
use switchboard::http::requests::RequestMetrics;
use switchboard::process_metrics::ProcessMetrics;

/// Routes, and queries of the database, with room for some more of them.
const DOORS: usize = 30;

/// What 20 calls leave in a registry: no label is of a call, so all that counts is that each series is there.
fn registry() -> Registry {
    let registry = Registry::new();
    registry.register(Box::new(ProcessMetrics::new().expect("valid names"))).expect("registered once");
    let requests = RequestMetrics::register(&registry).expect("registered once");
    let metrics = Metrics::register(&registry);
    let queries = HistogramOpts::new("switchboard_db_query_duration_seconds", "As the database has them");
    let queries = HistogramVec::new(queries, &["query"]).expect("valid names");
    registry.register(Box::new(queries.clone())).expect("registered once");
    for door in 0..DOORS {
        queries.with_label_values(&[format!("query_{door}")]).observe(0.003);
        let route = format!("/api/voice/route-{door}");
        for (method, status) in [(Method::GET, 200), (Method::POST, 200), (Method::POST, 403)] {
            let status = StatusCode::from_u16(status).expect("a status");
            requests.count(Some(&route), &method, Some(status), 0.003);
        }
    }
    let actors = ["call", "registry", "db"].map(|actor| metrics.of_actor(actor));
    for call in 0..20 {
        for outcome in Outcome::ALL {
            metrics.call_ends.with_label_values(&[outcome.as_str(), "caller-hung-up"]).inc();
        }
        for result in ["admitted", "full", "draining"] {
            metrics.admissions.with_label_values(&[result]).inc();
        }
        for histogram in [&metrics.first_audio, &metrics.turn_latency, &metrics.mark_round_trip] {
            histogram.observe(f64::from(call) / 20.0);
        }
        actors.iter().for_each(|actor| actor.handler_time.observe(0.000_02));
        metrics.count_tokens(&Default::default());
        metrics.frames_up.inc_by(3_000);
    }
    registry
}

fn scrape(criterion: &mut Criterion) {
    let registry = registry();
    criterion.bench_function("metrics: a scrape with 20 live calls", |bencher| {
        bencher.iter(|| black_box(encode(&registry).expect("an encoding")));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = scrape
}
criterion_main!(benches);
