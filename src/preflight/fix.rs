//! What `--fix` changes at Twilio: where the number sends its calls.

use actors::wire::twilio::rest::{NumberUrls, PhoneNumber, RestError, TwilioApi};
use actors::wire::twilio::twiml::DELIVERY_FRAGMENT;
use url::Url;

use super::facts::{Facts, Twilio};

/// Where the number is to send its calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub voice: Url,
    pub status: Url,
}

/// As docs/going-live.md says.
pub fn wanted(public_url: &Url) -> Wanted {
    let at = |path: &str| {
        let mut url = public_url.clone();
        url.set_path(path);
        url.set_fragment(Some(DELIVERY_FRAGMENT.trim_start_matches('#')));
        url
    };
    Wanted { voice: at("/api/voice/incoming"), status: at("/api/voice/call-status") }
}

/// A change of the number, and what it changes, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    sid: String,
    voice: Option<Url>,
    fallback: Option<Url>,
    status: Option<Url>,
    pub says: Vec<String>,
}

/// What is to be changed; none: nothing, or Twilio did not tell what there is. `fallback` replaces another
/// fallback URL.
pub fn change(facts: &Facts, fallback: Option<&Url>) -> Option<Change> {
    let public_url = facts.said.public_url.as_ref()?;
    let Some(Twilio { number: Some(Ok(Some(number))), .. }) = &facts.twilio else { return None };
    let Wanted { voice, status } = wanted(public_url);
    let PhoneNumber { voice_url, voice_method, status_callback, status_callback_method, .. } = number;
    let other = |is: &str, method: &str, url: Url| (is != url.as_str() || method != "POST").then_some(url);
    let voice = other(voice_url, voice_method, voice);
    let status = other(status_callback, status_callback_method, status);
    let fallback = fallback.filter(|url| url.as_str() != number.voice_fallback_url).cloned();
    let says: Vec<_> = [
        ("A call comes in", voice_url, &voice),
        ("Call status changes", status_callback, &status),
        ("Primary handler fails", &number.voice_fallback_url, &fallback),
    ]
    .into_iter()
    .filter_map(|(what, is, url)| {
        let is = if is.is_empty() { "not set".to_owned() } else { shown(is) };
        Some(format!("{what}: {is} -> {}", url.as_ref()?))
    })
    .collect();
    let sid = number.sid.clone();
    (!says.is_empty()).then_some(Change { sid, voice, fallback, status, says })
}

/// Why this is no fallback; none: it may be one.
pub fn is_no_fallback(fallback: &Url, public_url: Option<&Url>) -> Option<String> {
    let is_ours = public_url.is_some_and(|ours| ours.origin() == fallback.origin());
    is_ours.then(|| {
        format!(
            "--fallback-url {} leads to the program itself, which may be what has failed: give the URL of a TwiML Bin",
            shown(fallback.as_str())
        )
    })
}

/// Makes the change.
///
/// # Errors
/// Twilio does not take it.
pub async fn apply(api: &TwilioApi, change: &Change) -> Result<(), RestError> {
    let Change { sid, voice, fallback, status, .. } = change;
    let urls =
        NumberUrls { voice: voice.as_ref(), fallback: fallback.as_ref(), status_callback: status.as_ref() };
    match api.change_number(sid, urls).await? {
        Some(_) => Ok(()),
        None => Err(RestError::Unreadable("the number is gone".to_owned())),
    }
}

/// A URL without what may be a secret in it.
pub(super) fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
        Err(_) => "something that is no URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::judge::tests::good;

    #[test]
    fn a_fallback_leads_elsewhere_than_to_the_program() {
        let url = |text: &str| Url::parse(text).unwrap();
        let ours = url("https://voice.example.com");
        let own = is_no_fallback(&url("https://voice.example.com/api/voice/fallback?key=hush"), Some(&ours));
        let own = own.unwrap();
        assert!(
            own.contains("voice.example.com/api/voice/fallback leads to") && !own.contains("hush"),
            "{own}"
        );
        let bin = url("https://handler.twilio.com/twiml/EH1");
        assert_eq!((is_no_fallback(&bin, Some(&ours)), is_no_fallback(&bin, None)), (None, None));
    }

    #[test]
    fn only_what_is_wrong_is_changed_and_no_secret_of_the_old_url_is_shown() {
        let mut facts = good();
        assert_eq!(change(&facts, None), None);
        let bin = Url::parse("https://handler.twilio.com/twiml/EH2").unwrap();
        let fallback = change(&facts, Some(&bin)).unwrap();
        assert_eq!((fallback.voice, fallback.status, fallback.fallback), (None, None, Some(bin)));
        let Some(Twilio { number: Some(Ok(Some(number))), .. }) = &mut facts.twilio else {
            panic!("a number")
        };
        number.voice_url = "https://me:hush@demo.twilio.com/welcome?key=hush".to_owned();
        let voice = change(&facts, None).unwrap();
        let to = "https://voice.example.com/api/voice/incoming#ct=1000&rt=5000&rc=5&rp=ct,rt,5xx&tt=15000";
        assert_eq!(voice.says, [format!("A call comes in: https://demo.twilio.com/welcome -> {to}")]);
        assert_eq!((voice.voice.unwrap().as_str(), voice.status, voice.fallback), (to, None, None));
        facts.said.public_url = None;
        assert_eq!(change(&facts, None), None, "nobody knows where to");
    }
}
