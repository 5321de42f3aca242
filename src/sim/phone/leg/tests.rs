//! Callers who speak to a machine, and people whose telephone rings.

use std::time::Duration;

use crate::sim::phone::ear::Heard;
use crate::sim::phone::line::{End, Event};
use crate::sim::phone::network::Network;
use crate::sim::phone::tests::{Bridge, SECOND};
use crate::sim::phone::{Options, Person};
use crate::sim::speech::Clip;
use crate::sim::tag::FRAME_BYTES;

const MESSAGE: Clip = Clip { id: 8, name: "message", text: "", audio: &[0x55; 60 * FRAME_BYTES] };

fn recorder(attributes: &str) -> String {
    format!(
        r##"<Response><Record action="/after" timeout="1" finishOnKey="#" recordingStatusCallback="/recording"
            recordingStatusCallbackEvent="completed absent" {attributes}/><Say>Nothing</Say></Response>"##
    )
}

async fn bridge(document: impl Into<String>) -> (Bridge, Network) {
    let bridge = Bridge::answering(document, "text/xml").await;
    let network = bridge.network();
    (bridge, network)
}

#[actix_rt::test]
async fn a_message_ends_with_silence_and_is_told_of_trimmed() {
    let (bridge, network) = bridge(recorder("")).await;
    let caller = network.rings().unwrap();
    caller.leaves_a_message(SECOND, &MESSAGE).await.unwrap();
    assert_eq!(caller.ends().await, End::ByBridge);
    assert_eq!(caller.heard(), [Heard::Beep, Heard::Said("Goodbye".into())]);
    let after = &bridge.asked("/after")[0];
    assert_eq!((after.get("RecordingDuration"), after.get("Digits")), ("2", ""));
    assert_eq!(after.get("CallStatus"), "in-progress");
    let told = &bridge.asked("/recording")[0];
    assert_eq!((told.get("RecordingStatus"), told.get("RecordingSource")), ("completed", "RecordVerb"));
    assert_eq!(told.get("RecordingUrl"), after.get("RecordingUrl"));
    assert!(after.get("RecordingUrl").ends_with(told.get("RecordingSid")));
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Recorded));
    assert!(caller.silence_ms() < 2_000, "{}", caller.silence_ms());
    assert_eq!(network.violations(), (0, Vec::new()));
}

#[actix_rt::test]
async fn a_key_ends_a_message_and_so_does_its_greatest_length() {
    let (bridge, network) = bridge(recorder(r#"maxLength="9""#)).await;
    let caller = network.rings().unwrap();
    caller.leaves_a_message(SECOND, &MESSAGE).await.unwrap();
    caller.presses('1'); // not one that ends it
    caller.presses('#');
    caller.ends().await;
    assert_eq!(bridge.asked("/after")[0].get("Digits"), "#");

    let (bridge, network) = self::bridge(recorder(r#"maxLength="1""#)).await;
    let caller = network.rings().unwrap();
    caller.leaves_a_message(SECOND, &MESSAGE).await.unwrap_err(); // it is cut off
    assert_eq!(bridge.asked("/after")[0].get("RecordingDuration"), "1");
}

#[actix_rt::test]
async fn a_message_of_nothing_skips_the_action() {
    let (bridge, network) = bridge(recorder("")).await;
    let caller = network.rings().unwrap();
    assert_eq!(caller.ends().await, End::ByBridge);
    assert_eq!(caller.heard(), [Heard::Beep, Heard::Said("Nothing".into())]);
    assert_eq!(bridge.asked("/after").len(), 0);
    assert_eq!(bridge.asked("/recording")[0].get("RecordingStatus"), "absent");
}

#[actix_rt::test]
async fn a_caller_who_hangs_up_after_speaking_has_left_a_message() {
    let (bridge, network) = bridge(recorder("")).await;
    let caller = network.rings().unwrap();
    caller.leaves_a_message(SECOND, &MESSAGE).await.unwrap();
    caller.hangs_up().await;
    let after = &bridge.asked("/after")[0];
    assert_eq!((after.get("Digits"), after.get("CallStatus")), ("hangup", "completed"));

    let caller = network.rings().unwrap();
    caller.is_beeped_within(SECOND).await.unwrap();
    caller.hangs_up().await;
    assert_eq!(bridge.asked("/after").len(), 1, "nothing was said");
}

#[actix_rt::test]
async fn a_person_who_does_not_answer_is_told_to_the_action() {
    let document = r#"<Response><Dial action="/after" timeout="1">+14155550123</Dial></Response>"#;
    let bridge = Bridge::answering(document, "text/xml").await;
    for (person, status, bridged) in [
        (Person::Answers, "completed", "true"),
        (Person::NoAnswer, "no-answer", "false"),
        (Person::Busy, "busy", "false"),
    ] {
        let network = Network::start(Options { person, ..bridge.options() }).unwrap();
        let caller = network.rings().unwrap();
        caller.ends().await;
        let asked = bridge.asked("/after");
        let after = asked.last().unwrap();
        assert_eq!((after.get("DialCallStatus"), after.get("DialBridged")), (status, bridged));
        assert_eq!(after.get("DialCallDuration"), if bridged == "true" { "1" } else { "" });
        assert!(after.get("DialCallSid").starts_with("CA"));
        assert!(caller.silence_ms() < 1_000, "ringing is heard");
    }
}

#[actix_rt::test]
async fn without_an_action_the_verb_after_a_dial_is_next() {
    let (_, network) = bridge("<Response><Dial>+14155550123</Dial><Say>Done</Say></Response>").await;
    let caller = network.rings().unwrap();
    assert_eq!(caller.ends().await, End::ByBridge);
    assert_eq!(caller.heard(), [Heard::Said("Done".into())]);
}

#[actix_rt::test]
async fn a_caller_who_hangs_up_while_it_rings_cancels_the_other_call() {
    let document = r#"<Response><Dial action="/after">+14155550123</Dial></Response>"#;
    let bridge = Bridge::answering(document, "text/xml").await;
    let network = Network::start(Options { person: Person::NoAnswer, ..bridge.options() }).unwrap();
    let caller = network.rings().unwrap();
    let rings = |(_, event): &(Duration, Event)| matches!(event, Event::Dialled(_));
    caller.until(SECOND, |state| state.events.iter().any(rings).then_some(())).await.unwrap().unwrap();
    caller.hangs_up().await;
    let after = &bridge.asked("/after")[0];
    assert_eq!((after.get("DialCallStatus"), after.get("CallStatus")), ("canceled", "completed"));
}
