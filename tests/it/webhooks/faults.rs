//! What was acknowledged is there, once, whatever failed meanwhile; and how long it takes until all of it is
//! processed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actors::db::DbError;
use actors::wire::twilio::signature::sign;
use tokio::task::JoinHandle;

use super::start;
use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::eventually;
use crate::support::hang::Hang;
use crate::support::outage::Outage;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{TestDatabase, client};
use crate::support::twilio::call_sid;

const PATH: &str = "/api/voice/conference-events";
/// So many senders, each of which waits for its answer, and for so long before the next one.
const SENDERS: usize = 8;
const PACE: Duration = Duration::from_millis(10);

/// Posts number after number; the numbers that were acknowledged.
#[derive(Clone, Default)]
struct Storm {
    next: Rc<Cell<u32>>,
    acknowledged: Rc<RefCell<BTreeSet<u32>>>,
    refused: Rc<Cell<u32>>,
}

impl Storm {
    /// Posts until it is told to end; the sender is that word.
    fn rages(&self, app: &TestApp) -> Vec<JoinHandle<()>> {
        let senders = (0..SENDERS).map(|_| {
            let (storm, url) = (self.clone(), app.url(PATH));
            actix_rt::spawn(async move {
                loop {
                    storm.post(&url, "").await;
                    tokio::time::sleep(PACE).await;
                }
            })
        });
        senders.collect()
    }

    /// Posts one more, with so much in it; its status, if it is answered.
    async fn post(&self, url: &str, ballast: &str) -> Option<u16> {
        let number = self.next.replace(self.next.get() + 1);
        let parameters = [
            ("ConferenceSid", format!("test_{number}")),
            ("SequenceNumber", number.to_string()),
            ("StatusCallbackEvent", "participant-join".to_owned()),
            ("CallSid", call_sid(number)),
            ("Ballast", ballast.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let signature = sign(AUTH_TOKEN, url, &parameters);
        let request = awc::Client::default().post(url).timeout(Duration::from_secs(15));
        let answer = request.insert_header(("X-Twilio-Signature", signature)).send_form(&parameters).await;
        let status = answer.ok().map(|answer| answer.status().as_u16());
        if status == Some(204) {
            self.acknowledged.borrow_mut().insert(number);
        } else {
            self.refused.set(self.refused.get() + 1);
        }
        status
    }

    fn count(&self) -> usize {
        self.acknowledged.borrow().len()
    }

    /// Waits until so many more are acknowledged.
    async fn goes_on(&self, more: usize) {
        let before = self.count();
        eventually("webhooks are acknowledged", async || self.count() >= before + more).await;
    }

    /// Waits until all that was acknowledged is processed, and compares.
    async fn is_all_there(&self, what: &str, database: &TestDatabase, since: Instant) {
        let processed = "SELECT substr(conference_sid, 6) FROM webhooks WHERE state = 'done'";
        let missing = async || {
            let there = database.query(processed).await;
            let there: BTreeSet<u32> = there.into_iter().map(|number| number.parse().unwrap()).collect();
            self.acknowledged.borrow().difference(&there).count()
        };
        eventually("all that was acknowledged is processed", async || missing().await == 0).await;
        let caught_up = since.elapsed();
        super::all_processed(database).await;
        let duplicates = "SELECT count(*) - count(DISTINCT conference_sid) FROM webhooks";
        assert_eq!(database.value(duplicates).await, "0");
        let effects =
            "SELECT (SELECT count(*) FROM conference_participants) - (SELECT count(*) FROM webhooks)";
        assert_eq!(database.value(effects).await, "0");
        println!(
            "{what}: {} acknowledged, {} not; lost 0, duplicates 0; caught up after {caught_up:?}",
            self.count(),
            self.refused.get(),
        );
    }
}

fn end(senders: Vec<JoinHandle<()>>) {
    senders.into_iter().for_each(|sender| sender.abort());
}

async fn postgres_goes_away(
    what: &str,
    begin: impl FnOnce(Outage) -> crate::support::outage::Away,
    pause: usize,
) {
    let outage = Outage::prepare().await;
    let app = Setup::new(&outage.url, "http://127.0.0.1:1").start();
    let storm = Storm::default();
    let senders = storm.rages(&app);
    storm.goes_on(50).await;
    let away = begin(outage);
    storm.goes_on(pause).await;
    let health = app.get("/healthz").await;
    let back = away.end();
    let since = Instant::now();
    storm.goes_on(50).await;
    end(senders);
    storm.is_all_there(what, &back.database, since).await;
    assert_eq!(storm.refused.get(), 0, "{what}");
    if pause > 500 {
        assert_eq!((&health["status"], &health["database"]), (&"degraded".into(), &"unavailable".into()));
        assert!(health["spool"]["pending"].as_u64().unwrap() > 0);
        assert_eq!(app.get("/healthz").await["spool"]["pending"], 0);
    }
}

#[actix_rt::test]
async fn postgres_is_stopped_for_a_while_under_a_storm() {
    postgres_goes_away("PostgreSQL stopped", Outage::begin, 1_000).await;
}

#[actix_rt::test]
async fn postgres_is_killed_under_a_storm() {
    postgres_goes_away("PostgreSQL killed", Outage::begin_with_a_kill, 1_000).await;
}

#[actix_rt::test]
async fn postgres_is_restarted_under_a_storm() {
    postgres_goes_away("PostgreSQL restarted", Outage::begin, 0).await;
}

#[actix_rt::test]
async fn the_pooler_is_restarted_under_a_storm() {
    let database = TestDatabase::create().await;
    let mut pooler = PgBouncer::before(&database);
    let app = Setup::new(&pooler.url, "http://127.0.0.1:1").start();
    let storm = Storm::default();
    let senders = storm.rages(&app);
    storm.goes_on(50).await;
    pooler.restart();
    let since = Instant::now();
    storm.goes_on(200).await;
    end(senders);
    storm.is_all_there("PgBouncer restarted", &database, since).await;
    assert_eq!(storm.refused.get(), 0);
}

#[actix_rt::test]
async fn the_network_hangs_under_a_storm() {
    let database = TestDatabase::create().await;
    let network = Hang::before(&database).await;
    let app = Setup::new(&network.url, "http://127.0.0.1:1").start();
    let storm = Storm::default();
    let senders = storm.rages(&app);
    storm.goes_on(50).await;
    network.begins();
    storm.goes_on(500).await;
    network.ends();
    let since = Instant::now();
    storm.goes_on(50).await;
    end(senders);
    storm.is_all_there("network hangs", &database, since).await;
    assert_eq!(storm.refused.get(), 0);
}

#[actix_rt::test]
async fn the_program_is_killed_with_webhooks_in_its_spool() {
    let outage = Outage::prepare().await;
    let setup = Setup::new(&outage.url, "http://127.0.0.1:1").with("INSTANCE_ID", "here");
    let app = setup.clone().start();
    let away = outage.begin();
    let storm = Storm::default();
    let senders = storm.rages(&app);
    storm.goes_on(500).await;
    app.kill();
    end(senders);
    let app = setup.start();
    eventually("they are in the spool", async || {
        app.get("/healthz").await["spool"]["pending"].as_u64().unwrap() >= storm.count() as u64
    })
    .await;
    let back = away.end();
    storm.is_all_there("program killed", &back.database, Instant::now()).await;
}

#[actix_rt::test]
async fn a_full_disk_is_told_to_twilio_and_what_it_took_is_kept() {
    let outage = Outage::prepare().await;
    let setup = Setup::new(&outage.url, "http://127.0.0.1:1")
        .with("INSTANCE_ID", "here")
        .with("RUST_LOG", "warn,switchboard::serve=info");
    let app = setup.start_with_disk(6 << 10);
    let away = outage.begin();
    let (storm, ballast) = (Storm::default(), "x".repeat(50_000));
    let url = app.url(PATH);
    eventually("the disk is full", async || storm.post(&url, &ballast).await == Some(503)).await;
    assert!(storm.count() > 20, "{}", storm.count());
    assert!(app.metric("switchboard_spool_failures_total").await > 0.0);
    let back = away.end();
    let since = Instant::now();
    eventually("there is room again", async || storm.post(&url, &ballast).await == Some(204)).await;
    storm.is_all_there("disk full", &back.database, since).await;
    assert_eq!(app.get("/healthz").await["spool"]["pending"], 0);
}

#[actix_rt::test]
async fn what_waits_beyond_measure_is_refused_and_the_rest_is_kept() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let lock = client(&database.url).await;
    lock.batch_execute("BEGIN; LOCK TABLE webhooks").await.unwrap();
    let doors = db.doors();
    let webhooks = (0..7_500).map(|number| doors.store_webhook(super::recording(number, "completed", &[])));
    let answers = futures_util::future::join_all(webhooks).await;
    let is_refusal = |error: &DbError| error.to_string().contains("5000 webhooks wait");
    let refused = answers.iter().filter(|answer| answer.as_ref().is_err_and(is_refusal)).count();
    assert!((1..=2_500).contains(&refused), "{refused}");
    lock.batch_execute("COMMIT").await.unwrap();
    let kept = answers.iter().filter(|answer| answer.is_ok()).count();
    eventually("what was acknowledged is stored", async || {
        let stored: usize = database.value("SELECT count(*) FROM webhooks").await.parse().unwrap();
        db.status().waiting_records() == 0 && (kept..=7_500 - refused).contains(&stored)
    })
    .await;
}
