//! `X-Twilio-Signature`: made and checked (reference: twilio.md section 5).
//!
//! The signed URL is built from our own public origin, never from `Host` or `X-Forwarded-*`, which a stranger can set;
//! path and query are taken byte for byte as they were requested.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::form::Form;
use crate::secret::Secret;

/// Why a request is not believed to be Twilio's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the signature is not base64 of 20 bytes")]
    Malformed,
    #[error("the signature does not fit the request")]
    Mismatch,
    #[error("the body does not fit its signed hash")]
    BodyMismatch,
}

/// The signature that Twilio puts on a request for `url` (without fragment) with these decoded form parameters
/// (none: GET, websocket, JSON).
pub fn sign(token: &str, url: &str, params: &[(String, String)]) -> String {
    BASE64.encode(mac(token, url, params).finalize().into_bytes())
}

/// Checks what claims to come from Twilio against the primary auth token.
#[derive(Debug, Clone)]
pub struct Validator {
    token: Secret,
    /// `https://host` and `https://host:port`, the port spelt out: Twilio signs either.
    webhook_origins: [String; 2],
    /// The same with `wss`.
    stream_origins: [String; 2],
}

impl Validator {
    /// `public_url` is the origin that Twilio sees, `http` or `https`; its path is not looked at.
    pub fn new(token: Secret, public_url: &Url) -> Self {
        let (scheme, socket_scheme) = match public_url.scheme() {
            "http" => ("http", "ws"),
            _ => ("https", "wss"),
        };
        let host = public_url.host_str().unwrap_or_default();
        let port = public_url.port_or_known_default().unwrap_or(443);
        let origins = |scheme: &str| {
            let bare = match public_url.port() {
                Some(port) => format!("{scheme}://{host}:{port}"),
                None => format!("{scheme}://{host}"),
            };
            [bare, format!("{scheme}://{host}:{port}")]
        };
        Self { token, webhook_origins: origins(scheme), stream_origins: origins(socket_scheme) }
    }

    /// Checks a webhook: `path_and_query` as in the request line, the raw body, the header's value.
    /// A `bodySHA256` in the query marks Twilio's JSON form: the URL alone is signed, and names the body's hash.
    pub fn verify_form(&self, path_and_query: &str, body: &[u8], header: &str) -> Result<(), SignatureError> {
        if let Some(expected) = body_hash(path_and_query) {
            self.verify(&self.webhook_origins, &[path_and_query], &[], header)?;
            let actual = format!("{:x}", Sha256::digest(body));
            let fits: bool = actual.as_bytes().ct_eq(expected.to_ascii_lowercase().as_bytes()).into();
            return if fits { Ok(()) } else { Err(SignatureError::BodyMismatch) };
        }
        self.verify(&self.webhook_origins, &[path_and_query], Form::parse(body).pairs(), header)
    }

    /// Checks a media stream's upgrade request, which is signed over the websocket URL, at times with a slash appended.
    pub fn verify_upgrade(&self, path_and_query: &str, header: &str) -> Result<(), SignatureError> {
        let slashed = format!("{path_and_query}/");
        self.verify(&self.stream_origins, &[path_and_query, &slashed], &[], header)
    }

    fn verify(
        &self,
        origins: &[String],
        paths: &[&str],
        params: &[(String, String)],
        header: &str,
    ) -> Result<(), SignatureError> {
        let signature = BASE64.decode(header).map_err(|_| SignatureError::Malformed)?;
        if signature.len() != <Sha1 as sha1::Digest>::output_size() {
            return Err(SignatureError::Malformed);
        }
        let fits = origins.iter().any(|origin| {
            paths.iter().any(|path| {
                let url = format!("{origin}{path}");
                mac(self.token.expose(), &url, params).verify_slice(&signature).is_ok() // in constant time
            })
        });
        if fits { Ok(()) } else { Err(SignatureError::Mismatch) }
    }
}

/// The URL, then each distinct name and value in ascending byte order, without separators.
fn mac(token: &str, url: &str, params: &[(String, String)]) -> Hmac<Sha1> {
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(url.as_bytes());
    let mut sorted: Vec<_> = params.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    mac
}

fn body_hash(path_and_query: &str) -> Option<String> {
    let (_, query) = path_and_query.split_once('?')?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "bodySHA256")
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "12345678901234567890123456789012";
    const VOICE: &str = "/twilio/voice?tenant=acme&v=2";
    const VOICE_BODY: &str = "AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01\
        &CallSid=CA00000000000000000000000000000001&CallStatus=ringing&Called=%2B15005550006&Caller=%2B14155550100\
        &Direction=inbound&From=%2B14155550100&FromCity=&To=%2B15005550006";
    const EVENT_BODY: &str =
        r#"{"CallSid":"CA00000000000000000000000000000001","Event":"test","Text":"héllo"}"#;
    const EVENT: &str =
        "/twilio/events?bodySHA256=616aa469a8617908b2b0df35d4231f0c56fd98ad4fb5ac798e942575de7cac96";

    fn validator(origin: &str) -> Validator {
        Validator::new(Secret::new(TOKEN.into()), &Url::parse(origin).unwrap())
    }

    fn signed(url: &str, body: &str) -> String {
        sign(TOKEN, url, Form::parse(body.as_bytes()).pairs())
    }

    #[test]
    fn signatures_are_those_of_the_official_libraries() {
        let vectors = [
            (
                "https://voice.example.com/twilio/voice?tenant=acme&v=2",
                VOICE_BODY,
                "zWKoPiW3WyS6ajufWxfOtpAOLnY=",
            ),
            (
                "https://voice.example.com:443/twilio/voice?tenant=acme&v=2",
                VOICE_BODY,
                "aL8oyq1p3HB82+VybUgXhZzXzSQ=",
            ),
            ("wss://voice.example.com/twilio/media", "", "fhjjjkV1F9lPmcYCG6YdDwerOY0="),
            ("wss://voice.example.com/twilio/media/", "", "V2QGJ6ZI1zkdxy6SGUcrhLy5x1s="),
            ("https://voice.example.com/twilio/media", "", "optsbm+WFjCGi1P9M3zlDrGUSlI="),
            (&format!("https://voice.example.com{EVENT}"), "", "God0lukijx6Xyhv6UkrPa9JGYec="),
            (
                "https://voice.example.com/sms",
                "MediaUrl=https://b.example/2&MediaUrl=https://a.example/1&MediaUrl=https://a.example/1&Body=x&From=%2B1",
                "V2Fjxk9KGA279aA2yXDpSsTfz6w=",
            ),
            (
                "https://voice.example.com/t",
                "Body=a%2Bb+%26+c%3Dd+%C3%BC&from=lower&From=Upper&Z=&a=1",
                "4+1facy0pu8wx++QNrzDAwRHk10=",
            ),
        ];
        for (url, body, expected) in vectors {
            assert_eq!(signed(url, body), expected, "{url}");
        }
        let params =
            Form::parse(b"CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&From=%2B14158675310&To=%2B18005551212");
        let url = "https://example.com/myapp.php?foo=1&bar=2";
        assert_eq!(sign("12345", url, params.pairs()), "L/OH5YylLD5NRKLltdqwSvS0BnU=");
    }

    #[test]
    fn a_webhook_is_believed_with_the_default_port_and_without() {
        let validator = validator("https://voice.example.com");
        for header in ["zWKoPiW3WyS6ajufWxfOtpAOLnY=", "aL8oyq1p3HB82+VybUgXhZzXzSQ="] {
            assert_eq!(validator.verify_form(VOICE, VOICE_BODY.as_bytes(), header), Ok(()));
        }
    }

    #[test]
    fn an_upgrade_is_believed_over_the_websocket_url_only() {
        let validator = validator("https://voice.example.com");
        let slashed_with_port = signed("wss://voice.example.com:443/twilio/media/", "");
        for header in ["fhjjjkV1F9lPmcYCG6YdDwerOY0=", "V2QGJ6ZI1zkdxy6SGUcrhLy5x1s=", &slashed_with_port] {
            assert_eq!(validator.verify_upgrade("/twilio/media", header), Ok(()));
        }
        let over_https = "optsbm+WFjCGi1P9M3zlDrGUSlI=";
        assert_eq!(validator.verify_upgrade("/twilio/media", over_https), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_plain_origin_and_an_odd_port_are_signed_as_they_are() {
        let plain = validator("http://127.0.0.1:8080");
        assert_eq!(plain.verify_form("/a", b"", &signed("http://127.0.0.1:8080/a", "")), Ok(()));
        assert_eq!(plain.verify_upgrade("/a", &signed("ws://127.0.0.1:8080/a", "")), Ok(()));
        assert_eq!(
            plain.verify_form("/a", b"", &signed("http://127.0.0.1/a", "")),
            Err(SignatureError::Mismatch)
        );
        let default_port = validator("http://example.com");
        assert_eq!(default_port.verify_upgrade("/a", &signed("ws://example.com:80/a", "")), Ok(()));
    }

    #[test]
    fn a_json_body_is_checked_against_its_signed_hash() {
        let validator = validator("https://voice.example.com");
        let header = "God0lukijx6Xyhv6UkrPa9JGYec=";
        assert_eq!(validator.verify_form(EVENT, EVENT_BODY.as_bytes(), header), Ok(()));
        assert_eq!(validator.verify_form(EVENT, b"{}", header), Err(SignatureError::BodyMismatch));
    }

    #[test]
    fn whatever_is_changed_breaks_the_signature() {
        let validator = validator("https://voice.example.com");
        let header = "zWKoPiW3WyS6ajufWxfOtpAOLnY=";
        let body = VOICE_BODY.as_bytes();
        let more = format!("{VOICE_BODY}&X=");
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(validator.verify_form("/twilio/voice?v=2&tenant=acme", body, header), mismatch);
        assert_eq!(validator.verify_form(VOICE, more.as_bytes(), header), mismatch);
        assert_eq!(validator.verify_form(VOICE, &body[1..], header), mismatch);
        let stranger = Validator::new(
            Secret::new("another token".into()),
            &Url::parse("https://voice.example.com").unwrap(),
        );
        assert_eq!(stranger.verify_form(VOICE, body, header), mismatch);
        for malformed in ["", "not base64!", "AAAA", "zWKoPiW3WyS6ajufWxfOtpAOLnY"] {
            assert_eq!(validator.verify_form(VOICE, body, malformed), Err(SignatureError::Malformed));
        }
    }

    #[test]
    fn the_token_is_not_printed() {
        assert!(!format!("{:?}", validator("https://voice.example.com")).contains(TOKEN));
    }
}
