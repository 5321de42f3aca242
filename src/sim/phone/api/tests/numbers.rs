//! The account and its number.

use actors::wire::twilio::rest::NumberUrls;

use super::*;

#[actix_rt::test]
async fn the_account_is_known_by_its_own_credentials() {
    let (_bridge, net) = waiting().await;
    let account = api(&net).account().await.unwrap();
    assert_eq!((account.status.as_str(), account.kind.as_str()), ("active", "Full"));
    let refused = api_with(&net, "hush").account().await.unwrap_err();
    assert!(matches!(&refused, RestError::Refused(refusal) if refusal.status == 401), "{refused}");
    assert_eq!(net.violations().0, 0);
}

#[actix_rt::test]
async fn a_call_rings_where_the_number_sends_it() {
    let (bridge, net) = waiting().await;
    let api = api(&net);
    let number = api.phone_number(NUMBER).await.unwrap().unwrap();
    assert!(number.voice_url.starts_with(&format!("{}api/voice/incoming#", bridge.origin)));
    assert_eq!((number.voice_method.as_str(), number.capabilities.voice), ("POST", true));
    assert_eq!(api.phone_number(HUMAN).await, Ok(None));

    let other = Bridge::answering(WAITING, "text/xml").await;
    let [voice, status] = ["/api/voice/incoming#rc=1", "/over"].map(|path| other.origin.join(path).unwrap());
    let urls = NumberUrls { voice: Some(&voice), status_callback: Some(&status), fallback: None };
    let changed = api.change_number(&number.sid, urls).await.unwrap().unwrap();
    assert_eq!(
        (changed.voice_url.as_str(), changed.status_callback.as_str()),
        (voice.as_str(), status.as_str())
    );
    assert_eq!(changed.voice_fallback_url, number.voice_fallback_url, "what is not given stays");
    assert_eq!(api.change_number("PN1", urls).await, Ok(None));

    rings(&net, &api).await.hangs_up().await;
    until("the end is told", async || other.asked("/over").len() == 1).await;
    assert_eq!(other.asked("/api/voice/incoming").len(), 1);
    assert!(bridge.asked("/api/voice/incoming").is_empty());
    assert_eq!(net.violations(), (0, vec![]));
}
