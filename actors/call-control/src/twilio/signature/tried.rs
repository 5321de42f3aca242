//! The URLs over which a signature was looked for, as a log may show them.

use std::fmt;

/// The longest path and query that is shown; a stranger may send any.
const LONGEST: usize = 200;

/// All URLs over which a signature was looked for, the one of `PUBLIC_URL` first. Query parameters have names
/// only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried(Vec<String>);

impl Tried {
    pub(super) fn new(origins: &[String], path_and_query: &str, endings: &[&str]) -> Self {
        let shown = without_values(path_and_query);
        let urls = origins.iter().flat_map(|origin| {
            let shown = &shown;
            endings.iter().map(move |ending| format!("{origin}{shown}{ending}"))
        });
        Self(urls.collect())
    }

    /// The URL that `PUBLIC_URL` leads to expect.
    pub fn url(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }
}

/// The URLs, between blanks.
impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

fn without_values(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        None => (path_and_query, None),
        Some((path, query)) => (path, Some(query)),
    };
    let mut shown = path.to_owned();
    for (number, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if number == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) => shown.extend([name, "=…"]),
            None => shown.push('…'), // it may be a value
        }
        if shown.len() > 4 * LONGEST {
            break;
        }
    }
    match shown.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_url_is_named_and_no_value_of_a_query() {
        let origins = ["https://a.example:8443".to_owned(), "https://a.example".to_owned()];
        let tried = Tried::new(&origins, "/api/voice/after-stream?epoch=2&token=hush&+14155550100&x=", &[""]);
        let path = "/api/voice/after-stream?epoch=…&token=…&…&x=…";
        assert_eq!(tried.url(), format!("https://a.example:8443{path}"));
        assert_eq!(tried.to_string(), format!("https://a.example:8443{path} https://a.example{path}"));
        let slashed = Tried::new(&origins[1..], "/stream", &["", "/"]);
        assert_eq!(slashed.to_string(), "https://a.example/stream https://a.example/stream/");
    }

    #[test]
    fn a_long_request_is_not_shown_whole() {
        let long = format!("/a?{}", "ü=1&".repeat(10_000));
        let shown = without_values(&long);
        assert_eq!(shown.chars().count(), LONGEST + 1);
        assert_eq!(without_values(&"b".repeat(10_000)).chars().count(), LONGEST + 1);
    }
}
