//! The rules of alerts.yml: each is complete, leads to the page that helps, and has a test.

use actors::health::{CAUSES, WARNINGS};

use crate::docs::links::fault;
use crate::docs::page;

/// One rule.
#[derive(Debug, Default)]
pub struct Alert {
    pub name: String,
    pub expression: String,
    pub severity: String,
    pub runbook: String,
    pub text: String,
}

/// The rules of alerts.yml, which has one layout: two blanks for each level.
pub fn all() -> Vec<Alert> {
    let file = page("deploy/prometheus/alerts.yml");
    file.split("\n      - alert: ").skip(1).map(alert).collect()
}

fn alert(text: &str) -> Alert {
    let mut lines = text.lines();
    let mut alert = Alert {
        name: lines.next().unwrap_or_default().to_owned(),
        text: text.to_owned(),
        ..Alert::default()
    };
    let mut in_expression = false;
    for line in lines {
        if line.starts_with("          ") && in_expression {
            alert.expression += line;
            alert.expression.push('\n');
            continue;
        }
        let field = line.trim();
        in_expression = field == "expr: |";
        if let Some(expression) = field.strip_prefix("expr: ").filter(|_| !in_expression) {
            alert.expression = expression.to_owned();
        } else if let Some(severity) = field.strip_prefix("labels: {severity: ") {
            alert.severity = severity.trim_end_matches('}').to_owned();
        } else if let Some(runbook) = field.strip_prefix("runbook: ") {
            alert.runbook = runbook.to_owned();
        }
    }
    alert
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let alerts = all();
    assert!(alerts.len() > 30, "{alerts:?}");
    for alert in alerts {
        let name = &alert.name;
        assert!(!alert.expression.is_empty(), "{name}");
        assert!(["warning", "critical"].contains(&alert.severity.as_str()), "{name}: {}", alert.severity);
        for field in ["annotations:", "summary: ", "action: "] {
            assert!(alert.text.contains(field), "{name} has no {field}");
        }
        assert!(alert.runbook.starts_with("docs/"), "{name}: {}", alert.runbook);
        assert_eq!(fault("README.md", &alert.runbook), None, "{name}");
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_is_raised() {
    let tests = page("deploy/prometheus/alerts.test.yml");
    for Alert { name, severity, .. } in all() {
        let raised = format!(r#"alertname="{name}", severity="{severity}""#);
        assert!(tests.contains(&raised), "alerts.test.yml never raises {name}");
    }
}

/// States of health that have a metric of their own, and the rules over it.
const BY_A_METRIC_OF_ITS_OWN: [(&str, &str); 5] = [
    ("database-unavailable", "DatabaseDown"),
    ("records-wait", "SpoolWaits"),
    ("records-set-aside", "RecordsSetAside"),
    ("full-house", "CallersTurnedAway"),
    ("redis-away", "RedisAway"),
];

#[test]
fn every_cause_and_every_warning_has_a_rule() {
    let alerts = all();
    let named: Vec<String> = alerts
        .iter()
        .flat_map(|alert| super::promql::names(&alert.expression).selectors)
        .flat_map(|selector| selector.matchers)
        .filter(|(label, _)| ["cause", "warning"].contains(&label.as_str()))
        .flat_map(|(_, value)| value.split('|').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for state in CAUSES.into_iter().chain(WARNINGS) {
        let is_named = named.iter().any(|name| match name.strip_suffix(".*") {
            Some(beginning) => state.starts_with(beginning),
            None => name == state,
        });
        let own = BY_A_METRIC_OF_ITS_OWN.iter().find(|(known, _)| *known == state);
        let has_own = own.is_some_and(|(_, rule)| alerts.iter().any(|alert| alert.name == *rule));
        assert!(is_named || has_own, "no rule for {state}");
    }
}

#[test]
fn the_rules_name_states_of_health_that_the_page_describes() {
    let described = page("docs/operating.md");
    for alert in all() {
        for selector in super::promql::names(&alert.expression).selectors {
            let states =
                selector.matchers.iter().filter(|(label, _)| ["cause", "warning"].contains(&label.as_str()));
            for state in states.flat_map(|(_, value)| value.split('|')).filter(|state| !state.ends_with(".*"))
            {
                assert!(described.contains(&format!("| `{state}` |")), "{}: {state}", alert.name);
            }
        }
    }
}
