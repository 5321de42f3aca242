use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::to_bytes;
use actix_web::dev::{Service as _, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::web;
use futures_util::FutureExt as _;
use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::app::App;
use crate::settings::Settings;

mod audio;
mod described;
mod doors;
mod limits;
mod logins;
mod openapi;
mod operators;
mod schemas;
mod signatures;
mod transfers;

const CALL: &str = "/api/call-logs/CA00000000000000000000000000000001";

/// An app whose database cannot be reached, with these settings besides.
pub(crate) fn app(more: &[(&str, &str)]) -> web::Data<App> {
    let spools = tempfile::tempdir().unwrap(); // gone when the app begins: it keeps its files open
    let settings = Settings::read(|name| {
        let known = [
            ("SPOOL_DIR", spools.path().to_str().unwrap()),
            ("TWILIO_AUTH_TOKEN", "token"),
            ("OPENAI_API_KEY", "sk-1"),
            ("DATABASE_URL", "postgres://app@127.0.0.1:1/app"),
            ("INSTANCE_ID", "here"),
        ];
        let found = more.iter().chain(&known).find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    let address = "127.0.0.1:8080".parse().unwrap();
    web::Data::new(App::start(settings.unwrap(), address).unwrap())
}

async fn answer(app: &web::Data<App>, request: TestRequest) -> ServiceResponse {
    let service = actix_web::App::new().app_data(app.clone()).configure(super::routes);
    let request = request.to_request();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = test::call_service(&test::init_service(service).await, request).await;
    is_described(method.as_str(), &uri.to_string(), response).await
}

/// The answer, which the description must have.
async fn is_described(method: &str, path: &str, response: ServiceResponse) -> ServiceResponse {
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let body = to_bytes(body).await.unwrap();
    let headers = head.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let answered = described::Answered { method, path, status: head.status().as_u16(), headers, body: &body };
    assert_eq!(answered.fault(), None);
    ServiceResponse::new(request, head.set_body(body).map_into_boxed_body())
}

/// A request from this machine, as a browser would send it.
fn local(path: &str) -> TestRequest {
    TestRequest::get()
        .uri(path)
        .peer_addr("127.0.0.1:50000".parse().unwrap())
        .insert_header((header::HOST, "localhost:8080"))
}

async fn body(response: ServiceResponse) -> Value {
    test::read_body_json(response).await
}

fn header_of(response: &ServiceResponse, name: header::HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[actix_rt::test]
async fn every_route_of_the_list_is_there() {
    let app = app(&[("API_AUTH", "off")]);
    let routes = [
        ("/healthz", StatusCode::OK),
        ("/readyz", StatusCode::SERVICE_UNAVAILABLE), // the schema is not known
        ("/metrics", StatusCode::OK),
        ("/api/call-monitor", StatusCode::OK),
        ("/api/call-logs", StatusCode::SERVICE_UNAVAILABLE),
        ("/api/call-logs.csv", StatusCode::SERVICE_UNAVAILABLE),
        (CALL, StatusCode::SERVICE_UNAVAILABLE),
        ("/", StatusCode::OK),
    ];
    for (path, expected) in routes {
        assert_eq!(answer(&app, local(path)).await.status(), expected, "{path}");
        assert_eq!(
            answer(&app, local(path).method(actix_web::http::Method::HEAD)).await.status(),
            expected,
            "{path}"
        );
        let posted = answer(&app, local(path).method(actix_web::http::Method::POST)).await;
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(header_of(&posted, header::ALLOW), "GET, HEAD");
        assert_eq!(body(posted).await["title"], "Method Not Allowed");
    }
}

#[actix_rt::test]
async fn a_path_that_leads_nowhere_is_a_problem_too() {
    let app = app(&[("API_AUTH", "off")]);
    for path in ["/nowhere", "/api/nowhere", "/healthz/"] {
        let response = answer(&app, local(path)).await;
        assert_eq!(header_of(&response, header::CONTENT_TYPE), "application/problem+json", "{path}");
        let problem = json!({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is nothing here"});
        assert_eq!(body(response).await, problem, "{path}");
    }
}

#[actix_rt::test]
async fn requests_are_counted_by_route_and_those_that_lead_nowhere_as_one() {
    let app = app(&[("API_AUTH", "off")]);
    answer(&app, local(CALL)).await;
    answer(&app, local("/healthz").method(actix_web::http::Method::POST)).await;
    for path in ["/nowhere", "/api/nowhere", "/api/call-logs/a/b"] {
        answer(&app, local(path).method("BREW".parse().unwrap())).await;
    }
    let metrics = super::metrics::encode(&app.metrics).unwrap();
    for (labels, count) in [
        (r#"method="GET",route="/api/call-logs/{callSid}",status="5xx""#, 1),
        (r#"method="POST",route="/healthz",status="4xx""#, 1),
        (r#"method="other",route="none",status="4xx""#, 3),
    ] {
        let line = format!("switchboard_http_requests_total{{{labels}}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("switchboard_http_answers_total{status=\"4xx\"} 3\n"), "no probe: {metrics}");
    assert!(metrics.contains("switchboard_http_requests_in_flight 0\n"));
}

#[actix_rt::test]
async fn requests_without_an_answer_are_counted_too() {
    let app = app(&[]);
    let service = actix_web::App::new()
        .app_data(app.clone())
        .wrap(from_fn(super::requests::count))
        .route("/panics", web::get().to(async || -> HttpResponse { panic!("on purpose") }))
        .route("/hangs", web::get().to(pending::<HttpResponse>));
    let service = test::init_service(service).await;
    let panics = AssertUnwindSafe(service.call(local("/panics").to_request())).catch_unwind();
    assert!(panics.await.is_err());
    assert!(service.call(local("/hangs").to_request()).now_or_never().is_none(), "and the client has left");
    let metrics = super::metrics::encode(&app.metrics).unwrap();
    for route in ["/panics", "/hangs"] {
        let labels = format!(r#"method="GET",route="{route}",status="none""#);
        assert!(metrics.contains(&format!("switchboard_http_requests_total{{{labels}}} 1\n")), "{metrics}");
        let count = format!("switchboard_http_request_duration_seconds_count{{route=\"{route}\"}} 1\n");
        assert!(metrics.contains(&count), "{metrics}");
    }
    assert!(metrics.contains("switchboard_http_answers_total{status=\"none\"} 2\n"));
    assert!(metrics.contains("switchboard_http_requests_in_flight 0\n"));
}

/// A metric that takes until somebody lets go of it.
struct Held {
    begun: Arc<Notify>,
    until: Mutex<mpsc::Receiver<()>>,
    let_go: IntGauge,
}

impl Collector for Held {
    fn desc(&self) -> Vec<&Desc> {
        self.let_go.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.begun.notify_one();
        let let_go = self.until.lock().unwrap().recv_timeout(Duration::from_secs(5)).is_ok();
        self.let_go.set(let_go.into());
        self.let_go.collect()
    }
}

#[actix_rt::test]
async fn a_worker_goes_on_while_its_metrics_are_put_together() {
    let app = app(&[]);
    let (begun, (release, until)) = (Arc::new(Notify::new()), mpsc::channel());
    let let_go = IntGauge::new("let_go", "Whether the worker did").unwrap();
    let held = Held { begun: begun.clone(), until: until.into(), let_go };
    app.metrics.register(Box::new(held)).unwrap();
    let scrape = answer(&app, local("/metrics"));
    let meanwhile = async {
        begun.notified().await;
        release.send(()).unwrap();
    };
    let (scraped, ()) = futures_util::future::join(scrape, meanwhile).await;
    let text = String::from_utf8(test::read_body(scraped).await.to_vec()).unwrap();
    assert!(text.contains("\nlet_go 1\n"), "{text}");
}

#[actix_rt::test]
async fn an_error_of_the_framework_becomes_a_problem() {
    let service = actix_web::App::new().service(
        web::scope("")
            .wrap(actix_web::middleware::from_fn(super::problem::envelope))
            .app_data(web::PayloadConfig::new(10))
            .route("/", web::post().to(async |_: web::Bytes| "read")),
    );
    let service = test::init_service(service).await;
    let request = TestRequest::post().uri("/").set_payload("more than ten bytes").to_request();
    let response = test::call_service(&service, request).await;
    assert_eq!(header_of(&response, header::CONTENT_TYPE), "application/problem+json");
    assert_eq!(header_of(&response, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_eq!(body(response).await["status"], 413);
}

#[actix_rt::test]
async fn whoever_is_not_answered_in_time_is_told_to_try_again() {
    let soon = actix_web::middleware::from_fn(async |request, next| {
        super::problem::answered_within(Duration::from_millis(1), request, next).await
    });
    let never = web::get().to(std::future::pending::<&str>);
    let service =
        test::init_service(actix_web::App::new().service(web::scope("").wrap(soon).route("/", never)));
    let error =
        test::try_call_service(&service.await, TestRequest::get().uri("/").to_request()).await.unwrap_err();
    let response = error.error_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    for (name, value) in [
        (header::RETRY_AFTER, "2"),
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        assert_eq!(response.headers().get(&name).unwrap(), value, "{name}");
    }
}

#[actix_rt::test]
async fn health_is_told_while_the_database_is_away() {
    let app = app(&[("MAX_CONCURRENT_CALLS", "7")]);
    let mut health = body(answer(&app, TestRequest::get().uri("/healthz")).await).await;
    assert!(health["uptimeSeconds"].take().is_u64());
    // Whether somebody asks for a connection just now.
    assert!(health["poolStats"]["waiting"].take().is_u64());
    let expected = json!({
        "status": "degraded", "database": "unavailable", "realtime": "healthy",
        "causes": ["database-unavailable"], "warnings": [],
        "poolStats": {"total": 0, "idle": 0, "waiting": null}, "calls": {"active": 0, "limit": 7},
        "spool": {"pending": 0, "oldestSeconds": 0, "aside": 0}, "version": env!("CARGO_PKG_VERSION"), "uptimeSeconds": null,
    });
    assert_eq!(health, expected);
}

#[actix_rt::test]
async fn a_house_whose_last_slot_waits_for_its_caller_is_full() {
    let app = app(&[("MAX_CONCURRENT_CALLS", "1")]);
    let call = "CA00000000000000000000000000000001".parse().unwrap();
    let admitted = app.registry.admit(call, "+15550001".to_owned(), "+15550002".to_owned()).await;
    assert!(matches!(admitted, Ok(actors::registry::Answer::Connect { .. })), "{admitted:?}");
    let health = body(answer(&app, local("/healthz")).await).await;
    assert_eq!(health["warnings"], json!(["full-house"]));
}

#[actix_rt::test]
async fn only_whoever_may_use_the_api_reads_why_the_database_is_away() {
    let app = app(&[("API_AUTH", "off"), ("BYPASS_TWILIO_VALIDATION", "true")]);
    let health = body(answer(&app, local("/healthz")).await).await;
    assert!(health["databaseError"].is_string());
    assert_eq!(health["warnings"], json!(["twilio-validation-bypassed", "api-auth-off"]));
    let metrics = answer(&app, local("/metrics")).await;
    let text = String::from_utf8(test::read_body(metrics).await.to_vec()).unwrap();
    for (line, value) in [
        ("switchboard_health_causes{cause=\"database-unavailable\"}", 1),
        ("switchboard_health_causes{cause=\"realtime-refused\"}", 0),
        ("switchboard_health_warnings{warning=\"twilio-validation-bypassed\"}", 1),
        ("switchboard_health_warnings{warning=\"full-house\"}", 0),
    ] {
        assert!(text.contains(&format!("{line} {value}\n")), "{line} is not {value}");
    }
    let stranger = body(answer(&app, TestRequest::get().uri("/healthz")).await).await;
    assert!(stranger.get("databaseError").is_none(), "{stranger}");
}

#[actix_rt::test]
async fn a_draining_process_is_alive_and_not_ready() {
    let app = app(&[]);
    app.drains();
    app.registry.drain().await.unwrap();
    let health = answer(&app, TestRequest::get().uri("/healthz")).await;
    assert_eq!(health.status(), StatusCode::OK);
    assert_eq!(body(health).await["status"], "draining");
    let ready = answer(&app, TestRequest::get().uri("/readyz")).await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body(ready).await["detail"], "draining: no new calls are taken");
}

#[actix_rt::test]
async fn what_a_page_asks_for_must_be_possible() {
    let app = app(&[("API_AUTH", "off")]);
    let asked = [
        ("?page=0", "page"),
        ("?page=x", "page"),
        ("?page=-1", "page"),
        ("?pageSize=0", "pageSize"),
        ("?pageSize=201", "pageSize"),
        ("?cursor=x", "cursor"),
        ("?page=2&cursor=LXN0YXJ0ZWRBdCAyIDEgQ0EwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMQ", "page"),
        ("?sort=costUsd&cursor=LXN0YXJ0ZWRBdCAyIDEgQ0EwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMQ", "sort"),
        ("?sort=turns", "sort"),
        ("?since=yesterday", "since"),
        ("?until=2026-02-30", "until"),
        ("?outcome=fine", "outcome"),
        ("?urgent=1", "urgent"),
        ("?hasRecording=yes", "hasRecording"),
        ("?q=%22-%22", "q"),
        (".csv?sort=-", "sort"),
        (".csv?urgent=perhaps", "urgent"),
        ("?outcom=failed", "outcom"),
        (".csv?outcom=failed", "outcom"),
        ("/CA00000000000000000000000000000001?turns=1", "turns"),
        ("/CA123", "callSid"),
        ("/MZ00000000000000000000000000000001", "callSid"),
    ];
    for (more, field) in asked {
        let response = answer(&app, local(&format!("/api/call-logs{more}"))).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{more}");
        assert_eq!(body(response).await["field"], field, "{more}");
    }
}

#[actix_rt::test]
async fn a_database_that_is_away_is_503_without_its_cause() {
    let app = app(&[("API_AUTH", "off")]);
    for path in ["/api/call-logs?page=2&pageSize=200", CALL] {
        let response = answer(&app, local(path)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header_of(&response, header::RETRY_AFTER), "2");
        assert_eq!(body(response).await["detail"], "temporarily unavailable");
    }
}

#[actix_rt::test]
async fn the_live_picture_is_told() {
    let app = app(&[("API_AUTH", "off")]);
    let mut picture = body(answer(&app, local("/api/call-monitor")).await).await;
    assert!(picture["generatedAt"].take().is_string());
    let expected = json!({
        "generatedAt": null, "instance": "here", "draining": false,
        "capacity": {"limit": 20, "active": 0, "reserved": 0, "queued": 0, "available": 20}, "calls": [], "queue": [],
    });
    assert_eq!(picture, expected);
}

#[actix_rt::test]
async fn nobody_is_let_in_when_a_login_is_required() {
    let app = app(&[]);
    for path in ["/api/call-monitor", "/api/call-logs", CALL, "/api/nowhere", "/api/audit", "/api/auth/me"] {
        let response = answer(&app, local(path)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(header_of(&response, header::WWW_AUTHENTICATE), "Bearer");
        assert_eq!(body(response).await["title"], "Unauthorized");
    }
    for path in ["/healthz", "/"] {
        assert_eq!(answer(&app, local(path)).await.status(), StatusCode::OK, "{path}");
    }
}

#[actix_rt::test]
async fn without_logins_only_this_machine_is_let_in() {
    let app = app(&[("API_AUTH", "off")]);
    let from = |peer: &str| local("/api/call-monitor").peer_addr(peer.parse().unwrap());
    let host = |host: &'static str| local("/api/call-monitor").insert_header((header::HOST, host));
    for allowed in [
        from("127.0.0.5:1"),
        from("[::1]:1"),
        from("[::ffff:127.0.0.1]:1"),
        host("[::1]:8080"),
        host("127.0.0.1"),
    ] {
        assert_eq!(answer(&app, allowed).await.status(), StatusCode::OK);
    }
    let refused = [
        from("192.0.2.1:1"),
        from("[2001:db8::1]:1"),
        TestRequest::get().uri("/api/call-monitor"), // no peer known
        local("/api/call-monitor").insert_header(("Forwarded", "for=127.0.0.1")),
        local("/api/call-monitor").insert_header(("X-Forwarded-For", "127.0.0.1")),
        local("/api/call-monitor").insert_header(("X-Forwarded-Proto", "https")),
        local("/api/call-monitor").insert_header(("X-Real-IP", "192.0.2.1")),
        local("/api/call-monitor").insert_header(("Via", "1.1 proxy")),
        host("voice.example.com"),
        host("localhost:8080").append_header((header::HOST, "voice.example.com")),
        local("http://voice.example.com/api/call-monitor"),
        host("127.0.0.1.example.com"),
        host("localhost:8080/@voice.example.com:x"),
    ];
    for request in refused {
        assert_eq!(answer(&app, request).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[actix_rt::test]
async fn the_page_runs_its_own_script_and_no_other() {
    let app = app(&[("API_AUTH", "off")]);
    let response = answer(&app, local("/")).await;
    let policy = header_of(&response, header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header_of(&response, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    let page = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    for from_elsewhere in ["http://", "https://", " src=", "innerHTML", " style=", " onclick="] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
    }
}

#[actix_rt::test]
async fn metrics_are_readable_by_prometheus() {
    let app = app(&[]);
    let response = answer(&app, TestRequest::get().uri("/metrics")).await;
    assert!(header_of(&response, header::CONTENT_TYPE).starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    let cpu = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total ")).unwrap();
    assert!(cpu.parse::<f64>().unwrap() > 0.0);
    assert!(text.contains("process_resident_memory_bytes "));
}

#[actix_rt::test]
async fn twilios_doors_ask_for_a_signature_and_not_for_a_login() {
    let app = app(&[]);
    for path in [
        "/api/voice/incoming",
        "/api/voice/after-stream",
        "/api/voice/fallback",
        "/api/voice/transfer-done",
        "/api/voice/queue-wait",
        "/api/voice/whisper",
        "/api/voice/voicemail",
        "/api/voice/recording-status",
        "/api/voice/call-status",
        "/api/voice/stream-status",
        "/api/voice/conference-events",
    ] {
        let response = answer(&app, TestRequest::post().uri(path).set_payload("CallSid=CA1")).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer(&app, local(path)).await.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    assert_eq!(answer(&app, local("/api/voice/stream")).await.status(), StatusCode::FORBIDDEN);
    let metrics = super::metrics::encode(&app.metrics).unwrap();
    assert!(metrics.contains("\nswitchboard_webhooks_forged_total 12\n"), "{metrics}");
    assert_eq!(answer(&app, local("/api/voice/nowhere")).await.status(), StatusCode::NOT_FOUND);
}

const VOICEMAIL_BOX: &str = "<Record action=\"http://127.0.0.1:8080/api/voice/voicemail#";

/// What Twilio is answered on a call that goes on.
async fn steered(app: &web::Data<App>, door: &str, parameters: &str) -> String {
    let form = format!("CallSid=CA00000000000000000000000000000001&CallStatus=in-progress&{parameters}");
    let request = TestRequest::post().uri(&format!("/api/voice/{door}")).set_payload(form);
    let response = answer(app, request).await;
    assert_eq!(response.status(), StatusCode::OK, "{door}");
    String::from_utf8(test::read_body(response).await.to_vec()).unwrap()
}

#[actix_rt::test]
async fn whoever_was_not_answered_may_leave_a_message_though_the_database_is_away() {
    let app = app(&[("BYPASS_TWILIO_VALIDATION", "true"), ("HUMAN_FALLBACK_NUMBER", "+14155550123")]);
    for status in ["busy", "no-answer", "failed", "canceled"] {
        let answer = steered(&app, "transfer-done", &format!("DialCallStatus={status}")).await;
        assert!(answer.contains(VOICEMAIL_BOX), "{status}: {answer}");
    }
    for status in ["completed", "answered"] {
        let answer = steered(&app, "transfer-done", &format!("DialCallStatus={status}")).await;
        assert!(answer.ends_with("Goodbye.</Say><Hangup/></Response>"), "{status}: {answer}");
    }
    let recording = "RecordingUrl=https%3A%2F%2Fapi.twilio.com%2FRecordings%2FRE1&RecordingDuration";
    let answer = steered(&app, "voicemail", &format!("{recording}=4")).await;
    assert!(answer.contains("Thank you for your message"), "{answer}");
    let empty = steered(&app, "voicemail", &format!("{recording}=0")).await;
    assert!(empty.contains("did not receive a message"), "{empty}");
    assert_eq!(app.db.status().spool_pending(), 7, "six transfers and one message");
}
