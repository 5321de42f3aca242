//! What is deleted because it was kept for long enough.

use actors::jobs::{Job, Progress, Prune, Retention, Retentions};

use super::db;
use super::work::{KEPT, unknown};
use crate::support::postgres::TestDatabase;

/// Calls 1 to 6, so many days old, each with a number, two turns and an event.
pub(super) async fn fill(database: &TestDatabase, ages: &[u32]) {
    for (number, days) in (1..).zip(ages) {
        let (sid, at) = (unknown(number), format!("now() - interval '{days} days'"));
        database
            .query(&format!(
                "INSERT INTO calls (call_sid, epoch, from_number, to_number, started_at, ended_at, turns)
                VALUES ('{sid}', 1, '+14155550100', '+15005550006', {at}, {at}, 2);
                INSERT INTO turns (call_sid, ordinal, epoch, speaker, text, started_at)
                VALUES ('{sid}', 1, 1, 'agent', 'Hello', {at}), ('{sid}', 2, 1, 'caller', 'Hi', {at} + interval '1 min');
                INSERT INTO call_search (call_sid, started_at, document) VALUES ('{sid}', {at}, 'hello hi');
                INSERT INTO webhooks (route, dedupe_key, call_sid, body, received_at, state)
                VALUES ('call-status', '{number}', '{sid}', '{{\"From\": \"+14155550100\"}}', {at}, 'done'),
                    ('call-status', '{number} waits', '{sid}', '{{\"From\": \"+14155550100\"}}', {at}, 'waiting');
                INSERT INTO inbox (call_sid, dedupe_key, kind, at, from_number, name, text)
                VALUES ('{sid}', 'message', 'message', {at}, '+14155550100', 'Ada', 'Ring me');
                INSERT INTO call_events (call_sid, at, kind, data) VALUES ('{sid}', {at}, 'call-status',
                    '{{\"From\": \"+14155550100\", \"Caller\": \"+14155550100\", \"CallerCity\": \"X\", \"To\": \"+15005550006\"}}')"
            ))
            .await;
    }
}

#[actix_rt::test]
async fn retention_deletes_exactly_what_is_older_and_says_so_without_personal_data() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    fill(&database, &[40, 31, 29, 8, 6, 0]).await;
    for (number, days) in [(1, 40), (3, 29)] {
        let sid = unknown(number);
        let asked = format!(
            r#"INSERT INTO call_events (call_sid, at, kind, data) VALUES ('{sid}', now() - interval '{days} days',
            'transfer-asked', '{{"destination": "nurse", "reason": "a rash"}}')"#
        );
        database.query(&asked).await;
    }
    let keep = Retentions { transcript_days: Some(30), number_days: Some(7), ..KEPT };
    let job = Retention { db: db.operations(), twilio: None, keep };
    assert_eq!(job.run().await, Ok(Progress::Done));
    let reasons = "SELECT right(call_sid, 1), data FROM call_events WHERE kind = 'transfer-asked' ORDER BY 1";
    let kept = [r#"1|{"destination": "nurse"}"#, r#"3|{"reason": "a rash", "destination": "nurse"}"#];
    assert_eq!(database.query(reasons).await, kept);
    let numbered = "SELECT right(call_sid, 1) FROM";
    let turns = database.query("SELECT right(call_sid, 1), count(*) FROM turns GROUP BY 1 ORDER BY 1").await;
    assert_eq!(turns, ["3|2", "4|2", "5|2", "6|2"]);
    let found = format!("{numbered} call_search ORDER BY 1");
    assert_eq!(database.query(&found).await, ["3", "4", "5", "6"], "nor are they found any more");
    let with_number = format!("{numbered} calls WHERE from_number IS NOT NULL ORDER BY 1");
    assert_eq!(database.query(&with_number).await, ["5", "6"]);
    let told =
        "SELECT DISTINCT data FROM call_events WHERE kind = 'call-status' AND at < now() - interval '7 days'";
    assert_eq!(database.query(told).await, [r#"{"To": "+15005550006"}"#]);
    assert_eq!(database.value("SELECT count(*) FROM call_events WHERE data ? 'From'").await, "2");
    let webhooks = "SELECT state, count(*) FROM webhooks WHERE body ? 'From' GROUP BY 1 ORDER BY 1";
    assert_eq!(
        database.query(webhooks).await,
        ["done|2", "waiting|6"],
        "what is not processed is not touched"
    );
    assert_eq!(database.value("SELECT count(*) FROM calls").await, "6", "the calls themselves stay");
    let inbox = "SELECT right(call_sid, 1), text, from_number, name FROM inbox ORDER BY 1";
    let whole =
        ["3|Ring me|∅|∅", "4|Ring me|∅|∅", "5|Ring me|+14155550100|Ada", "6|Ring me|+14155550100|Ada"];
    assert_eq!(database.query(inbox).await, [&["1||∅|∅", "2||∅|∅"], &whole[..]].concat());
    let deletions = "SELECT kind, right(call_sid, 1), sum(count) FROM deletions GROUP BY 1, 2 ORDER BY 1, 2";
    let recorded = database.query(deletions).await;
    assert_eq!(
        recorded,
        ["number|1|4", "number|2|4", "number|3|4", "number|4|4", "transcript|1|4", "transcript|2|3"]
    );

    assert_eq!(job.run().await, Ok(Progress::Done));
    assert_eq!(database.query(deletions).await, recorded, "once more changes nothing");
    Retention { db: db.operations(), twilio: None, keep: KEPT }.run().await.unwrap();
    assert_eq!(database.value("SELECT count(*) FROM turns").await, "8", "what is not limited is kept");
}

#[actix_rt::test]
async fn a_transcript_goes_as_a_whole_and_one_that_comes_late_goes_too() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    fill(&database, &[31, 31]).await;
    database
        .query(&format!(
            "UPDATE turns SET started_at = now() WHERE ordinal = 2 AND call_sid = '{}'",
            unknown(2)
        ))
        .await;
    let job = Retention {
        db: db.operations(),
        twilio: None,
        keep: Retentions { transcript_days: Some(30), ..KEPT },
    };
    job.run().await.unwrap();
    let turns = "SELECT right(call_sid, 1), ordinal FROM turns ORDER BY 1, 2";
    assert_eq!(database.query(turns).await, ["2|1", "2|2"], "something was said in it since");
    database
        .query(&format!(
            "INSERT INTO turns (call_sid, ordinal, epoch, speaker, text, started_at)
            VALUES ('{}', 3, 1, 'agent', 'late', now() - interval '31 days')",
            unknown(1)
        ))
        .await;
    job.run().await.unwrap();
    assert_eq!(database.query(turns).await, ["2|1", "2|2"]);
}

#[actix_rt::test]
async fn a_run_deletes_a_bounded_part_and_there_is_more() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    database
        .query(
            "INSERT INTO calls (call_sid, epoch, from_number, started_at)
            SELECT 'CA' || lpad(to_hex(n), 32, '0'), 1, '+14155550100', now() - interval '9 days'
            FROM generate_series(1, 12000) AS n",
        )
        .await;
    let job =
        Retention { db: db.operations(), twilio: None, keep: Retentions { number_days: Some(7), ..KEPT } };
    assert_eq!(job.run().await, Ok(Progress::More));
    let left = "SELECT count(*) FROM calls WHERE from_number IS NOT NULL";
    assert_eq!(database.value(left).await, "2000");
    assert_eq!(job.run().await, Ok(Progress::Done));
    assert_eq!(database.value(left).await, "0");
    assert_eq!(database.value("SELECT count(*) FROM deletions").await, "12000");
}

#[actix_rt::test]
async fn what_is_to_be_deleted_is_found_by_an_index() {
    let database = TestDatabase::create().await;
    database
        .query(
            "INSERT INTO calls (call_sid, epoch, from_number, started_at)
                SELECT 'CA' || lpad(to_hex(n), 32, '0'), 1, CASE WHEN n > 15000 THEN '+14155550100' END,
                    now() - (20000 - n) * interval '1 min' FROM generate_series(1, 20000) AS n;
            INSERT INTO turns (call_sid, ordinal, epoch, speaker, text, started_at)
                SELECT call_sid, 1, 1, 'agent', 'Hello', started_at FROM calls;
            INSERT INTO inbox (call_sid, dedupe_key, kind, at, from_number, text)
                SELECT call_sid, 'message', 'message', started_at, from_number,
                    CASE WHEN from_number IS NULL THEN '' ELSE 'Ring me' END FROM calls;
            ANALYZE",
        )
        .await;
    let plan = async |sql: &str| database.query(&format!("EXPLAIN {sql}")).await.join("\n");
    let numbers =
        "SELECT call_sid FROM calls WHERE started_at < now() - interval '7 days' AND from_number IS NOT NULL
        ORDER BY started_at LIMIT 500";
    assert!(plan(numbers).await.contains("Index Scan using calls_with_number"), "{}", plan(numbers).await);
    let turns = "SELECT call_sid FROM turns WHERE started_at < now() - interval '30 days'
        ORDER BY started_at LIMIT 500";
    assert!(plan(turns).await.contains("turns_oldest_first"), "{}", plan(turns).await);
    for (condition, index) in [
        ("text <> ''", "inbox_with_text"),
        ("(from_number IS NOT NULL OR name IS NOT NULL)", "inbox_with_number"),
    ] {
        let old = "SELECT id FROM inbox WHERE at < now() - interval '7 days' AND";
        let plan = plan(&format!("{old} {condition} ORDER BY at LIMIT 500")).await;
        assert!(plan.contains(index), "{plan}");
    }
}

#[actix_rt::test]
async fn rows_of_bookkeeping_are_kept_for_as_long_as_is_set_and_deleted_in_batches() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    database
        .query(
            "INSERT INTO call_events (call_sid, at, kind, data)
                SELECT 'CA' || lpad(to_hex(n), 32, '0'), now() - interval '31 days', 'old', '{}'
                FROM generate_series(1, 2500) AS n;
            INSERT INTO call_events (call_sid, at, kind, data)
                VALUES ('CA' || repeat('0', 32), now() - interval '29 days', 'new', '{}');
            INSERT INTO webhooks (route, dedupe_key, body, received_at, state)
                SELECT 'call-status', state || age, '{}', now() - age * interval '1 day', state
                FROM unnest(ARRAY['waiting', 'leased', 'done', 'dead']) AS state, unnest(ARRAY[29, 31]) AS age;
            INSERT INTO deletions (at, kind, count)
                SELECT now() - age * interval '1 day', 'number', 1 FROM unnest(ARRAY[29, 31]) AS age;
            INSERT INTO inbox (call_sid, dedupe_key, kind, at, text)
                SELECT 'CA' || repeat('0', 32), age, 'message', now() - age * interval '1 day', 'Ring me'
                FROM unnest(ARRAY[29, 31]) AS age;
            INSERT INTO instances (instance_id, heartbeat_at)
                SELECT 'pod-' || age, now() - age * interval '1 day' FROM unnest(ARRAY[0, 29, 31]) AS age",
        )
        .await;
    let job = Prune { db: db.operations(), keep: Retentions { event_days: Some(30), ..KEPT } };
    for _ in 0..2 {
        assert_eq!(job.run().await, Ok(Progress::Done));
        assert_eq!(database.query("SELECT DISTINCT kind FROM call_events").await, ["new"]);
        let webhooks = "SELECT dedupe_key FROM webhooks ORDER BY id";
        let kept = ["waiting29", "waiting31", "leased29", "leased31", "done29", "dead29"];
        let mut found = database.query(webhooks).await;
        found.sort_unstable();
        let mut kept = kept.to_vec();
        kept.sort_unstable();
        assert_eq!(found, kept, "what is not dealt with is never too old");
        assert_eq!(database.value("SELECT count(*) FROM deletions").await, "1");
        assert_eq!(database.query("SELECT dedupe_key FROM inbox").await, ["29"]);
        let instances = "SELECT instance_id FROM instances ORDER BY 1";
        assert_eq!(database.query(instances).await, ["pod-0", "pod-29"]);
    }
}
