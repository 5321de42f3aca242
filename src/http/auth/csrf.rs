//! Requests that a page elsewhere has a browser send. A browser adds the session's cookie to them, so the
//! cookie alone is no proof that its user wants this.
//!
//! One rule for every request that changes something. A bearer token is exempt: no browser adds one by
//! itself.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};
use url::{Origin, Url};

/// What the rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub changes_something: bool,
    pub has_bearer: bool,
    pub has_cookie: bool,
    /// `Sec-Fetch-Site`
    pub site: Option<&'a str>,
    pub origin: Option<&'a str>,
    pub referer: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// A header that is no text is taken for one that names nobody.
    pub fn of(method: &Method, headers: &'a HeaderMap) -> Self {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        Self {
            changes_something: !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS),
            has_bearer: super::bearer(headers).is_some(),
            has_cookie: headers.contains_key(header::COOKIE),
            site: text("sec-fetch-site"),
            origin: text("origin"),
            referer: text("referer"),
        }
    }
}

/// Whether a page elsewhere may be behind a request to `own`. A browser that sends no `Sec-Fetch-Site` sends
/// `Origin` or `Referer`. A request with neither of them and without a cookie is no browser's.
pub fn is_from_elsewhere(asked: &Asked<'_>, own: &Origin) -> bool {
    if !asked.changes_something || asked.has_bearer {
        return false;
    }
    match asked.site {
        Some("same-origin") => false,
        None | Some("none") => match asked.origin.or(asked.referer) {
            Some(page) => Url::parse(page).map_or(true, |page| page.origin() != *own),
            None => asked.has_cookie,
        },
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://voice.example.com";
    const THEIRS: &str = "https://evil.example";

    #[test]
    fn only_a_page_of_ours_changes_something_with_a_cookie() {
        let own = Url::parse(OURS).unwrap().origin();
        // Sec-Fetch-Site, Origin, Referer; with a cookie; is from elsewhere
        let table = [
            (Some("same-origin"), Some(OURS), None, true, false),
            (Some("same-origin"), None, None, true, false),
            (Some("same-site"), Some("https://www.example.com"), None, true, true),
            (Some("cross-site"), Some(THEIRS), None, true, true),
            (Some("cross-site"), Some(OURS), None, true, true),
            (Some("cross-site"), None, None, false, true),
            (Some(""), Some(OURS), None, true, true),
            (Some("none"), Some(OURS), None, true, false),
            (Some("none"), None, None, true, true),
            (Some("none"), Some(THEIRS), None, true, true),
            (None, Some(OURS), None, true, false),
            (None, Some("https://voice.example.com:443"), None, true, false),
            (None, Some("http://voice.example.com"), None, true, true),
            (None, Some("https://voice.example.com:8443"), None, true, true),
            (None, Some("https://voice.example.com.evil.example"), None, true, true),
            (None, Some("null"), None, true, true),
            (None, Some(""), None, true, true),
            (None, Some(THEIRS), Some("https://voice.example.com/"), true, true),
            (None, Some(THEIRS), None, false, true),
            (None, None, Some("https://voice.example.com/x?y"), true, false),
            (None, None, Some("https://evil.example/https://voice.example.com"), true, true),
            (None, None, None, true, true),
            (None, None, None, false, false),
        ];
        for (site, origin, referer, has_cookie, expected) in table {
            let mut asked =
                Asked { changes_something: true, has_bearer: false, has_cookie, site, origin, referer };
            assert_eq!(is_from_elsewhere(&asked, &own), expected, "{asked:?}");
            asked.has_bearer = true;
            assert!(!is_from_elsewhere(&asked, &own), "no browser adds a token: {asked:?}");
            asked = Asked { changes_something: false, has_bearer: false, ..asked };
            assert!(!is_from_elsewhere(&asked, &own), "it changes nothing: {asked:?}");
        }
    }
}
