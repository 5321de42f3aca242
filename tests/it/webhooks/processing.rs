//! From the table to calls, conferences and recordings.

use actors::db::Accounts;
use actors::db::record::{CallOpened, Record};
use actors::db::webhooks::{Route, Webhook};
use prometheus::Registry;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::{
    CONFERENCE, RECORDING, all_processed, at, call_status, conference, db_settings, participant, recording,
    start, told,
};
use actors::db::Db;

use crate::support::app::Setup;
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::twilio::call_sid;

/// All that is left of webhooks once they are processed.
const STATE: &str = "SELECT 'call', call_sid, outcome, recordings::text, ended_at::text FROM calls
    UNION ALL SELECT 'event', call_sid, kind, at::text, dedupe_key FROM call_events
    UNION ALL SELECT 'conference', conference_sid, row(c.*)::text, '', '' FROM conferences c
    UNION ALL SELECT 'participant', call_sid, row(p.*)::text, '', '' FROM conference_participants p
    UNION ALL SELECT 'recording', recording_sid, row(r.*)::text, '', '' FROM recordings r
    ORDER BY 1, 2, 3, 4, 5";

/// A caller is handed to a person, who is muted, leaves and comes back; all of it is recorded.
fn a_handoff() -> Vec<Webhook> {
    let stream = |seconds, event| {
        let parameters = [("CallSid", &*call_sid(1)), ("StreamSid", "MZ1"), ("StreamEvent", event)];
        told(Route::StreamStatus, seconds, &parameters)
    };
    let gone = [("ReasonParticipantLeft", "participant_hung_up")];
    vec![
        call_status(0, "in-progress"),
        stream(1, "stream-started"),
        stream(9, "stream-stopped"),
        participant(1, 10, "participant-join", 1, &[("ParticipantLabel", "caller")]),
        participant(2, 11, "participant-join", 2, &[]),
        conference(3, 11, "conference-start", &[("FriendlyName", "handoff-1")]),
        recording(11, "in-progress", &[("RecordingStartTime", "Fri, 15 Jan 2027 08:00:11 +0000")]),
        participant(4, 20, "participant-mute", 2, &[("Muted", "true")]),
        participant(5, 21, "participant-speech-start", 1, &[]),
        participant(6, 22, "participant-teleported", 2, &[("Muted", "true"), ("Hold", "true")]),
        participant(7, 30, "participant-leave", 2, &gone),
        participant(8, 31, "participant-join", 2, &[]),
        participant(9, 40, "participant-leave", 1, &gone),
        conference(
            10,
            40,
            "conference-end",
            &[("ReasonConferenceEnded", "last-participant-left"), ("CallSidEndingConference", &call_sid(2))],
        ),
        recording(
            41,
            "completed",
            &[
                ("RecordingDuration", "29"),
                ("RecordingUrl", "https://api.twilio.com/RE1"),
                ("RecordingChannels", "1"),
            ],
        ),
        recording(42, "never-heard-of", &[]),
        call_status(42, "completed"),
    ]
}

fn opened(call: u32) -> Record {
    Record::Opened(CallOpened {
        call_sid: call_sid(call).parse().unwrap(),
        epoch: 1,
        from: "+15550100".to_owned(),
        to: "+15550199".to_owned(),
        started_at: at(0),
        instance: "here".to_owned(),
    })
}

#[actix_rt::test]
async fn any_order_with_any_repetition_ends_in_the_same_state() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    db.process_webhooks();
    let mut expected = None;
    for seed in 0..16 {
        let mut random = StdRng::seed_from_u64(seed);
        database
            .query("TRUNCATE webhooks, calls, call_events, conferences, conference_participants, recordings CASCADE")
            .await;
        db.records().record(opened(1));
        eventually("the call is written", async || db.status().waiting_records() == 0).await;
        let mut story = a_handoff();
        if seed > 0 {
            // The same again, as if Twilio had not told that it is the same.
            for copy in 0..random.random_range(0..6) {
                let mut again = story[random.random_range(0..story.len())].clone();
                again.dedupe_key.push_str(&format!(" again {copy}"));
                story.push(again);
            }
            story.shuffle(&mut random);
        }
        while !story.is_empty() {
            // What is stored at the same time is processed at the same time.
            for webhook in story.split_off(story.len().saturating_sub(random.random_range(1..4))) {
                db.doors().store_webhook(webhook).await.unwrap();
            }
            all_processed(&database).await;
        }
        let state = database.query(STATE).await;
        assert_eq!(&state, expected.get_or_insert(state.clone()), "seed {seed}");
    }
    let last =
        "SELECT presence->>2, flags->>2, flags->>3 FROM conference_participants WHERE call_sid LIKE '%2'";
    assert_eq!(database.query(last).await, ["true|false|false"], "back, and to be heard");
    assert_eq!(database.query("SELECT status, duration_seconds FROM recordings").await, ["completed|29"]);
    assert_eq!(database.value("SELECT recordings FROM calls").await, "1");
    assert_eq!(database.value("SELECT count(*) FROM webhooks WHERE state = 'dead'").await, "0");
}

#[actix_rt::test]
async fn a_finished_call_is_not_opened_again_and_its_log_shows_all() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    db.process_webhooks();
    db.records().record(opened(1));
    eventually("the call is written", async || db.status().waiting_records() == 0).await;
    database.query("UPDATE calls SET ended_at = now(), outcome = 'transferred', reason = 'x'").await;
    for webhook in a_handoff() {
        db.doors().store_webhook(webhook).await.unwrap();
    }
    db.doors().store_webhook(call_status(60, "in-progress")).await.unwrap();
    all_processed(&database).await;
    let log = db.log().call_log(call_sid(1).parse().unwrap()).await.unwrap().unwrap();
    let log = serde_json::to_value(log).unwrap();
    assert_eq!((&log["call"]["outcome"], &log["call"]["recordings"]), (&"transferred".into(), &1.into()));
    assert!(log["call"]["endedAt"].is_string());
    let conference = &log["conference"];
    assert_eq!(
        (&conference["conferenceSid"], &conference["friendlyName"], &conference["endReason"]),
        (&CONFERENCE.into(), &"handoff-1".into(), &"last-participant-left".into())
    );
    assert_eq!(conference["participants"][0]["label"], "caller");
    assert_eq!(conference["participants"][0]["leaveReason"], "participant_hung_up");
    assert_eq!(conference["participants"][1]["leftAt"], json!(null), "it came back");
    let events = conference["events"].as_array().unwrap();
    assert_eq!(events.len(), 10);
    assert!(
        events.iter().any(|event| event["event"] == "participant-teleported"),
        "an unknown event is shown"
    );
    assert_eq!(log["recordings"][0]["recordingSid"], RECORDING);
    assert_eq!(log["recordings"][0]["durationSeconds"], 29);
    let kinds: Vec<_> = log["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["call-status", "stream-started", "stream-stopped", "call-status"]);
}

#[actix_rt::test]
async fn a_poisoned_webhook_stops_nobody_and_is_a_dead_letter_until_it_is_retried() {
    let database = TestDatabase::create().await;
    let trap = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.recording_sid = 'RE666' THEN RAISE EXCEPTION 'no room'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON recordings FOR EACH ROW EXECUTE FUNCTION refuse()";
    database.query(trap).await;
    let db = start(&database.url);
    for number in 0..40 {
        let sid = if number == 20 { "RE666".to_owned() } else { format!("RE{number}") };
        let parameters = [("RecordingSid", &*sid), ("RecordingStatus", "completed")];
        db.doors().store_webhook(told(Route::RecordingStatus, number, &parameters)).await.unwrap();
    }
    // One that an older version let in without what it needs.
    db.doors()
        .store_webhook(told(Route::ConferenceEvents, 1, &[("StatusCallbackEvent", "conference-end")]))
        .await
        .unwrap();
    db.doors().store_webhook(conference(1, 1, "conference-start", &[])).await.unwrap();
    db.process_webhooks();
    eventually("all others are processed", async || {
        database.value("SELECT count(*) FROM webhooks WHERE state = 'done'").await == "40"
    })
    .await;
    assert_eq!(database.value("SELECT count(*) FROM recordings").await, "39");
    eventually("the two are given up", async || {
        // Their pauses grow to a minute: time passes.
        database.query("UPDATE webhooks SET due_at = now() WHERE state = 'waiting'").await;
        database.value("SELECT count(*) FROM webhooks WHERE state = 'dead'").await == "2"
    })
    .await;

    let operator = Accounts::connect(&database.url).await.unwrap().unwrap().operator();
    let dead = operator.dead_letters(None, 10).await.unwrap();
    let told: Vec<_> =
        dead.iter().map(|d| (&*d.route, d.attempts, d.last_error.as_deref().unwrap())).collect();
    assert_eq!(
        told,
        [("conference-events", 10, "ConferenceSid is missing"), ("recording-status", 10, "P0001 no room"),]
    );
    assert_eq!(operator.dead_letters(Some(dead[0].id), 10).await.unwrap(), dead[1..]);
    database.query("DROP TRIGGER refuse ON recordings").await;
    assert_eq!(operator.retry_dead_letters(Some(dead[1].id)).await, Ok(1));
    assert_eq!(operator.retry_dead_letters(Some(dead[1].id)).await, Ok(0), "it is no dead letter any more");
    eventually("it is processed", async || database.value("SELECT count(*) FROM recordings").await == "40")
        .await;
    assert_eq!(operator.retry_dead_letters(None).await, Ok(1));
}

#[actix_rt::test]
async fn what_a_dead_worker_had_leased_is_processed_when_the_lease_is_over() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    db.doors().store_webhook(recording(1, "completed", &[])).await.unwrap();
    database
        .query("UPDATE webhooks SET state = 'leased', attempts = 1, due_at = now() + interval '1 s'")
        .await;
    db.process_webhooks();
    all_processed(&database).await;
    let row = "SELECT state, attempts, processed_at >= due_at - interval '5 s' FROM webhooks";
    assert_eq!(database.query(row).await, ["done|2|t"]);
}

#[actix_rt::test]
async fn two_workers_share_the_table_and_nothing_is_processed_twice() {
    let database = TestDatabase::create().await;
    let (first, second) = (Registry::new(), Registry::new());
    let db = [&first, &second].map(|registry| Db::start(db_settings(&database.url), registry).unwrap());
    let doors = db[0].doors();
    let stored = (0..600).map(|number| {
        let (sid, call) = (format!("CF{}", number % 7), call_sid(number % 5));
        let parameters =
            [("ConferenceSid", &*sid), ("CallSid", &*call), ("StatusCallbackEvent", "participant-join")];
        doors.store_webhook(told(Route::ConferenceEvents, number.into(), &parameters))
    });
    futures_util::future::try_join_all(stored).await.unwrap();
    db.iter().for_each(Db::process_webhooks);
    all_processed(&database).await;
    assert_eq!(database.query("SELECT DISTINCT attempts FROM webhooks").await, ["1"]);
    assert_eq!(database.value("SELECT count(*) FROM conference_participants").await, "35");
    let done =
        |registry: &Registry| crate::database::metric(registry, "switchboard_webhooks_processed_total");
    assert_eq!(done(&first) + done(&second), 600.0);
}

#[actix_rt::test]
async fn a_storm_is_stored_in_few_statements_and_a_bad_one_of_a_group_fails_alone() {
    let database = TestDatabase::create().await;
    let registry = Registry::new();
    let db = Db::start(db_settings(&database.url), &registry).unwrap();
    let doors = db.doors();
    let store = |from: i64, to: i64| {
        let webhooks = (from..to).map(|number| {
            let mut webhook = recording(number, "completed", &[]);
            if number == 750 {
                webhook.dedupe_key.clear(); // the table's CHECK
            }
            doors.store_webhook(webhook)
        });
        futures_util::future::join_all(webhooks)
    };
    assert!(store(0, 500).await.iter().all(Result::is_ok));
    let statements = crate::database::metric(&registry, "switchboard_db_queries_total");
    assert!(statements < 250.0, "{statements}");
    let answers = store(500, 1_000).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    assert!(answers[250].is_err());
    assert_eq!(database.value("SELECT count(*) FROM webhooks").await, "999");
}

#[actix_rt::test]
async fn a_database_that_refuses_the_worker_is_a_warning_until_it_takes_its_queries_again() {
    let database = TestDatabase::create().await;
    let app = Setup::new(&database.url, "http://127.0.0.1:1").start();
    let warns = async || {
        let warnings = app.get("/healthz").await["warnings"].clone();
        warnings.as_array().unwrap().contains(&"webhooks-refused".into())
    };
    assert!(!warns().await);
    database.query("ALTER TABLE webhooks RENAME TO elsewhere").await;
    eventually("the warning comes", &warns).await;
    database.query("ALTER TABLE elsewhere RENAME TO webhooks").await;
    eventually("the warning goes", async || !warns().await).await;
}
