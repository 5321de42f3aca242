//! Status callbacks: stored once each, processed in whatever order, shown in the call's log.

mod doors;
mod faults;

mod processing;

use std::time::Duration;

use actors::db::webhooks::{Route, Webhook};
use actors::db::{Db, DbSettings};
use actors::secret::Secret;
use chrono::{DateTime, Utc};
use prometheus::Registry;
use serde_json::Value;

use crate::support::eventually;
use crate::support::postgres::{TestDatabase, spool_dir};
use crate::support::twilio::call_sid;

const CONFERENCE: &str = "CF00000000000000000000000000000001";
const RECORDING: &str = "RE00000000000000000000000000000001";

/// So many seconds after the beginning of the test's time.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn db_settings(url: &str) -> DbSettings {
    DbSettings {
        url: Secret::new(url.to_owned()),
        pool_max: 4,
        idle_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        spool_dir: spool_dir(),
        instance: "here".to_owned(),
    }
}

/// A database handle without a worker.
fn start(url: &str) -> Db {
    Db::start(db_settings(url), &Registry::new()).unwrap()
}

/// A webhook that happened so many seconds after the beginning; its key is all of it.
pub fn told(route: Route, seconds: i64, parameters: &[(&str, &str)]) -> Webhook {
    let body: Value = parameters.iter().map(|(name, value)| (*name, *value)).collect();
    let value = |name| body[name].as_str().map(str::to_owned);
    Webhook {
        route,
        dedupe_key: format!("{seconds} {body}"),
        call_sid: value("CallSid"),
        conference_sid: value("ConferenceSid"),
        twilio_at: Some(at(seconds)),
        received_at: at(seconds + 1),
        body,
    }
}

fn participant(number: u32, seconds: i64, event: &str, call: u32, more: &[(&str, &str)]) -> Webhook {
    let (number, call) = (number.to_string(), call_sid(call));
    let parameters = [
        ("ConferenceSid", CONFERENCE),
        ("FriendlyName", "handoff-1"),
        ("SequenceNumber", &number),
        ("StatusCallbackEvent", event),
        ("CallSid", &call),
        ("Muted", "false"),
        ("Hold", "false"),
        ("Coaching", "false"),
    ];
    let changed = |name| more.iter().any(|(changed, _)| *changed == name);
    let rest = parameters.into_iter().filter(|(name, _)| !changed(*name));
    told(Route::ConferenceEvents, seconds, &rest.chain(more.iter().copied()).collect::<Vec<_>>())
}

fn conference(number: u32, seconds: i64, event: &str, more: &[(&str, &str)]) -> Webhook {
    let number = number.to_string();
    let parameters =
        [("ConferenceSid", CONFERENCE), ("SequenceNumber", &*number), ("StatusCallbackEvent", event)];
    told(Route::ConferenceEvents, seconds, &[&parameters, more].concat())
}

fn recording(seconds: i64, status: &str, more: &[(&str, &str)]) -> Webhook {
    let call = call_sid(1);
    let parameters = [("RecordingSid", RECORDING), ("CallSid", &*call), ("RecordingStatus", status)];
    told(Route::RecordingStatus, seconds, &[&parameters, more].concat())
}

fn call_status(seconds: i64, status: &str) -> Webhook {
    told(Route::CallStatus, seconds, &[("CallSid", &call_sid(1)), ("CallStatus", status)])
}

/// Waits until every webhook that is stored is processed, or given up.
async fn all_processed(database: &TestDatabase) {
    let waiting = "SELECT count(*) FROM webhooks WHERE state IN ('waiting', 'leased')";
    eventually("all webhooks are processed", async || database.value(waiting).await == "0").await;
}
