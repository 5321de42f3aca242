//! A scrape of an instance with 20 live calls: everything is gathered and written down.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actors::call::end::CallEnd;
use criterion::{Criterion, criterion_group, criterion_main};
use prometheus::{HistogramOpts, HistogramVec};
use switchboard::app::App;
use switchboard::http::metrics::encode;
use switchboard::settings::Settings;

/// Routes, and queries of the database, with room for some more of them.
const DOORS: usize = 30;

/// What serves, but for the jobs; its database and its Realtime service are away.
async fn app(spools: &Path) -> App {
    let settings = Settings::read(|name| {
        let value = match name {
            "SPOOL_DIR" => spools.to_str().expect("UTF-8"),
            "DATABASE_URL" => "postgres://app@127.0.0.1:1/app",
            "TWILIO_AUTH_TOKEN" | "OPENAI_API_KEY" | "INSTANCE_ID" => "any",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let address = "127.0.0.1:8080".parse().expect("an address");
    App::start(settings.expect("settings"), address).expect("a start")
}

/// What 20 calls leave in a registry: no label is of a call, so all that counts is that each series is there.
fn count_calls(app: &App) {
    let (requests, metrics) = (&app.requests, &app.voice.pump.metrics);
    let queries = HistogramOpts::new("bench_db_query_duration_seconds", "As the database has them");
    let queries = HistogramVec::new(queries, &["query"]).expect("valid names");
    app.metrics.register(Box::new(queries.clone())).expect("registered once");
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
        CallEnd::ALL.iter().for_each(|end| metrics.count_end(*end));
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
}

fn scrape(criterion: &mut Criterion) {
    let spools = tempfile::tempdir().expect("a folder");
    let system = actix_rt::System::new();
    let app = system.block_on(app(spools.path()));
    count_calls(&app);
    criterion.bench_function("metrics: a scrape with 20 live calls", |bencher| {
        bencher.iter(|| black_box(encode(&app.metrics).expect("an encoding")));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = scrape
}
criterion_main!(benches);
