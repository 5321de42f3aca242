//! Answers of the API: JSON documents, lists by pages, and errors as Twilio words them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::params::Params;
use crate::sim::phone::network::ACCOUNT_SID;

/// Entries of a page, unless the request says otherwise.
const PAGE_SIZE: usize = 50;

/// An answer.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub body: Option<Value>,
    /// The bytes of a WAV file instead.
    pub audio: Option<Vec<u8>>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    pub code: u32,
    pub message: String,
    /// It is a violation, of this call if it concerns one.
    pub violation_of: Option<Option<u16>>,
}

impl Fault {
    pub fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), violation_of: None }
    }

    /// Something that the real API would have complained of.
    pub fn violation(self) -> Self {
        Self { violation_of: Some(None), ..self }
    }

    /// What is asked about is over, or never was.
    pub fn not_found() -> Self {
        Self::new(404, 20404, "The requested resource was not found")
    }

    pub fn not_in_progress() -> Self {
        Self::new(400, 21220, "Call is not in-progress. Cannot redirect.")
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        let Fault { status, code, message, .. } = fault;
        let more_info = format!("https://www.twilio.com/docs/errors/{code}");
        let body = json!({"code": code, "message": message, "more_info": more_info, "status": status});
        Self { status, body: Some(body), audio: None }
    }
}

impl Reply {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body: Some(body), audio: None }
    }

    pub fn created(body: Value) -> Self {
        Self { status: 201, body: Some(body), audio: None }
    }

    pub fn deleted() -> Self {
        Self { status: 204, body: None, audio: None }
    }

    pub fn wav(audio: Vec<u8>) -> Self {
        Self { status: 200, body: None, audio: Some(audio) }
    }

    /// One page of a list, under the name `field`; `path` is the list's, below the account.
    pub fn page(params: &Params, path: &str, field: &str, entries: Vec<Value>) -> Self {
        let size = params.number("PageSize").map_or(PAGE_SIZE, |size| size as usize);
        let page = params.number("Page").unwrap_or(0) as usize;
        let (start, total) = (page * size, entries.len());
        let uri = |page: usize| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(params.iter().filter(|(name, _)| !["Page", "PageSize"].contains(name)));
            query.append_pair("PageSize", &size.to_string()).append_pair("Page", &page.to_string());
            format!("/2010-04-01/Accounts/{ACCOUNT_SID}/{path}.json?{}", query.finish())
        };
        let entries: Vec<_> = entries.into_iter().skip(start).take(size).collect();
        Self::ok(json!({
            "page": page, "page_size": size, "start": start, "end": (start + entries.len()).saturating_sub(1),
            "uri": uri(page), "first_page_uri": uri(0),
            "next_page_uri": (start + size < total).then(|| uri(page + 1)),
            "previous_page_uri": page.checked_sub(1).map(uri),
            field: entries,
        }))
    }
}

/// A time as the API writes it.
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc2822()
}
