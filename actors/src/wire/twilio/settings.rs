//! Who we are at Twilio, and whom we believe to be Twilio.

use url::Url;

use super::rest::{BadBaseUrl, TwilioApi};
use super::signature::{SharedKey, Validator};
use crate::secret::Secret;

#[derive(Debug, Clone)]
pub struct TwilioSettings {
    pub account_sid: Option<String>,
    /// None only with `bypass_validation`.
    pub auth_token: Option<Secret>,
    /// Stands in for `auth_token` while one replaces the other (`TWILIO_AUTH_TOKEN_SECONDARY`).
    pub auth_token_secondary: Option<Secret>,
    /// Keys that webhooks may be signed with instead of the auth token (`TWILIO_SHARED_KEYS`).
    pub shared_keys: Vec<SharedKey>,
    /// Believe every webhook and stream (`BYPASS_TWILIO_VALIDATION`): for load tests on one machine only.
    pub bypass_validation: bool,
    /// The origin of the REST API (`TWILIO_API_BASE_URL`); http on a loopback host only.
    pub api_base_url: Url,
    /// Our number that sends messages and makes calls (`TWILIO_FROM_NUMBER`); E.164.
    pub from_number: Option<String>,
    /// Takes the call when nothing else helps; E.164.
    pub human_fallback_number: Option<String>,
}

impl TwilioSettings {
    /// The way to the REST API, where an account is named.
    ///
    /// # Errors
    /// The base URL is not an origin that credentials may be sent to.
    pub fn api(&self) -> Result<Option<TwilioApi>, BadBaseUrl> {
        let (Some(account_sid), Some(auth_token)) = (&self.account_sid, &self.auth_token) else {
            return Ok(None);
        };
        let api = TwilioApi::new(self.api_base_url.clone(), account_sid.clone(), auth_token.clone())?;
        Ok(Some(api.or_token(self.auth_token_secondary.clone())))
    }

    /// Checks the signatures of webhooks and streams that come to `public_url`; none if all are believed.
    pub fn validator(&self, public_url: &Url) -> Option<Validator> {
        let token = self.auth_token.clone().filter(|_| !self.bypass_validation)?;
        let validator = Validator::new(token, public_url).or_token(self.auth_token_secondary.clone());
        Some(validator.with_shared_keys(self.shared_keys.clone()))
    }
}
