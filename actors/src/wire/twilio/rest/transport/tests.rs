//! Requests against an API that answers by a script.

use std::collections::VecDeque;
use std::sync::Mutex;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::{CallFilter, NewMessage, Sender};
use super::*;

/// What is left to answer: each the request expected, a status and a body.
type Script = Mutex<VecDeque<(&'static str, u16, String)>>;

/// An API that answers by a script, and what is left of it.
fn scripted(script: Vec<(&'static str, u16, String)>) -> (TwilioApi, web::Data<Script>) {
    let script = web::Data::new(Mutex::new(VecDeque::from(script)));
    let left = script.clone();
    let answer = |request: HttpRequest, script: web::Data<Script>| async move {
        let (expected, status, body) = script.lock().unwrap().pop_front().unwrap();
        let path = request.path().strip_prefix("/2010-04-01/Accounts/AC1/").unwrap_or(request.path());
        assert_eq!(format!("{} {path}", request.method()), expected);
        HttpResponse::build(status.try_into().unwrap()).body(body)
    };
    let server =
        HttpServer::new(move || App::new().app_data(script.clone()).default_service(web::to(answer)));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let base = Url::parse(&format!("http://{}", server.addrs()[0])).unwrap();
    actix_rt::spawn(server.run());
    (TwilioApi::new(base, "AC1", Secret::new("hush".into())).unwrap(), left)
}

fn message(sid: &str, body: &str, created: DateTime<Utc>) -> String {
    let created = created.to_rfc2822();
    format!(
        r#"{{"sid":"{sid}","status":"sent","body":"{body}","date_created":"{created}","error_code":null}}"#
    )
}

fn list(messages: &[String]) -> String {
    format!(r#"{{"messages":[{}],"next_page_uri":null}}"#, messages.join(","))
}

async fn send_help(api: &TwilioApi) -> Result<String, RestError> {
    let from = Sender::Number("+15005550006");
    let new = NewMessage { to: "+14155550123", from, body: "help", status_callback: None };
    api.send_message(new).await.map(|message| message.sid)
}

#[actix_rt::test]
async fn a_create_that_failed_and_is_not_found_is_sent_once_more() {
    let now = Utc::now();
    let others = [message("SM1", "other", now), message("SM0", "help", now - TimeDelta::minutes(1))];
    let (api, left) = scripted(vec![
        ("POST Messages.json", 503, "<html>".into()),
        ("GET Messages.json", 200, list(&others)),
        ("POST Messages.json", 201, message("SM2", "help", now)),
    ]);
    assert_eq!(send_help(&api).await, Ok("SM2".into()));
    assert!(left.lock().unwrap().is_empty());
}

#[actix_rt::test]
async fn a_create_that_fails_twice_is_left_open() {
    let (api, left) = scripted(vec![
        ("POST Messages.json", 500, String::new()),
        ("GET Messages.json", 200, list(&[])),
        ("POST Messages.json", 500, r#"{"code":20500,"message":"Internal"}"#.into()),
        ("GET Messages.json", 200, list(&[])),
    ]);
    let error = send_help(&api).await.unwrap_err();
    assert!(
        error.leaves_open() && error.to_string() == "failed: status 500, error 20500: Internal",
        "{error}"
    );
    assert!(left.lock().unwrap().is_empty());
}

#[actix_rt::test]
async fn a_refused_create_is_neither_looked_up_nor_repeated() {
    let body = r#"{"code":21211,"message":"Invalid 'To' Phone Number: +14155550123","status":400}"#;
    let (api, left) = scripted(vec![("POST Messages.json", 400, body.into())]);
    let error = send_help(&api).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused: status 400, error 21211: Invalid 'To' Phone Number: +###########"
    );
    assert!(left.lock().unwrap().is_empty());
}

#[actix_rt::test]
async fn a_fetch_is_repeated_after_a_failure_and_a_list_stays_at_its_origin() {
    let call = "CA00000000000000000000000000000001".parse().unwrap();
    let (api, left) = scripted(vec![
        ("GET Calls/CA00000000000000000000000000000001.json", 502, String::new()),
        ("GET Calls/CA00000000000000000000000000000001.json", 404, String::new()),
        ("GET Calls.json", 200, r#"{"calls":[],"next_page_uri":"//evil.example/steal"}"#.into()),
    ]);
    assert_eq!(api.call(call).await, Ok(None));
    let error = api.calls(CallFilter::default()).await.unwrap_err();
    assert_eq!(error, RestError::Unreadable("next_page_uri leads elsewhere".into()));
    assert!(left.lock().unwrap().is_empty());
}

#[actix_rt::test]
async fn an_answer_that_cannot_be_read_is_not_repeated_in_the_error() {
    let body = r#"{"sid":"SM1","status":5,"body":"+14155550123"}"#;
    let (api, _left) = scripted(vec![("POST Messages.json", 201, body.into())]);
    let error = send_help(&api).await.unwrap_err();
    assert!(matches!(&error, RestError::Unreadable(text) if text.starts_with("Data at line 1")), "{error}");
}

fn api() -> TwilioApi {
    let base = Url::parse("https://api.twilio.com").unwrap();
    TwilioApi::new(base, "AC1", Secret::new("hush".into())).unwrap()
}

#[test]
fn a_form_repeats_the_name_of_a_list_and_escapes_the_plus_of_a_number() {
    let params = Params::default()
        .with("To", "+14155550100")
        .maybe("Label", None::<&str>)
        .each("StatusCallbackEvent", &["initiated", "answered"])
        .with("Muted", false);
    assert_eq!(
        params.encoded(),
        "To=%2B14155550100&StatusCallbackEvent=initiated&StatusCallbackEvent=answered&Muted=false"
    );
}

#[test]
fn a_name_in_a_path_cannot_leave_it() {
    let request = api().get(&["Conferences", "a/../b?c", "Participants"]);
    let path = "https://api.twilio.com/2010-04-01/Accounts/AC1/Conferences/a%2F..%2Fb%3Fc/Participants.json";
    assert_eq!(request.url.as_str(), path);
}

#[actix_rt::test]
async fn nobody_at_home_is_unreachable_after_five_attempts() {
    let base = Url::parse("http://127.0.0.1:1").unwrap();
    let api = TwilioApi::new(base, "AC1", Secret::new("hush".into())).unwrap();
    let started = Instant::now();
    let error = api.send(&api.post(&["Calls"], Params::default())).await.unwrap_err();
    assert!(matches!(error, RestError::Unreachable(_)), "{error}");
    let pauses = BACKOFF.pause_after(0, 1.0) * (1 + 2 + 4 + 8);
    assert!(started.elapsed() >= pauses / 2 && started.elapsed() < pauses * 3, "{:?}", started.elapsed());
}

#[actix_rt::test]
async fn an_https_origin_is_spoken_to_by_tls_and_a_stranger_gets_no_credentials() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    let api = TwilioApi::new(base, "AC1", Secret::new("hush".into())).unwrap().within(https::CONNECT);
    let greeted = actix_rt::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut first = [0; 2];
        tokio::io::AsyncReadExt::read_exact(&mut tcp, &mut first).await.unwrap();
        first
    });
    let error = api.send(&api.get(&["Calls"])).await.unwrap_err();
    assert_eq!(greeted.await.unwrap(), [0x16, 0x03], "a TLS handshake record");
    assert!(matches!(error, RestError::Unreachable(_)), "{error}");
}

/// An API that takes one password alone, and what it was asked with.
fn locked(taken: &'static str) -> (TwilioApi, web::Data<Mutex<Vec<String>>>) {
    let asked = web::Data::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let answer = move |request: HttpRequest, asked: web::Data<Mutex<Vec<String>>>| async move {
        let header =
            request.headers().get("Authorization").unwrap().to_str().unwrap().strip_prefix("Basic ").unwrap();
        let credentials = String::from_utf8(BASE64.decode(header).unwrap()).unwrap();
        let password = credentials.strip_prefix("AC1:").unwrap().to_owned();
        let is_taken = password == taken;
        asked.lock().unwrap().push(password);
        match is_taken {
            true => HttpResponse::Created().body(message("SM1", "help", Utc::now())),
            false => HttpResponse::Unauthorized().body(r#"{"code":20003,"message":"Authenticate"}"#),
        }
    };
    let server = HttpServer::new(move || App::new().app_data(seen.clone()).default_service(web::to(answer)));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let base = Url::parse(&format!("http://{}", server.addrs()[0])).unwrap();
    actix_rt::spawn(server.run());
    (TwilioApi::new(base, "AC1", Secret::new("old".into())).unwrap(), asked)
}

#[actix_rt::test]
async fn a_request_whose_token_is_refused_is_sent_with_the_other_one_which_comes_first_from_then_on() {
    let (api, asked) = locked("new");
    let api = api.or_token(Some(Secret::new("new".into())));
    assert_eq!(send_help(&api).await, Ok("SM1".into()));
    assert_eq!(send_help(&api.clone()).await, Ok("SM1".into()));
    assert_eq!(*asked.lock().unwrap(), ["old", "new", "new"]);
}

#[actix_rt::test]
async fn while_the_primary_token_is_taken_the_other_one_is_not_used() {
    let (api, asked) = locked("old");
    let api = api.or_token(Some(Secret::new("new".into())));
    assert_eq!(send_help(&api).await, Ok("SM1".into()));
    assert_eq!(*asked.lock().unwrap(), ["old"]);
}

#[actix_rt::test]
async fn a_request_whose_every_token_is_refused_is_refused() {
    let (api, asked) = locked("another");
    let api = api.or_token(Some(Secret::new("new".into())));
    let error = send_help(&api).await.unwrap_err();
    assert_eq!(error.to_string(), "refused: status 401, error 20003: Authenticate");
    assert_eq!(*asked.lock().unwrap(), ["old", "new"]);
}
