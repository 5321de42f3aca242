//! Alerts of the real program: raised, told, acknowledged and cleared, whatever is away.

use std::collections::VecDeque;
use std::sync::Mutex;

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::Value;
use switchboard::sim::phone;
use switchboard::sim::realtime::{self, Options};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::support::app::{Setup, TestApp};
use crate::support::outage::Outage;
use crate::support::postgres::TestDatabase;
use crate::support::world::World;
use crate::support::{DEADLINE, eventually};

const URGENT: &str = "+15005550001";
/// A minute of the rules is 1.2 s.
const INTERVAL_MS: &str = "100";

/// Somebody's webhook: says what came, and answers by a script, then with 200; 0 is no answer at all.
struct Hook {
    url: String,
    texts: UnboundedReceiver<String>,
}

type Script = web::Data<(Mutex<VecDeque<u16>>, UnboundedSender<String>)>;

impl Hook {
    fn answering(script: &[u16]) -> Self {
        let (tells, texts) = unbounded_channel();
        let shared: Script = web::Data::new((Mutex::new(script.iter().copied().collect()), tells));
        let answer = |body: web::Json<Value>, script: Script| async move {
            let status = script.0.lock().unwrap().pop_front().unwrap_or(200);
            script.1.send(body["text"].as_str().unwrap_or_default().to_owned()).unwrap();
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let mut answer = HttpResponse::build(StatusCode::from_u16(status.max(200)).unwrap());
            answer.insert_header(("Location", "/elsewhere")).finish()
        };
        let server =
            HttpServer::new(move || App::new().app_data(shared.clone()).default_service(web::to(answer)));
        let server = server.workers(1).disable_signals().shutdown_timeout(0).bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/hook", server.addrs()[0]);
        actix_rt::spawn(server.run());
        Self { url, texts }
    }

    async fn hears(&mut self) -> String {
        timeout(DEADLINE, self.texts.recv()).await.expect("the webhook is called").unwrap()
    }

    /// The next text about this alert.
    async fn hears_of(&mut self, rule: &str) -> String {
        loop {
            let text = self.hears().await;
            if text.contains(&format!(": {rule} on ")) {
                return text;
            }
        }
    }
}

/// With alerts that come soon.
fn quick(setup: Setup) -> Setup {
    setup
        .with("ALERT_INTERVAL_MS", INTERVAL_MS)
        .with("URGENT_NOTIFICATION_NUMBER", URGENT)
        .with("TWILIO_FROM_NUMBER", "+15005550006")
}

/// The messages that the network has delivered about this alert.
fn messages(world: &World, rule: &str) -> Vec<String> {
    let messages = world.network.messages().into_iter();
    let about = messages.filter(|message| message.body.contains(&format!(": {rule} on ")));
    about.inspect(|message| assert_eq!(message.to, URGENT)).map(|message| message.body).collect()
}

async fn open(app: &TestApp) -> Vec<Value> {
    app.get("/api/alerts?status=open").await["alerts"].as_array().cloned().unwrap_or_default()
}

async fn is_open(app: &TestApp, rule: &str) -> bool {
    open(app).await.iter().any(|alert| alert["rule"] == rule)
}

async fn acknowledge(app: &TestApp, id: &str) -> u16 {
    let path = format!("/api/alerts/{id}/acknowledge");
    let request = awc::Client::default().post(app.url(&path)).insert_header(("Origin", app.origin.clone()));
    request.send().await.unwrap().status().as_u16()
}

#[actix_rt::test]
async fn a_service_that_refuses_is_an_urgent_alert_until_it_answers_again() {
    let (database, mut hook) = (TestDatabase::create().await, Hook::answering(&[]));
    let quota = Options { faults: vec!["quota".parse().unwrap()], ..Options::default() };
    let mut world = World::with(&database.url, phone::Options::default(), quota).await;
    world.setup = quick(world.setup).with("ALERT_WEBHOOK_URL", &hook.url);
    let app = world.start(); // it tries the agent, and is refused
    let raised = hook.hears_of("realtime-refused").await;
    assert!(raised.starts_with("Switchboard CRITICAL: realtime-refused on "), "{raised}");
    eventually("a message is sent", async || messages(&world, "realtime-refused").len() == 1).await;
    let alert = open(&app).await.into_iter().find(|alert| alert["rule"] == "realtime-refused").unwrap();
    assert_eq!((&alert["severity"], &alert["clearedAt"]), (&"critical".into(), &Value::Null));
    assert_eq!(acknowledge(&app, alert["id"].as_str().unwrap()).await, 204);
    assert_eq!(acknowledge(&app, "00").await, 404);
    eventually("the acknowledgement is stored", async || {
        database.query("SELECT rule FROM alerts WHERE acknowledged_by = 'local'").await
            == ["realtime-refused"]
    })
    .await;

    // An instance that is gone, and left the same alert open, keeps nobody from hearing of the end.
    let gone =
        "INSERT INTO instances (instance_id, heartbeat_at) VALUES ('gone', now() - INTERVAL '1 minute')
        RETURNING instance_id";
    let left = "INSERT INTO alerts (id, rule, instance, severity, raised_at, text)
        VALUES ('01', 'realtime-refused', 'gone', 'critical', now(), '') RETURNING rule";
    assert_eq!([database.value(gone).await, database.value(left).await], ["gone", "realtime-refused"]);

    let listen = world.realtime.addr();
    world.realtime.stop().await;
    world.realtime = realtime::start(Options { listen, ..Options::default() }).await.unwrap();
    app.signal(rustix::process::Signal::HUP); // the agent is tried again
    let over = hook.hears_of("realtime-refused").await;
    assert!(over.starts_with("Switchboard OK"), "{over}");
    assert_eq!(database.value("DELETE FROM alerts WHERE id = '01' RETURNING instance").await, "gone");
    eventually("the next critical one may be told at once, by any instance", async || {
        let claims = "SELECT kind FROM alert_notices WHERE rule = 'realtime-refused'";
        database.query(claims).await.is_empty()
    })
    .await;
    eventually("nothing is open", async || !is_open(&app, "realtime-refused").await).await;
    eventually("its end is stored", async || {
        database
            .query("SELECT rule FROM alerts WHERE cleared_at IS NOT NULL")
            .await
            .contains(&"realtime-refused".into())
    })
    .await;
    app.empties().await;
}

#[actix_rt::test]
async fn a_database_that_is_away_is_told_all_the_same_and_a_webhook_that_hangs_delays_no_message() {
    let outage = Outage::prepare().await;
    let mut hook = Hook::answering(&[0, 500]);
    let mut world = World::around(&outage.url).await;
    world.setup = quick(world.setup).with("ALERT_WEBHOOK_URL", &hook.url);
    let app = world.start();
    let away = outage.begin();
    let told = hook.hears_of("database-unavailable").await;
    eventually("a message is sent", async || !messages(&world, "database-unavailable").is_empty()).await;
    assert_eq!(hook.hears_of("database-unavailable").await, told, "no answer: the same once more");
    assert_eq!(hook.hears_of("database-unavailable").await, told, "and again after a 500");
    let page = app.get("/api/alerts?status=open").await;
    assert!(page["missing"].is_string(), "{page}");
    let alert =
        page["alerts"].as_array().unwrap().iter().find(|alert| alert["rule"] == "database-unavailable");
    let id = alert.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(acknowledge(&app, &id).await, 202, "it is kept in memory");
    let here = open(&app).await.into_iter().find(|alert| alert["id"] == id.as_str()).unwrap();
    assert_eq!(here["acknowledgedBy"], "local");
    let back = away.end();
    eventually("the alert and its end are stored", async || {
        let rows = back.query("SELECT acknowledged_by FROM alerts WHERE cleared_at IS NOT NULL AND rule = 'database-unavailable'");
        rows.await == ["local"]
    })
    .await;
}

#[actix_rt::test]
async fn two_instances_with_one_alert_send_one_message_and_a_new_process_sends_no_other() {
    let database = TestDatabase::create().await;
    let quota = Options { faults: vec!["quota".parse().unwrap()], ..Options::default() };
    let mut world = World::with(&database.url, phone::Options::default(), quota).await;
    // What was told is not told again for the length of this test.
    world.setup = quick(world.setup).with("ALERT_INTERVAL_MS", "500").with("INSTANCE_ID", "first");
    let first = world.start();
    let second = world.setup.anew().with("INSTANCE_ID", "second").start();
    // Both try the agent at their start, and are refused.
    for app in [&first, &second] {
        eventually("it has the alert", async || is_open(app, "realtime-refused").await).await;
    }
    let stored = async |count: usize| {
        let sql =
            "SELECT instance FROM alerts WHERE cleared_at IS NULL AND rule = 'realtime-refused' ORDER BY 1";
        database.query(sql).await.len() == count
    };
    eventually("both alerts are stored", async || stored(2).await).await;
    eventually("one has sent it, the other has not", async || {
        let sent = first.metric(r#"switchboard_alerts_notices_total{result="sent",way="sms"}"#).await
            + second.metric(r#"switchboard_alerts_notices_total{result="sent",way="sms"}"#).await;
        let elsewhere =
            first.metric(r#"switchboard_alerts_notices_total{result="elsewhere",way="sms"}"#).await
                + second.metric(r#"switchboard_alerts_notices_total{result="elsewhere",way="sms"}"#).await;
        sent >= 1.0 && elsewhere >= 1.0
    })
    .await;
    first.terminate();
    first.ends().await;
    let again = world.start();
    eventually("it has the alert of the one before", async || is_open(&again, "realtime-refused").await)
        .await;
    assert!(stored(2).await, "the row goes on");
    assert_eq!(messages(&world, "realtime-refused").len(), 1);
}

#[actix_rt::test]
async fn each_instance_tells_its_own_alert_about_itself() {
    let database = TestDatabase::create().await;
    let mut world = World::around(&database.url).await;
    world.setup = quick(world.setup).with("ALERT_THRESHOLDS", "memory=-/0.001").with("INSTANCE_ID", "first");
    let _first = world.start();
    let _second = world.setup.anew().with("INSTANCE_ID", "second").start();
    eventually("each has told its own", async || {
        let told = messages(&world, "memory");
        ["first", "second"]
            .iter()
            .all(|name| told.iter().any(|text| text.contains(&format!("memory on {name}"))))
    })
    .await;
    let claims = database.query("SELECT kind FROM alert_notices WHERE rule = 'memory' ORDER BY kind").await;
    assert_eq!(claims, ["critical:sms@first", "critical:sms@second"]);
}
