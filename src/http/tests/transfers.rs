//! A caller is given to a person, as Twilio asks and is answered.

use actix_web::http::StatusCode;
use actix_web::test::read_body;
use actix_web::web::Data;
use actors::call::flow::documents::HOLD_MUSIC;

use super::{VOICEMAIL_BOX, answer, app, header_of, local, steered};
use crate::app::App;

const UNSIGNED: (&str, &str) = ("BYPASS_TWILIO_VALIDATION", "true");
const PERSON: (&str, &str) = ("HUMAN_FALLBACK_NUMBER", "+14155550123");
const OURS: &str = "callerId=\"+15005550006\"";
const OUR_NUMBER: (&str, &str) = ("TWILIO_FROM_NUMBER", "+15005550006");
const FROM: &str = "+14155550100";
const TO: &str = "+15005550006";

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The answer at `door` to a call from `from` to `to`.
async fn answered(app: &Data<App>, door: &str, from: &str, to: &str, more: &str) -> String {
    let parameters = format!("From={}&To={}&Direction=inbound{more}", escaped(from), escaped(to));
    steered(app, door, &parameters).await
}

/// The door behind an attribute of the document, as it is asked.
fn door_of(document: &str, attribute: &str) -> String {
    let url =
        document.split(&format!("{attribute}=\"http://127.0.0.1:8080/api/voice/")).nth(1).expect(attribute);
    url.split(['#', '"']).next().unwrap().replace("&amp;", "&")
}

#[actix_rt::test]
async fn the_last_resort_is_a_person_or_else_a_voicemail_box() {
    let alone = steered(&app(&[UNSIGNED]), "fallback", "").await;
    assert!(alone.contains(VOICEMAIL_BOX), "{alone}");
    let staffed = app(&[UNSIGNED, PERSON]);
    let person = steered(&staffed, "fallback", "").await;
    assert!(person.contains(">+14155550123</Number>"), "{person}");
    assert!(person.contains("action=\"http://127.0.0.1:8080/api/voice/transfer-done?transfer="), "{person}");
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
        let answer = answered(&app, "fallback", none, TO, "").await;
        assert!(answer.contains(OURS), "{none}: {answer}");
    }
    let answer = answered(&app, "fallback", FROM, TO, "").await;
    assert!(!answer.contains("callerId"), "the caller's own number is shown: {answer}");
    assert!(answer.contains(">+14155550123</Number>"), "{answer}");
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
    let first = answered(&app, "fallback", FROM, TO, "").await;
    let failed = answered(&app, &door_of(&first, "action"), FROM, TO, "&DialCallStatus=failed").await;
    assert!(failed.contains(OURS) && !failed.contains("<Say>"), "{failed}");
    let last = answered(&app, &door_of(&failed, "action"), FROM, TO, "&DialCallStatus=failed").await;
    assert!(last.contains(VOICEMAIL_BOX), "{last}");
    for status in ["busy", "no-answer", "canceled"] {
        let status = format!("&DialCallStatus={status}");
        let answer = answered(&app, &door_of(&first, "action"), FROM, TO, &status).await;
        assert!(answer.contains(VOICEMAIL_BOX), "{status}: {answer}");
    }
}

#[actix_rt::test]
async fn a_person_who_could_not_be_called_from_our_number_is_not_called_again() {
    let app = app(&[UNSIGNED, PERSON, OUR_NUMBER]);
    let (from, to) = ("sip:alice@pbx.example.com", "sip:clinic@pbx.example.com");
    let first = answered(&app, "fallback", from, to, "").await;
    let last = answered(&app, &door_of(&first, "action"), from, to, "&DialCallStatus=failed").await;
    assert!(last.contains(VOICEMAIL_BOX), "{last}");
}

#[actix_rt::test]
async fn whoever_is_dialled_takes_the_call_with_a_key_and_is_not_connected_without() {
    let app = app(&[UNSIGNED, PERSON]);
    let first = answered(&app, "fallback", FROM, TO, "").await;
    let whisper = door_of(&first, "url");
    let person = |more: &str| format!("From=%2B14155550100&To=%2B14155550123&Direction=outbound-dial{more}");
    let asked = steered(&app, &whisper, &person("")).await;
    assert!(asked.contains("1 4 1, 5 5 5, 5 0 1, 0 0") && asked.contains("Press 1"), "{asked}");
    assert!(asked.ends_with("Goodbye.</Say><Hangup/></Response>"), "without a key: {asked}");
    let key = door_of(&asked, "action");
    let taken = steered(&app, &key, &person("&Digits=1")).await;
    assert!(taken.ends_with("<Response/>"), "its end connects both: {taken}");
    let declined = steered(&app, &key, &person("&Digits=2")).await;
    assert!(declined.contains("<Hangup/>"), "{declined}");

    let action = door_of(&first, "action");
    let status = "&DialCallStatus=completed&DialBridged=";
    let machine = answered(&app, &action, FROM, TO, &format!("{status}false")).await;
    assert!(machine.contains(VOICEMAIL_BOX), "{machine}");
    let talked = answered(&app, &action, FROM, TO, &format!("{status}true")).await;
    assert!(talked.contains("Thank you for calling"), "{talked}");
}

#[actix_rt::test]
async fn a_transfer_that_this_service_did_not_seal_leads_to_the_voicemail_box_and_to_no_person() {
    let app = app(&[UNSIGNED, PERSON]);
    for door in ["queue-wait", "queue-wait?transfer=AAAA", "transfer-done?transfer=x&DialCallStatus=busy"] {
        let answer = answered(&app, door, FROM, TO, "&DialCallStatus=busy").await;
        assert!(answer.contains(VOICEMAIL_BOX), "{door}: {answer}");
    }
    let whisper = steered(&app, "whisper?transfer=AAAA", "Digits=1").await;
    assert!(whisper.contains("no longer waiting") && whisper.contains("<Hangup/>"), "{whisper}");
}

#[actix_rt::test]
async fn no_url_shows_a_number() {
    let app = app(&[UNSIGNED, PERSON]);
    let first = answered(&app, "fallback", FROM, TO, "").await;
    for attribute in ["action", "url"] {
        let door = door_of(&first, attribute);
        assert!(!door.contains("4155550") && !door.contains("person"), "{door}");
    }
}

#[actix_rt::test]
async fn the_music_is_fetched_unsigned_and_kept() {
    let response = answer(&app(&[]), local(HOLD_MUSIC)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, actix_web::http::header::CONTENT_TYPE), "audio/wav");
    assert!(header_of(&response, actix_web::http::header::CACHE_CONTROL).starts_with("public"));
    assert!(read_body(response).await.starts_with(b"RIFF"));
}

#[actix_rt::test]
async fn a_number_that_was_called_is_never_dialled() {
    let app = app(&[UNSIGNED, PERSON]);
    let answer = answered(&app, "fallback", FROM, PERSON.1, "").await;
    assert!(answer.contains(VOICEMAIL_BOX), "{answer}");
}
