//! Calls: fetched, listed, made, redirected, hung up.

use super::*;

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
