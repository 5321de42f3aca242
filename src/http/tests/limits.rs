use actix_web::http::header::HeaderMap;

use super::*;

const UNSIGNED: (&str, &str) = ("BYPASS_TWILIO_VALIDATION", "true");
const CALLBACK: &str = "ConferenceSid=CF1&StatusCallbackEvent=participant-join";

async fn status(app: &web::Data<App>, request: TestRequest) -> u16 {
    answer(app, request).await.status().as_u16()
}

/// All lines of a header.
fn told(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).map(|line| line.to_str().unwrap().to_owned()).collect()
}

fn from(peer: &str, path: &str) -> TestRequest {
    local(path).peer_addr(peer.parse().unwrap())
}

fn posted(door: &str, parameters: &str) -> TestRequest {
    TestRequest::post().uri(&format!("/api/voice/{door}")).set_payload(parameters.to_owned())
}

#[actix_rt::test]
async fn an_answer_of_the_api_says_what_is_left_and_a_refusal_when_to_come_again() {
    let app = app(&[("API_AUTH", "off"), ("RATE_LIMIT_API", "3/1m")]);
    for left in [2, 1, 0] {
        let answer = answer(&app, local("/api/call-logs")).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(told(answer.headers(), "RateLimit-Policy"), [r#""api";q=3;w=60"#]);
        let [rest] = &told(answer.headers(), "RateLimit")[..] else { panic!("one line") };
        assert!(rest.starts_with(&format!(r#""api";r={left};t="#)), "{rest}");
    }
    for path in ["/api/call-logs", "/api/call-logs.csv", "/api/nowhere"] {
        let refusal = answer(&app, local(path)).await;
        assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(header_of(&refusal, header::CONTENT_TYPE), "application/problem+json");
        let wait = header_of(&refusal, header::RETRY_AFTER).to_owned();
        assert!((58..=62).contains(&wait.parse::<u32>().unwrap()), "{wait}");
        assert_eq!(told(refusal.headers(), "RateLimit-Policy"), [r#""api";q=3;w=60"#]);
        assert_eq!(told(refusal.headers(), "RateLimit"), [format!(r#""api";r=0;t={wait}"#)]);
        let problem = json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Quota Exceeded", "status": 429,
            "detail": format!("too many requests: try again in {wait} s"), "violated-policies": ["api"],
        });
        assert_eq!(body(refusal).await, problem);
    }
    assert_eq!(status(&app, from("127.0.0.5:1", "/api/call-logs")).await, 503, "another address");
    for left in (0..15).rev() {
        let answer = answer(&app, local("/api/call-monitor")).await;
        assert_eq!(answer.status(), StatusCode::OK, "the picture has a budget of its own");
        let [rest] = &told(answer.headers(), "RateLimit")[..] else { panic!("one line") };
        assert!(rest.starts_with(&format!(r#""page";r={left};t="#)), "{rest}");
    }
    assert_eq!(status(&app, local("/api/call-monitor")).await, 429);
    let unlimited = [("/healthz", 200), ("/readyz", 503), ("/metrics", 200), ("/", 200)];
    for (path, status) in unlimited {
        let answer = answer(&app, local(path)).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(told(answer.headers(), "RateLimit"), [""; 0], "{path}");
    }
    let metrics = answer(&app, local("/metrics")).await;
    let text = String::from_utf8(test::read_body(metrics).await.to_vec()).unwrap();
    assert!(text.contains("switchboard_rate_limit_decisions_total{class=\"api\"} 7\n"), "{text}");
    assert!(text.contains("switchboard_rate_limited_total{class=\"api\"} 3\n"), "{text}");
    assert!(text.contains("switchboard_rate_limited_total{class=\"webhook\"} 0\n"), "{text}");
}

#[actix_rt::test]
async fn behind_a_trusted_proxy_the_client_is_who_it_forwards_for() {
    let app = app(&[("RATE_LIMIT_API", "1/1m"), ("TRUSTED_PROXIES", "10.0.0.0/8")]);
    let forwarded =
        |peer, client: &'static str| from(peer, "/api/call-logs").insert_header(("X-Forwarded-For", client));
    assert_eq!(status(&app, forwarded("10.0.0.1:1", "192.0.2.1")).await, 401);
    assert_eq!(status(&app, forwarded("10.0.0.2:1", "203.0.113.9, 192.0.2.1")).await, 429);
    assert_eq!(status(&app, forwarded("10.0.0.1:1", "192.0.2.2")).await, 401);
    assert_eq!(status(&app, forwarded("198.51.100.1:1", "192.0.2.3")).await, 401);
    assert_eq!(status(&app, forwarded("198.51.100.1:1", "192.0.2.4")).await, 429, "no proxy of ours");
}

#[actix_rt::test]
async fn whoever_guesses_a_credential_is_told_to_wait() {
    let app = app(&[("RATE_LIMIT_AUTH", "2/15m")]);
    let guess = |path| local(path).insert_header((header::AUTHORIZATION, "Bearer guess"));
    assert_eq!(status(&app, guess("/api/call-monitor")).await, 401);
    assert_eq!(status(&app, guess("/api/nowhere")).await, 401);
    let refusal = answer(&app, guess("/api/call-logs")).await;
    assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header_of(&refusal, header::RETRY_AFTER).parse::<u32>().unwrap() > 800);
    let policies = [r#""auth";q=2;w=900"#, r#""api";q=100;w=60"#];
    assert_eq!(told(refusal.headers(), "RateLimit-Policy"), policies);
    assert_eq!(body(refusal).await["violated-policies"], json!(["auth"]));
    assert_eq!(status(&app, guess("/api/nowhere")).await, 429);
    assert_eq!(status(&app, local("/api/nowhere")).await, 401, "no guess");
    assert_eq!(status(&app, guess("/")).await, 200, "the page tells nothing");
    let elsewhere = guess("/api/nowhere").peer_addr("192.0.2.1:1".parse().unwrap());
    assert_eq!(status(&app, elsewhere).await, 401, "another address");
}

#[actix_rt::test]
async fn a_callback_that_is_too_many_is_refused_and_what_steers_a_call_is_not() {
    let app = app(&[UNSIGNED, ("RATE_LIMIT_WEBHOOK", "2/1m")]);
    let doors = [
        ("conference-events", CALLBACK),
        ("recording-status", "RecordingSid=RE1&RecordingStatus=in-progress"),
        ("stream-status", "CallSid=CA00000000000000000000000000000001&StreamEvent=stream-started"),
        ("call-status", "CallSid=CA00000000000000000000000000000001&CallStatus=ringing"),
    ];
    let first = answer(&app, posted(doors[0].0, doors[0].1)).await;
    assert_eq!(first.status(), StatusCode::NO_CONTENT);
    assert_eq!(told(first.headers(), "RateLimit-Policy"), [r#""webhook";q=2;w=60"#]);
    assert_eq!(status(&app, posted(doors[1].0, doors[1].1)).await, 204);
    for (door, parameters) in doors {
        let refusal = answer(&app, posted(door, parameters)).await;
        assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS, "{door}");
        assert_eq!(body(refusal).await["violated-policies"], json!(["webhook"]));
    }
    let message = "CallSid=CA00000000000000000000000000000001&RecordingSid=RE2&RecordingStatus=completed\
        &RecordingSource=RecordVerb&RecordingDuration=4&RecordingUrl=https%3A%2F%2Fapi.twilio.com%2FRecordings%2FRE2";
    assert_eq!(status(&app, posted("recording-status", message)).await, 429);
    assert_eq!(app.db.status().spool_pending(), 3, "two callbacks, and the message all the same");
    for door in ["fallback", "transfer-done", "queue-wait", "whisper", "voicemail"] {
        steered(&app, door, "DialCallStatus=busy").await;
    }
    assert_eq!(app.db.status().spool_pending(), 4, "a transfer besides");
}

#[actix_rt::test]
async fn callbacks_are_counted_by_account_and_without_one_by_address() {
    let app = app(&[UNSIGNED, ("RATE_LIMIT_WEBHOOK", "1/1m")]);
    let of = |number| format!("AccountSid=AC{number:032}&{CALLBACK}");
    let callback = |parameters: &str, peer: &str| {
        posted("conference-events", parameters).peer_addr(peer.parse().unwrap())
    };
    assert_eq!(status(&app, callback(&of(1), "192.0.2.1:1")).await, 204);
    assert_eq!(status(&app, callback(&of(1), "192.0.2.2:1")).await, 429, "the same account");
    assert_eq!(status(&app, callback(&of(2), "192.0.2.1:1")).await, 204);
    assert_eq!(status(&app, callback(CALLBACK, "192.0.2.1:1")).await, 204);
    assert_eq!(status(&app, callback(CALLBACK, "192.0.2.1:2")).await, 429, "the same address");
    assert_eq!(status(&app, callback(CALLBACK, "192.0.2.2:1")).await, 204);
}
