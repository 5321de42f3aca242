//! The client of the REST API against its simulated twin, over real sockets; and what the twin refuses.

use std::time::Duration;

use actors::secret::Secret;
use actors::wire::twilio::rest::{
    CallFilter, CallStatus, Channels, Instructions, NewCall, NewMessage, NewParticipant, NewRecording,
    ParticipantChange, RecordingChange, RestError, Sender, TwilioApi,
};
use actors::wire::twilio::sid::{CallSid, QueueSid};
use actors::wire::twilio::twiml::Twiml;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::sim::phone::ear::Heard;
use crate::sim::phone::network::{ACCOUNT_SID, NUMBER};
use crate::sim::phone::tests::{Bridge, Manner, SECOND, TOKEN};
use crate::sim::phone::{AfterDrop, Caller, End, Event, Network, Options};

const HUMAN: &str = "+14155550123";
const WAITING: &str = "<Response><Pause length=\"60\"/></Response>";
const ROOM: &str = r#"<Response><Dial action="/after"><Conference participantLabel="caller">room</Conference></Dial></Response>"#;

fn options(bridge: &Bridge) -> Options {
    Options { api_listen: Some(([127, 0, 0, 1], 0).into()), ..bridge.options() }
}

fn api(net: &Network) -> TwilioApi {
    api_with(net, TOKEN)
}

fn api_with(net: &Network, token: &str) -> TwilioApi {
    let base = Url::parse(&format!("http://{}", net.api_addr().unwrap())).unwrap();
    TwilioApi::new(base, ACCOUNT_SID, Secret::new(token.into())).unwrap()
}

async fn waiting() -> (Bridge, Network) {
    let bridge = Bridge::answering(WAITING, "text/xml").await;
    let net = Network::start(options(&bridge)).unwrap();
    (bridge, net)
}

fn sid_of(caller: &Caller) -> CallSid {
    caller.call_sid().parse().unwrap()
}

/// Waits until a fact holds.
async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + 5 * SECOND;
    while !fact().await {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Rings and waits until the call is answered.
async fn rings(net: &Network, api: &TwilioApi) -> Caller {
    let caller = net.rings().unwrap();
    let answered =
        async || api.call(sid_of(&caller)).await.unwrap().unwrap().status == CallStatus::InProgress;
    until("the call is answered", answered).await;
    caller
}

fn message(body: &str) -> NewMessage<'_> {
    NewMessage { to: HUMAN, from: Sender::Number(NUMBER), body, status_callback: None }
}

fn human(conference: &str) -> NewParticipant<'_> {
    NewParticipant {
        conference,
        to: HUMAN,
        from: NUMBER,
        label: "human",
        start_conference_on_enter: true,
        end_conference_on_exit: false,
        muted: false,
        beep: false,
        wait_url: Some(""),
        timeout: Some(20 * SECOND),
        status_callback: None,
        status_callback_events: &[],
    }
}

fn says(text: &str) -> Twiml {
    Twiml::new().say(text).hangup()
}

#[actix_rt::test]
async fn a_call_is_fetched_and_listed_as_it_stands() {
    let (_bridge, net) = waiting().await;
    let api = api(&net);
    let caller = rings(&net, &api).await;
    let call = api.call(sid_of(&caller)).await.unwrap().unwrap();
    assert_eq!(
        (call.direction.as_str(), call.to.as_str(), call.from.as_str()),
        ("inbound", NUMBER, "+14155550000")
    );
    assert!(call.started_at.is_some() && call.ended_at.is_none() && call.duration.is_none());
    caller.hangs_up().await;
    let call = api.call(sid_of(&caller)).await.unwrap().unwrap();
    assert_eq!(call.status, CallStatus::Completed);
    assert!(call.ended_at.is_some() && call.duration.is_some());

    let live = rings(&net, &api).await;
    let listed =
        async |filter| api.calls(filter).await.unwrap().into_iter().map(|call| call.sid).collect::<Vec<_>>();
    let today = chrono::Utc::now().date_naive();
    let all = CallFilter { started_from: Some(today), to: Some(NUMBER), ..CallFilter::default() };
    assert_eq!(listed(all).await, [sid_of(&live), sid_of(&caller)]);
    let in_progress = CallFilter { status: Some(CallStatus::InProgress), ..CallFilter::default() };
    assert_eq!(listed(in_progress).await, [sid_of(&live)]);
    assert_eq!(listed(CallFilter { from: Some("+14155550009"), ..in_progress }).await, []);
    assert_eq!(api.call("CA00000000000000000000000000000009".parse().unwrap()).await, Ok(None));
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_list_is_followed_over_its_pages() {
    let bridge = Bridge::answering("<Response><Reject/></Response>", "text/xml").await;
    let net = Network::start(options(&bridge)).unwrap();
    let callers: Vec<_> = (0..51).map(|_| net.rings().unwrap()).collect();
    join_all(callers.iter().map(Caller::ends)).await;
    let filter = CallFilter { status: Some(CallStatus::NoAnswer), ..CallFilter::default() };
    let listed: Vec<_> = api(&net).calls(filter).await.unwrap().into_iter().map(|call| call.sid).collect();
    let rung: Vec<_> = callers.iter().rev().map(sid_of).collect();
    assert_eq!(listed, rung);
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_live_call_is_redirected_while_it_streams() {
    let bridge = Bridge::start(Manner::Proper).await;
    let net = Network::start(options(&bridge)).unwrap();
    let api = api(&net);
    let caller = net.ring().await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    let document = says("One moment please");
    let redirected = api.redirect(sid_of(&caller), Instructions::Twiml(&document)).await.unwrap();
    assert_eq!(redirected.unwrap().sid, sid_of(&caller));
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(caller.heard().last(), Some(&Heard::Said("One moment please".into())));
    assert_eq!(bridge.frames("stop").len(), 1);
    assert!(bridge.asked("/after").is_empty(), "the action belongs to the abandoned document");

    let caller = net.ring().await.unwrap();
    caller.hears_agent_within(SECOND).await.unwrap();
    let url = bridge.origin.join("/after").unwrap();
    assert!(api.redirect(sid_of(&caller), Instructions::Url(&url)).await.unwrap().is_some());
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(caller.heard().last(), Some(&Heard::Said("Goodbye".into())));
    assert_eq!(bridge.asked("/after")[0].get("CallStatus"), "in-progress");
    assert_eq!(api.redirect(sid_of(&caller), Instructions::Url(&url)).await, Ok(None));
    assert_eq!(net.violations(), (0, Vec::new()));
}

#[actix_rt::test]
async fn a_call_that_lost_its_socket_waits_for_the_api() {
    let bridge = Bridge::start(Manner::Proper).await;
    let net = Network::start(Options { after_drop: AfterDrop::Nothing, ..options(&bridge) }).unwrap();
    let caller = net.ring().await.unwrap();
    caller.drops_socket();
    let lost = |(_, event): &(Duration, Event)| matches!(event, Event::StreamEnded(_));
    until("the socket is lost", async || caller.events().iter().any(lost)).await;
    let document = says("You are back");
    assert!(api(&net).redirect(sid_of(&caller), Instructions::Twiml(&document)).await.unwrap().is_some());
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(caller.heard().last(), Some(&Heard::Said("You are back".into())));
}

#[actix_rt::test]
async fn a_call_is_hung_up_live_or_ringing_and_then_it_is_gone() {
    let (_bridge, net) = waiting().await;
    let api = api(&net);
    let caller = rings(&net, &api).await;
    assert_eq!(api.hang_up(sid_of(&caller)).await.unwrap().unwrap().status, CallStatus::Completed);
    assert_eq!(timeout(SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(api.hang_up(sid_of(&caller)).await, Ok(None));

    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = Url::parse(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
    let net = Network::start(Options { url, ..net.shared().options.clone() }).unwrap();
    let (api, caller) = (api_with(&net, TOKEN), net.rings().unwrap());
    assert_eq!(api.redirect(sid_of(&caller), Instructions::Twiml(&says("Hello"))).await, Ok(None));
    assert_eq!(api.hang_up(sid_of(&caller)).await.unwrap().unwrap().status, CallStatus::Canceled);
    drop(silent); // so that the last callback fails at once
    assert_eq!(timeout(20 * SECOND, caller.ends()).await, Ok(End::Canceled));
}

#[actix_rt::test]
async fn a_call_is_made_and_reports_its_progress() {
    let (bridge, net) = waiting().await;
    let api = api(&net);
    let callback = bridge.origin.join("/progress").unwrap();
    let new = NewCall {
        to: HUMAN,
        from: NUMBER,
        instructions: Instructions::Twiml(&says("An urgent call")),
        status_callback: Some(&callback),
        timeout: Some(30 * SECOND),
    };
    let call = api.make_call(new).await.unwrap();
    assert_eq!((call.direction.as_str(), call.to.as_str()), ("outbound-api", HUMAN));
    until("the end is reported", async || !bridge.asked("/progress").is_empty()).await;
    let told = &bridge.asked("/progress")[0];
    assert_eq!(
        (told.get("CallStatus"), told.get("To"), told.get("Direction")),
        ("completed", HUMAN, "outbound-api")
    );
    assert!(
        bridge.asked("/api/voice/call-status").is_empty(),
        "the number's own callback is for incoming calls"
    );
    let url = bridge.origin.join("/api/voice/incoming").unwrap();
    let call = api.make_call(NewCall { instructions: Instructions::Url(&url), ..new }).await.unwrap();
    until("the document is fetched", async || !bridge.asked("/api/voice/incoming").is_empty()).await;
    assert_eq!(bridge.asked("/api/voice/incoming")[0].get("CallSid"), call.sid.as_str());
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_recording_is_started_paused_stopped_fetched_and_deleted() {
    let (bridge, net) = waiting().await;
    let api = api(&net);
    let caller = rings(&net, &api).await;
    let (call, callback) = (sid_of(&caller), bridge.origin.join("/recording").unwrap());
    let new = NewRecording {
        channels: Channels::Dual,
        status_callback: Some(&callback),
        status_callback_events: &["in-progress", "completed"],
    };
    let recording = api.start_recording(call, new).await.unwrap().unwrap();
    assert_eq!((recording.status.as_str(), recording.channels), ("in-progress", Some(2)));
    let sid = recording.sid;
    for (change, status) in [
        (RecordingChange::Pause, "paused"),
        (RecordingChange::Resume, "in-progress"),
        (RecordingChange::Stop, "stopped"),
    ] {
        assert_eq!(api.change_recording(call, sid, change).await.unwrap().unwrap().status, status);
    }
    assert_eq!(api.change_recording(call, sid, RecordingChange::Stop).await, Ok(None));
    let fetched = api.recording(sid).await.unwrap().unwrap();
    assert_eq!((fetched.status.as_str(), fetched.duration), ("completed", Some(Duration::ZERO)));
    assert_eq!(api.delete_recording(sid).await, Ok(Some(())));
    assert_eq!(api.recording(sid).await, Ok(None));
    assert_eq!(api.delete_recording(sid).await, Ok(None));

    let other = api.start_recording(call, NewRecording { status_callback_events: &[], ..new }).await.unwrap();
    caller.hangs_up().await;
    assert_eq!(api.start_recording(call, new).await, Ok(None));
    until("three callbacks", async || bridge.asked("/recording").len() == 3).await;
    let mut told: Vec<_> = bridge
        .asked("/recording")
        .iter()
        .map(|asked| (asked.get("RecordingSid").to_owned(), asked.get("RecordingStatus").to_owned()))
        .collect();
    told.sort();
    let mut expected = [
        (sid.to_string(), "completed".to_owned()),
        (sid.to_string(), "in-progress".to_owned()),
        (other.unwrap().sid.to_string(), "completed".to_owned()),
    ];
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_human_is_called_into_a_conference_changed_and_put_out() {
    let bridge = Bridge::answering(ROOM, "text/xml").await;
    let net = Network::start(options(&bridge)).unwrap();
    let api = api(&net);
    let caller = rings(&net, &api).await;
    until("the caller waits", async || api.active_conference("room").await.unwrap().is_some()).await;
    let conference = api.active_conference("room").await.unwrap().unwrap();
    assert_eq!(conference.status, "init");

    let callback = bridge.origin.join("/human").unwrap();
    let events = ["initiated", "ringing", "answered", "completed"];
    let new =
        NewParticipant { status_callback: Some(&callback), status_callback_events: &events, ..human("room") };
    let human = api.add_participant(new).await.unwrap();
    assert_eq!((human.conference_sid, human.label.as_deref()), (conference.sid, Some("human")));
    let who: Vec<_> =
        api.participants(conference.sid).await.unwrap().into_iter().map(|found| found.call_sid).collect();
    assert_eq!(who, [sid_of(&caller), human.call_sid]);
    assert_eq!(api.active_conference("room").await.unwrap().unwrap().status, "in-progress");
    let change = ParticipantChange { muted: Some(true), hold: Some(true), ..ParticipantChange::default() };
    let changed = api.change_participant(conference.sid, human.call_sid, change).await.unwrap().unwrap();
    assert!(changed.muted && changed.hold && !changed.end_conference_on_exit);
    assert_eq!(api.call(human.call_sid).await.unwrap().unwrap().status, CallStatus::InProgress);

    assert_eq!(api.kick(conference.sid, human.call_sid).await, Ok(Some(())));
    assert_eq!(api.kick(conference.sid, human.call_sid).await, Ok(None));
    assert_eq!(api.change_participant(conference.sid, human.call_sid, change).await, Ok(None));
    until("the human's call ends", async || {
        api.call(human.call_sid).await.unwrap().unwrap().status == CallStatus::Completed
    })
    .await;
    assert!(caller.end().is_none(), "the caller stays");
    until("four callbacks", async || bridge.asked("/human").len() == 4).await;

    assert_eq!(api.end_conference(conference.sid).await.unwrap().unwrap().status, "completed");
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(bridge.asked("/after")[0].get("DialCallStatus"), "answered");
    assert_eq!(api.end_conference(conference.sid).await, Ok(None));
    assert_eq!(api.participants(conference.sid).await, Ok(Vec::new()));
    assert_eq!(api.active_conference("room").await, Ok(None));
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_conference_ends_with_the_one_whose_leaving_ends_it() {
    let bridge = Bridge::answering(ROOM, "text/xml").await;
    let net = Network::start(options(&bridge)).unwrap();
    let api = api(&net);
    let caller = rings(&net, &api).await;
    let new = NewParticipant { end_conference_on_exit: true, ..human("room") };
    let human = api.add_participant(new).await.unwrap();
    let taken = api.add_participant(new).await.unwrap_err();
    assert!(matches!(&taken, RestError::Refused(refusal) if refusal.code == Some(16025)), "{taken}");
    assert!(api.hang_up(human.call_sid).await.unwrap().is_some());
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(api.participants(human.conference_sid).await, Ok(Vec::new()));
}

#[actix_rt::test]
async fn a_message_is_sent_and_kept() {
    let (bridge, net) = waiting().await;
    let api = api(&net);
    let callback = bridge.origin.join("/message").unwrap();
    let text = "Urgent: call back, 2 + 2 & ü";
    let sent =
        api.send_message(NewMessage { status_callback: Some(&callback), ..message(text) }).await.unwrap();
    assert_eq!(sent.status, "queued");
    let kept = net.messages();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].to.as_str(), kept[0].from.as_str(), kept[0].body.as_str()), (HUMAN, NUMBER, text));
    assert!(!format!("{sent:?}").contains("Urgent"));
    until("its delivery is told", async || !bridge.asked("/message").is_empty()).await;
    assert_eq!(bridge.asked("/message")[0].get("MessageSid"), sent.sid);
    let service = Sender::MessagingService("MG00000000000000000000000000000001");
    api.send_message(NewMessage { from: service, ..message("two") }).await.unwrap();
    assert_eq!(net.violations().0, 0);
}

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

#[actix_rt::test]
async fn nobody_waits_in_a_queue() {
    let (_bridge, net) = waiting().await;
    let queue: QueueSid = "QU00000000000000000000000000000001".parse().unwrap();
    let call = "CA00000000000000000000000000000001".parse().unwrap();
    let url = Url::parse("https://voice.example.com/next").unwrap();
    assert_eq!(api(&net).dequeue(queue, call, &url).await, Ok(None));
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn too_many_requests_are_sent_again_until_it_is_enough() {
    let bridge = Bridge::answering(WAITING, "text/xml").await;
    let net = Network::start(Options { api_throttled: 2, ..options(&bridge) }).unwrap();
    let started = Instant::now();
    api(&net).send_message(message("after a pause")).await.unwrap();
    assert!(
        started.elapsed() >= Duration::from_millis(150),
        "two pauses, each at least half as long as planned"
    );
    assert_eq!(net.messages().len(), 1);

    let net = Network::start(Options { api_throttled: 6, ..options(&bridge) }).unwrap();
    let error = api(&net).send_message(message("too many")).await.unwrap_err();
    assert!(matches!(&error, RestError::Throttled(refusal) if refusal.code == Some(20429)), "{error}");
    assert!(matches!(api(&net).call("CA00000000000000000000000000000001".parse().unwrap()).await, Ok(None)));
    assert_eq!((net.messages().len(), net.violations().0), (0, 0));
}

#[actix_rt::test]
async fn an_unanswered_create_is_looked_up_and_not_done_twice() {
    let bridge = Bridge::answering(WAITING, "text/xml").await;
    let unanswered = || {
        let net = Network::start(Options { api_unanswered: 1, ..options(&bridge) }).unwrap();
        (api(&net).within(SECOND / 2), net)
    };

    let (api, net) = unanswered();
    let sent = api.send_message(message("once")).await.unwrap();
    assert_eq!(net.messages().iter().map(|message| message.sid.as_str()).collect::<Vec<_>>(), [sent.sid]);

    let (api, net) = unanswered();
    let document = Twiml::new().pause(30);
    let new = NewCall {
        to: HUMAN,
        from: NUMBER,
        instructions: Instructions::Twiml(&document),
        status_callback: None,
        timeout: None,
    };
    let made = api.make_call(new).await.unwrap();
    let calls = api.calls(CallFilter::default()).await.unwrap();
    assert_eq!(calls.iter().map(|call| call.sid).collect::<Vec<_>>(), [made.sid]);
    drop(net);

    let (api, net) = unanswered();
    let added = api.add_participant(human("another room")).await.unwrap();
    assert_eq!(api.participants(added.conference_sid).await, Ok(vec![added]));
    drop(net);

    let (api, net) = unanswered();
    let caller = rings(&net, &api).await;
    let new = NewRecording { channels: Channels::Mono, status_callback: None, status_callback_events: &[] };
    let recording = api.start_recording(sid_of(&caller), new).await.unwrap().unwrap();
    let current = net.shared().ledger.recordings_of(caller.call_sid());
    assert_eq!(current.iter().map(|found| found.sid.as_str()).collect::<Vec<_>>(), [recording.sid.as_str()]);
}

#[actix_rt::test]
async fn an_unanswered_redirect_is_left_open() {
    let bridge = Bridge::answering(WAITING, "text/xml").await;
    let net = Network::start(Options { api_unanswered: 1, ..options(&bridge) }).unwrap();
    let api = api(&net).within(SECOND / 2);
    let caller = rings(&net, &api).await;
    let error = api.redirect(sid_of(&caller), Instructions::Twiml(&says("Hello"))).await.unwrap_err();
    assert!(error.leaves_open(), "{error}");
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(caller.heard(), [Heard::Said("Hello".into())]);
}

/// Sends a request by hand; returns the status and Twilio's code.
async fn by_hand(net: &Network, method: &str, path: &str, form: &str) -> (u16, u64) {
    let url = format!("http://{}/2010-04-01/Accounts/{ACCOUNT_SID}/{path}", net.api_addr().unwrap());
    let request = awc::Client::default()
        .request(method.parse().unwrap(), url)
        .basic_auth(ACCOUNT_SID, TOKEN)
        .content_type("application/x-www-form-urlencoded");
    let mut response = request.send_body(form.to_owned()).await.unwrap();
    if response.status().is_success() {
        return (response.status().as_u16(), 0);
    }
    let body: Value = serde_json::from_slice(&response.body().await.unwrap()).unwrap();
    assert_eq!(body["status"], response.status().as_u16());
    assert!(body["message"].is_string() && body["more_info"].is_string(), "{body}");
    (response.status().as_u16(), body["code"].as_u64().unwrap())
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
        ("GET", "Calls", "", (404, 20404)),
    ];
    for (count, (method, path, form, expected)) in cases.into_iter().enumerate() {
        assert_eq!(by_hand(&net, method, path, form).await, expected, "{method} {path} {form}");
        assert_eq!(net.violations().0, count as u64 + 1, "{method} {path} {form}");
    }
    assert_eq!(by_hand(&net, "GET", "Calls/CA1.json", "").await, (404, 20404));
    assert_eq!(by_hand(&net, "POST", &call, "Status=canceled").await, (400, 21220));
    assert_eq!(net.violations().0, 20, "what is over is no breach of protocol");
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
