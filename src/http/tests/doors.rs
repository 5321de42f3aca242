//! What holds for every door: headers, pages elsewhere, the metrics' own address.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use super::*;

const LISTENED: &str = "/api/call-logs/CA00000000000000000000000000000001/voicemail/listened";
const BEHIND_TLS: [(&str, &str); 2] =
    [("PUBLIC_URL", "https://voice.example.com"), ("TRUSTED_PROXIES", "127.0.0.1")];

fn told<'a>(response: &'a ServiceResponse, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[actix_rt::test]
async fn every_answer_to_a_browser_says_what_it_must_not_do_and_twilio_is_told_nothing_of_it() {
    let app = app(&BEHIND_TLS);
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/",
        "/nowhere",
        "/api/docs",
        "/api/call-monitor",
        "/api/nowhere",
        CALL,
    ] {
        let response = answer(&app, local(path)).await;
        assert!(told(&response, "content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(told(&response, name), value, "{name} of {path}");
        }
    }
    let webhook = answer(&app, local("/api/voice/incoming").method(actix_web::http::Method::POST)).await;
    assert_eq!(told(&webhook, "content-security-policy"), "");
    assert_eq!(told(&webhook, "x-content-type-options"), "nosniff");
    let plain = answer(&super::app(&[]), local("/healthz")).await;
    assert_eq!(told(&plain, "strict-transport-security"), "", "it is not reached over TLS");
}

#[actix_rt::test]
async fn the_page_of_the_api_lets_in_its_own_style_alone() {
    let response = answer(&app(&[]), local("/api/docs")).await;
    let policy = told(&response, "content-security-policy").to_owned();
    let page = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    let (_, style) = page.split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let hash = BASE64.encode(Sha256::digest(style));
    assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}';")), "{policy}");
}

#[actix_rt::test]
async fn a_stream_of_another_websocket_version_is_told_the_one_that_is_needed() {
    let request = TestRequest::get()
        .uri("/api/voice/stream")
        .insert_header(("Connection", "Upgrade"))
        .insert_header(("Upgrade", "websocket"))
        .insert_header(("Sec-WebSocket-Version", "12"))
        .insert_header(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="));
    let response = answer(&app(&[("BYPASS_TWILIO_VALIDATION", "true")]), request).await;
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(told(&response, "upgrade"), "websocket");
    assert_eq!(told(&response, "sec-websocket-version"), "13");
    assert_eq!(body(response).await["title"], "Upgrade Required");
}

#[actix_rt::test]
async fn a_body_that_is_too_large_is_told_what_is_left_of_the_quota() {
    let post = local("/api/auth/login").method(actix_web::http::Method::POST);
    let response = answer(&app(&[]), post.set_payload(vec![b' '; 65 << 10])).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(told(&response, "ratelimit").starts_with("\"api\";r="));
}

#[actix_rt::test]
async fn a_page_elsewhere_changes_nothing_whatever_cookie_the_browser_adds() {
    let app = app(&[("API_AUTH", "off")]);
    let posts = async |headers: &[(&'static str, &'static str)]| {
        let post = local(LISTENED).method(actix_web::http::Method::POST);
        let post = headers.iter().fold(post, |post, header| post.insert_header(*header));
        answer(&app, post).await.status().as_u16()
    };
    const PASSED: u16 = 503; // the database is away
    assert_eq!(posts(&[]).await, PASSED, "no browser");
    assert_eq!(posts(&[("Sec-Fetch-Site", "same-origin"), ("Cookie", "a=b")]).await, PASSED);
    assert_eq!(posts(&[("Origin", "http://localhost:8080"), ("Cookie", "a=b")]).await, PASSED);
    assert_eq!(posts(&[("Sec-Fetch-Site", "cross-site")]).await, 403);
    assert_eq!(posts(&[("Origin", "https://evil.example")]).await, 403);
    assert_eq!(posts(&[("Cookie", "a=b")]).await, 403);
}

#[actix_rt::test]
async fn metrics_with_an_address_of_their_own_are_not_on_the_main_port() {
    let app = app(&[("METRICS_ADDR", "127.0.0.1:9464")]);
    assert_eq!(answer(&app, local("/metrics")).await.status(), StatusCode::NOT_FOUND);
    let service = actix_web::App::new().app_data(app.clone()).configure(crate::http::metrics_routes);
    let service = test::init_service(service).await;
    let metrics = test::call_service(&service, local("/metrics").to_request()).await;
    assert_eq!(metrics.status(), StatusCode::OK);
    for path in ["/", "/healthz", "/api/call-monitor", "/api/voice/incoming"] {
        let nothing = test::call_service(&service, local(path).to_request()).await;
        assert_eq!(nothing.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[actix_rt::test]
async fn protected_metrics_are_for_whoever_may_read_them() {
    let app = app(&[("METRICS_AUTH", "token")]);
    assert_eq!(answer(&app, local("/metrics")).await.status(), StatusCode::UNAUTHORIZED);
}
