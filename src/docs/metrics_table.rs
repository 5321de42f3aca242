//! The table in docs/metrics.md is what is registered: `UPDATE_DOCS=1 cargo test --lib metrics_table` writes
//! it, and without the variable the same test compares it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use actors::jobs::Retentions;
use actors::metrics::Registrar;
use prometheus::core::Collector;
use prometheus::proto::MetricType;

use super::{page, root};
use crate::app::App;
use crate::background;
use crate::settings::Settings;

const PAGE: &str = "docs/metrics.md";
const BEGIN: &str = "<!-- metrics: written by `UPDATE_DOCS=1 cargo test --lib metrics_table` -->\n";
const END: &str = "<!-- end of the metrics -->";

/// A registry, and a row of the table for each metric in it.
#[derive(Default)]
struct Listed {
    registry: prometheus::Registry,
    rows: Mutex<BTreeMap<String, String>>,
}

impl Registrar for Listed {
    fn register(&self, metrics: Box<dyn Collector>) -> prometheus::Result<()> {
        let families = metrics.collect();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for metric in metrics.desc() {
            let name = &metric.fq_name;
            let family = families.iter().find(|family| family.name() == name).expect("it tells of itself");
            let kind = match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::GAUGE => "gauge",
                MetricType::HISTOGRAM => "histogram",
                other => panic!("{name} is a {other:?}"),
            };
            let labels: Vec<_> = metric.variable_labels.iter().map(|label| format!("`{label}`")).collect();
            let row = format!("| `{name}` | {kind} | {} | {} |\n", labels.join(", "), metric.help);
            rows.insert(name.clone(), row);
        }
        Registrar::register(&self.registry, metrics)
    }
}

fn table(rows: &BTreeMap<String, String>) -> String {
    let rows: String = rows.values().map(String::as_str).collect();
    format!("\n| Metric | Kind | Labels | What |\n|---|---|---|---|\n{rows}\n")
}

#[actix_rt::test]
async fn the_page_lists_every_metric() {
    let listed = Listed::default();
    let spools = tempfile::tempdir().unwrap();
    let settings = Settings::read(|name| {
        let value = match name {
            "SPOOL_DIR" | "FLIGHT_RECORDER_DIR" => spools.path().to_str().unwrap(),
            "FLIGHT_RECORDER" => "redacted",
            "DATABASE_URL" => "postgres://app@127.0.0.1:1/app",
            "REDIS_URL" => "redis://127.0.0.1:1",
            "TWILIO_AUTH_TOKEN" | "OPENAI_API_KEY" | "INSTANCE_ID" => "any",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let address = "127.0.0.1:8080".parse().unwrap();
    let app = App::start_counted(settings.unwrap(), address, listed.registry.clone(), &listed).unwrap();
    let counts = app.voice.pump.metrics.of_actor("jobs");
    let _jobs =
        background::start(app.db.operations(), "any", None, Retentions::default(), counts, &listed).unwrap();
    let rows = listed.rows.into_inner().unwrap();
    for family in app.metrics.gather() {
        assert!(rows.contains_key(family.name()), "{} was registered past the table", family.name());
    }

    let page = page(PAGE);
    let (before, rest) = page.split_once(BEGIN).expect("the table's beginning");
    let (written, after) = rest.split_once(END).expect("the table's end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(PAGE), format!("{before}{BEGIN}{}{END}{after}", table(&rows))).unwrap();
    } else {
        assert!(written == table(&rows), "the table in {PAGE} is old: write it with UPDATE_DOCS=1");
    }
}
