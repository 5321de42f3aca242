//! The rules of alerts.yml have the levels and durations of the program's own alerts.

use actors::alerts::{ALL_RULES, Rule, Watch};

use super::alerts::{Alert, all};

/// What alerts.yml calls a rule of the program at a severity, and how many of the table's unit make up one of
/// the metric's.
const SAME: [(&str, &str, f64); 35] = [
    ("ResponseTimeHigh", "api-response-time", 1_000.0),
    ("ResponseTimeCritical", "api-response-time", 1_000.0),
    ("ResponseTimeHigh", "webhook-response-time", 1_000.0),
    ("ResponseTimeCritical", "webhook-response-time", 1_000.0),
    ("ErrorRateHigh", "api-errors", 100.0),
    ("ErrorRateCritical", "api-errors", 100.0),
    ("ErrorRateHigh", "webhook-errors", 100.0),
    ("ErrorRateCritical", "webhook-errors", 100.0),
    ("DatabasePoolNearlyExhausted", "database-pool", 100.0),
    ("DatabasePoolExhausted", "database-pool", 100.0),
    ("MemoryHigh", "memory", 100.0),
    ("MemoryCritical", "memory", 100.0),
    ("AnswersSlow", "turn-latency", 1_000.0),
    ("CallersTurnedAway", "callers-turned-away", 1.0),
    ("ManyCallersTurnedAway", "callers-turned-away", 1.0),
    ("AccountWithoutHeadroom", "account-without-headroom", 1.0),
    ("AccountWithoutHeadroomForMany", "account-without-headroom", 1.0),
    ("CallsFail", "calls-failed", 100.0),
    ("ManyCallsFail", "calls-failed", 100.0),
    ("SpoolWaits", "spool-oldest", 1.0),
    ("SpoolWaitsLong", "spool-oldest", 1.0),
    ("RecordsSetAside", "records-set-aside", 1.0),
    ("SpoolFails", "spool-failing", 1.0),
    ("RecordsLost", "records-lost", 1.0),
    ("CallbacksWait", "webhook-backlog", 1.0),
    ("CallbacksGivenUp", "dead-letters", 1.0),
    ("ForgedWebhooks", "webhooks-forged", 1.0),
    ("CallbacksRefused", "webhooks-limited", 1.0),
    ("RealtimeSessionsLost", "realtime-reconnects", 1.0),
    ("ActorPanics", "actor-restarts", 1.0),
    ("DatabaseDown", "database-unavailable", 1.0),
    ("DatabaseReadOnly", "database-read-only", 1.0),
    ("RealtimeServiceFails", "realtime-refused", 1.0),
    ("RealtimeServiceFails", "realtime-unreachable", 1.0),
    ("RealtimeServiceFails", "realtime-responses-fail", 1.0),
];
/// The same for warnings of health.
const WARNINGS: [(&str, &str); 5] = [
    ("CallbacksCannotBeProcessed", "webhooks-refused"),
    ("NewFileNotUsed", "agent-file-not-used"),
    ("NewFileNotUsed", "certificate-not-used"),
    ("RedisAway", "redis-away"),
    ("CertificateEndsSoon", "certificate-ends-soon"),
];
/// Rules of alerts.yml alone: the program cannot see it, says it at its start, or judges another figure.
const OF_PROMETHEUS: [&str; 8] = [
    "FileDescriptorsShort",
    "InstanceDown",
    "InstanceRestarts",
    "RealtimeConnectsFail", // a count, where the program judges the share
    "CallerAudioDropped",   // the same
    "JobsFail",             // by job, within an hour
    "SafetyIsOff",
    "NobodyCanLogIn",
];
/// Rules of the program alone. Each is a finer view of something that alerts.yml has.
const OF_THE_PROGRAM: [&str; 10] = [
    "ceiling-reached",
    "frames-dropped",
    "one-way-audio",
    "spool-pending",
    "webhook-delay",
    "webhooks-not-stored",
    "realtime-connects-fail",
    "realtime-responses-fail-often",
    "jobs-fail",
    "records-wait",
];

fn pairs() -> impl Iterator<Item = (&'static str, &'static str, f64)> {
    SAME.into_iter().chain(WARNINGS.map(|(alert, rule)| (alert, rule, 1.0)))
}

fn rule(name: &str) -> &'static Rule {
    ALL_RULES.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"))
}

/// What the expression compares its value with, such as `> 0.7`.
fn limit(rule: &Rule, severity: &str, per: f64) -> String {
    let level = if severity == "critical" { rule.levels.critical } else { rule.levels.warning };
    assert!(level.is_finite(), "{} is never {severity}", rule.name);
    // Rounded, because 99.9 / 100 is not exact.
    format!("> {}", (level / per * 1e6).round() / 1e6)
}

/// Whether the expression has this comparison as a whole.
fn compares(expression: &str, limit: &str) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    expression.match_indices(limit).any(|(at, _)| is_end(&expression[at + limit.len()..]))
}

fn is_state(rule: &Rule) -> bool {
    matches!(rule.watch, Watch::Level(_)) && rule.levels.warning == 0.5
}

fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    number.parse::<u64>().unwrap() * if unit == "m" { 60 } else { 1 }
}

/// How long it has to last, and the ranges that it looks at.
fn durations(alert: &Alert) -> (Option<u64>, Vec<u64>) {
    let lasts = alert.text.lines().find_map(|line| line.strip_prefix("        for: ")).map(seconds);
    let ranges = alert.expression.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    (lasts, ranges.map(|(range, _)| seconds(range)).collect())
}

#[test]
fn the_rules_of_prometheus_have_the_levels_of_the_programs_alerts() {
    let alerts = all();
    for (name, of, per) in pairs() {
        let alert = alerts.iter().find(|alert| alert.name == name).unwrap_or_else(|| panic!("no {name}"));
        let (rule, expression) = (rule(of), &alert.expression);
        if is_state(rule) {
            let critical = rule.levels.critical.is_finite();
            assert_eq!(alert.severity == "critical", critical, "{name} and {of}");
            assert!(
                [" == 1", " == 0"].iter().any(|limit| compares(expression, limit)),
                "{name}: {expression}"
            );
        } else {
            let limit = limit(rule, &alert.severity, per);
            assert!(compares(expression, &limit), "{name} is not {limit}: {expression}");
        }
    }
}

#[test]
fn the_rules_of_prometheus_have_the_durations_of_the_programs_alerts() {
    let alerts = all();
    let longest = ALL_RULES.iter().map(|rule| rule.window).max().unwrap_or_default() / 1_000;
    for (name, of, _) in pairs() {
        let alert = alerts.iter().find(|alert| alert.name == name).unwrap_or_else(|| panic!("no {name}"));
        let (lasts, ranges) = durations(alert);
        let window = rule(of).window / 1_000;
        let is_over_a_range = match rule(of).watch {
            Watch::Level(_) | Watch::Percent(..) => false,
            Watch::Growth(_) | Watch::Share { .. } | Watch::P95 { .. } => true,
        };
        // A window of a minute with too few requests is widened to five, so Prometheus looks at five.
        assert!(ranges.iter().all(|range| *range == longest), "{name}: {ranges:?}");
        assert_eq!(is_over_a_range, !ranges.is_empty(), "{name}");
        assert_eq!(lasts, (window < longest).then_some(window), "{name}: `for` and the window of {of}");
    }
}

#[test]
fn every_rule_is_compared_or_is_one_that_the_other_side_cannot_have() {
    for alert in all() {
        let is_compared = pairs().any(|(name, ..)| name == alert.name);
        assert!(is_compared != OF_PROMETHEUS.contains(&alert.name.as_str()), "{}", alert.name);
    }
    for rule in ALL_RULES {
        let is_compared = pairs().any(|(_, of, _)| of == rule.name);
        assert!(is_compared != OF_THE_PROGRAM.contains(&rule.name), "{}", rule.name);
    }
}
