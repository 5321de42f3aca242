//! Each metric and label that an alert or a panel names exists. docs/metrics.md has all of them, as a test of
//! that page proves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::promql::{Names, Selector, names};
use super::{alerts, objections};
use crate::docs::page;

/// Labels that Prometheus gives to every series of a target.
const OF_TARGET: [&str; 2] = ["job", "instance"];

/// The series that exist, each with its labels.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    let mut series = BTreeMap::from([("up".to_owned(), OF_TARGET.map(str::to_owned).into())]);
    let page = page("docs/metrics.md");
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let (metric, kind) = (cells[0].trim_matches('`'), cells[1]);
        // A label of the metric that the target has as well gets a prefix.
        let labels =
            cells[2].split(", ").map(|label| label.trim_matches('`')).filter(|label| !label.is_empty());
        let labels = labels.map(|label| match label {
            label if OF_TARGET.contains(&label) => format!("exported_{label}"),
            label => label.to_owned(),
        });
        let labels: BTreeSet<_> = labels.chain(OF_TARGET.map(str::to_owned)).collect();
        if kind == "histogram" {
            for suffix in ["_sum", "_count"] {
                series.insert(format!("{metric}{suffix}"), labels.clone());
            }
            let labels = labels.into_iter().chain(["le".to_owned()]).collect();
            series.insert(format!("{metric}_bucket"), labels);
        } else {
            series.insert(metric.to_owned(), labels);
        }
    }
    series
}

/// What the expression names and does not exist.
fn unknown(expression: &str, series: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let Names { selectors, grouped_by } = names(expression);
    let mut unknown = Vec::new();
    let mut labels = BTreeSet::new();
    for Selector { metric, matchers } in &selectors {
        let Some(of_metric) = series.get(metric) else {
            unknown.push(metric.clone());
            continue;
        };
        let wrong = matchers.iter().filter(|(label, _)| !of_metric.contains(label));
        unknown.extend(wrong.map(|(label, _)| format!("{metric}{{{label}}}")));
        labels.extend(of_metric);
    }
    unknown.extend(grouped_by.into_iter().filter(|label| !labels.contains(label)));
    unknown
}

/// The expressions of the dashboard, each with the text of its legend.
fn of_dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&page("deploy/grafana/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect()
}

#[test]
fn alerts_name_only_metrics_and_labels_that_exist() {
    let series = series();
    for alert in alerts::all() {
        assert_eq!(unknown(&alert.expression, &series), [""; 0], "{}", alert.name);
    }
}

#[test]
fn the_dashboard_names_only_metrics_and_labels_that_exist() {
    let series = series();
    let targets = of_dashboard();
    assert!(targets.len() > 50);
    for (expression, legend) in targets {
        assert_eq!(unknown(&expression, &series), [""; 0], "{expression}");
        for label in legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0)) {
            let labels =
                names(&expression).selectors.into_iter().filter_map(|found| series.get(&found.metric));
            assert!(labels.flatten().any(|known| known == label), "{expression} has no {label}");
        }
    }
}

#[test]
fn promtool_parses_the_expressions_of_the_dashboard() {
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, (expression, _)) in of_dashboard().into_iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
        rules +=
            &format!("      - {{record: 'panel{number}', expr: '{}'}}\n", expression.replace('\'', "''"));
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
    assert_eq!(objections("promtool", &["check", "rules", "rules.yml"], folder.path()), None);
}

#[test]
fn a_metric_or_label_that_does_not_exist_is_found() {
    let series = series();
    for (expression, wrong) in [
        ("switchboard_calls_activ", "switchboard_calls_activ"),
        (r#"switchboard_admissions_total{outcome="full"}"#, "switchboard_admissions_total{outcome}"),
        ("sum by (route) (switchboard_calls_active)", "route"),
        ("switchboard_turn_latency_seconds", "switchboard_turn_latency_seconds"),
        (r#"switchboard_turn_latency_seconds_sum{le="1"}"#, "switchboard_turn_latency_seconds_sum{le}"),
    ] {
        assert_eq!(unknown(expression, &series), [wrong], "{expression}");
    }
    for right in [
        r#"sum by (le) (switchboard_turn_latency_seconds_bucket{job="switchboard"})"#,
        r#"sum by (exported_job) (switchboard_job_runs_total{job="switchboard", result="failed"})"#,
    ] {
        assert_eq!(unknown(right, &series), [""; 0]);
    }
}
