//! What the jobs do: reconciliation, prices, recordings; against the simulated Twilio.

use std::process::{Command, Stdio};
use std::time::Duration;

use actors::db::Db;
use actors::jobs::{DeadLetterReport, Job, Prices, Progress, Reconcile, Retention, Retentions};
use actors::metrics::{MetricSet as _, Metrics};
use actors::secret::Secret;
use actors::wire::twilio::rest::{
    Call, Channels, Instructions, NewCall, NewRecording, RecordingChange, TwilioApi,
};
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::twiml::Twiml;
use switchboard::sim::phone::{self, Network};

use super::retention::fill;
use super::{db, settings};
use crate::support::app::AUTH_TOKEN;
use crate::support::eventually;
use crate::support::postgres::{TestDatabase, spool_dir};

/// For ever.
pub(super) const KEPT: Retentions = Retentions {
    transcript_days: None,
    recording_days: None,
    number_days: None,
    event_days: None,
    audit_days: None,
};
const ACCOUNT: &str = "AC00000000000000000000000000000001";

/// Twilio, and a database that knows its calls.
struct World {
    network: Network,
    twilio: TwilioApi,
    database: TestDatabase,
    db: Db,
}

impl World {
    async fn new(price_after: Duration) -> Self {
        let options = phone::Options {
            auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
            api_listen: Some("127.0.0.1:0".parse().unwrap()),
            price_after,
            quiet: true,
            ..phone::Options::default()
        };
        let network = Network::start(options).unwrap();
        let base = format!("http://{}", network.api_addr().unwrap()).parse().unwrap();
        let twilio = TwilioApi::new(base, ACCOUNT, Secret::new(AUTH_TOKEN.to_owned())).unwrap();
        let database = TestDatabase::create().await;
        let db = db(&database.url, "here");
        Self { network, twilio, database, db }
    }

    /// A call that waits on the line.
    async fn call(&self) -> CallSid {
        let wait = Twiml::new().pause(60);
        let call = NewCall {
            to: "+14155550123",
            from: "+15005550006",
            instructions: Instructions::Twiml(&wait),
            status_callback: None,
            timeout: None,
        };
        let sid = self.twilio.make_call(call).await.unwrap().sid;
        eventually("it is answered", async || self.at_twilio(sid).await.status.to_string() == "in-progress")
            .await;
        sid
    }

    /// A call that is over.
    async fn ended_call(&self) -> Call {
        let sid = self.call().await;
        self.twilio.hang_up(sid).await.unwrap();
        eventually("it is over", async || self.at_twilio(sid).await.status.is_over()).await;
        self.at_twilio(sid).await
    }

    async fn at_twilio(&self, sid: CallSid) -> Call {
        self.twilio.call(sid).await.unwrap().expect("known")
    }

    /// A row of a call that began so long ago and has no end.
    async fn open(&self, sid: CallSid, instance: &str, age: &str) {
        let columns = "call_sid, epoch, from_number, instance, started_at";
        let row = format!("'{sid}', 1, '+14155550100', '{instance}', now() - interval '{age}'");
        self.database.query(&format!("INSERT INTO calls ({columns}) VALUES ({row})")).await;
    }

    async fn heard_of(&self, instance: &str, age: &str) {
        let row = format!("'{instance}', now() - interval '{age}'");
        self.database
            .query(&format!("INSERT INTO instances (instance_id, heartbeat_at) VALUES ({row})"))
            .await;
    }

    /// The call's row: what is asked of it.
    async fn row(&self, sid: CallSid, columns: &str) -> String {
        self.database.value(&format!("SELECT {columns} FROM calls WHERE call_sid = '{sid}'")).await
    }
}

pub(super) fn unknown(number: u32) -> CallSid {
    format!("CA{number:032x}").parse().unwrap()
}

#[actix_rt::test]
async fn reconciling_closes_what_is_over_and_leaves_what_goes_on() {
    let world = World::new(Duration::ZERO).await;
    world.heard_of("alive", "1 s").await;
    world.heard_of("silent", "2 min").await;
    let over = world.ended_call().await;
    let over_in_silence = world.ended_call().await;
    let goes_on = world.call().await;
    let owned = world.ended_call().await;
    let owned_for_long = world.ended_call().await;
    world.open(over.sid, "gone", "2 min").await;
    world.open(over_in_silence.sid, "silent", "2 min").await;
    world.open(goes_on, "gone", "2 min").await;
    world.open(owned.sid, "alive", "2 min").await;
    world.open(owned_for_long.sid, "alive", "2 h").await;
    world.open(unknown(1), "gone", "23 h").await;
    world.open(unknown(2), "gone", "25 h").await;
    world
        .database
        .query(&format!(
            "INSERT INTO turns (call_sid, ordinal, epoch, speaker, text, started_at)
            VALUES ('{}', 1, 1, 'caller', 'Hi', now() - interval '1 min')",
            over.sid
        ))
        .await;

    let metrics = Metrics::build().unwrap();
    let db = settings(&world.database.url, "counts");
    let db = Db::start_counted(db, metrics.clone(), &prometheus::Registry::new()).unwrap();
    let job = Reconcile { db: db.operations(), twilio: world.twilio.clone() };
    assert_eq!(job.run().await, Ok(Progress::Done));
    assert_eq!(metrics.call_ends.with_label_values(&["failed", "process-lost"]).get(), 3);
    let end = "outcome, reason, extract(epoch FROM ended_at)::bigint";
    for over in [&over, &over_in_silence] {
        let ended_at = over.ended_at.unwrap().timestamp();
        assert_eq!(world.row(over.sid, end).await, format!("failed|process-lost|{ended_at}"));
    }
    let still_open = [goes_on, owned.sid, owned_for_long.sid, unknown(1)];
    for (number, open) in still_open.into_iter().enumerate() {
        assert_eq!(world.row(open, "ended_at").await, "∅", "{number}");
    }
    assert_eq!(world.row(unknown(2), "reason, ended_at = started_at").await, "process-lost|t");
    assert_eq!(
        world.database.query("SELECT call_sid FROM call_search").await,
        [over.sid.to_string()],
        "it is found"
    );
    assert_eq!(world.at_twilio(goes_on).await.status.to_string(), "in-progress", "nobody touched it");

    let found: Vec<_> = world
        .db
        .operations()
        .lost_calls(10)
        .await
        .unwrap()
        .into_iter()
        .map(|call| (call.call_sid, call.has_owner))
        .collect();
    assert!(
        found.contains(&(owned_for_long.sid, true)) && !found.iter().any(|found| found.0 == owned.sid),
        "{found:?}"
    );
    assert_eq!(world.network.violations().1, []);
}

#[actix_rt::test]
async fn an_end_that_was_written_meanwhile_is_not_overwritten() {
    let world = World::new(Duration::ZERO).await;
    let call = world.ended_call().await;
    world.open(call.sid, "gone", "2 min").await;
    world.database.query("UPDATE calls SET epoch = 2").await;
    let now = chrono::Utc::now();
    assert_eq!(
        world.db.operations().close_lost(call.sid, 1, now).await,
        Ok(false),
        "a later stream was accepted"
    );
    world.database.query("UPDATE calls SET ended_at = now(), outcome = 'completed'").await;
    assert_eq!(world.db.operations().close_lost(call.sid, 2, now).await, Ok(false));
    assert_eq!(world.row(call.sid, "outcome").await, "completed");
}

#[actix_rt::test]
async fn a_price_is_asked_for_until_it_is_known_and_ever_more_rarely() {
    let world = World::new(Duration::from_secs(3)).await;
    let call = world.ended_call().await;
    world.open(call.sid, "here", "1 h").await;
    world.open(unknown(1), "here", "1 h").await;
    let job = Prices { db: world.db.operations(), twilio: world.twilio.clone() };
    let asked = async |ended: &str, asked: &str| {
        let set = format!("ended_at = now() - interval '{ended}', twilio_asked_at = {asked}");
        world.database.query(&format!("UPDATE calls SET {set}")).await;
        assert_eq!(job.run().await, Ok(Progress::Done));
        world.row(call.sid, "twilio_asked_at > now() - interval '5 s'").await
    };
    assert_eq!(asked("2 min", "NULL").await, "∅", "too early");
    assert_eq!(asked("25 h", "NULL").await, "∅", "too late");
    assert_eq!(asked("5 min", "now() - interval '2 min'").await, "f", "asked 2 of 5 minutes ago");
    assert_eq!(asked("5 min", "NULL").await, "t");
    let bill = "twilio_duration_seconds IS NOT NULL, twilio_price, twilio_price_unit";
    assert_eq!(world.row(call.sid, bill).await, "t|∅|∅", "the price is not known yet");
    assert_eq!(world.row(unknown(1), "twilio_asked_at IS NOT NULL, twilio_price").await, "t|∅");
    eventually("Twilio knows it", async || world.at_twilio(call.sid).await.price.is_some()).await;
    asked("13 min", "now() - interval '7 min'").await;
    assert_eq!(world.row(call.sid, bill).await, "t|-0.0085|USD");
    let log = serde_json::to_value(world.db.log().call_log(call.sid).await.unwrap().unwrap()).unwrap();
    let seconds = call.duration.unwrap().as_secs();
    let told = serde_json::json!({"durationSeconds": seconds, "price": -0.0085, "priceUnit": "USD"});
    assert_eq!(log["call"]["twilio"], told);
    assert_eq!(log["call"]["costUsd"], serde_json::Value::Null, "that is the Realtime service's");
    assert_eq!(asked("20 min", "NULL").await, "∅", "it is known: nobody asks again");
}

#[actix_rt::test]
async fn a_twilio_that_does_not_answer_fails_the_job_and_costs_nothing() {
    let world = World::new(Duration::ZERO).await;
    let call = world.ended_call().await;
    world.open(call.sid, "gone", "2 h").await;
    let stranger =
        TwilioApi::new("http://127.0.0.1:1".parse().unwrap(), ACCOUNT, Secret::new("any".to_owned()));
    let twilio = stranger.unwrap().within(Duration::from_millis(300));
    let reconcile = Reconcile { db: world.db.operations(), twilio: twilio.clone() };
    let failed = reconcile.run().await.unwrap_err().to_string();
    assert!(failed.starts_with("1 of 1 failed"), "{failed}");
    assert_eq!(world.row(call.sid, "ended_at").await, "∅");
    world.database.query("UPDATE calls SET ended_at = now() - interval '5 min'").await;
    let prices = Prices { db: world.db.operations(), twilio };
    assert!(prices.run().await.is_err());
    assert_eq!(world.row(call.sid, "twilio_asked_at IS NOT NULL").await, "t", "the next time is later");
}

#[actix_rt::test]
async fn a_worker_does_the_jobs_and_ends_when_it_is_told() {
    let database = TestDatabase::create().await;
    fill(&database, &[9]).await;
    let mut worker = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .arg("worker")
        .env_clear()
        .env("DATABASE_URL", &database.url)
        .env("TWILIO_AUTH_TOKEN", AUTH_TOKEN)
        .env("SPOOL_DIR", spool_dir())
        .env("RETENTION_NUMBER_DAYS", "7")
        .env("RUST_LOG", "error")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let left = "SELECT count(*) FROM calls WHERE from_number IS NOT NULL";
    eventually("the number is deleted", async || database.value(left).await == "0").await;
    eventually("the run is written", async || {
        let run = "SELECT name, last_result, leased_by FROM jobs ORDER BY name";
        database.query(run).await == ["dead-letters|ok|∅", "prune|ok|∅", "retention|ok|∅"]
    })
    .await;
    let pid = rustix::process::Pid::from_child(&worker);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(worker.wait().unwrap().success());
}

#[actix_rt::test]
async fn old_recordings_are_deleted_at_twilio_first_and_then_here() {
    let world = World::new(Duration::ZERO).await;
    let call = world.call().await;
    world.open(call, "here", "1 h").await;
    let wanted =
        NewRecording { channels: Channels::Mono, status_callback: None, status_callback_events: &[] };
    let mut recordings = Vec::new();
    for _ in 0..3 {
        let recording = world.twilio.start_recording(call, wanted).await.unwrap().expect("on the line");
        world.twilio.change_recording(call, recording.sid, RecordingChange::Stop).await.unwrap();
        recordings.push(recording.sid);
    }
    let [old, deleted_before, new] = recordings[..] else { unreachable!() };
    world.twilio.delete_recording(deleted_before).await.unwrap().expect("there");
    for (sid, age) in [(old, "31 days"), (deleted_before, "31 days"), (new, "29 days")] {
        let row = format!("'{sid}', '{call}', 'completed', 5, 'https://url', now() - interval '{age}'");
        let columns = "recording_sid, call_sid, status, progress, url, first_event_at";
        world.database.query(&format!("INSERT INTO recordings ({columns}) VALUES ({row})")).await;
    }
    world.database.query("UPDATE calls SET recordings = 3").await;
    let rows = "SELECT recording_sid FROM recordings WHERE deleted_at IS NULL AND url IS NOT NULL";

    let keep = Retentions { recording_days: Some(30), ..KEPT };
    let nowhere =
        TwilioApi::new("http://127.0.0.1:1".parse().unwrap(), ACCOUNT, Secret::new("any".to_owned()));
    let nowhere = nowhere.unwrap().within(Duration::from_millis(300));
    let away = Retention { db: world.db.operations(), twilio: Some(nowhere), keep };
    assert!(away.run().await.unwrap_err().to_string().starts_with("2 of 2 failed"));
    assert_eq!(world.database.query(rows).await.len(), 3, "what Twilio still has is not forgotten");

    let job = Retention { db: world.db.operations(), twilio: Some(world.twilio.clone()), keep };
    for _ in 0..2 {
        assert_eq!(job.run().await, Ok(Progress::Done));
        assert_eq!(world.database.query(rows).await, [new.to_string()]);
        let recorded = "SELECT kind, call_sid, count FROM deletions";
        assert_eq!(world.database.query(recorded).await, vec![format!("recording|{call}|1"); 2]);
        assert_eq!(world.row(call, "recordings").await, "1");
    }
    assert_eq!(world.twilio.recording(old).await, Ok(None));
    assert!(world.twilio.recording(new).await.unwrap().is_some());
    assert_eq!(world.network.violations().1, []);
}

#[actix_rt::test]
async fn callbacks_that_were_given_up_are_reported_by_a_job_that_does_not_fail() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    fill(&database, &[0]).await;
    database.query("UPDATE webhooks SET state = 'dead' WHERE state = 'done'").await;
    let backlog = db.operations().webhook_backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.dead), (1, 1));
    assert_eq!(DeadLetterReport { db: db.operations() }.run().await, Ok(Progress::Done));
}
