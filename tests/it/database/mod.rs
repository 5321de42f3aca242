//! The database: migrations, records, the call log, connections, outages.

mod call_log;
mod claims;
mod connections;
mod inbox;
mod load;
mod log_queries;
mod migrations;
mod outages;
mod plans;
mod pool;
mod records;
mod refusals;
mod routes;
mod row_level_security;
mod spool;
mod survival;
mod tls;

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use actors::call::end::{CallEnd, Outcome, Reason};
use actors::db::record::{CallClosed, CallOpened, Decision, Event, NextStep, Record, Speaker, Turn};
use actors::db::{Db, DbSettings};
use actors::secret::Secret;
use actors::wire::twilio::sid::CallSid;
use chrono::{DateTime, Utc};
use prometheus::Registry;
use serde_json::json;

use crate::support::eventually;
use crate::support::postgres::spool_dir;

fn sid(number: u32) -> CallSid {
    format!("CA{number:032x}").parse().unwrap()
}

/// So many seconds after the beginning of the test's time.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

pub(crate) fn opened(call: u32, epoch: u32) -> Record {
    Record::Opened(CallOpened {
        call_sid: sid(call),
        epoch,
        from: "+15550100".to_owned(),
        to: "+15550199".to_owned(),
        started_at: at(i64::from(call)),
        instance: format!("instance-{epoch}"),
    })
}

pub(crate) fn turn(call: u32, epoch: u32, ordinal: u32, text: &str) -> Record {
    Record::Turn(Turn {
        call_sid: sid(call),
        epoch,
        ordinal,
        speaker: if ordinal % 2 == 1 { Speaker::Agent } else { Speaker::Caller },
        text: text.to_owned(),
        started_at: at(i64::from(ordinal)),
        heard_ms: (ordinal % 2 == 1).then_some(1480),
        cut_off: ordinal % 2 == 1,
        version: 0,
    })
}

fn event(call: u32, kind: &str, dedupe_key: Option<&str>) -> Event {
    Event {
        call_sid: sid(call),
        at: at(1),
        kind: kind.to_owned(),
        data: json!({"CallStatus": kind}),
        dedupe_key: dedupe_key.map(str::to_owned),
    }
}

fn decided(call: u32, epoch: u32) -> Record {
    Record::Decided(Decision {
        call_sid: sid(call),
        epoch,
        next_step: if epoch == 1 { NextStep::HandedOver } else { NextStep::HangUp },
        decided_at: at(i64::from(call)),
    })
}

pub(crate) fn closed(call: u32, epoch: u32, outcome: Outcome) -> Record {
    Record::Closed(CallClosed {
        call_sid: sid(call),
        epoch,
        ended_at: at(i64::from(call) + 42),
        end: CallEnd::new(outcome, Reason::CallerHungUp),
        barge_ins: 2,
        first_audio_ms: Some(412),
        usage: json!({"totalTokens": 17}),
        cost_usd: Some(0.11),
    })
}

pub(crate) fn settings(url: &str) -> DbSettings {
    DbSettings {
        url: Secret::new(routes::chosen(url)),
        pool_max: 4,
        idle_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        spool_dir: spool_dir(),
        instance: "here".to_owned(),
    }
}

fn start(url: &str) -> Db {
    Db::start(settings(url), &Registry::new()).unwrap()
}

/// Waits until the process that held this folder is gone; within one process its end takes a moment.
pub(crate) async fn spool_is_free(folder: &Path) {
    let lock = File::open(folder.join("lock"));
    let lock = match lock {
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        lock => lock.unwrap(),
    };
    eventually("the spool is free", async || lock.try_lock().is_ok()).await;
}

/// Records all and waits until nothing waits any more.
async fn write(db: &Db, records: impl IntoIterator<Item = Record>) {
    records.into_iter().for_each(|record| db.records().record(record));
    // A question is answered behind no queue: the depth tells.
    eventually("all records are written", async || db.status().waiting_records() == 0).await;
}

pub fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect(name);
    family
        .get_metric()
        .iter()
        .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
        .sum()
}
