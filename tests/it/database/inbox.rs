//! What callers leave for the staff: written once, in whatever order it comes.

use actors::call::end::Outcome;
use actors::db::record::{Aftermath, Event, InboxItem, InboxKind, Record};
use serde_json::json;

use super::{at, closed, opened, sid, start, write};
use crate::support::eventually;
use crate::support::outage::Outage;
use crate::support::postgres::TestDatabase;

fn item(call: u32, kind: InboxKind, text: &str) -> InboxItem {
    InboxItem::said(sid(call), at(5), kind, text)
}

/// A voicemail as one of the two doors tells it.
fn voicemail(call: u32, from: Option<&str>, seconds: i64) -> Record {
    let event = Event {
        call_sid: sid(call),
        at: at(seconds),
        kind: "voicemail".to_owned(),
        data: json!({"recordingSid": "RE1", "recordingUrl": "https://x/RE1", "durationSeconds": 4}),
        dedupe_key: Some("voicemail RE1".to_owned()),
    };
    Record::Aftermath(Aftermath { event, outcome: Outcome::Voicemail, from: from.map(str::to_owned) })
}

#[actix_rt::test]
async fn an_item_is_the_same_in_whatever_order_and_however_often_it_is_written() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let first = item(1, InboxKind::Message, "Ring me");
    let second = InboxItem {
        at: at(3),
        from: Some("+15550100".to_owned()),
        name: Some("Ada".to_owned()),
        text: "Ring me today".to_owned(),
        ..first.clone()
    };
    let rows = "SELECT kind, extract(epoch FROM at)::BIGINT - 1800000000, from_number, name, text FROM inbox";
    for items in [[&first, &second, &first], [&second, &first, &second]] {
        database.query("TRUNCATE inbox").await;
        write(&db, items.map(|item| Record::Inbox(item.clone()))).await;
        assert_eq!(database.query(rows).await, ["message|3|+15550100|Ada|Ring me today"]);
    }
    database.query("UPDATE inbox SET done_at = now(), done_by = 'user:ada'").await;
    write(&db, [Record::Inbox(first)]).await;
    assert_eq!(database.query("SELECT done_by FROM inbox").await, ["user:ada"], "a mark stays");
    write(&db, [Record::Inbox(item(1, InboxKind::Message, "Ring me"))]).await;
    assert_eq!(
        database.value("SELECT count(*) FROM inbox").await,
        "2",
        "another message is an item of its own"
    );
}

#[actix_rt::test]
async fn an_urgent_item_marks_its_call_before_and_after_the_call_is_written() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let urgent = |call| Record::Inbox(item(call, InboxKind::Urgent, "my chest hurts"));
    let other = |call| Record::Inbox(item(call, InboxKind::CallBack, "tomorrow"));
    let ends = |call| closed(call, 1, Outcome::Completed);
    write(&db, [urgent(1), opened(1, 1), ends(1)]).await;
    write(&db, [opened(2, 1), ends(2), urgent(2), urgent(2)]).await;
    write(&db, [opened(3, 1), other(3), ends(3)]).await;
    let calls = "SELECT urgent, from_number, outcome FROM calls ORDER BY call_sid";
    let row = |urgent| format!("{urgent}|+15550100|completed");
    assert_eq!(database.query(calls).await, [row("t"), row("t"), row("f")]);
    assert_eq!(
        database.query("SELECT kind, text FROM inbox ORDER BY call_sid").await,
        ["urgent|my chest hurts", "urgent|my chest hurts", "call-back|tomorrow"]
    );
}

#[actix_rt::test]
async fn a_voicemail_is_one_item_whichever_door_tells_it_first() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let (action, status) = (voicemail(1, Some("+15550100"), 9), voicemail(1, None, 7));
    let rows = "SELECT kind, from_number, recording_sid, duration_seconds, text FROM inbox";
    for records in [[&action, &status], [&status, &action]] {
        database.query("TRUNCATE inbox, call_events, calls").await;
        write(&db, records.map(Clone::clone)).await;
        assert_eq!(database.query(rows).await, ["voicemail|+15550100|RE1|4|"]);
        assert_eq!(database.query("SELECT outcome FROM calls").await, ["voicemail"]);
    }
    let Record::Aftermath(aftermath) = action else { unreachable!() };
    let transferred = Aftermath { outcome: Outcome::Transferred, ..aftermath };
    database.query("TRUNCATE inbox").await;
    write(&db, [Record::Aftermath(transferred)]).await;
    assert_eq!(database.value("SELECT count(*) FROM inbox").await, "0", "a transfer leaves nothing");
}

#[actix_rt::test]
async fn an_item_of_an_outage_waits_on_disk_and_arrives() {
    let outage = Outage::prepare().await.begin();
    let db = start(&outage.url);
    db.records().record(Record::Inbox(item(1, InboxKind::Urgent, "my chest hurts")));
    eventually("it is on disk", async || db.status().spool_pending() == 1).await;
    let back = outage.end();
    eventually("it is written", async || db.status().waiting_records() == 0).await;
    assert_eq!(back.query("SELECT kind, text FROM inbox").await, ["urgent|my chest hurts"]);
    assert_eq!(back.query("SELECT urgent FROM calls").await, ["t"]);
}

#[actix_rt::test]
async fn a_text_is_kept_up_to_its_limit_and_without_what_the_database_refuses() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let long = InboxItem { name: Some("A\0".to_owned()), ..item(1, InboxKind::Message, &"ü".repeat(5_000)) };
    write(&db, [Record::Inbox(long)]).await;
    assert_eq!(database.query("SELECT length(text), name FROM inbox").await, ["4000|A\u{FFFD}"]);
}
