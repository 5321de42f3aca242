use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Mutex;

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use call_control::alerts::Figure;
use prometheus::Registry;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::Url;

use super::*;
use crate::call::Ledger as _;
use crate::db::record::{InboxItem, InboxKind, Record};
use crate::db::{Db, DbSettings};
use crate::metrics::Metrics as CallMetrics;
use crate::wire::twilio::rest::TwilioApi;

const INSTANCE: &str = "a:8080";
/// A minute of the rules is a quarter of a second.
const TICK: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(20);

/// Whom alerts reach: says what it was told, and answers by a script, then with 200. 0 is no answer at all.
struct Person {
    address: String,
    told: UnboundedReceiver<(String, String)>,
}

struct Answers {
    script: Mutex<VecDeque<u16>>,
    tells: UnboundedSender<(String, String)>,
    /// What was sent so far, where a look-up shows it.
    sent: Option<Mutex<Vec<String>>>,
    /// No message is answered before it is open.
    gate: watch::Receiver<bool>,
}

type Script = web::Data<Answers>;

/// What a look-up of messages is answered with.
fn list(sent: Option<&Mutex<Vec<String>>>) -> HttpResponse {
    let sent = sent.map(|sent| sent.lock().unwrap().clone()).unwrap_or_default();
    let message = |body: String| {
        let created = Utc::now().to_rfc2822();
        serde_json::json!({"sid": "SM1", "status": "sent", "body": body, "date_created": created, "error_code": null})
    };
    let messages: Vec<_> = sent.into_iter().map(message).collect();
    HttpResponse::Ok().json(serde_json::json!({"messages": messages, "next_page_uri": null}))
}

impl Person {
    fn answering(script: &[u16]) -> Self {
        Self::with(script, None, watch::channel(true).1)
    }

    /// Answers with 200, once the gate is open.
    fn behind(gate: watch::Receiver<bool>) -> Self {
        Self::with(&[], None, gate)
    }

    /// A service that takes every message, whatever it answers, and lists them.
    fn listing(script: &[u16]) -> Self {
        Self::with(script, Some(Mutex::default()), watch::channel(true).1)
    }

    fn with(script: &[u16], sent: Option<Mutex<Vec<String>>>, gate: watch::Receiver<bool>) -> Self {
        let (tells, told) = unbounded_channel();
        let script = Mutex::new(script.iter().copied().collect());
        let shared: Script = web::Data::new(Answers { script, tells, sent, gate });
        let answer = |request: actix_web::HttpRequest, body: String, script: Script| async move {
            if request.method() == "GET" {
                script.tells.send((request.path().to_owned(), "a look-up".to_owned())).unwrap();
                return list(script.sent.as_ref());
            }
            let status = script.script.lock().unwrap().pop_front().unwrap_or(200);
            script.tells.send((request.path().to_owned(), body.clone())).unwrap();
            if let Some(sent) = &script.sent {
                let fields: Vec<(String, String)> =
                    form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                let text = fields.into_iter().find(|(name, _)| name == "Body").unwrap().1;
                sent.lock().unwrap().push(text);
            }
            script.gate.clone().wait_for(|is_open| *is_open).await.ok();
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let status = StatusCode::from_u16(status).unwrap();
            let mut answer = HttpResponse::build(status);
            if status.is_redirection() {
                answer.insert_header(("Location", "/elsewhere"));
            }
            answer.body(r#"{"sid":"SM1","status":"queued","body":"","error_code":null,"code":21211}"#)
        };
        let server =
            HttpServer::new(move || App::new().app_data(shared.clone()).default_service(web::to(answer)));
        let server = server.workers(1).disable_signals().shutdown_timeout(0).bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", server.addrs()[0]);
        actix_rt::spawn(server.run());
        Self { address, told }
    }

    fn webhook(&self) -> Way {
        Way::Webhook { url: Secret::new(format!("{}/hook", self.address)), format: Format::Slack }
    }

    fn sms(&self) -> Way {
        self.sms_within(DEADLINE)
    }

    fn sms_within(&self, within: Duration) -> Way {
        let base = Url::parse(&self.address).unwrap();
        let api = TwilioApi::new(base, "AC1", Secret::new("hush".to_owned())).unwrap();
        let (from, to) = ("+15005550006".to_owned(), "+15005550001".to_owned());
        Way::Sms { api: api.within(2 * within), from, to, within }
    }

    /// The next request: its path and what it says.
    async fn hears(&mut self) -> (String, String) {
        timeout(DEADLINE, self.told.recv()).await.expect("somebody is told").unwrap()
    }

    async fn hears_text(&mut self) -> String {
        let (_, body) = self.hears().await;
        serde_json::from_str::<Value>(&body).unwrap()["text"].as_str().unwrap().to_owned()
    }
}

/// Alerts of a process whose database is away, and what is wrong with it.
struct World {
    alerts: Alerts,
    board: Board,
    urgent: UrgentCalls,
    metrics: Metrics,
    wrong: Rc<Cell<f64>>,
    _spool: tempfile::TempDir,
    db: Db,
}

fn world(ways: Vec<Way>) -> World {
    world_of(&[Figure::DatabaseUnavailable], ways)
}

/// What is wrong has these figures.
fn world_of(figures: &'static [Figure], ways: Vec<Way>) -> World {
    let spool = tempfile::tempdir().unwrap();
    let db = Db::start(
        DbSettings {
            url: Secret::new("postgres://app@127.0.0.1:1/app".to_owned()),
            pool_max: 2,
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            spool_dir: spool.path().to_owned(),
            instance: INSTANCE.to_owned(),
        },
        &Registry::new(),
    )
    .unwrap();
    let page = Some("https://calls.example.com/".to_owned());
    let settings = AlertSettings { interval: TICK, page, ..AlertSettings::default() };
    let (board, metrics) = (Board::default(), Metrics::build().unwrap());
    let wrong = Rc::new(Cell::new(0.0));
    let seen = Rc::clone(&wrong);
    let source: Source = Box::new(move || {
        let mut sample = Sample::default();
        figures.iter().for_each(|figure| sample.set(*figure, seen.get()));
        std::future::ready(Some(sample)).boxed_local()
    });
    let counts = CallMetrics::build().unwrap().of_actor("alerts");
    let log = db.accounts().alerts();
    let urgent = UrgentCalls::default();
    let (shown, queue, counted) = (board.clone(), urgent.clone(), metrics.clone());
    let alerts = Alerts::start(&settings, ways, source, log, INSTANCE, shown, queue, counted, counts);
    World { alerts, board, urgent, metrics, wrong, _spool: spool, db }
}

#[actix_rt::test]
async fn a_person_hears_of_an_alert_and_of_its_end_while_the_database_is_away() {
    let (mut hook, mut phone) = (Person::answering(&[]), Person::answering(&[]));
    let world = world(vec![hook.webhook(), phone.sms()]);
    world.wrong.set(1.0);
    let said = hook.hears_text().await;
    assert!(said.starts_with("Switchboard CRITICAL: database-unavailable on a:8080. "), "{said}");
    let (path, body) = phone.hears().await;
    assert_eq!(path, "/2010-04-01/Accounts/AC1/Messages.json");
    assert!(body.contains("Body=Switchboard+CRITICAL%3A+database-unavailable"), "{body}");
    let open = world.board.open();
    assert_eq!((open.len(), open[0].severity.as_str()), (1, "critical"));
    let id = format!(" ID {}", open[0].id);
    assert!(said.ends_with(&id), "{said}");
    world.wrong.set(0.0);
    let over = hook.hears_text().await;
    assert_eq!(over, format!("Switchboard OK: database-unavailable on a:8080. It is over.{id}"));
    assert!(phone.hears().await.1.contains("Switchboard+OK"));
    assert_eq!(world.board.open(), []);
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn an_acknowledgement_is_passed_on_and_the_incident_resolved() {
    let mut hook = Person::answering(&[]);
    let (key, group) = (Secret::new("k".to_owned()), "calls.example.com".to_owned());
    let url = Secret::new(hook.address.clone());
    let world = world(vec![Way::Webhook { url, format: Format::PagerDuty { key, group } }]);
    world.wrong.set(1.0);
    let mut actions = Vec::new();
    for step in 0..3 {
        let event: Value = serde_json::from_str(&hook.hears().await.1).unwrap();
        assert_eq!(event["dedup_key"], "switchboard/calls.example.com/database-unavailable");
        actions.push(event["event_action"].as_str().unwrap().to_owned());
        match step {
            0 => {
                let id = world.board.open().remove(0).id;
                world.board.acknowledge(&id, "user:anna", Utc::now()).unwrap();
            }
            _ => world.wrong.set(0.0),
        }
    }
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn a_webhook_that_fails_is_tried_again_and_a_redirect_is_not_followed() {
    let mut failing = Person::answering(&[500]);
    let mut redirecting = Person::answering(&[302]);
    let world = world(vec![failing.webhook(), redirecting.webhook()]);
    world.wrong.set(1.0);
    let first = failing.hears_text().await;
    assert_eq!(failing.hears_text().await, first, "the same is sent again");
    assert!(redirecting.hears_text().await.starts_with("Switchboard CRITICAL"));
    let (path, body) = redirecting.hears().await;
    assert_eq!(path, "/hook", "{body}");
    assert!(body.contains("Switchboard still CRITICAL"), "the next thing that it hears: {body}");
    world.wrong.set(0.0);
    let noticed = |outcome| world.metrics.count("webhook", outcome);
    assert_eq!(noticed(metrics::Outcome::Refused), 1);
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn what_reached_nobody_is_told_again_as_what_goes_on() {
    let mut phone = Person::answering(&[400]);
    let world = world(vec![phone.sms()]);
    world.wrong.set(1.0);
    assert!(phone.hears().await.1.contains("CRITICAL"));
    assert!(phone.hears().await.1.contains("still+CRITICAL"));
    world.wrong.set(0.0);
    assert!(phone.hears().await.1.contains("Switchboard+OK"));
    assert_eq!(world.metrics.count("sms", metrics::Outcome::Refused), 1);
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn an_alert_that_one_way_refuses_and_another_tells_later_is_told_once_and_so_is_its_end() {
    let (opens, gate) = watch::channel(false);
    let (mut hook, mut phone) = (Person::behind(gate), Person::answering(&[400; 9]));
    let world = world(vec![hook.webhook(), phone.sms()]);
    world.wrong.set(1.0);
    assert!(hook.hears_text().await.starts_with("Switchboard CRITICAL"));
    assert!(phone.hears().await.1.contains("CRITICAL"));
    let deadline = Instant::now() + DEADLINE;
    while world.metrics.count("sms", metrics::Outcome::Refused) == 0 {
        assert!(Instant::now() < deadline, "it is refused");
        sleep(TICK).await;
    }
    // It is over before the webhook has answered.
    world.wrong.set(0.0);
    while !world.board.open().is_empty() {
        assert!(Instant::now() < deadline, "it is over");
        sleep(TICK).await;
    }
    opens.send(true).unwrap();
    let mut said = hook.hears_text().await;
    while said.contains("still CRITICAL") {
        said = hook.hears_text().await; // one that went on for a minute of the rules
    }
    assert!(said.starts_with("Switchboard OK"), "{said}");
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn alerts_of_one_moment_are_one_text_message_and_each_a_message_to_the_webhook() {
    let (mut hook, mut phone) = (Person::answering(&[]), Person::answering(&[]));
    let figures = &[Figure::DatabaseUnavailable, Figure::RealtimeRefused];
    let world = world_of(figures, vec![hook.webhook(), phone.sms()]);
    world.wrong.set(1.0);
    let mut told = [hook.hears_text().await, hook.hears_text().await];
    told.sort();
    assert!(told[0].contains("CRITICAL: database-unavailable"), "{told:?}");
    assert!(told[1].contains("CRITICAL: realtime-refused"), "{told:?}");
    let (_, body) = phone.hears().await;
    assert!(
        body.contains("Body=Switchboard%3A+2+alerts%2C+worst%3A+database-unavailable+on+a%3A8080"),
        "{body}"
    );
    assert!(body.contains("Also%3A+realtime-refused.+See+%2Fapi%2Falerts."), "{body}");
    world.wrong.set(0.0);
    let (_, body) = phone.hears().await;
    assert!(body.contains("Body=Switchboard+OK%3A+2+alerts+are+over"), "nothing came between: {body}");
    assert!(world.metrics.count("sms", metrics::Outcome::Sent) >= 2, "each alert is counted");
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn a_message_that_was_taken_and_not_answered_is_not_sent_again() {
    let mut phone = Person::listing(&[0]);
    let world = world(vec![phone.sms_within(Duration::from_secs(1))]);
    world.wrong.set(1.0);
    assert!(phone.hears().await.1.contains("CRITICAL"));
    assert_eq!(phone.hears().await.1, "a look-up");
    world.wrong.set(0.0);
    let next = phone.hears().await.1;
    assert!(next.contains("Switchboard+OK"), "{next}");
    assert_eq!(world.metrics.count("sms", metrics::Outcome::Unknown), 0);
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn a_message_without_an_answer_is_sent_once_more_with_the_same_words_and_no_oftener() {
    let mut phone = Person::answering(&[0, 0]);
    let world = world(vec![phone.sms_within(Duration::from_secs(1))]);
    world.wrong.set(1.0);
    let first = phone.hears().await;
    assert_eq!(phone.hears().await.1, "a look-up");
    assert_eq!(phone.hears().await, first, "the same alert with the same ID");
    // The next is the alert that goes on, after the longer pause.
    let next = phone.hears().await.1;
    assert!(next.contains("still+CRITICAL"), "{next}");
    assert_eq!(world.metrics.count("sms", metrics::Outcome::Unknown), 1);
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn what_cannot_be_read_is_counted_for_its_rule() {
    let world = world(vec![]);
    let missing = |rule| world.metrics.missing_readings(rule);
    let deadline = Instant::now() + DEADLINE;
    while missing("memory") < 2 {
        assert!(Instant::now() < deadline, "no reading is counted");
        sleep(TICK).await;
    }
    assert_eq!(missing("database-unavailable"), 0, "it is read");
    world.alerts.stop().await;
}

fn urgent_call(call: u32) -> call_control::alerts::urgent::Urgent {
    call_control::alerts::urgent::Urgent {
        call_sid: format!("CA{call:032x}").parse().unwrap(),
        dedupe_key: "urgent".to_owned(),
        from: Some(format!("+1415555{call:04}")),
        at: Utc::now(),
    }
}

#[actix_rt::test]
async fn an_urgent_caller_is_told_at_once_by_every_way_and_repeated_while_the_database_is_away() {
    let (mut hook, mut phone) = (Person::answering(&[]), Person::answering(&[503]));
    let world = world(vec![hook.webhook(), phone.sms()]);
    let raised = Instant::now();
    assert!(world.urgent.raise(urgent_call(1)));
    let (path, body) = phone.hears().await;
    let (told, body) = (raised.elapsed(), body.replace('+', " "));
    println!("told after {} ms", told.as_millis());
    assert!(told < Duration::from_secs(2), "{told:?}");
    assert_eq!(path, "/2010-04-01/Accounts/AC1/Messages.json");
    assert!(
        body.contains("Body=Switchboard URGENT%3A a caller needs help. Rang%3A %2B14155550001 at"),
        "{body}"
    );
    assert!(body.contains("See https%3A%2F%2Fcalls.example.com%2F and"), "{body}");
    let said = hook.hears_text().await;
    assert!(said.starts_with("Switchboard URGENT: a caller") && !said.contains("4155550001"), "{said}");
    while phone.hears().await.1 == "a look-up" {} // after the 503
    let again = hook.hears_text().await;
    assert!(again.starts_with("Switchboard still URGENT: a caller needs help."), "{again}");
    assert!(raised.elapsed() >= Duration::from_secs(1), "five minutes of the rules");
    world.alerts.stop().await;
}

#[actix_rt::test]
async fn an_urgent_caller_waits_behind_no_other_notice_and_no_other_caller() {
    let (_closed, gate) = watch::channel(false);
    let mut phone = Person::behind(gate);
    let world = world(vec![phone.sms()]);
    world.wrong.set(1.0);
    phone.hears().await; // an alert, which gets no answer
    for call in 1..=3 {
        assert!(world.urgent.raise(urgent_call(call)));
        let (_, body) = phone.hears().await;
        assert!(
            body.contains(&format!("URGENT%3A+a+caller+needs+help.+Rang%3A+%2B1415555{call:04}")),
            "{body}"
        );
    }
    (0..64).for_each(|call| _ = world.urgent.raise(urgent_call(call)));
    assert!(!world.urgent.raise(urgent_call(65)), "the queue has a size");
}

#[actix_rt::test]
async fn the_record_of_an_urgent_call_is_told_and_kept_while_the_database_is_away() {
    let mut phone = Person::answering(&[]);
    let world = world(vec![phone.sms()]);
    let ledger = UrgentLedger { records: world.db.records(), urgent: world.urgent.clone() };
    let item = |kind, text: &str| InboxItem {
        from: Some("+14155550007".to_owned()),
        ..InboxItem::said("CA00000000000000000000000000000007".parse().unwrap(), Utc::now(), kind, text)
    };
    let recorded = Instant::now();
    ledger.record(Record::Inbox(item(InboxKind::Message, "call me")));
    ledger.record(Record::Inbox(item(InboxKind::Urgent, "my chest hurts")));
    let (_, body) = phone.hears().await;
    assert!(recorded.elapsed() < Duration::from_secs(2), "{:?}", recorded.elapsed());
    assert!(
        body.contains("a+caller+needs+help.+Rang%3A+%2B14155550007") && !body.contains("chest"),
        "{body}"
    );
    assert_eq!(world.db.status().waiting_records(), 2, "both are kept");
}
