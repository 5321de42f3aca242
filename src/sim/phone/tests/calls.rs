//! Calls one by one, each by a caller of the test.

use super::*;

fn agent(clip: u16, response: u16, ms: u32) -> Heard {
    Heard::Agent { clip, response, ms }
}

#[actix_rt::test]
async fn a_call_is_greeted_answered_interrupted_and_hung_up() {
    let bridge = Bridge::start(Manner::Proper).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.waits_until_silent().await.unwrap();
    assert_eq!(caller.heard(), [agent(100, 0, 500)]);

    caller.say(&SHORT).await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.listens_for(SECOND / 2).await.unwrap();
    let reaction = caller.interrupts_with(&SHORT).await.unwrap().unwrap();
    assert!(reaction < SECOND / 5, "{reaction:?}");
    let Some(Heard::Agent { clip: 101, response: 1, ms: 400..=800 }) = caller.heard().last().cloned() else {
        panic!("{:?}", caller.heard())
    };
    caller.presses('5');
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.hangs_up().await;

    assert_eq!(caller.end(), Some(End::ByCaller));
    assert_eq!(net.violations(), (0, Vec::new()));
    assert!(caller.silence_ms() < 2_000);
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Cleared));
    let start = &bridge.frames("start")[0];
    assert_eq!(start["start"]["customParameters"], json!({"token": "t1"}));
    assert_eq!(start["start"]["callSid"], caller.call_sid());
    assert_eq!(bridge.frames("dtmf")[0]["dtmf"], json!({"track": "inbound_track", "digit": "5"}));
    assert_eq!(bridge.frames("mark").iter().filter(|mark| mark["mark"]["name"] == "r1").count(), 2);
    assert_eq!(bridge.frames("stop").len(), 1);
}

#[actix_rt::test]
async fn every_request_is_signed_and_every_callback_comes() {
    let bridge = Bridge::start(Manner::Proper).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.hangs_up().await;

    let incoming = &bridge.asked("/api/voice/incoming")[0];
    assert_eq!(incoming.get("CallStatus"), "ringing");
    assert_eq!(incoming.get("CallSid"), caller.call_sid());
    let url = bridge.origin.join("/api/voice/incoming").unwrap();
    assert_eq!(incoming.signature, Some(signature::sign(TOKEN, url.as_str(), &incoming.form)));
    assert_eq!(bridge.asked("/after")[0].get("CallStatus"), "completed");
    let streams: Vec<_> =
        bridge.asked("/stream-status").iter().map(|asked| asked.get("StreamEvent").to_owned()).collect();
    assert_eq!(streams.len(), 2);
    assert!(streams.contains(&"stream-started".to_owned()) && streams.contains(&"stream-stopped".to_owned()));
    let status = &bridge.asked("/api/voice/call-status")[0];
    assert_eq!((status.get("CallStatus"), status.get("SequenceNumber")), ("completed", "0"));
    chrono::DateTime::parse_from_rfc2822(status.get("Timestamp")).unwrap();
    let (headers, signature) = bridge.upgrade.borrow()[0].clone();
    assert!(headers.contains("twilio.tmews/1.0"));
    assert!(
        !["origin:", "protocol:", "extensions:"].iter().any(|absent| headers.contains(absent)),
        "{headers}"
    );
    let stream =
        headers.lines().find_map(|line| line.strip_prefix("host: \"")).unwrap().trim_end_matches('"');
    assert_eq!(signature, signature::sign(TOKEN, &format!("ws://{stream}/media"), &[]));
}

#[actix_rt::test]
async fn a_stream_that_the_bridge_closes_leads_to_the_action() {
    let bridge = Bridge::start(Manner::Closes).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(caller.heard(), [agent(100, 0, 500), Heard::Said("Goodbye".into())]);
    assert_eq!(bridge.asked("/after")[0].get("CallStatus"), "in-progress");
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_lost_socket_leads_to_the_action_or_to_nothing() {
    let bridge = Bridge::start(Manner::Proper).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    caller.drops_socket();
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(bridge.asked("/after").len(), 1);
    assert!(bridge.asked("/stream-status").iter().any(|asked| asked.get("StreamError").starts_with("31903")));

    let net = Network::start(Options { after_drop: AfterDrop::Nothing, ..bridge.options() }).unwrap();
    let caller = net.ring().await.unwrap();
    caller.drops_socket();
    assert!(timeout(SECOND / 2, caller.ends()).await.is_err());
    caller.hangs_up().await;
    assert_eq!(caller.end(), Some(End::ByCaller));
    assert_eq!(bridge.asked("/after").len(), 1);
}

#[actix_rt::test]
async fn what_twilio_would_complain_of_is_a_violation_and_the_call_goes_on() {
    let bridge = Bridge::start(Manner::Sloppy).await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    caller.hangs_up().await;
    let (count, violations) = net.violations();
    assert_eq!(count, 4, "{violations:?}");
    assert!(violations.iter().all(|violation| violation.kind == "31951"));
}

#[actix_rt::test]
async fn an_answer_that_is_no_twiml_is_a_violation_and_leads_to_the_fallback() {
    let bridge = Bridge::answering("{}", "application/json").await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    assert_eq!(caller.end(), Some(End::ByBridge));
    assert_eq!(net.violations().1[0].kind, "12300");
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Fallback(12300)));
}

#[actix_rt::test]
async fn redirects_without_end_are_given_up() {
    let bridge =
        Bridge::answering("<Response><Redirect>/api/voice/incoming</Redirect></Response>", "text/xml").await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    assert_eq!(bridge.asked("/api/voice/incoming").len(), 11);
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Fallback(11215)));
}

#[actix_rt::test]
async fn a_dialled_number_is_an_event_and_its_action_follows() {
    let document = r#"<Response><Dial action="/after">+14155550123</Dial></Response>"#;
    let bridge = Bridge::answering(document, "text/xml").await;
    let net = bridge.network();
    let caller = net.ring().await.unwrap();
    assert!(caller.events().iter().any(|(_, event)| *event == Event::Dialled("+14155550123".into())));
    assert_eq!(bridge.asked("/after")[0].get("DialCallStatus"), "completed");
}
