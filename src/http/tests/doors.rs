//! What holds for every door: headers, pages elsewhere, the metrics' own address.

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
    for path in
        ["/healthz", "/readyz", "/metrics", "/", "/nowhere", "/api/call-monitor", "/api/nowhere", CALL]
    {
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
