//! The session's cookie: a random key and our signature. The table has the key's hash only.
//!
//! With a PUBLIC_URL of https the name has the prefix `__Host-`: a browser then takes it from this host
//! alone, over TLS. `SameSite=Strict` costs nothing: the dashboard's page needs no cookie, and what the page
//! asks for comes from this site.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actors::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// How long a session lives, whatever is done in it.
pub const LIVES: Duration = Duration::from_secs(12 * 3600);
/// So many cookies of our name are looked at: another host of the domain can plant some.
const LOOKED_AT: usize = 8;

/// What the table knows a session by.
pub type KeyHash = [u8; 32];

/// Signs and reads the cookies of this program.
pub struct Cookies {
    signer: Hmac<Sha256>,
    is_https: bool,
}

impl Cookies {
    /// The key that signs is derived from `SECRET_KEY`.
    pub fn new(secret_key: &Secret, is_https: bool) -> Self {
        let mac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        let mut derived = mac(secret_key.expose().as_bytes());
        derived.update(b"switchboard session cookie");
        Self { signer: mac(&derived.finalize().into_bytes()), is_https }
    }

    /// The cookie's name.
    pub fn name(&self) -> &'static str {
        if self.is_https { "__Host-switchboard" } else { "switchboard" }
    }

    /// A session that nobody has had before: the hash of its key, and its cookie.
    pub fn begin(&self) -> (KeyHash, Cookie<'static>) {
        let key: [u8; 32] = rand::random();
        (Sha256::digest(key).into(), self.cookie(self.signed(&key), LIVES))
    }

    /// The cookie that replaces the session's one by nothing.
    pub fn clear(&self) -> Cookie<'static> {
        self.cookie(String::new(), Duration::ZERO)
    }

    /// The session that a request shows; none if no cookie of our name has our signature.
    pub fn shown(&self, request: &HttpRequest) -> Option<KeyHash> {
        let lines = request.headers().get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        // By the name as it came: another host may plant one whose name is ours only once it is decoded.
        let ours = pairs.filter(|(name, _)| *name == self.name());
        ours.take(LOOKED_AT).find_map(|(_, value)| self.read(value))
    }

    fn cookie(&self, value: String, lives: Duration) -> Cookie<'static> {
        let seconds = CookieDuration::seconds(lives.as_secs() as i64);
        let cookie = Cookie::build(self.name(), value).path("/").http_only(true).secure(self.is_https);
        cookie.same_site(SameSite::Strict).max_age(seconds).finish()
    }

    fn signed(&self, key: &[u8; 32]) -> String {
        let mut signer = self.signer.clone();
        signer.update(key);
        format!("{}.{}", BASE64.encode(key), BASE64.encode(signer.finalize().into_bytes()))
    }

    fn read(&self, value: &str) -> Option<KeyHash> {
        let (key, signature) = value.split_once('.')?;
        let (key, signature) = (BASE64.decode(key).ok()?, BASE64.decode(signature).ok()?);
        let mut signer = self.signer.clone();
        signer.update(&key);
        signer.verify_slice(&signature).ok()?; // in constant time
        (key.len() == 32).then(|| Sha256::digest(key).into())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn cookies(secret: &str, is_https: bool) -> Cookies {
        Cookies::new(&Secret::new(secret.to_owned()), is_https)
    }

    fn shown(cookies: &Cookies, header: &str) -> Option<KeyHash> {
        cookies.shown(&TestRequest::default().insert_header(("Cookie", header)).to_http_request())
    }

    #[test]
    fn behind_tls_the_cookie_is_of_this_host_alone_and_no_script_reads_it() {
        let (_, cookie) = cookies("secret", true).begin();
        let text = cookie.to_string();
        assert!(text.starts_with("__Host-switchboard="), "{text}");
        for attribute in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=43200"] {
            assert!(text.contains(attribute), "{attribute}: {text}");
        }
        assert!(!text.contains("Domain"), "{text}");
        let (_, plain) = cookies("secret", false).begin();
        let plain = plain.to_string();
        assert!(plain.starts_with("switchboard=") && !plain.contains("Secure"), "{plain}");
        assert!(cookies("secret", true).clear().to_string().contains("Max-Age=0"));
    }

    #[test]
    fn each_session_has_a_key_of_its_own_and_a_cookie_shows_its_hash() {
        let ours = cookies("secret", false);
        let ((one, first), (other, second)) = (ours.begin(), ours.begin());
        assert_ne!((one, first.value()), (other, second.value()));
        assert_eq!(shown(&ours, &format!("theme=dark; switchboard={}", first.value())), Some(one));
        assert_eq!(
            shown(&ours, &format!("switchboard=planted; switchboard={}", second.value())),
            Some(other)
        );
    }

    #[test]
    fn a_cookie_that_we_have_not_signed_shows_nobody() {
        let ours = cookies("secret", false);
        let (_, cookie) = ours.begin();
        let (key, signature) = cookie.value().split_once('.').unwrap();
        let (_, another) = ours.begin();
        let (_, of_another) = another.value().split_once('.').unwrap();
        let unsigned = BASE64.encode([0; 32]);
        for value in [
            String::new(),
            ".".to_owned(),
            key.to_owned(),
            format!("{key}."),
            format!("{key}.{of_another}"),
            format!("{unsigned}.{signature}"),
            format!("{key}.{}", &signature[..42]),
            format!("{key}.{signature}.{signature}"),
        ] {
            assert_eq!(shown(&ours, &format!("switchboard={value}")), None, "{value}");
        }
        assert_eq!(
            shown(&cookies("another secret", false), &format!("switchboard={}", cookie.value())),
            None
        );
        assert_eq!(
            shown(&cookies("secret", true), &format!("switchboard={}", cookie.value())),
            None,
            "its name"
        );
    }
}
