//! Logins, in the real program: who is let in, for how long, and what is written of it.

use actors::access::{Role, Scope};
use actors::wire::twilio::signature::sign;
use serde_json::{Value, json};
use switchboard::sim::phone::End;
use switchboard::sim::realtime;

use crate::support::accounts::{Answer, PASSWORD, Visitor, add_token, add_user, session};
use crate::support::app::{AUTH_TOKEN, Setup, TestApp};
use crate::support::browser::Browser;
use crate::support::certificates::Authority;
use crate::support::outage::Outage;
use crate::support::postgres::TestDatabase;
use crate::support::tls_proxy::TlsProxy;
use crate::support::twilio::{RawStream, call_sid, post, rings, webhook};
use crate::support::world::{World, is_answered};
use crate::support::{eventually, free_address};

const NOWHERE: &str = "http://127.0.0.1:9";
const MONITOR: &str = "/api/call-monitor";

fn setup(database: &TestDatabase) -> Setup {
    Setup::new(&database.url, NOWHERE).with("API_AUTH", "required")
}

/// Waits until the program has its database.
async fn is_healthy(app: &TestApp) {
    eventually("the database is there", async || app.get("/healthz").await["database"] == "healthy").await;
}

async fn start(database: &TestDatabase, settings: &[(&str, &str)]) -> TestApp {
    let app = settings.iter().fold(setup(database), |setup, (name, value)| setup.with(name, value)).start();
    is_healthy(&app).await;
    app
}

/// What the audit has of an action: who, object and outcome of each entry.
async fn audited(database: &TestDatabase, action: &str) -> Vec<String> {
    database
        .query(&format!("SELECT who, object, outcome FROM audit WHERE action = '{action}' ORDER BY id"))
        .await
}

/// Status and words of a refusal.
fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.body["detail"].as_str().unwrap_or_default().to_owned())
}

#[actix_rt::test]
async fn a_user_who_logs_in_is_let_in_until_the_log_out() {
    let database = TestDatabase::create().await;
    add_user(&database, "anna", Role::Viewer).await;
    let app = start(&database, &[]).await;
    let me = json!({"name": "anna", "kind": "user", "role": "viewer", "scopes": ["monitor", "logs"]});
    let login = Visitor::of(&app).logs_in("Anna", PASSWORD).await;
    assert_eq!((login.status, &login.body), (200, &me));
    let cookie = login.cookie.clone().unwrap();
    for attribute in ["switchboard=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(attribute), "{attribute}");
    }
    let anna = Visitor::of(&app).holding(&login.session());
    assert_eq!(anna.get("/api/auth/me").await.body, me);
    assert_eq!(anna.get(MONITOR).await.status, 200);
    assert_eq!(anna.get("/api/call-logs").await.status, 200);
    assert_eq!(refusal(&anna.get("/api/audit").await), (403, "this needs the scope `admin`".to_owned()));

    let logout = anna.post("/api/auth/logout", None).await;
    assert_eq!(logout.status, 204);
    assert!(logout.cookie.unwrap().starts_with("switchboard=;"));
    assert_eq!(anna.get(MONITOR).await.status, 401, "the cookie was stolen before");
    assert_eq!(anna.post("/api/auth/logout", None).await.status, 204, "once more");
    assert_eq!(audited(&database, "login").await, ["nobody|anna|ok"]);
    assert_eq!(audited(&database, "logout").await, ["user:anna|∅|ok"]);
}

#[actix_rt::test]
async fn nobody_is_told_whether_the_name_or_the_password_was_wrong() {
    let database = TestDatabase::create().await;
    add_user(&database, "anna", Role::Viewer).await;
    add_user(&database, "bert", Role::Admin).await;
    database.query("UPDATE users SET disabled_at = now() WHERE name = 'bert'").await;
    let app = start(&database, &[]).await;
    let visitor = Visitor::of(&app);
    let wrong = visitor.logs_in("anna", "correct horse battery stable").await;
    assert_eq!(refusal(&wrong), (401, "name or password is wrong".to_owned()));
    for (name, password) in [("nobody", PASSWORD), ("bert", PASSWORD), ("bert", "another"), ("", "")] {
        let answer = visitor.logs_in(name, password).await;
        assert_eq!((answer.status, &answer.body), (wrong.status, &wrong.body), "{name}");
        assert_eq!(answer.cookie, None);
    }
    let entries = ["anna", "∅", "bert", "bert", "∅"].map(|object| format!("nobody|{object}|failed"));
    assert_eq!(audited(&database, "login").await, entries);
}

#[actix_rt::test]
async fn whatever_ends_a_session_or_a_token_ends_it_at_once() {
    let database = TestDatabase::create().await;
    for name in ["anna", "bert", "carl"] {
        add_user(&database, name, Role::Operator).await;
    }
    let app = start(&database, &[]).await;
    let sessions = [session(&app, "anna").await, session(&app, "bert").await, session(&app, "carl").await];
    let [anna, bert, carl] = sessions.map(|session| Visitor::of(&app).holding(&session));
    let [old, revoked] = [
        add_token(&database, "old", &[Scope::Monitor]).await,
        add_token(&database, "revoked", &[Scope::Monitor]).await,
    ];
    let [old, revoked] = [old, revoked].map(|token| Visitor::of(&app).bearing(&token));
    for visitor in [&anna, &bert, &carl, &old, &revoked] {
        assert_eq!(visitor.get(MONITOR).await.status, 200);
    }
    let of = |name: &str| format!("WHERE user_id = (SELECT id FROM users WHERE name = '{name}')");
    database.query(&format!("UPDATE sessions SET revoked_at = now() {}", of("anna"))).await;
    database.query(&format!("UPDATE sessions SET expires_at = now() {}", of("bert"))).await;
    database.query("UPDATE users SET disabled_at = now() WHERE name = 'carl'").await;
    database.query("UPDATE api_tokens SET expires_at = now() WHERE name = 'old'").await;
    database.query("UPDATE api_tokens SET revoked_at = now() WHERE name = 'revoked'").await;
    for visitor in [anna, bert, carl, old, revoked] {
        assert_eq!(visitor.get(MONITOR).await.status, 401);
    }
}

#[actix_rt::test]
async fn a_cookie_that_was_there_before_the_login_is_worth_nothing_after_it() {
    let database = TestDatabase::create().await;
    add_user(&database, "anna", Role::Viewer).await;
    add_user(&database, "mallory", Role::Viewer).await;
    let app = start(&database, &[]).await;
    let planted = session(&app, "mallory").await;
    let login = Visitor::of(&app).holding(&planted).logs_in("anna", PASSWORD).await;
    assert_eq!(login.status, 200);
    assert_ne!(login.session(), planted);
    assert_eq!(Visitor::of(&app).holding(&planted).get(MONITOR).await.status, 401);
    let me = Visitor::of(&app).holding(&login.session()).get("/api/auth/me").await;
    assert_eq!(me.body["name"], "anna");
}

#[actix_rt::test]
async fn a_page_elsewhere_cannot_use_the_session_of_whoever_looks_at_it() {
    let database = TestDatabase::create().await;
    add_user(&database, "anna", Role::Operator).await;
    let app = start(&database, &[]).await;
    let session = session(&app, "anna").await;
    let hang_up = format!("/api/ops/calls/{}/hang-up", call_sid(1));
    let posted = async |headers: &[(&str, &str)]| {
        let visitor = Visitor::of(&app).with("Cookie", &session);
        let visitor = headers.iter().fold(visitor, |visitor, (name, value)| visitor.with(name, value));
        visitor.post(&hang_up, None).await.status
    };
    assert_eq!(posted(&[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")]).await, 403);
    assert_eq!(posted(&[("Origin", "https://evil.example")]).await, 403);
    assert_eq!(posted(&[]).await, 403);
    assert_eq!(posted(&[("Sec-Fetch-Site", "same-origin")]).await, 404, "no such call");
    assert_eq!(posted(&[("Origin", &app.origin)]).await, 404);
}

#[actix_rt::test]
async fn ten_attempts_in_a_quarter_of_an_hour_are_for_each_address_and_for_each_account() {
    let database = TestDatabase::create().await;
    add_user(&database, "anna", Role::Viewer).await;
    add_user(&database, "bert", Role::Viewer).await;
    let app = start(&database, &[]).await;
    for number in 1..=10 {
        let guess = Visitor::from(&format!("127.0.0.{}", 10 + number), &app).logs_in("anna", "a guess").await;
        assert_eq!(guess.status, 401, "{number}");
    }
    let locked = Visitor::from("127.0.0.30", &app).logs_in("ANNA", PASSWORD).await;
    assert_eq!(locked.status, 429, "the account, whoever asks");
    assert_eq!(locked.body["violated-policies"], json!(["auth"]));
    let one = Visitor::from("127.0.0.40", &app);
    for number in 1..=10 {
        assert_eq!(one.logs_in(&format!("user{number}"), "a guess").await.status, 401);
    }
    assert_eq!(one.logs_in("bert", PASSWORD).await.status, 429, "the address, whoever is tried");
    assert_eq!(Visitor::from("127.0.0.41", &app).logs_in("bert", PASSWORD).await.status, 200);
    let limited = audited(&database, "login").await.into_iter().filter(|entry| entry.ends_with("limited"));
    assert_eq!(limited.count(), 2, "one entry for each address");
}

#[actix_rt::test]
async fn a_transcript_is_opened_only_when_the_audit_says_by_whom() {
    let database = TestDatabase::create().await;
    add_user(&database, "anna", Role::Admin).await;
    let app = start(&database, &[]).await;
    let call = call_sid(1);
    rings(&app, &call).await;
    let over = [("CallSid", &*call), ("CallStatus", "completed")];
    assert_eq!(webhook(&app, "/api/voice/call-status", &over).await.status, 204);
    let anna = Visitor::of(&app).holding(&session(&app, "anna").await);
    let path = format!("/api/call-logs/{call}");
    eventually("the call is in the log", async || anna.get(&path).await.status == 200).await;
    assert_eq!(audited(&database, "transcript-opened").await, [format!("user:anna|{call}|ok")]);
    let bot = Visitor::of(&app).bearing(&add_token(&database, "bot", &[Scope::Logs]).await);
    assert_eq!(bot.get("/api/call-logs.csv").await.status, 200);
    assert_eq!(audited(&database, "export").await, ["token:bot|∅|ok"]);
    assert_eq!(bot.get("/api/audit").await.status, 403);

    let page = anna.get("/api/audit?pageSize=2").await.body;
    let actions = |page: &Value| -> Vec<String> {
        page["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(actions(&page), ["export", "transcript-opened"]);
    assert_eq!(page["entries"][1]["client"], "127.0.0.1");
    let rest = anna.get(&format!("/api/audit?cursor={}", page["nextCursor"].as_str().unwrap())).await.body;
    assert_eq!((actions(&rest), &rest["nextCursor"]), (vec!["login".to_owned()], &Value::Null));
    let of_bot = anna.get("/api/audit?who=token:bot&action=export").await.body;
    assert_eq!(actions(&of_bot), ["export"]);

    database.query("ALTER TABLE audit ADD CONSTRAINT nothing_more CHECK (action = 'login') NOT VALID").await;
    let unseen = anna.get(&path).await;
    assert_eq!((unseen.status, &unseen.body["turns"]), (503, &Value::Null));
    assert_eq!(bot.get("/api/call-logs.csv").await.status, 503);
}

#[actix_rt::test]
async fn an_operator_ends_a_live_call_and_a_viewer_does_not() {
    let database = TestDatabase::create().await;
    add_user(&database, "vera", Role::Viewer).await;
    add_user(&database, "otto", Role::Operator).await;
    let world = World::around(&database.url).await;
    let app = world.setup.clone().with("API_AUTH", "required").start_on(&world.listener);
    is_healthy(&app).await;
    let caller = world.network.ring().await.unwrap();
    is_answered(&caller).await;
    let hang_up = format!("/api/ops/calls/{}/hang-up", caller.call_sid());
    let vera = Visitor::of(&app).holding(&session(&app, "vera").await);
    let otto = Visitor::of(&app).holding(&session(&app, "otto").await);
    assert_eq!(refusal(&vera.post(&hang_up, None).await), (403, "this needs the scope `operate`".to_owned()));
    assert_eq!(otto.post(&hang_up, None).await.status, 204);
    assert_eq!(caller.ends().await, End::ByBridge);
    eventually("the slot is free", async || app.metric("switchboard_calls_active").await == 0.0).await;
    assert_eq!(otto.post(&hang_up, None).await.status, 404, "it is over");
    assert_eq!(audited(&database, "hang-up").await, [format!("user:otto|{}|ok", caller.call_sid())]);
}

#[actix_rt::test]
async fn while_the_database_is_away_only_whoever_was_let_in_before_is() {
    let outage = Outage::prepare().await;
    add_user(&outage.database, "anna", Role::Viewer).await;
    let token = add_token(&outage.database, "bot", &[Scope::Monitor]).await;
    let setup = Setup::new(&outage.url, NOWHERE).with("API_AUTH", "required").without_database();
    let other = setup.anew().with("INSTANCE_ID", "other").start();
    let app = setup.start();
    is_healthy(&app).await;
    is_healthy(&other).await;
    let anna = Visitor::of(&app).holding(&session(&app, "anna").await);
    let unseen = Visitor::of(&app).holding(&session(&other, "anna").await);
    assert_eq!(anna.get(MONITOR).await.status, 200);
    let _away = outage.begin();
    eventually("the outage is seen", async || app.get("/healthz").await["database"] == "unavailable").await;
    assert_eq!(anna.get(MONITOR).await.status, 200);
    assert_eq!(anna.get("/api/call-logs").await.status, 503);
    assert_eq!(unseen.get(MONITOR).await.status, 503, "it may have been ended");
    assert_eq!(Visitor::of(&app).bearing(&token).get(MONITOR).await.status, 503);
    assert_eq!(Visitor::of(&app).logs_in("anna", PASSWORD).await.status, 503);
    assert_eq!(Visitor::of(&app).get(MONITOR).await.status, 401);
    assert_eq!(anna.post("/api/auth/logout", None).await.status, 503, "the row stays");
    assert_eq!(anna.get(MONITOR).await.status, 503, "and yet it is out here");
}

#[actix_rt::test]
async fn no_password_token_or_cookie_is_ever_in_the_log() {
    let database = TestDatabase::create().await;
    add_user(&database, "anna", Role::Admin).await;
    let app = start(&database, &[("RUST_LOG", "trace")]).await;
    let token = add_token(&database, "bot", &[Scope::Logs]).await;
    let session = session(&app, "anna").await;
    assert_eq!(Visitor::of(&app).holding(&session).get(MONITOR).await.status, 200);
    assert_eq!(Visitor::of(&app).bearing(&token).get("/api/call-logs").await.status, 200);
    assert_eq!(Visitor::of(&app).logs_in("anna", "a secret guess").await.status, 401);
    let garbled = Some(json!({"name": "anna", "password": ["a secret guess"]}));
    assert_eq!(Visitor::of(&app).post("/api/auth/login", garbled).await.status, 400);
    let log = app.log_at_its_end().join("\n");
    assert!(log.contains("stopped"), "it is the log");
    let (_, key) = session.split_once('=').unwrap();
    for secret in [PASSWORD, "a secret guess", &token, key, key.split('.').next().unwrap()] {
        assert!(!log.contains(secret), "{secret}");
    }
}

/// Logs in at the page, in a window as narrow as a telephone, and waits for the live call and the log.
async fn looks_at_the_page(origin: &str, name: &str) -> Browser {
    let mut browser = Browser::open(&format!("{origin}/"), 390, 800).await;
    browser.logs_in(name, "a guess").await;
    browser
        .shows("document.getElementById('login-error').textContent.includes('name or password is wrong')")
        .await;
    browser.logs_in(name, PASSWORD).await;
    browser.shows("document.querySelectorAll('#live tbody tr').length === 1").await;
    browser.shows("document.querySelectorAll('#log tbody tr').length === 1").await;
    browser.shows(&format!("document.getElementById('name').textContent === '{name}'")).await;
    browser
}

/// A call that is on the line by way of this origin.
async fn live_call(app: &TestApp, origin: &str) -> RawStream {
    let (call, url) = (call_sid(1), format!("{origin}/api/voice/incoming"));
    let form =
        [("CallSid", &*call), ("From", "+14155550100"), ("To", "+15005550006"), ("CallStatus", "ringing")];
    let signed = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let token = post(app, "/api/voice/incoming", &form, &sign(AUTH_TOKEN, &url, &signed)).await.token();
    let stream = format!("{}/api/voice/stream", origin.replacen("http", "ws", 1));
    let mut stream = RawStream::open_signed(app, &sign(AUTH_TOKEN, &stream, &[])).await.unwrap();
    stream.start(&call, &token).await;
    assert!(stream.hears().await.contains(r#""event":"media""#), "the agent");
    stream
}

#[actix_rt::test]
async fn behind_nginx_with_tls_people_log_in_at_the_page_and_see_what_they_may() {
    let database = TestDatabase::create().await;
    add_user(&database, "vera", Role::Viewer).await;
    add_user(&database, "otto", Role::Operator).await;
    let realtime = realtime::start(realtime::Options::default()).await.unwrap();
    let (authority, listen) = (Authority::new(), free_address());
    let setup =
        Setup::new(&database.url, &format!("http://{}", realtime.addr())).with("API_AUTH", "required");
    let setup = setup.with("PUBLIC_URL", &format!("https://{listen}")).with("TRUSTED_PROXIES", "127.0.0.1");
    let app = setup.start();
    is_healthy(&app).await;
    let program = app.origin.trim_start_matches("http://").parse().unwrap();
    let proxy = TlsProxy::nginx(listen, &authority.issue("127.0.0.1"), program);
    let _stream = live_call(&app, &proxy.origin).await;

    let mut viewer = looks_at_the_page(&proxy.origin, "vera").await;
    assert_eq!(viewer.value("document.cookie").await, "", "no script reads the session");
    assert_eq!(viewer.value("document.querySelectorAll('[data-hang-up]').length").await, 0);
    let hang_up =
        format!("fetch('/api/ops/calls/{}/hang-up', {{method: 'POST'}}).then(r => r.status)", call_sid(1));
    assert_eq!(viewer.value(&hang_up).await, 403);
    let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(viewer.value(fits).await, true);

    // The session ends while a transcript is open, which is open again after the next login.
    viewer.value("document.querySelector('#log button').click()").await;
    let is_open = "document.querySelector('#log button').getAttribute('aria-expanded') === 'true'";
    viewer.shows(is_open).await;
    database.query("UPDATE sessions SET revoked_at = now()").await;
    viewer.shows("document.getElementById('content').hidden").await;
    viewer.logs_in("vera", PASSWORD).await;
    viewer.shows(&format!("!document.getElementById('content').hidden && {is_open}")).await;
    viewer.value("document.getElementById('log-out').click()").await;
    viewer
        .shows("!document.getElementById('login').hidden && !document.querySelector('#log tbody tr')")
        .await;

    let mut operator = looks_at_the_page(&proxy.origin, "otto").await;
    operator.value("window.confirm = () => true; document.querySelector('[data-hang-up]').click()").await;
    operator.shows("document.getElementById('active').textContent === '0'").await;
    assert_eq!(audited(&database, "hang-up").await, [format!("user:otto|{}|ok", call_sid(1))]);
}

#[actix_rt::test]
async fn metrics_with_an_address_and_a_token_of_their_own_are_read_there_and_nowhere_else() {
    let database = TestDatabase::create().await;
    let token = add_token(&database, "prometheus", &[Scope::Metrics]).await;
    let address = free_address();
    let settings = [("METRICS_ADDR", &*address.to_string()), ("METRICS_AUTH", "token")];
    let app = start(&database, &settings).await;
    let status = async |url: String, token: &str| {
        let request =
            awc::Client::default().get(url).insert_header(("Authorization", format!("Bearer {token}")));
        request.send().await.unwrap().status().as_u16()
    };
    let own = |path: &str| format!("http://{address}{path}");
    assert_eq!(status(own("/metrics"), &token).await, 200);
    assert_eq!(status(own("/metrics"), "sbt_guess").await, 401);
    assert_eq!(status(own("/healthz"), &token).await, 404);
    assert_eq!(status(app.url("/metrics"), &token).await, 404);
    assert!(app.log_at_its_end().iter().any(|line| line.contains(" stopped ")), "its end closes both");
}
