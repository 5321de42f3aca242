//! Tests of the TwiML that the network reads.

use super::*;

fn read_xml(body: &str) -> Result<(Vec<Verb>, Vec<Fault>), Fault> {
    read(Some("text/xml; charset=utf-8"), body.as_bytes())
}

fn post(url: &str) -> Target {
    Target { url: url.into(), method: Method::Post }
}

#[test]
fn a_bridge_to_a_stream_is_read_with_its_parameters_and_what_follows() {
    let (verbs, faults) = read_xml(
        r#"<?xml version="1.0" encoding="UTF-8"?>
        <Response>
          <Connect action="https://h/after?c=1&amp;v=2" method="POST">
            <Stream url="wss://h/media" name="agent" statusCallback="/status">
              <Parameter name="token" value="k1.&quot;9f"/>
            </Stream>
          </Connect>
          <Say voice="alice">Sorry &amp; good&#98;ye.</Say><Hangup/>
        </Response>"#,
    )
    .unwrap();
    assert_eq!(faults, []);
    let stream = Stream {
        url: "wss://h/media".into(),
        name: Some("agent".into()),
        status_callback: Some(post("/status")),
        parameters: vec![("token".into(), "k1.\"9f".into())],
    };
    let connect = Verb::Connect { action: Some(post("https://h/after?c=1&v=2")), stream };
    assert_eq!(verbs, [connect, Verb::Say("Sorry & goodbye.".into()), Verb::Hangup]);
}

#[test]
fn a_transfer_is_read_as_whom_to_dial() {
    let (verbs, faults) =
        read_xml(r#"<Response><Dial><Conference endConferenceOnExit="true" participantLabel="caller">room 1</Conference></Dial><Dial>+1415</Dial></Response>"#)
            .unwrap();
    assert_eq!(faults, []);
    let room =
        Room { name: "room 1".into(), label: Some("caller".into()), end_on_exit: true, ..Room::default() };
    let number = Number { number: "+1415".into(), ..Number::default() };
    let dials = |to| Verb::Dial { action: None, timeout: RINGS, to };
    assert_eq!(verbs, [dials(Dialled::Conference(room)), dials(Dialled::Number(number))]);
}

#[test]
fn a_whisper_and_a_question_for_a_key_are_read() {
    let (verbs, faults) = read_xml(
        r#"<Response><Gather numDigits="1" timeout="10" finishOnKey="" actionOnEmptyResult="true" action="/key">
           <Say>Press 1</Say><Play>/music</Play></Gather>
           <Dial callerId="+1500"><Number url="/whisper">+1415</Number></Dial></Response>"#,
    )
    .unwrap();
    assert_eq!(faults, []);
    let gather = Gather {
        action: Some(post("/key")),
        digits: 1,
        timeout: Duration::from_secs(10),
        asks_without_key: true,
        heard: vec![Verb::Say("Press 1".into()), Verb::Play("/music".into())],
    };
    let number =
        Number { number: "+1415".into(), whisper: Some(post("/whisper")), caller_id: Some("+1500".into()) };
    let dial = Verb::Dial { action: None, timeout: RINGS, to: Dialled::Number(number) };
    assert_eq!(verbs, [Verb::Gather(gather), dial]);
    for wrong in ["numDigits='0'", "input='speech'", "timeout='0'"] {
        assert_eq!(
            read_xml(&format!("<Response><Gather {wrong}/></Response>")).unwrap().1.len(),
            1,
            "{wrong}"
        );
    }
    assert_eq!(read_xml("<Response><Gather><Hangup/></Gather></Response>").unwrap().1.len(), 1);
}

#[test]
fn a_recorder_is_read_with_its_defaults_and_what_is_wrong_with_it() {
    let (verbs, faults) = read_xml(
        r##"<Response><Record action="/done" maxLength="120" finishOnKey="#" playBeep="false"/></Response>"##,
    )
    .unwrap();
    let recorder = Recorder {
        max_length: Duration::from_secs(120),
        timeout: Duration::from_secs(5),
        finish_on: "#".into(),
        beeps: false,
        callback: None,
        events: vec!["completed".into()],
    };
    assert_eq!((verbs, faults), (vec![Verb::Record { action: Some(post("/done")), recorder }], vec![]));
    for wrong in ["maxLength='0'", "timeout='-1'", "finishOnKey='x'", "recordingStatusCallbackEvent='done'"] {
        assert_eq!(
            read_xml(&format!("<Response><Record {wrong}/></Response>")).unwrap().1.len(),
            1,
            "{wrong}"
        );
    }
}

#[test]
fn unknown_elements_and_attributes_break_the_schema_but_do_not_end_the_call() {
    let (verbs, faults) =
        read_xml(r#"<Response><Sing/><Say Voice="x">Hi</Say><Connect/></Response>"#).unwrap();
    assert_eq!(verbs, [Verb::Say("Hi".into())]);
    assert_eq!(faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), [12200, 12200, 12200]);
}

#[test]
fn a_reject_after_another_verb_is_a_fault() {
    assert_eq!(read_xml("<Response><Say>Hi</Say><Reject/></Response>").unwrap().1.len(), 1);
    assert_eq!(read_xml("<Response><Reject reason='busy'/></Response>").unwrap().1, []);
}

#[test]
fn what_is_not_well_formed_cannot_be_parsed() {
    for body in [
        "",
        "Hello",
        "<Response>",
        "<Response><Say>a & b</Say></Response>",
        "<Response/><Response/>",
        "<response/>",
        "<Response><Say></Response>",
        "<Response>&nbsp;</Response>",
        "<Say/>",
    ] {
        assert_eq!(read_xml(body).expect_err(body).code, 12100, "{body}");
    }
}

#[test]
fn a_missing_or_foreign_content_type_is_a_fault() {
    assert_eq!(read(None, b"<Response/>").unwrap_err().code, 12300);
    assert_eq!(read(Some("application/json"), b"<Response/>").unwrap_err().code, 12300);
    assert!(read(Some("application/xml"), b"<Response/>").is_ok());
}
