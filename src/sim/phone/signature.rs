//! `X-Twilio-Signature`, written anew for the simulator so that a mistake in the program's own check is not
//! made twice (reference: Twilio's "Webhooks security").

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// The signature of a request for `url` (without its fragment) with the form parameters `params`; none for
/// GET and for the upgrade of a media stream.
pub fn sign(auth_token: &str, url: &str, params: &[(String, String)]) -> String {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(auth_token.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(url.as_bytes());
    let distinct: BTreeSet<_> = params.iter().collect();
    for (name, value) in distinct {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "12345678901234567890123456789012";

    fn params(text: &[(&str, &str)]) -> Vec<(String, String)> {
        text.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_form_is_signed_as_twilio_signs_it() {
        let form = params(&[
            ("To", "+15005550006"),
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", "CA00000000000000000000000000000001"),
            ("CallStatus", "ringing"),
            ("Called", "+15005550006"),
            ("Caller", "+14155550100"),
            ("Direction", "inbound"),
            ("From", "+14155550100"),
            ("FromCity", ""),
        ]);
        let url = "https://voice.example.com/twilio/voice?tenant=acme&v=2";
        assert_eq!(sign(TOKEN, url, &form), "zWKoPiW3WyS6ajufWxfOtpAOLnY=");
        let url = "https://voice.example.com:443/twilio/voice?tenant=acme&v=2";
        assert_eq!(sign(TOKEN, url, &form), "aL8oyq1p3HB82+VybUgXhZzXzSQ=");
    }

    #[test]
    fn an_upgrade_is_signed_by_its_url_alone() {
        let sign = |url| sign(TOKEN, url, &[]);
        assert_eq!(sign("wss://voice.example.com/twilio/media"), "fhjjjkV1F9lPmcYCG6YdDwerOY0=");
        assert_eq!(sign("wss://voice.example.com/twilio/media/"), "V2QGJ6ZI1zkdxy6SGUcrhLy5x1s=");
    }

    #[test]
    fn repeated_names_are_sorted_by_value_and_duplicates_count_once() {
        let form = params(&[
            ("MediaUrl", "https://b.example/2"),
            ("MediaUrl", "https://a.example/1"),
            ("MediaUrl", "https://a.example/1"),
            ("Body", "x"),
            ("From", "+1"),
        ]);
        assert_eq!(sign(TOKEN, "https://voice.example.com/sms", &form), "V2Fjxk9KGA279aA2yXDpSsTfz6w=");
    }

    #[test]
    fn names_are_sorted_by_bytes_and_values_are_signed_decoded() {
        let form =
            params(&[("Body", "a+b & c=d ü"), ("from", "lower"), ("From", "Upper"), ("Z", ""), ("a", "1")]);
        assert_eq!(sign(TOKEN, "https://voice.example.com/t", &form), "4+1facy0pu8wx++QNrzDAwRHk10=");
    }
}
