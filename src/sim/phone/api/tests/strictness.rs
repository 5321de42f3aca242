//! What the twin takes, and what it refuses.

use super::*;

const NUMBER_PATH: &str = "IncomingPhoneNumbers/PN00000000000000000000000000000001.json";

#[actix_rt::test]
async fn a_refusal_has_twilios_code_and_neither_number_nor_token() {
    let (_bridge, net) = waiting().await;
    let refused = async |api: TwilioApi, message| match api.send_message(message).await.unwrap_err() {
        RestError::Refused(refusal) => refusal,
        other => panic!("{other}"),
    };
    let number = refused(api(&net), NewMessage { to: "555 0100", ..message("x") }).await;
    assert_eq!((number.status, number.code), (400, Some(21211)));
    let from = Sender::Number(HUMAN);
    assert_eq!(refused(api(&net), NewMessage { from, ..message("x") }).await.code, Some(21606));
    let long = "x".repeat(1_601);
    assert_eq!(refused(api(&net), message(&long)).await.code, Some(20001));
    assert_eq!(net.violations().0, 3);

    let stranger = refused(api_with(&net, "hush"), message("x")).await;
    assert_eq!((stranger.status, stranger.code), (401, Some(20003)));
    assert!(!format!("{stranger:?} {stranger} {:?}", api_with(&net, "hush")).contains("hush"));
    assert_eq!(net.violations().0, 3, "wrong credentials are no breach of protocol");
    assert!(net.messages().is_empty());
}

/// Sends a request by hand; returns the status and Twilio's code.
async fn by_hand(net: &Network, method: &str, path: &str, form: &str) -> (u16, u64) {
    let (status, body) = asked_by_hand(net, method, path, form).await;
    if status < 300 {
        return (status, 0);
    }
    assert_eq!(body["status"], status);
    assert!(body["message"].is_string() && body["more_info"].is_string(), "{body}");
    (status, body["code"].as_u64().unwrap())
}

#[actix_rt::test]
async fn what_the_real_api_would_not_take_is_refused_and_a_violation() {
    let (_bridge, net) = waiting().await;
    let caller = rings(&net, &api(&net)).await;
    let call = format!("Calls/{}.json", caller.call_sid());
    let cases = [
        ("POST", "Messages.json", "To=%2B14155550123&From=%2B15005550006", (400, 21602)),
        ("POST", "Messages.json", "From=%2B15005550006&Body=x", (400, 21201)),
        ("POST", "Messages.json", "To=%2B14155550123&Body=x", (400, 21603)),
        ("POST", "Messages.json", "To=%2B14155550123&From=%2B15005550006&Body=x&Text=y", (400, 20001)),
        ("POST", "Messages.json?To=x", "", (400, 20001)),
        ("POST", "Calls.json", "To=%2B14155550123&From=%2B15005550006", (400, 21205)),
        ("POST", &call, "Url=%2Frelative", (400, 21205)),
        ("POST", &call, "Url=http%3A%2F%2Fh%2F&Twiml=%3CResponse%2F%3E", (400, 20001)),
        ("POST", &call, "Twiml=%3CResponse%3E", (400, 12100)),
        ("POST", &call, "Twiml=%3CResponse%3E%3CSing%2F%3E%3C%2FResponse%3E", (400, 12200)),
        ("POST", &call, "Status=in-progress", (400, 20001)),
        ("POST", &call, "status=completed", (400, 20001)),
        ("GET", "Calls.json?Status=over", "", (400, 20001)),
        ("GET", "Calls.json?PageSize=1001", "", (400, 20001)),
        ("PUT", &call, "", (405, 20004)),
        ("DELETE", "Calls.json", "", (405, 20004)),
        ("POST", "Calls.json", "To=%2B14155550123&From=%2B15005550006&MachineDetection=Maybe", (400, 20001)),
        ("GET", "Recordings.json?DateCreated=soon", "", (400, 20001)),
        ("GET", "Accounts.json", "", (404, 20404)),
        ("POST", NUMBER_PATH, "VoiceUrl=%2Frelative", (400, 21205)),
        ("POST", NUMBER_PATH, "VoiceMethod=PUT", (400, 20001)),
        ("POST", NUMBER_PATH, "Voice_Url=https%3A%2F%2Fh%2F", (400, 20001)),
        ("DELETE", "IncomingPhoneNumbers.json", "", (405, 20004)),
        ("GET", "Calls", "", (404, 20404)),
    ];
    for (count, (method, path, form, expected)) in cases.into_iter().enumerate() {
        assert_eq!(by_hand(&net, method, path, form).await, expected, "{method} {path} {form}");
        assert_eq!(net.violations().0, count as u64 + 1, "{method} {path} {form}");
    }
    assert_eq!(by_hand(&net, "GET", "Calls/CA1.json", "").await, (404, 20404));
    assert_eq!(by_hand(&net, "POST", &call, "Status=canceled").await, (400, 21220));
    assert_eq!(net.violations().0, 24, "what is over is no breach of protocol");
    assert!(caller.end().is_none());
}

#[actix_rt::test]
async fn what_twilios_own_clients_send_is_taken() {
    let (_bridge, net) = waiting().await;
    let caller = rings(&net, &api(&net)).await;
    let call = format!("Calls/{}.json", caller.call_sid());
    let new_call = "To=%2B14155550123&From=%2B15005550006&Twiml=%3CResponse%2F%3E";
    let optional = [
        "Record=true",
        "RecordingChannels=dual",
        "RecordingTrack=both",
        "Trim=trim-silence",
        "RecordingStatusCallback=https%3A%2F%2Fexample.com%2Frs",
        "RecordingStatusCallbackMethod=POST",
        "RecordingStatusCallbackEvent=in-progress&RecordingStatusCallbackEvent=completed",
        "MachineDetection=Enable",
        "MachineDetection=DetectMessageEnd",
        "MachineDetectionTimeout=30",
        "MachineDetectionSpeechThreshold=2400",
        "MachineDetectionSpeechEndThreshold=1200",
        "MachineDetectionSilenceTimeout=5000",
        "AsyncAmd=true",
        "AsyncAmdStatusCallback=https%3A%2F%2Fexample.com%2Famd",
        "AsyncAmdStatusCallbackMethod=POST",
        "SendDigits=ww1",
        "CallerId=%2B15005550006",
        "CallReason=Reminder",
        "CallToken=t",
        "SipAuthUsername=u",
        "SipAuthPassword=p",
        "Byoc=BY0123456789abcdef0123456789abcdef",
        "ClientNotificationUrl=https%3A%2F%2Fexample.com%2Fn",
    ];
    for parameter in optional {
        let form = format!("{new_call}&{parameter}");
        assert_eq!(by_hand(&net, "POST", "Calls.json", &form).await, (201, 0), "{parameter}");
    }
    let lists = [
        "Calls.json?StartTime%3E=2026-01-01T00%3A00%3A00Z",
        "Calls.json?StartTime%3C=2026-01-01",
        "Calls.json?EndTime%3E=2026-01-01T00%3A00%3A00Z",
        "Messages.json?DateSent%3E=2026-01-01T00%3A00%3A00Z",
        "Recordings.json?CallSid=CA0123456789abcdef0123456789abcdef&PageSize=20",
        "Recordings.json",
        "Queues.json",
        "IncomingPhoneNumbers.json?PhoneNumber=%2B15005550006",
    ];
    for list in lists {
        assert_eq!(by_hand(&net, "GET", list, "").await, (200, 0), "{list}");
    }
    assert_eq!(by_hand(&net, "DELETE", &call, "").await, (400, 20009), "it is in progress");
    assert_eq!(by_hand(&net, "POST", &call, "Status=completed").await, (200, 0));
    timeout(5 * SECOND, caller.ends()).await.unwrap();
    assert_eq!(by_hand(&net, "DELETE", &call, "").await, (204, 0));
    assert_eq!(by_hand(&net, "GET", &call, "").await, (404, 20404), "its log is gone");
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_relative_url_in_an_inline_document_leads_to_the_fallback() {
    let (_bridge, net) = waiting().await;
    let api = api(&net);
    let caller = rings(&net, &api).await;
    let document = Twiml::new().redirect("/next");
    let refused = api.redirect(sid_of(&caller), Instructions::Twiml(&document)).await.unwrap_err();
    assert!(matches!(refused, RestError::Twiml(_)));
    let form =
        form_urlencoded::Serializer::new(String::new()).append_pair("Twiml", &document.render()).finish();
    let url = format!(
        "http://{}/2010-04-01/Accounts/{ACCOUNT_SID}/Calls/{}.json",
        net.api_addr().unwrap(),
        caller.call_sid()
    );
    let request = awc::Client::default().post(url).basic_auth(ACCOUNT_SID, TOKEN);
    let response = request.content_type("application/x-www-form-urlencoded").send_body(form).await.unwrap();
    assert_eq!(response.status(), 200);
    timeout(5 * SECOND, caller.ends()).await.unwrap();
    assert_eq!(net.violations().1[0].kind, "15004");
    assert_eq!(caller.heard(), [Heard::Said("We are sorry. Please call again.".into())]);
}
