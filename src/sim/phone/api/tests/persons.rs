//! People who are called: by the REST API, and by a `<Dial>` with a whisper.

use super::*;
use crate::sim::phone::Person;

const DESK: &str = "+14155550124";

/// A document that asks for a key.
fn asks(action: &str) -> String {
    format!(
        r#"<Response><Gather numDigits="1" timeout="1" action="{action}"><Say>Press 1</Say></Gather><Say>No key</Say><Hangup/></Response>"#
    )
}

async fn called(person: Person) -> (Bridge, Network, String) {
    let bridge = Bridge::answering(asks("/after"), "text/xml").await;
    let net = Network::start(Options { person, ..options(&bridge) }).unwrap();
    let url = bridge.origin.join("/api/voice/incoming").unwrap();
    let call = NewCall {
        to: HUMAN,
        from: NUMBER,
        instructions: Instructions::Url(&url),
        status_callback: None,
        timeout: Some(SECOND),
    };
    let sid = api(&net).make_call_once(call).await.unwrap().sid;
    (bridge, net, sid.to_string())
}

#[actix_rt::test]
async fn a_person_who_is_called_does_as_they_are_told() {
    let said = |text: &str| Heard::Said(text.into());
    for (person, status, heard, key) in [
        (Person::Answers, "completed", vec![said("Press 1"), said("Goodbye")], Some("1")),
        (Person::Declines, "completed", vec![said("Press 1"), said("Goodbye")], Some("2")),
        (Person::NoKey, "completed", vec![said("Press 1"), said("No key")], None),
        (Person::Machine, "completed", vec![said("Press 1"), said("No key")], None),
        (Person::Busy, "busy", vec![], None),
        (Person::NoAnswer, "no-answer", vec![], None),
    ] {
        let (bridge, net, _) = called(person).await;
        until("the call is over", async || !net.calls_to(HUMAN).is_empty()).await;
        assert_eq!(net.calls_to(HUMAN), [(status, heard)], "{person:?}");
        let keys: Vec<_> =
            bridge.asked("/after").iter().map(|asked| asked.get("Digits").to_owned()).collect();
        assert_eq!(keys, key.into_iter().collect::<Vec<_>>(), "{person:?}");
        assert_eq!(net.violations().1, [], "{person:?}");
    }
}

#[actix_rt::test]
async fn a_call_that_rings_is_taken_back() {
    let (_bridge, net, sid) = called(Person::NoAnswer).await;
    api(&net).hang_up(sid.parse().unwrap()).await.unwrap().unwrap();
    until("the call is over", async || !net.calls_to(HUMAN).is_empty()).await;
    assert_eq!(net.calls_to(HUMAN)[0].0, "canceled");
}

#[actix_rt::test]
async fn whoever_is_dialled_is_connected_unless_the_whisper_hangs_up() {
    let document =
        r#"<Response><Dial action="/after"><Number url="/WHISPER">+14155550123</Number></Dial></Response>"#;
    // "/after" hangs up, and another path is no TwiML: the person is connected after an empty document only.
    let bridge = Bridge::answering(document.replace("/WHISPER", "/after"), "text/xml").await;
    let net = Network::start(options(&bridge)).unwrap();
    let caller = net.rings().unwrap();
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    let asked = bridge.asked("/after");
    assert_eq!(
        (asked[0].get("Direction"), asked[0].get("ParentCallSid")),
        ("outbound-dial", caller.call_sid())
    );
    assert_eq!((asked[0].get("From"), asked[0].get("To")), ("+14155550000", HUMAN));
    assert_eq!((asked[1].get("DialCallStatus"), asked[1].get("DialBridged")), ("completed", "false"));
    assert!(!caller.events().iter().any(|(_, event)| *event == Event::Answered));
}

#[actix_rt::test]
async fn each_number_can_have_a_person_of_its_own() {
    let document =
        format!(r#"<Response><Dial timeout="1">{HUMAN}</Dial><Dial timeout="1">{DESK}</Dial></Response>"#);
    let bridge = Bridge::answering(document, "text/xml").await;
    let person_at = vec![(HUMAN.to_owned(), Person::Busy)];
    let net = Network::start(Options { person_at, ..options(&bridge) }).unwrap();
    let caller = net.rings().unwrap();
    caller.ends().await;
    let statuses = [HUMAN, DESK].map(|number| net.calls_to(number)[0].0);
    assert_eq!(statuses, ["busy", "completed"]);
}

#[actix_rt::test]
async fn a_conference_tells_what_happens_and_its_wait_holds_sound_alone() {
    let room = |label: &str, wait: &str| {
        format!(
            r#"<Response><Dial><Conference participantLabel="{label}" waitUrl="{wait}" endConferenceOnExit="true"
               statusCallback="ORIGIN/events" statusCallbackEvent="start end join leave">room</Conference></Dial></Response>"#
        )
    };
    let bridge = Bridge::answering("<Response><Pause length=\"30\"/></Response>", "text/xml").await;
    let net = Network::start(options(&bridge)).unwrap();
    let api = api(&net);
    let caller = rings(&net, &api).await;
    let by_hand = async |sid: &CallSid, document: String| {
        let document = document.replace("ORIGIN", bridge.origin.as_str().trim_end_matches('/'));
        let twiml: String = form_urlencoded::byte_serialize(document.as_bytes()).collect();
        asked_by_hand(&net, "POST", &format!("Calls/{sid}.json"), &format!("Twiml={twiml}")).await
    };
    let wait = format!("{}after", bridge.origin); // it holds a <Hangup>
    assert_eq!(by_hand(&sid_of(&caller), room("caller", &wait)).await.0, 200);
    until("the wait is refused", async || net.violations().0 == 1).await;
    assert_eq!(net.violations().1[0].kind, "13238");

    let pause = bridge.origin.join("/api/voice/incoming").unwrap();
    let call = NewCall {
        to: HUMAN,
        from: NUMBER,
        instructions: Instructions::Url(&pause),
        status_callback: None,
        timeout: None,
    };
    let person = api.make_call_once(call).await.unwrap().sid;
    until("they are on the line", async || {
        api.call(person).await.unwrap().unwrap().status == CallStatus::InProgress
    })
    .await;
    assert_eq!(by_hand(&person, room("person", "")).await.0, 200);
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::Dialled), "the person ends the conference");
    until("all is told", async || bridge.asked("/events").len() == 6).await;
    let mut told: Vec<_> = bridge
        .asked("/events")
        .iter()
        .map(|asked| {
            let number: u32 = asked.get("SequenceNumber").parse().unwrap();
            (number, asked.get("StatusCallbackEvent").to_owned(), asked.get("ParticipantLabel").to_owned())
        })
        .collect();
    told.sort();
    let told: Vec<_> = told.iter().map(|(_, event, label)| format!("{event} {label}")).collect();
    assert_eq!(
        told,
        [
            "participant-join caller",
            "participant-join person",
            "conference-start ",
            "participant-leave person",
            "participant-leave caller",
            "conference-end ",
        ]
    );
}
