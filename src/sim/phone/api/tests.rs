//! The client of the REST API against its simulated twin, over real sockets; and what the twin refuses.

use std::time::Duration;

use actors::secret::Secret;
use actors::wire::twilio::rest::{
    CallFilter, CallStatus, Channels, Instructions, NewCall, NewMessage, NewRecording, RecordingChange,
    RestError, Sender, TwilioApi,
};
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::twiml::Twiml;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::sim::phone::ear::Heard;
use crate::sim::phone::network::{ACCOUNT_SID, NUMBER};
use crate::sim::phone::tests::{Bridge, Manner, SECOND, TOKEN};
use crate::sim::phone::{AfterDrop, Caller, End, Event, Network, Options};

mod calls;
mod numbers;
mod persons;
mod resources;
mod retries;
mod strictness;

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

/// Sends a request by hand; returns the status and the answer.
async fn asked_by_hand(net: &Network, method: &str, path: &str, form: &str) -> (u16, Value) {
    let url = format!("http://{}/2010-04-01/Accounts/{ACCOUNT_SID}/{path}", net.api_addr().unwrap());
    let request = awc::Client::default()
        .request(method.parse().unwrap(), url)
        .basic_auth(ACCOUNT_SID, TOKEN)
        .content_type("application/x-www-form-urlencoded");
    let mut response = request.send_body(form.to_owned()).await.unwrap();
    let body = response.body().await.unwrap();
    (
        response.status().as_u16(),
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() },
    )
}

fn says(text: &str) -> Twiml {
    Twiml::new().say(text).hangup()
}
