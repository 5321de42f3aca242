//! The one-time token that binds a media stream to its call: an upgrade's signature alone is bound to no call
//! (reference: Twilio, "Media Streams: connection").
//!
//! `epoch.expiry.mac`, where the MAC covers the call, too. It is spent by the transition of that epoch from
//! reserved to live, which the registry makes once.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::sid::CallSid;
use crate::secret::Secret;

/// The name of the `<Parameter>` that carries it.
pub const TOKEN_PARAMETER: &str = "token";
/// From the webhook's answer to the stream's `start`, with room for Twilio's retries.
const VALID_SECONDS: u64 = 60;

/// Makes and checks tokens.
#[derive(Debug, Clone)]
pub struct TokenKey(Secret);

/// The token is not ours, not of this call, or too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is wrong or has expired")]
pub struct BadToken;

impl TokenKey {
    /// `secret_key` is `SECRET_KEY`: the same on all instances, so that any of them can take the stream.
    pub fn new(secret_key: Secret) -> Self {
        Self(secret_key)
    }

    /// A token for this epoch of the call, valid from `now` (Unix seconds).
    pub fn mint(&self, call: CallSid, epoch: u32, now: u64) -> String {
        let expiry = now + VALID_SECONDS;
        let mac = BASE64_URL_SAFE_NO_PAD.encode(self.mac(call, epoch, expiry).finalize().into_bytes());
        format!("{epoch}.{expiry}.{mac}")
    }

    /// The epoch that `token` opens for `call`.
    pub fn check(&self, token: &str, call: CallSid, now: u64) -> Result<u32, BadToken> {
        let mut parts = token.splitn(3, '.');
        let mut part = || parts.next().ok_or(BadToken);
        let epoch = part()?.parse().map_err(|_| BadToken)?;
        let expiry = part()?.parse().map_err(|_| BadToken)?;
        let mac = BASE64_URL_SAFE_NO_PAD.decode(part()?).map_err(|_| BadToken)?;
        self.mac(call, epoch, expiry).verify_slice(&mac).map_err(|_| BadToken)?;
        if now <= expiry { Ok(epoch) } else { Err(BadToken) }
    }

    fn mac(&self, call: CallSid, epoch: u32, expiry: u64) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.0.expose().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(format!("switchboard stream token\n{call}\n{epoch}\n{expiry}").as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_its_own_call_and_epoch_and_expires() {
        let key = TokenKey::new(Secret::new("key".into()));
        let call: CallSid = "CA00000000000000000000000000000001".parse().unwrap();
        let other: CallSid = "CA00000000000000000000000000000002".parse().unwrap();
        let token = key.mint(call, 3, 1_000);
        assert_eq!(key.check(&token, call, 1_060), Ok(3));
        assert_eq!(key.check(&token, call, 1_061), Err(BadToken));
        assert_eq!(key.check(&token, other, 1_000), Err(BadToken));
        assert_eq!(key.check(&token.replacen('3', "4", 1), call, 1_000), Err(BadToken));
        assert_eq!(TokenKey::new(Secret::new("other".into())).check(&token, call, 1_000), Err(BadToken));
        for wrong in ["", "..", "3.1060.", "3.1060.!"] {
            assert_eq!(key.check(wrong, call, 1_000), Err(BadToken), "{wrong}");
        }
    }
}
