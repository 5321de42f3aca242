//! TwiML that is sent within a request: it has no URL of its own, so its URLs must be absolute (Twilio's
//! error 15004).

use super::RestError;
use crate::wire::twilio::twiml::Twiml;

/// The longest inline document, in characters (reference: twilio.md section 8).
const MAX_CHARS: usize = 4_000;
/// What may stand where a URL stands in a document.
const URL_ATTRIBUTES: [&str; 6] =
    ["action", "url", "statusCallback", "recordingStatusCallback", "waitUrl", "referUrl"];
const URL_ELEMENTS: [&str; 2] = ["Redirect", "Play"];

/// The document as it is sent.
pub(super) fn render(twiml: &Twiml) -> Result<String, RestError> {
    let document = twiml.render();
    if document.chars().count() > MAX_CHARS {
        return Err(RestError::Twiml("more than 4,000 characters"));
    }
    // Written by `Twiml`: every attribute in double quotes, every `<`, `>` and `"` of a value escaped.
    let all_absolute = document.split('<').filter_map(|part| part.split_once('>')).all(|(tag, text)| {
        let links = URL_ELEMENTS.iter().any(|name| tag.split(' ').next() == Some(name));
        let urls = URL_ATTRIBUTES.iter().filter_map(|name| tag.split_once(&format!(" {name}=\"")));
        (!links || is_absolute(text)) && urls.map(|(_, url)| url).all(is_absolute)
    });
    if all_absolute { Ok(document) } else { Err(RestError::Twiml("a URL is not absolute")) }
}

fn is_absolute(text: &str) -> bool {
    ["https://", "http://", "wss://", "ws://"].iter().any(|scheme| text.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::twilio::twiml::Dial;

    fn dial(action: &str) -> Twiml {
        let (number, caller_id, whisper) = ("+14155550123", None, None);
        Twiml::new().dial(Dial { number, action: Some(action), timeout_seconds: 20, caller_id, whisper })
    }

    #[test]
    fn a_relative_url_is_refused_wherever_it_stands() {
        assert!(render(&dial("https://h/done")).is_ok());
        assert!(render(&Twiml::new().say("see action=\"/x\"").redirect("https://h/next")).is_ok());
        assert!(render(&Twiml::new().hangup()).is_ok());
        let relative = Err(RestError::Twiml("a URL is not absolute"));
        assert_eq!(render(&dial("/done")), relative);
        assert_eq!(render(&Twiml::new().redirect("/next")), relative);
    }

    #[test]
    fn an_overlong_document_is_refused() {
        let long = Twiml::new().say(&"a".repeat(MAX_CHARS));
        assert_eq!(render(&long), Err(RestError::Twiml("more than 4,000 characters")));
    }
}
