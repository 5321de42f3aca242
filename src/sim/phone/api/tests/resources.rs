//! Recordings, conferences, messages and queues.

use super::*;

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

/// The conference of that room.
async fn room(net: &Network) -> Value {
    asked_by_hand(net, "GET", "Conferences.json?FriendlyName=room", "").await.1["conferences"][0].clone()
}

/// Calls the human into the room.
async fn add(net: &Network, more: &str) -> (u16, Value) {
    let form = format!("From=%2B15005550006&To=%2B14155550123&Label=human&WaitUrl=&Timeout=20{more}");
    asked_by_hand(net, "POST", "Conferences/room/Participants.json", &form).await
}

/// The calls that are in a conference; none if it is over.
async fn in_conference(net: &Network, sid: &Value) -> Option<Vec<String>> {
    let path = format!("Conferences/{}/Participants.json", sid.as_str().unwrap());
    let (status, found) = asked_by_hand(net, "GET", &path, "").await;
    let calls = found["participants"].as_array()?.iter();
    assert_eq!(status, 200);
    Some(calls.map(|participant| participant["call_sid"].as_str().unwrap().to_owned()).collect())
}

#[actix_rt::test]
async fn a_human_is_called_into_a_conference_changed_and_put_out() {
    let bridge = Bridge::answering(ROOM, "text/xml").await;
    let net = Network::start(options(&bridge)).unwrap();
    let api = api(&net);
    let caller = rings(&net, &api).await;
    until("the caller waits", async || !room(&net).await.is_null()).await;
    let conference = room(&net).await;
    assert_eq!(conference["status"], "init");

    let callback = bridge.origin.join("/human").unwrap();
    let events = ["initiated", "ringing", "answered", "completed"];
    let events: String = events.map(|event| format!("&StatusCallbackEvent={event}")).concat();
    let (status, human) = add(&net, &format!("&StatusCallback={callback}{events}")).await;
    assert_eq!(
        (status, &human["conference_sid"], &human["label"]),
        (201, &conference["sid"], &"human".into())
    );
    let call = human["call_sid"].as_str().unwrap().to_owned();
    let who = in_conference(&net, &conference["sid"]).await;
    assert_eq!(who, Some(vec![caller.call_sid().to_owned(), call.clone()]));
    assert_eq!(room(&net).await["status"], "in-progress");
    let path = format!("Conferences/{}/Participants/{call}.json", conference["sid"].as_str().unwrap());
    let (_, changed) = asked_by_hand(&net, "POST", &path, "Muted=true&Hold=true").await;
    let flags = ["muted", "hold", "end_conference_on_exit"].map(|flag| changed[flag].as_bool());
    assert_eq!(flags, [Some(true), Some(true), Some(false)]);
    let of_human = call.parse().unwrap();
    assert_eq!(api.call(of_human).await.unwrap().unwrap().status, CallStatus::InProgress);

    assert_eq!(asked_by_hand(&net, "DELETE", &path, "").await.0, 204);
    assert_eq!(asked_by_hand(&net, "DELETE", &path, "").await.0, 404);
    assert_eq!(asked_by_hand(&net, "POST", &path, "Muted=true").await.0, 404);
    until("the human's call ends", async || {
        api.call(of_human).await.unwrap().unwrap().status == CallStatus::Completed
    })
    .await;
    assert!(caller.end().is_none(), "the caller stays");
    until("four callbacks", async || bridge.asked("/human").len() == 4).await;

    let path = format!("Conferences/{}.json", conference["sid"].as_str().unwrap());
    assert_eq!(asked_by_hand(&net, "POST", &path, "Status=completed").await.1["status"], "completed");
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(bridge.asked("/after")[0].get("DialCallStatus"), "answered");
    assert_eq!(asked_by_hand(&net, "POST", &path, "Status=completed").await.0, 404);
    assert_eq!(in_conference(&net, &conference["sid"]).await, None);
    assert_eq!(room(&net).await["status"], "completed");
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_conference_ends_with_the_one_whose_leaving_ends_it() {
    let bridge = Bridge::answering(ROOM, "text/xml").await;
    let net = Network::start(options(&bridge)).unwrap();
    let api = api(&net);
    let caller = rings(&net, &api).await;
    let (_, human) = add(&net, "&EndConferenceOnExit=true").await;
    let (status, taken) = add(&net, "").await;
    assert_eq!((status, taken["code"].as_u64()), (400, Some(16025)));
    assert!(api.hang_up(human["call_sid"].as_str().unwrap().parse().unwrap()).await.unwrap().is_some());
    assert_eq!(timeout(5 * SECOND, caller.ends()).await, Ok(End::ByBridge));
    assert_eq!(in_conference(&net, &human["conference_sid"]).await, None);
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
async fn nobody_waits_in_a_queue() {
    let (_bridge, net) = waiting().await;
    let path = "Queues/QU00000000000000000000000000000001/Members/CA00000000000000000000000000000001.json";
    let form = "Url=https%3A%2F%2Fvoice.example.com%2Fnext&Method=POST";
    assert_eq!(asked_by_hand(&net, "POST", path, form).await.0, 404);
    assert_eq!(net.violations().0, 0);
}
