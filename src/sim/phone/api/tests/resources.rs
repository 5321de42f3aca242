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
async fn nobody_waits_in_a_queue() {
    let (_bridge, net) = waiting().await;
    let queue: QueueSid = "QU00000000000000000000000000000001".parse().unwrap();
    let call = "CA00000000000000000000000000000001".parse().unwrap();
    let url = Url::parse("https://voice.example.com/next").unwrap();
    assert_eq!(api(&net).dequeue(queue, call, &url).await, Ok(None));
    assert_eq!(net.violations().0, 0);
}
