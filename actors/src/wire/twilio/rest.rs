//! Twilio's REST API: what we ask of it about calls, recordings and messages (reference: twilio.md
//! section 7).
//!
//! **Gone is a value.** A caller may hang up while we ask for something: Twilio then answers 21220 (the call
//! is not in progress) or 20404 (there is no such thing any more). Operations on something that may be gone
//! return `None` then.
//!
//! **Deadlines.** A connection is made within 3 s. A request is over within 10 s ([`TwilioApi::within`]
//! changes that), its repetitions and their pauses included; the look-up after a create is a request of its
//! own.
//!
//! **Repetitions.** What Twilio did not process (429, error 20429) and what never reached it (no connection)
//! is sent again, up to five times in all, after at most 150 ms, then twice as long each time, with jitter.
//! What may have reached it is repeated only where that changes nothing: fetching, listing, deleting, ending.
//!
//! **Creates** have no idempotency key. When it is not known whether one was done (no answer in time, a
//! broken connection, a 5xx), it is looked up before it is sent once more, a second later because lists lag
//! behind:
//! - a message: among those of the same `To` and `From`, one with the same text that is not older than the
//!   request;
//! - a call: among those of the same `To` and `From`, one that is not older than the request;
//! - a recording: among those of the call, one in progress that is not older than the request.
//!
//! **Credentials** that are refused (401) did nothing: the request is sent once more with the other auth
//! token, if there is one. The token that was taken last is tried first.
//!
//! Twilio's clock and ours may differ by 5 s for that. A second failure is the caller's to answer.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::secret::Secret;
use crate::wire::is_loopback;

mod calls;
mod error;
mod fields;
mod inline;
mod messages;
mod numbers;
mod recordings;
mod tokens;
mod transport;

pub use calls::{Call, CallFilter, CallStatus, Instructions, NewCall};
pub use error::{BadBaseUrl, Refusal, RestError};
pub use messages::{Message, NewMessage, Sender};
pub use numbers::{Account, Capabilities, NumberUrls, PhoneNumber};
pub use recordings::{Channels, NewRecording, Recording, RecordingChange};

use tokens::Tokens;

/// How long a request may take, its repetitions included.
const WHOLE: Duration = Duration::from_secs(10);

/// A client of one account. Cheap to clone, and to be moved to other threads; its futures stay on the thread
/// (an actix arbiter) on which they were made, where they share one HTTP client.
#[derive(Debug, Clone)]
pub struct TwilioApi {
    base_url: Url,
    account_sid: String,
    tokens: Arc<Tokens>,
    whole: Duration,
}

impl TwilioApi {
    /// A client of the account at `base_url`, such as `https://api.twilio.com`.
    ///
    /// # Errors
    /// `base_url` is not an https origin. On a loopback host, http will do.
    pub fn new(
        base_url: Url,
        account_sid: impl Into<String>,
        auth_token: Secret,
    ) -> Result<Self, BadBaseUrl> {
        if is_api_origin(&base_url) {
            let tokens = Arc::new(Tokens::new(auth_token, None));
            Ok(Self { base_url, account_sid: account_sid.into(), tokens, whole: WHOLE })
        } else {
            Err(BadBaseUrl)
        }
    }

    /// The same client, which uses `secondary` where the token that it has is refused: one replaces the other
    /// at a moment that Twilio decides.
    pub fn or_token(self, secondary: Option<Secret>) -> Self {
        let tokens = Arc::new(Tokens::new(self.tokens.primary().clone(), secondary));
        Self { tokens, ..self }
    }

    /// The same client, for requests that are over within `whole`.
    pub fn within(self, whole: Duration) -> Self {
        Self { whole, ..self }
    }
}

/// Whether credentials may be sent there: an https origin, or http on a loopback host.
pub fn is_api_origin(url: &Url) -> bool {
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" || url.scheme() == "http" && is_loopback(url)) && bare && anonymous
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(base_url: &str) -> Result<TwilioApi, BadBaseUrl> {
        TwilioApi::new(Url::parse(base_url).unwrap(), "AC1", Secret::new("hush".into()))
    }

    #[test]
    fn credentials_go_to_https_origins_and_to_this_machine_only() {
        for taken in [
            "https://api.twilio.com",
            "https://api.dublin.ie1.twilio.com",
            "http://127.0.0.1:9",
            "http://[::1]:9",
        ] {
            assert!(api(taken).is_ok(), "{taken}");
        }
        for refused in [
            "http://api.twilio.com",
            "https://me:hush@api.twilio.com",
            "https://api.twilio.com/2010-04-01",
            "https://api.twilio.com/?a=1",
            "ftp://127.0.0.1",
        ] {
            assert!(api(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_auth_token_is_not_printed() {
        let told = format!("{:?}", api("https://api.twilio.com").unwrap());
        assert!(!told.contains("hush"), "{told}");
    }
}
