//! The log's part of a transfer: who was rung, how, and what came of it.

use actors::call::flow::person::attempt::Attempt;
use actors::db::record::Event;
use actors::wire::twilio::form::Form;
use actors::wire::twilio::sid::CallSid;
use chrono::Utc;
use serde_json::{Value, json};

/// An event of an attempt; told twice, it is one.
pub(super) fn of(attempt: &Attempt, result: &str, more: &[(&str, Value)]) -> Event {
    let Attempt { call_sid, name, ordinal, way, from_us, .. } = attempt;
    let mut data = json!({
        "destination": name, "attempt": ordinal, "way": way.as_str(), "result": result,
    });
    for (key, value) in more {
        data[*key] = value.clone();
    }
    Event {
        call_sid: *call_sid,
        at: Utc::now(),
        kind: "transfer".to_owned(),
        data,
        dedupe_key: Some(format!("transfer {ordinal} {} {result} {from_us}", way.as_str())),
    }
}

/// What Twilio says of a `<Dial>` that is over.
pub(super) fn dialled(form: &Form) -> Vec<(&'static str, Value)> {
    let seconds = form.told("DialCallDuration").and_then(|seconds| seconds.parse::<u32>().ok());
    let told = form.told("DialCallSid");
    let seconds = seconds.map(|seconds| ("durationSeconds", json!(seconds)));
    let dialled = told.map(|sid| ("dialledCallSid", json!(sid)));
    seconds.into_iter().chain(dialled).collect()
}

/// The end of a `<Dial>` of which nothing else is known: a process of another version began it.
pub(super) fn unknown(call_sid: CallSid, status: &str, form: &Form) -> Event {
    let dialled = form.told("DialCallSid").unwrap_or_default();
    Event {
        call_sid,
        at: Utc::now(),
        kind: "transfer".to_owned(),
        data: json!({"result": status, "dialledCallSid": dialled}),
        dedupe_key: Some(format!("transfer {dialled} {status}")),
    }
}
