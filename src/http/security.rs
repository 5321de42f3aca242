//! Headers that tell a browser what it must not do with an answer.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Data;

use crate::app::App;

/// Nothing is loaded, and no frame shows it: an answer that is no page.
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// A year.
const HSTS: &str = "max-age=31536000";

/// What holds for the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posture {
    /// Twilio reads it, and no browser.
    Webhook,
    /// A browser may read it; over TLS, by PUBLIC_URL.
    Browser { is_https: bool },
}

impl Posture {
    pub fn of(request: &HttpRequest) -> Self {
        if request.path().starts_with("/api/voice/") {
            return Self::Webhook;
        }
        let app = request.app_data::<Data<App>>();
        Self::Browser { is_https: app.is_some_and(|app| app.settings.http.is_https()) }
    }

    /// Adds what is missing. A page has a policy of its own.
    pub fn tell(self, headers: &mut HeaderMap) {
        let mut add = |name: HeaderName, value: &'static str| {
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        };
        add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        add(header::CACHE_CONTROL, "no-store");
        let Self::Browser { is_https } = self else { return };
        add(header::CONTENT_SECURITY_POLICY, NO_PAGE);
        add(header::X_FRAME_OPTIONS, "DENY");
        add(header::REFERRER_POLICY, "no-referrer");
        add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
        if is_https {
            add(header::STRICT_TRANSPORT_SECURITY, HSTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(posture: Posture, headers: &mut HeaderMap) -> Vec<String> {
        posture.tell(headers);
        let mut told: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        told.sort();
        told
    }

    #[test]
    fn a_browser_is_told_what_it_must_not_do_and_over_tls_to_come_back_over_tls() {
        let plain = [
            "cache-control: no-store",
            "content-security-policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "cross-origin-resource-policy: same-origin",
            "referrer-policy: no-referrer",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
        ];
        assert_eq!(told(Posture::Browser { is_https: false }, &mut HeaderMap::new()), plain);
        let secure = told(Posture::Browser { is_https: true }, &mut HeaderMap::new());
        assert_eq!(secure.len(), 7);
        assert!(secure.contains(&"strict-transport-security: max-age=31536000".to_owned()), "{secure:?}");
        assert_eq!(told(Posture::Webhook, &mut HeaderMap::new()), [plain[0], plain[4]]);
    }

    #[test]
    fn what_an_answer_says_of_itself_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        let told = told(Posture::Browser { is_https: false }, &mut headers);
        assert!(told.contains(&"content-security-policy: default-src 'self'".to_owned()), "{told:?}");
    }
}
