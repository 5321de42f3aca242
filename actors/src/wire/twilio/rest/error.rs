//! What can go wrong with a request to Twilio's REST API.

use std::fmt;

use serde::Deserialize;

/// The longest message of Twilio's that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 300;
/// So many digits in a row may be a telephone number, or part of one.
const NUMBER_DIGITS: usize = 5;

/// The base URL is not an https origin (nor an http one on a loopback host).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an https origin such as https://api.twilio.com")]
pub struct BadBaseUrl;

/// Why a request was not carried out, or is not known to be. None of its texts holds a credential or a
/// telephone number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestError {
    /// Twilio said no; saying it again would not help.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Too many requests at once (429), to the last attempt. Nothing was done.
    #[error("throttled: {0}")]
    Throttled(Refusal),
    /// No connection, to the last attempt. Nothing was done.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The request went out and no answer came: it may have been carried out.
    #[error("unanswered: {0}")]
    Unanswered(String),
    /// Twilio failed (5xx): the request may have been carried out.
    #[error("failed: {0}")]
    Failed(Refusal),
    /// It was carried out, and the answer is not what the reference says.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
    /// Not sent: inline TwiML with a relative URL, of which Twilio would not know the base (error 15004), or
    /// too long.
    #[error("unusable TwiML: {0}")]
    Twiml(&'static str),
}

impl RestError {
    /// Whether nobody knows if the request was carried out.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::Failed(_))
    }

    /// Whether Twilio certainly did nothing, and may do it if asked again.
    pub(super) fn did_nothing(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unreachable(_))
    }

    /// Whether the credentials were refused: nothing was done.
    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused(Refusal { status: 401, .. }))
    }

    /// Whether what was asked about is over or was never there (21220, 20404).
    pub(super) fn is_gone(&self) -> bool {
        let Self::Refused(Refusal { status, code, .. }) = self else { return false };
        *status == 404 || matches!(code, Some(20404 | 21220))
    }
}

/// Twilio's words when it does not do what it was asked (reference: twilio.md section 7, "Error body").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Twilio's error code; none if the body was not Twilio's.
    pub code: Option<u32>,
    /// Twilio's message without telephone numbers, at most 300 characters; may be empty.
    pub message: String,
}

impl Refusal {
    /// Reads an answer with a status of 400 or more. The body may be anything.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            code: Option<u32>,
            #[serde(alias = "detail")]
            message: Option<String>,
        }
        let (code, message) = match serde_json::from_slice(body) {
            Ok(Body { code, message }) => (code, message.unwrap_or_default()),
            Err(_) => (None, String::new()),
        };
        Self { status, code, message: without_numbers(&message) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(code) = self.code {
            write!(f, ", error {code}")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// The text with `#` for every digit of what may be a telephone number, cut to 300 characters.
fn without_numbers(text: &str) -> String {
    let mut rest: String = text.chars().take(MAX_MESSAGE_CHARS).collect();
    let mut result = String::with_capacity(rest.len());
    while !rest.is_empty() {
        let run = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(run);
        if run >= NUMBER_DIGITS {
            result.extend(digits.chars().map(|_| '#'));
        } else {
            result.push_str(digits);
        }
        let mut after = after.chars();
        result.extend(after.next());
        rest = after.collect();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_is_read_with_code_and_message() {
        let body = br#"{"code":21220,"message":"Call is not in-progress.","status":400}"#;
        let refusal = Refusal::read(400, body);
        assert_eq!(refusal.to_string(), "status 400, error 21220: Call is not in-progress.");
        assert!(RestError::Refused(refusal).is_gone());
    }

    #[test]
    fn a_newer_error_body_is_read_as_well_and_any_other_is_its_status() {
        let body =
            br#"{"type":"about:blank","title":"Gone","status":404,"code":20404,"detail":"No such queue"}"#;
        assert_eq!(Refusal::read(404, body).to_string(), "status 404, error 20404: No such queue");
        assert_eq!(Refusal::read(502, b"<html>Bad Gateway</html>").to_string(), "status 502");
    }

    #[test]
    fn no_telephone_number_is_repeated() {
        let body = br#"{"code":21211,"message":"The 'To' number +14155550100 is not valid: 21211"}"#;
        let told = format!("{:?}", Refusal::read(400, body));
        assert!(told.contains("+########### is not valid") && !told.contains("5550100"), "{told}");
    }

    #[test]
    fn an_overlong_message_is_cut() {
        let body = format!(r#"{{"code":1,"message":"{}"}}"#, "é".repeat(1_000));
        assert_eq!(Refusal::read(400, body.as_bytes()).message.chars().count(), 300);
    }
}
