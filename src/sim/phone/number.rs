//! The network's telephone number: where it sends its calls, which the REST API can change.

use url::Url;

use super::twiml::Method;

/// A URL and how it is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub url: Url,
    pub method: Method,
}

impl Hook {
    /// Requested by POST.
    pub fn post(url: Url) -> Self {
        Self { url, method: Method::Post }
    }
}

/// Where the number sends its calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    pub voice: Hook,
    pub fallback: Hook,
    pub status: Hook,
}
