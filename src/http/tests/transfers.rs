use actix_web::web::Data;

use super::{VOICEMAIL_BOX, app, steered};
use crate::app::App;

const UNSIGNED: (&str, &str) = ("BYPASS_TWILIO_VALIDATION", "true");
const PERSON: (&str, &str) = ("HUMAN_FALLBACK_NUMBER", "+14155550123");
const OURS: &str = "callerId=\"+15005550006\"";
const OUR_NUMBER: (&str, &str) = ("TWILIO_FROM_NUMBER", "+15005550006");

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The answer at `door` to a call from `from` to `to`.
async fn answered(app: &Data<App>, door: &str, from: &str, to: &str, more: &str) -> String {
    let parameters = format!("From={}&To={}&Direction=inbound{more}", escaped(from), escaped(to));
    steered(app, door, &parameters).await
}

#[actix_rt::test]
async fn a_person_is_called_from_our_number_unless_the_caller_has_one() {
    let app = app(&[UNSIGNED, PERSON]);
    for none in [
        "sip:alice@pbx.example.com",
        "client:bob",
        "anonymous",
        "unknown",
        "+266696687",
        "+0",
        "14155550100",
        "",
    ] {
        let answer = answered(&app, "fallback", none, "+15005550006", "").await;
        assert!(answer.contains(OURS), "{none}: {answer}");
    }
    let answer = answered(&app, "fallback", "+14155550100", "+15005550006", "").await;
    assert!(!answer.contains("callerId"), "the caller's own number is shown: {answer}");
    assert!(answer.contains("<Number>+14155550123</Number>"), "{answer}");
}

#[actix_rt::test]
async fn our_number_is_the_one_that_is_set_or_else_the_one_that_was_called() {
    let set = app(&[UNSIGNED, PERSON, OUR_NUMBER]);
    for to in ["sip:clinic@pbx.example.com", "+14155550199"] {
        let answer = answered(&set, "fallback", "sip:alice@pbx.example.com", to, "").await;
        assert!(answer.contains(OURS), "{to}: {answer}");
    }
    let unset = app(&[UNSIGNED, PERSON]);
    let answer = answered(&unset, "fallback", "client:bob", "sip:clinic@pbx.example.com", "").await;
    assert!(!answer.contains("callerId"), "there is none: {answer}");
    let outgoing = "From=client%3Abob&To=%2B15005550006&Direction=outbound-api";
    let answer = steered(&unset, "fallback", outgoing).await;
    assert!(!answer.contains("callerId"), "the number that we called is not ours: {answer}");
}

#[actix_rt::test]
async fn a_person_who_could_not_be_called_from_the_callers_number_is_called_once_more_from_ours() {
    let app = app(&[UNSIGNED, PERSON]);
    let (from, to) = ("+14155550100", "+15005550006");
    let again = answered(&app, "transfer-done", from, to, "&DialCallStatus=failed").await;
    assert!(again.contains(OURS), "{again}");
    let action = again.split("action=\"http://127.0.0.1:8080/api/voice/").nth(1).unwrap();
    let door = action.split('#').next().unwrap();
    let last = answered(&app, door, from, to, "&DialCallStatus=failed").await;
    assert!(last.contains(VOICEMAIL_BOX), "{last}");
    for status in ["busy", "no-answer", "canceled"] {
        let answer = answered(&app, "transfer-done", from, to, &format!("&DialCallStatus={status}")).await;
        assert!(answer.contains(VOICEMAIL_BOX), "{status}: {answer}");
    }
}

#[actix_rt::test]
async fn a_person_who_could_not_be_called_from_our_number_is_not_called_again() {
    let app = app(&[UNSIGNED, PERSON, OUR_NUMBER]);
    let (from, to) = ("sip:alice@pbx.example.com", "sip:clinic@pbx.example.com");
    let first = answered(&app, "fallback", from, to, "").await;
    let action = first.split("action=\"http://127.0.0.1:8080/api/voice/").nth(1).unwrap();
    let door = action.split('#').next().unwrap();
    let last = answered(&app, door, from, to, "&DialCallStatus=failed").await;
    assert!(last.contains(VOICEMAIL_BOX), "{last}");
}
