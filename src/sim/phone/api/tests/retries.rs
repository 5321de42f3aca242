//! Requests that are throttled or not answered.

use super::*;

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
