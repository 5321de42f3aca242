//! The database answers and refuses: what was acknowledged is kept all the same, and written as soon as it is
//! taken.

use super::{event, start};
use crate::support::app::{Setup, TestApp};
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::{call_sid, webhook};

/// A status callback and a message that was left: the statuses of both answers.
async fn posts(app: &TestApp, number: u32) -> (u16, u16) {
    let call = call_sid(number);
    let callback = [("CallSid", call.as_str()), ("CallStatus", "completed")];
    let message = [
        ("CallSid", call.as_str()),
        ("CallStatus", "in-progress"),
        ("RecordingSid", "RE00000000000000000000000000000001"),
        ("RecordingUrl", "https://api.twilio.com/RE1"),
        ("RecordingDuration", "4"),
    ];
    let callback = webhook(app, "/api/voice/call-status", &callback).await;
    let message = webhook(app, "/api/voice/voicemail", &message).await;
    (callback.status, message.status)
}

async fn spooled(app: &TestApp) -> u64 {
    app.get("/healthz").await["spool"]["pending"].as_u64().expect("a number")
}

/// Waits until nothing is spooled any more; then this many callbacks and messages are there, once each.
async fn is_written(app: &TestApp, database: &TestDatabase, count: u32) {
    eventually("the spool is empty", async || spooled(app).await == 0).await;
    assert_eq!(app.get("/healthz").await["spool"]["aside"], 0);
    let count = count.to_string();
    assert_eq!(database.value("SELECT count(*) FROM webhooks").await, count);
    assert_eq!(database.value("SELECT count(*) FROM call_events WHERE kind = 'voicemail'").await, count);
}

#[actix_rt::test]
async fn a_read_only_database_costs_nothing_that_was_acknowledged_and_healthz_names_it() {
    let database = TestDatabase::create().await;
    let name = database.value("SELECT current_database()").await;
    database.query(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let app = Setup::new(&database.url, "http://127.0.0.1:1").start();
    assert_eq!(posts(&app, 1).await, (204, 200));
    assert_eq!(spooled(&app).await, 2);
    eventually("the refusal is known", async || app.get("/healthz").await["database"] == "readOnly").await;
    let health = app.get("/healthz").await;
    assert_eq!(health["status"], "degraded");
    assert!(health["causes"].as_array().unwrap().contains(&"database-read-only".into()), "{health}");
    let again =
        format!("SET TRANSACTION READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only");
    database.query(&again).await;
    is_written(&app, &database, 1).await;
    eventually("it is healthy again", async || app.get("/healthz").await["database"] == "healthy").await;
}

/// As after a failover: old connections lead to what is a standby by now, new ones to the primary.
#[actix_rt::test]
async fn a_pooled_connection_that_is_read_only_is_closed_and_a_new_one_writes() {
    let database = TestDatabase::create().await;
    let name = database.value("SELECT current_database()").await;
    database.query(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let db = start(&database.url);
    db.check_schema().await.unwrap();
    let pids = "SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'switchboard'";
    let before = database.query(pids).await;
    assert!(!before.is_empty());
    let again =
        format!("SET TRANSACTION READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only");
    database.query(&again).await;

    db.doors().store_event(event(1, "voicemail", Some("RE1"))).await.unwrap();
    eventually("it is written", async || db.status().waiting_records() == 0).await;
    assert_eq!(database.query("SELECT kind FROM call_events").await, ["voicemail"]);
    let after = database.query(pids).await;
    assert!(after.iter().any(|pid| !before.contains(pid)), "{before:?} {after:?}");
    assert!(before.iter().any(|pid| !after.contains(pid)), "{before:?} {after:?}");
}

#[actix_rt::test]
async fn a_refusal_that_is_not_the_records_own_is_an_outage_until_it_is_over() {
    let database = TestDatabase::create().await;
    let app = Setup::new(&database.url, "http://127.0.0.1:1").start();
    for (number, code) in (1..).zip(["40001", "XX000", "42501"]) {
        let trap = format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON webhooks FOR EACH ROW EXECUTE FUNCTION refuse();
             CREATE TRIGGER refuse BEFORE INSERT ON call_events FOR EACH ROW EXECUTE FUNCTION refuse()"
        );
        database.query(&trap).await;
        assert_eq!(posts(&app, number).await, (204, 200), "{code}");
        // More often than a record is tried that may be at fault itself.
        let tries = "switchboard_db_queries_total{query=\"write_records\",result=\"refused\"}";
        let before = app.metric(tries).await;
        eventually("it is tried again and again", async || app.metric(tries).await >= before + 6.0).await;
        assert_eq!(spooled(&app).await, 2, "{code}");
        database.query("DROP FUNCTION refuse CASCADE").await;
        is_written(&app, &database, number).await;
    }
}

#[actix_rt::test]
async fn a_callback_that_the_database_refuses_for_a_reason_of_its_own_is_not_given_up() {
    let database = TestDatabase::create().await;
    let app = Setup::new(&database.url, "http://127.0.0.1:1").start();
    let trap = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF NEW.call_sid LIKE '%1' THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF;
                RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON call_events FOR EACH ROW EXECUTE FUNCTION refuse()";
    database.query(trap).await;
    for number in [1, 2] {
        let call = call_sid(number);
        let callback = [("CallSid", call.as_str()), ("CallStatus", "completed")];
        assert_eq!(webhook(&app, "/api/voice/call-status", &callback).await.status, 204);
    }
    let rows =
        "SELECT call_sid, state, attempts, COALESCE(last_error, '') LIKE '%40001%' FROM webhooks ORDER BY 1";
    let [first, second] = [1, 2].map(call_sid);
    let expected = [format!("{first}|waiting|0|t"), format!("{second}|done|1|f")];
    eventually("one is postponed, the other done", async || database.query(rows).await == expected).await;
    database.query("DROP FUNCTION refuse CASCADE").await;
    let expected = [format!("{first}|done|1|f"), format!("{second}|done|1|f")];
    eventually("both are done", async || database.query(rows).await == expected).await;
}
