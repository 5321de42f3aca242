//! The call log as the API answers it.

use std::collections::BTreeSet;

use actors::call::end::Outcome;
use actors::db::record::Record;
use serde_json::{Value, json};

use super::{at, closed, event, opened, sid, start, turn, write};
use crate::support::postgres::TestDatabase;

/// Keys of an object, in order of the alphabet.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

#[actix_rt::test]
async fn the_list_is_newest_first_in_pages() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    write(&db, (1..=5).map(|call| opened(call, 1)).chain([closed(5, 1, Outcome::Completed)])).await;
    let page = db.log().call_logs(1, 2).await.unwrap();
    let sids: Vec<&str> = page.calls.iter().map(|call| call.call_sid.as_str()).collect();
    assert_eq!(sids, [sid(5).as_str(), sid(4).as_str()]);
    assert_eq!(db.log().call_logs(3, 2).await.unwrap().calls[0].call_sid, sid(1).as_str());
    assert!(db.log().call_logs(4, 2).await.unwrap().calls.is_empty());

    let page = serde_json::to_value(page).unwrap();
    assert_eq!(keys(&page), ["calls", "nextCursor", "page", "pageSize", "total", "totalIsExact"]);
    assert_eq!(page["total"], 5);
    assert_eq!(
        page["calls"][0],
        json!({"callSid": sid(5), "from": "+15550100", "to": "+15550199", "startedAt": at(5), "endedAt": at(47),
            "durationSeconds": 42, "outcome": "completed", "reason": "caller-hung-up", "urgent": false, "turns": 0,
            "recordings": 0, "costUsd": 0.11})
    );
    assert_eq!(
        page["calls"][1],
        json!({"callSid": sid(4), "from": "+15550100", "to": "+15550199", "startedAt": at(4), "endedAt": null,
            "durationSeconds": null, "outcome": null, "reason": null, "urgent": false, "turns": 0,
            "recordings": 0, "costUsd": null})
    );
}

#[actix_rt::test]
async fn one_call_reads_as_it_was_held() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    assert_eq!(db.log().call_log(sid(1)).await.unwrap(), None);
    let said = [turn(1, 1, 2, "Hi"), turn(1, 1, 1, "Hello")];
    let happened = [Record::Event(event(1, "in-progress", None)), closed(1, 1, Outcome::Completed)];
    write(&db, [opened(1, 1)].into_iter().chain(said).chain(happened)).await;
    let log = serde_json::to_value(db.log().call_log(sid(1)).await.unwrap().unwrap()).unwrap();
    assert_eq!(keys(&log), ["call", "conference", "events", "recordings", "tools", "turns", "usage"]);
    assert_eq!(
        log["turns"],
        json!([
            {"ordinal": 1, "speaker": "agent", "text": "Hello", "startedAt": at(1), "heardMs": 1480, "cutOff": true},
            {"ordinal": 2, "speaker": "caller", "text": "Hi", "startedAt": at(2), "heardMs": null, "cutOff": false},
        ])
    );
    assert_eq!(
        log["events"],
        json!([{"at": at(1), "kind": "in-progress", "data": {"CallStatus": "in-progress"}}])
    );
    assert_eq!(
        (&log["tools"], &log["recordings"], &log["conference"]),
        (&json!([]), &json!([]), &Value::Null)
    );
    assert_eq!(log["usage"], json!({"totalTokens": 17}));
    assert_eq!(log["call"]["callSid"], json!(sid(1)));
    assert_eq!(log["call"]["turns"], 2);
    assert_eq!(log["call"]["bargeIns"], 2);
}
