//! The account itself, and its telephone numbers: where each sends its calls (reference: twilio.md
//! section 7).

use std::fmt;

use serde::Deserialize;
use url::Url;

use super::transport::{Params, page};
use super::{RestError, TwilioApi};

/// The account whose credentials these are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// `active`, `suspended` or `closed`.
    pub status: String,
    /// `Trial` or `Full`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// A telephone number of the account. What is not set is empty.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct PhoneNumber {
    /// `PN` and 32 hexadecimal digits.
    pub sid: String,
    pub phone_number: String,
    #[serde(default)]
    pub capabilities: Capabilities,
    #[serde(default, deserialize_with = "or_empty")]
    pub voice_url: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub voice_method: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub voice_fallback_url: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub status_callback: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub status_callback_method: String,
    /// An application takes the calls, and the URLs count for nothing.
    #[serde(default, deserialize_with = "or_empty")]
    pub voice_application_sid: String,
    /// A SIP trunk takes the calls, and the URLs count for nothing.
    #[serde(default, deserialize_with = "or_empty")]
    pub trunk_sid: String,
}

/// What a number can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Capabilities {
    #[serde(default)]
    pub voice: bool,
    #[serde(default, alias = "SMS")]
    pub sms: bool,
}

/// Where a number is to send its calls, by POST. What is none stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct NumberUrls<'a> {
    pub voice: Option<&'a Url>,
    pub fallback: Option<&'a Url>,
    pub status_callback: Option<&'a Url>,
}

fn or_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

page!(Numbers, incoming_phone_numbers: PhoneNumber);

impl TwilioApi {
    /// Fetches the account: so it is known whether its credentials are accepted.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn account(&self) -> Result<Account, RestError> {
        self.ask(&self.get(&[])).await
    }

    /// Finds a telephone number of the account; none if the account does not have it.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn phone_number(&self, number: &str) -> Result<Option<PhoneNumber>, RestError> {
        let params = Params::default().with("PhoneNumber", number);
        let found = self.newest::<Numbers>(&["IncomingPhoneNumbers"], params).await?;
        // The filter also takes a part of a number.
        Ok(found.into_iter().find(|found| found.phone_number == number))
    }

    /// Changes where a number sends its calls. None if there is no such number any more.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn change_number(
        &self,
        sid: &str,
        urls: NumberUrls<'_>,
    ) -> Result<Option<PhoneNumber>, RestError> {
        let mut params = Params::default();
        for (name, method, url) in [
            ("VoiceUrl", "VoiceMethod", urls.voice),
            ("VoiceFallbackUrl", "VoiceFallbackMethod", urls.fallback),
            ("StatusCallback", "StatusCallbackMethod", urls.status_callback),
        ] {
            if let Some(url) = url {
                params = params.with(name, url).with(method, "POST");
            }
        }
        self.ask_if_there(&self.post(&["IncomingPhoneNumbers", sid], params).repeatable()).await
    }
}

/// Without the number.
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhoneNumber").field("sid", &self.sid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_twilio_writes_it_and_not_printed() {
        let number: PhoneNumber = serde_json::from_str(
            r#"{"sid":"PN1","phone_number":"+15005550006","voice_url":"https://a/","voice_method":"POST",
            "voice_fallback_url":null,"status_callback":"","status_callback_method":"POST",
            "voice_application_sid":null,"trunk_sid":null,"capabilities":{"voice":true,"SMS":true,"mms":false}}"#,
        )
        .unwrap();
        assert!(number.voice_fallback_url.is_empty() && number.trunk_sid.is_empty());
        assert!(number.capabilities.voice && number.capabilities.sms);
        assert!(!format!("{number:?}").contains("555"));
    }
}
