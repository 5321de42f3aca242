//! `X-Twilio-Signature`: made and checked (reference: twilio.md section 5).
//!
//! The signed URL is built from our own public origin, never from `Host` or `X-Forwarded-*`, which a stranger
//! can set; path and query are taken byte for byte as they were requested.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::form::Form;
use crate::secret::Secret;

mod tried;

pub use tried::Tried;

/// Carries the signature.
pub const HEADER: &str = "X-Twilio-Signature";
/// Comes with a signature that was made with a shared key: names the key and the algorithm.
pub const SETTINGS_HEADER: &str = "X-Twilio-Webhooks-Signature-Settings";

/// Why a request is not believed to be Twilio's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the signature is not base64 of a hash")]
    Malformed,
    #[error("the signature does not fit the request")]
    Mismatch,
    #[error("the body does not fit its signed hash")]
    BodyMismatch,
    #[error("the signature was made with a shared key that is not configured")]
    UnknownKey,
    #[error("the signature was made with an unknown algorithm")]
    UnknownAlgorithm,
}

/// What a request's headers say of its signature.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// The value of [`HEADER`].
    pub value: &'a str,
    /// The value of [`SETTINGS_HEADER`], if there is one.
    pub settings: Option<&'a str>,
}

/// One that was made with the auth token.
impl<'a> From<&'a str> for Signature<'a> {
    fn from(value: &'a str) -> Self {
        Self { value, settings: None }
    }
}

impl<'a> From<&'a String> for Signature<'a> {
    fn from(value: &'a String) -> Self {
        value.as_str().into()
    }
}

/// The signature that Twilio puts on a request for `url` (without fragment) with these decoded form
/// parameters (none: GET, websocket, JSON).
pub fn sign(token: &str, url: &str, params: &[(String, String)]) -> String {
    BASE64.encode(mac::<Hmac<Sha1>>(token, url, params).finalize().into_bytes())
}

/// Checks what claims to come from Twilio against the auth tokens, or against the shared key that the request
/// names.
#[derive(Debug, Clone)]
pub struct Validator {
    tokens: Vec<Secret>,
    shared_keys: Vec<SharedKey>,
    /// The origins over which Twilio may sign: see [`origins`]. The first is the one that is configured.
    webhook_origins: Vec<String>,
    /// The same with the scheme of a websocket.
    stream_origins: Vec<String>,
}

/// A key of Twilio's webhook configuration. It replaces the auth token where the configuration says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedKey {
    pub id: String,
    pub secret: Secret,
}

impl Validator {
    /// `token` is the primary auth token. `public_url` is the origin that Twilio sees, `http` or `https`; its
    /// path is not looked at.
    pub fn new(token: Secret, public_url: &Url) -> Self {
        let (scheme, socket_scheme) = match public_url.scheme() {
            "http" => ("http", "ws"),
            _ => ("https", "wss"),
        };
        Self {
            tokens: vec![token],
            shared_keys: Vec::new(),
            webhook_origins: origins(scheme, public_url),
            stream_origins: origins(socket_scheme, public_url),
        }
    }

    /// Believes another auth token as well: the secondary one, while the primary is replaced by it.
    pub fn or_token(mut self, token: Option<Secret>) -> Self {
        self.tokens.extend(token);
        self
    }

    /// Believes requests that name one of these keys and are signed with it.
    pub fn with_shared_keys(self, shared_keys: Vec<SharedKey>) -> Self {
        Self { shared_keys, ..self }
    }

    /// Checks a webhook: `path_and_query` as in the request line, the raw body, what the headers say. A
    /// `bodySHA256` in the query marks Twilio's JSON form: the URL alone is signed, and names the body's
    /// hash.
    pub fn verify_form<'a>(
        &self,
        path_and_query: &str,
        body: &[u8],
        signature: impl Into<Signature<'a>>,
    ) -> Result<(), SignatureError> {
        if let Some(expected) = body_hash(path_and_query) {
            self.verify(&self.webhook_origins, &[path_and_query], &[], signature.into())?;
            let actual = format!("{:x}", Sha256::digest(body));
            let fits: bool = actual.as_bytes().ct_eq(expected.to_ascii_lowercase().as_bytes()).into();
            return if fits { Ok(()) } else { Err(SignatureError::BodyMismatch) };
        }
        self.verify(&self.webhook_origins, &[path_and_query], Form::parse(body).pairs(), signature.into())
    }

    /// Checks a media stream's upgrade request, which is signed over the websocket URL, at times with a slash
    /// appended.
    pub fn verify_upgrade<'a>(
        &self,
        path_and_query: &str,
        signature: impl Into<Signature<'a>>,
    ) -> Result<(), SignatureError> {
        let slashed = format!("{path_and_query}/");
        self.verify(&self.stream_origins, &[path_and_query, &slashed], &[], signature.into())
    }

    /// The URLs over which [`verify_form`](Self::verify_form) takes a signature, for the log.
    pub fn webhook_urls(&self, path_and_query: &str) -> Tried {
        Tried::new(&self.webhook_origins, path_and_query, &[""])
    }

    /// The URLs over which [`verify_upgrade`](Self::verify_upgrade) takes a signature, for the log.
    pub fn stream_urls(&self, path_and_query: &str) -> Tried {
        Tried::new(&self.stream_origins, path_and_query, &["", "/"])
    }

    fn verify(
        &self,
        origins: &[String],
        paths: &[&str],
        params: &[(String, String)],
        signature: Signature<'_>,
    ) -> Result<(), SignatureError> {
        let hash = BASE64.decode(signature.value).map_err(|_| SignatureError::Malformed)?;
        let urls = origins.iter().flat_map(|origin| paths.iter().map(move |path| format!("{origin}{path}")));
        match signature.settings {
            None => {
                let secrets: Vec<_> = self.tokens.iter().map(Secret::expose).collect();
                check::<Hmac<Sha1>>(&secrets, urls, params, &hash)
            }
            Some(settings) => {
                let settings = Settings::parse(settings);
                let mut known = self.shared_keys.iter().filter(|key| key.id == settings.key);
                let secret = known.next().ok_or(SignatureError::UnknownKey)?.secret.expose();
                match settings.algorithm {
                    "HMAC_SHA256" => check::<Hmac<Sha256>>(&[secret], urls, params, &hash),
                    "HMAC_SHA1" => check::<Hmac<Sha1>>(&[secret], urls, params, &hash),
                    _ => Err(SignatureError::UnknownAlgorithm),
                }
            }
        }
    }
}

/// How Twilio may write our origin in what it signs: with the port of `public_url`, without a port, and with
/// the port that the scheme implies. Behind `http`, which is for this machine only, a port that is not the
/// default one stays.
fn origins(scheme: &str, public_url: &Url) -> Vec<String> {
    let host = public_url.host_str().unwrap_or_default();
    let is_plain = public_url.scheme() == "http";
    let default_port = if is_plain { 80 } else { 443 };
    let bare = format!("{scheme}://{host}");
    let with = |port| format!("{bare}:{port}");
    match public_url.port() {
        Some(port) if is_plain => vec![with(port)],
        Some(port) => vec![with(port), bare.clone(), with(default_port)],
        None => vec![bare.clone(), with(default_port)],
    }
}

/// Which key and algorithm a request was signed with: `key=…,algorithm=…`. Of a repeated member the first
/// counts.
struct Settings<'a> {
    key: &'a str,
    algorithm: &'a str,
}

impl<'a> Settings<'a> {
    fn parse(text: &'a str) -> Self {
        let member = |wanted| {
            let mut members = text.split(',').filter_map(|member| member.split_once('='));
            members.find(|(name, _)| name.trim() == wanted).map_or("", |(_, value)| value.trim())
        };
        Self { key: member("key"), algorithm: member("algorithm") }
    }
}

/// Whether one of the secrets has signed one of the URLs; compared in constant time.
fn check<M: Mac + KeyInit>(
    secrets: &[&str],
    urls: impl Iterator<Item = String> + Clone,
    params: &[(String, String)],
    hash: &[u8],
) -> Result<(), SignatureError> {
    if hash.len() != M::output_size() {
        return Err(SignatureError::Malformed);
    }
    let fits = secrets
        .iter()
        .any(|secret| urls.clone().any(|url| mac::<M>(secret, &url, params).verify_slice(hash).is_ok()));
    if fits { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// The URL, then each distinct name and value in ascending byte order, without separators.
fn mac<M: Mac + KeyInit>(secret: &str, url: &str, params: &[(String, String)]) -> M {
    let mut mac = <M as Mac>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
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
    Form::parse(query.as_bytes()).get("bodySHA256").map(str::to_owned)
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
    fn behind_an_odd_port_the_signed_url_has_that_port_or_the_default_one_or_none() {
        let validator = validator("https://voice.example.com:8443");
        for port in ["", ":8443", ":443"] {
            let url = format!("https://voice.example.com{port}{VOICE}");
            let header = signed(&url, VOICE_BODY);
            assert_eq!(validator.verify_form(VOICE, VOICE_BODY.as_bytes(), &header), Ok(()), "{url}");
            for slash in ["", "/"] {
                let url = format!("wss://voice.example.com{port}/twilio/media{slash}");
                let header = signed(&url, "");
                assert_eq!(validator.verify_upgrade("/twilio/media", &header), Ok(()), "{url}");
            }
        }
        for stranger in [
            "https://voice.example.com:8444",
            "https://voice.example.com:80",
            "https://example.com",
            "http://voice.example.com",
        ] {
            let header = signed(&format!("{stranger}/a"), "");
            assert_eq!(
                validator.verify_form("/a", b"", &header),
                Err(SignatureError::Mismatch),
                "{stranger}"
            );
        }
    }

    #[test]
    fn while_a_token_is_replaced_both_are_believed() {
        let new = "abcdefabcdefabcdefabcdefabcdefab";
        let validator = validator("https://voice.example.com").or_token(Some(Secret::new(new.to_owned())));
        let url = "https://voice.example.com/a";
        for token in [TOKEN, new] {
            assert_eq!(validator.verify_form("/a", b"", &sign(token, url, &[])), Ok(()));
            let socket = sign(token, "wss://voice.example.com/a", &[]);
            assert_eq!(validator.verify_upgrade("/a", &socket), Ok(()));
        }
        let stranger = sign("another token", url, &[]);
        assert_eq!(validator.verify_form("/a", b"", &stranger), Err(SignatureError::Mismatch));
    }

    /// The hash that twilio.md lists for the first request, its key and HMAC_SHA256.
    const SHA256: &str = "7yMv+wrGhWNxLZdYvNBNYTPcBpX2cYIKQZQBLBJuoxk=";

    fn with_shared_key() -> Validator {
        let key =
            |id: &str, secret: &str| SharedKey { id: id.to_owned(), secret: Secret::new(secret.to_owned()) };
        let token = Secret::new("the auth token".to_owned());
        Validator::new(token, &Url::parse("https://voice.example.com").unwrap())
            .with_shared_keys(vec![key("other", "other secret"), key("key1", TOKEN)])
    }

    #[test]
    fn a_request_that_names_a_configured_key_is_checked_with_that_key() {
        let validator = with_shared_key();
        let verify = |value, settings| {
            validator.verify_form(VOICE, VOICE_BODY.as_bytes(), Signature { value, settings: Some(settings) })
        };
        assert_eq!(verify(SHA256, "key=key1,algorithm=HMAC_SHA256"), Ok(()));
        assert_eq!(verify(SHA256, " algorithm=HMAC_SHA256 , key=key1"), Ok(()));
        assert_eq!(verify("zWKoPiW3WyS6ajufWxfOtpAOLnY=", "key=key1,algorithm=HMAC_SHA1"), Ok(()));
        assert_eq!(verify(SHA256, "key=other,algorithm=HMAC_SHA256"), Err(SignatureError::Mismatch));
        assert_eq!(verify(SHA256, "key=key2,algorithm=HMAC_SHA256"), Err(SignatureError::UnknownKey));
        assert_eq!(verify(SHA256, "algorithm=HMAC_SHA256"), Err(SignatureError::UnknownKey));
        assert_eq!(verify(SHA256, ""), Err(SignatureError::UnknownKey));
        assert_eq!(verify(SHA256, "key=key1,algorithm=MD5"), Err(SignatureError::UnknownAlgorithm));
        assert_eq!(verify(SHA256, "key=key1"), Err(SignatureError::UnknownAlgorithm));
        assert_eq!(verify(SHA256, "key=key1,algorithm=HMAC_SHA1"), Err(SignatureError::Malformed));
        assert_eq!(verify("AAAA", "key=key1,algorithm=HMAC_SHA256"), Err(SignatureError::Malformed));
    }

    #[test]
    fn a_shared_key_signs_a_stream_and_a_json_body_too() {
        let validator = with_shared_key();
        let settings = Some("key=key1,algorithm=HMAC_SHA256");
        let value = |url: &str| BASE64.encode(mac::<Hmac<Sha256>>(TOKEN, url, &[]).finalize().into_bytes());
        let upgrade = value("wss://voice.example.com:443/twilio/media/");
        assert_eq!(
            validator.verify_upgrade("/twilio/media", Signature { value: &upgrade, settings }),
            Ok(())
        );
        let json = value(&format!("https://voice.example.com{EVENT}"));
        let signature = Signature { value: &json, settings };
        assert_eq!(validator.verify_form(EVENT, EVENT_BODY.as_bytes(), signature), Ok(()));
        assert_eq!(validator.verify_form(EVENT, b"{}", signature), Err(SignatureError::BodyMismatch));
    }

    #[test]
    fn neither_does_a_token_stand_for_a_key_nor_a_key_for_a_token() {
        let validator = with_shared_key();
        let body = VOICE_BODY.as_bytes();
        let with_key = "zWKoPiW3WyS6ajufWxfOtpAOLnY="; // the key's secret, as if it were the token
        assert_eq!(validator.verify_form(VOICE, body, with_key), Err(SignatureError::Mismatch));
        let without_keys = self::validator("https://voice.example.com");
        let signature = Signature { value: SHA256, settings: Some("key=key1,algorithm=HMAC_SHA256") };
        assert_eq!(without_keys.verify_form(VOICE, body, signature), Err(SignatureError::UnknownKey));
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
