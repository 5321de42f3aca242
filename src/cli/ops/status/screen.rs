//! The screen: a line a part, then what is wrong and what helps.

use actors::health::explain;
use serde_json::Value;

use crate::cli::ops::orders::pool_line;

/// So many alerts are shown, the newest.
const ALERTS: usize = 5;
/// So many callbacks wait now and then.
const BACKLOG: i64 = 100;

/// The screen of what `GET /api/ops/status` answers, or of its `health` alone.
pub(super) fn screen(picture: &Value) -> String {
    let health = &picture["health"];
    let mut lines = vec![head(picture, health)];
    let mut part = |name: &str, text: String| lines.push(format!("{name:<10} {text}"));
    part("calls", calls(picture, health));
    let pool = if picture["pool"].is_object() { pool_line(&picture["pool"]) } else { pool_of(health) };
    part("database", format!("{}; {pool}", word(&health["database"])));
    part("spool", spool(health));
    if picture["pool"].is_object() {
        part("webhooks", webhooks(&picture["webhooks"]));
        part("jobs", jobs(&picture["jobs"]));
        part(
            "realtime",
            format!("{}; last 5 min: {}", word(&health["realtime"]), counts(&picture["realtime"])),
        );
        part("tokens", tokens(&picture["realtime"]["tokens"]));
        part("restarts", restarts(&picture["restarts"]));
        part("log", log(&picture["logLevel"]));
    } else {
        part("realtime", word(&health["realtime"]).to_owned());
    }
    let alerts: Vec<_> = list(&picture["alerts"]).iter().take(ALERTS).map(alert).collect();
    let more = list(&picture["alerts"]).len().saturating_sub(ALERTS);
    lines.extend(alerts);
    if more > 0 {
        lines.push(format!("alert      and {more} more: `switchboard ops alerts --open`"));
    }
    lines.extend(advised(picture));
    lines.join("\n")
}

fn head(picture: &Value, health: &Value) -> String {
    let state = match (picture["ending"].as_bool(), picture["draining"].as_bool()) {
        (Some(true), _) => "is about to end: no new calls",
        (_, Some(true)) => "draining: no new calls until `switchboard ops resume`",
        _ => word(&health["status"]),
    };
    let instance = picture["instance"].as_str().map_or_else(String::new, |name| format!("{name}  "));
    let up = health["uptimeSeconds"].as_u64().unwrap_or(0);
    let (hours, minutes) = (up / 3_600, up / 60 % 60);
    format!("{instance}{state}  version {}  up {hours} h {minutes} min", word(&health["version"]))
}

fn calls(picture: &Value, health: &Value) -> String {
    let calls = &health["calls"];
    let free = match picture["capacity"]["available"].as_u64() {
        Some(free) => format!(", {free} free, {} expected", picture["capacity"]["reserved"]),
        None => String::new(),
    };
    format!("{} of {}{free}", calls["active"], calls["limit"])
}

fn pool_of(health: &Value) -> String {
    let pool = &health["poolStats"];
    format!("{} connections open, {} idle; {} wait", pool["total"], pool["idle"], pool["waiting"])
}

fn spool(health: &Value) -> String {
    let spool = &health["spool"];
    let oldest = spool["oldestSeconds"].as_f64().filter(|oldest| *oldest > 0.0);
    let oldest = oldest.map_or_else(String::new, |oldest| format!(", the oldest for {oldest:.0} s"));
    format!("{} records wait{oldest}; {} set aside", number(&spool["pending"]), number(&spool["aside"]))
}

fn webhooks(state: &Value) -> String {
    if state.is_null() {
        return "not known".to_owned();
    }
    let oldest = state["oldestSeconds"].as_i64();
    let oldest = oldest.map_or_else(String::new, |oldest| format!(", the oldest for {oldest} s"));
    format!("{} wait{oldest}; {} were given up", state["pending"], state["dead"])
}

fn jobs(jobs: &Value) -> String {
    if jobs.is_null() {
        return "not known".to_owned();
    }
    let named = |is: &dyn Fn(&Value) -> bool| {
        let names = list(jobs).iter().filter(|job| is(job)).filter_map(|job| job["name"].as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let paused = named(&|job| job["paused"] == true);
    let failed = named(&|job| !matches!(job["lastResult"].as_str(), None | Some("ok" | "interrupted")));
    let mut text = format!("{}", list(jobs).len());
    if !paused.is_empty() {
        text += &format!("; paused: {paused}");
    }
    if !failed.is_empty() {
        text += &format!("; failed last time: {failed}");
    }
    text
}

fn counts(realtime: &Value) -> String {
    format!(
        "{} answered, {} failed, {} refused, {} not connected",
        realtime["answered"], realtime["failed"], realtime["refused"], realtime["notConnected"]
    )
}

fn tokens(tokens: &Value) -> String {
    if tokens.is_null() {
        return "not told yet".to_owned();
    }
    let needs = tokens["perCall"].as_u64();
    let needs = needs.map_or_else(String::new, |needs| format!("; a call needs about {needs}"));
    format!("{} of {} a minute are left{needs}", tokens["remaining"], tokens["limit"])
}

fn restarts(restarts: &Value) -> String {
    let told = list(restarts).iter().filter(|one| one["restarts"] != 0 || one["panics"] != 0);
    let told: Vec<_> = told
        .map(|one| format!("{} {} ({} panics)", word(&one["actor"]), one["restarts"], one["panics"]))
        .collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

fn log(level: &Value) -> String {
    let until = level["until"].as_str().map_or_else(String::new, |until| format!(" until {until}"));
    format!("{}{until}", word(&level["filter"]))
}

fn alert(alert: &Value) -> String {
    let by = alert["acknowledgedBy"].as_str();
    let by = by.map_or_else(String::new, |by| format!(", acknowledged by {by}"));
    format!(
        "alert      {} {} since {}{by}  {}",
        word(&alert["severity"]),
        word(&alert["rule"]),
        word(&alert["raisedAt"]),
        word(&alert["id"])
    )
}

/// What is wrong, each with what helps.
fn advised(picture: &Value) -> Vec<String> {
    let health = &picture["health"];
    let mut lines = Vec::new();
    for (kind, names) in [("cause", &health["causes"]), ("warning", &health["warnings"])] {
        for name in list(names).iter().filter_map(Value::as_str) {
            let remedy = explain(name).map_or("", |explained| explained.remedy);
            lines.push(format!("{kind:<10} {name}: {remedy}"));
        }
    }
    let mut note = |text: String| lines.push(format!("{:<10} {text}", "note"));
    let pool = &health["poolStats"];
    if health["database"] == "unavailable" {
        note(
            "if the database's server runs, its connections or those of a pooler may be used up: `switchboard ops \
             idle-transactions --kill`, `switchboard ops slow-queries`"
                .to_owned(),
        );
    } else if pool["waiting"].as_u64() > Some(0) {
        note(
            "queries wait for a connection: `switchboard ops idle-transactions --kill`, \
              `switchboard ops slow-queries`, `switchboard ops pool --size N`"
                .to_owned(),
        );
    }
    if picture["webhooks"]["dead"].as_i64() > Some(0) {
        note("callbacks were given up: `switchboard ops dead-letters`".to_owned());
    }
    if picture["webhooks"]["pending"].as_i64() > Some(BACKLOG) {
        note("callbacks wait: `switchboard ops webhooks`, `switchboard ops slow-queries`".to_owned());
    }
    for text in [&health["databaseError"], &picture["missing"]].into_iter().filter_map(Value::as_str) {
        note(text.to_owned());
    }
    lines
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn health() -> Value {
        json!({
            "status": "degraded", "database": "healthy", "realtime": "healthy",
            "causes": ["records-wait"], "warnings": ["full-house"], "version": "0.1.0", "uptimeSeconds": 7_260,
            "poolStats": {"total": 3, "idle": 0, "waiting": 4}, "calls": {"active": 2, "limit": 2},
            "spool": {"pending": 7, "oldestSeconds": 12, "aside": 0}
        })
    }

    #[test]
    fn one_screen_has_the_whole_picture_and_what_helps() {
        let picture = json!({
            "instance": "voice-1:8080", "draining": true, "ending": false, "health": health(),
            "capacity": {"limit": 2, "active": 2, "reserved": 0, "queued": 0, "available": 0},
            "pool": {"size": 25, "configured": 20, "total": 3, "idle": 0, "waiting": 4},
            "webhooks": {"pending": 700, "dead": 1, "oldestSeconds": 70},
            "jobs": [
                {"name": "prices", "paused": false, "lastResult": "failed"},
                {"name": "retention", "paused": true, "lastResult": "ok"},
            ],
            "realtime": {"answered": 12, "connected": 3, "failed": 1, "refused": 0, "notConnected": 0,
                "tokens": {"limit": 50_000, "remaining": 20_000, "perCall": 6_000}},
            "restarts": [{"actor": "call", "restarts": 1, "panics": 1}, {"actor": "db", "restarts": 0, "panics": 0}],
            "alerts": [{"id": "0a", "rule": "database-pool", "severity": "critical", "raisedAt": "T", "acknowledgedBy": "cli:anna"}],
            "logLevel": {"filter": "info", "until": null}, "missing": null
        });
        let expected = "\
voice-1:8080  draining: no new calls until `switchboard ops resume`  version 0.1.0  up 2 h 1 min
calls      2 of 2, 0 free, 0 expected
database   healthy; 3 of 25 connections open, 0 idle; 4 wait
spool      7 records wait, the oldest for 12 s; 0 set aside
webhooks   700 wait, the oldest for 70 s; 1 were given up
jobs       2; paused: retention; failed last time: prices
realtime   healthy; last 5 min: 12 answered, 1 failed, 0 refused, 0 not connected
tokens     20000 of 50000 a minute are left; a call needs about 6000
restarts   call 1 (1 panics)
log        info
alert      critical database-pool since T, acknowledged by cli:anna  0a
cause      records-wait: See `switchboard ops slow-queries` and `switchboard ops idle-transactions`.
warning    full-house: Raise `MAX_CONCURRENT_CALLS` if machine and OpenAI account allow it, or start another instance.
note       queries wait for a connection: `switchboard ops idle-transactions --kill`, `switchboard ops slow-queries`, `switchboard ops pool --size N`
note       callbacks were given up: `switchboard ops dead-letters`
note       callbacks wait: `switchboard ops webhooks`, `switchboard ops slow-queries`";
        assert_eq!(screen(&picture), expected);
    }

    #[test]
    fn without_a_token_what_everybody_may_see_is_shown() {
        let shown = screen(&json!({"health": health()}));
        assert!(shown.starts_with("degraded  version 0.1.0  up 2 h 1 min\ncalls      2 of 2\n"), "{shown}");
        assert!(shown.contains("database   healthy; 3 connections open, 0 idle; 4 wait"), "{shown}");
        assert!(!shown.contains("jobs") && shown.contains("cause      records-wait: "), "{shown}");
    }

    #[test]
    fn while_the_database_is_away_the_screen_says_what_is_not_known() {
        let mut picture =
            json!({"health": health(), "pool": {}, "webhooks": null, "jobs": null, "missing": "why"});
        picture["health"]["databaseError"] = "refused".into();
        picture["health"]["database"] = "unavailable".into();
        picture["health"]["poolStats"]["waiting"] = 0.into();
        let shown = screen(&picture);
        for line in ["webhooks   not known", "jobs       not known", "note       refused", "note       why"] {
            assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
        }
        let used_up = "note       if the database's server runs, its connections or those of a pooler may be used up: \
                       `switchboard ops idle-transactions --kill`";
        assert!(shown.contains(used_up), "though nobody waits: {shown}");
    }
}
