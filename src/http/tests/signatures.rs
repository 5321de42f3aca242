use std::sync::Arc;

use actix_web::test::TestRequest;
use actors::wire::twilio::signature::sign;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tempfile::NamedTempFile;

use super::{answer, app};

const PUBLIC_URL: (&str, &str) = ("PUBLIC_URL", "https://voice.example.com:8443");
const FALLBACK: &str = "/api/voice/fallback";

/// A webhook without parameters, for `path`, with this signature.
fn webhook(path: &str, signature: &str) -> TestRequest {
    TestRequest::post().uri(path).insert_header(("X-Twilio-Signature", signature))
}

#[actix_rt::test]
async fn webhooks_are_believed_by_the_primary_and_the_secondary_token_with_and_without_a_port() {
    let app = app(&[PUBLIC_URL, ("TWILIO_AUTH_TOKEN_SECONDARY", "new")]);
    for token in ["token", "new"] {
        for port in ["", ":443", ":8443"] {
            let url = format!("https://voice.example.com{port}{FALLBACK}");
            let response = answer(&app, webhook(FALLBACK, &sign(token, &url, &[]))).await;
            assert_eq!(response.status(), 200, "{token} {url}");
        }
    }
    let stranger = sign("another", "https://voice.example.com/api/voice/fallback", &[]);
    assert_eq!(answer(&app, webhook(FALLBACK, &stranger)).await.status(), 403);
}

#[actix_rt::test]
async fn a_webhook_that_names_a_shared_key_is_checked_with_it() {
    let app = app(&[PUBLIC_URL, ("TWILIO_SHARED_KEYS", "key1=secret1,key2=secret2")]);
    let signed = |key: &str, secret: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("https://voice.example.com:8443{FALLBACK}").as_bytes());
        let settings = format!("key={key},algorithm=HMAC_SHA256");
        webhook(FALLBACK, &BASE64.encode(mac.finalize().into_bytes()))
            .insert_header(("X-Twilio-Webhooks-Signature-Settings", settings))
    };
    assert_eq!(answer(&app, signed("key1", "secret1")).await.status(), 200);
    assert_eq!(answer(&app, signed("key2", "secret2")).await.status(), 200);
    assert_eq!(answer(&app, signed("key2", "secret1")).await.status(), 403);
    assert_eq!(answer(&app, signed("key3", "secret1")).await.status(), 403);
}

#[test]
fn a_refused_signature_is_logged_with_the_urls_that_were_tried() {
    let log = NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    actix_rt::System::new().block_on(async {
        let app = app(&[PUBLIC_URL]);
        let other = sign("token", "https://phone.example.com/api/voice/after-stream?epoch=1", &[]);
        answer(&app, webhook("/api/voice/after-stream?epoch=1234&x=hush", &other)).await;
        let stream = TestRequest::get().uri("/api/voice/stream").insert_header(("X-Twilio-Signature", other));
        answer(&app, stream).await;
    });
    let log = std::fs::read_to_string(log.path()).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("not signed by Twilio")).collect();
    let [webhook, stream] = lines[..] else { panic!("{log}") };
    let door = "/api/voice/after-stream?epoch=…&x=…";
    assert!(webhook.contains(&format!("url=\"https://voice.example.com:8443{door}\"")), "{webhook}");
    let tried =
        ["https://voice.example.com:8443", "https://voice.example.com", "https://voice.example.com:443"];
    let tried = tried.map(|origin| format!("{origin}{door}")).join(" ");
    assert!(webhook.contains(&format!("candidates={tried}")), "{webhook}");
    assert!(!webhook.contains("1234") && !webhook.contains("hush"), "{webhook}");
    assert!(stream.contains("wss://voice.example.com:443/api/voice/stream/"), "{stream}");
}
