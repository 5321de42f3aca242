//! How much the account may still ask of the service, as `rate_limits.updated` tells it at the start of each
//! response.

use serde::{Deserialize, Serialize};

use super::lenient::{from_objects, optional, or_default};
use crate::Millis;

/// The account's tokens: how many it may use, and how many are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLimit {
    /// In a minute.
    pub limit: u64,
    pub remaining: u64,
    /// All are there again after so long.
    pub reset_ms: Millis,
}

/// One entry of `rate_limits`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct RateLimit {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    limit: u64,
    #[serde(deserialize_with = "or_default")]
    remaining: u64,
    #[serde(deserialize_with = "optional")]
    reset_seconds: Option<f64>,
}

from_objects!(RateLimit);

/// A minute's tokens come back within a minute; a service that tells a longer time is not believed.
const LONGEST_RESET_S: f64 = 60.0;

/// No account has as many.
const MOST: u64 = u32::MAX as u64;

impl TokenLimit {
    /// The entry about tokens, if there is one that says anything.
    pub(super) fn of(limits: &[RateLimit]) -> Option<Self> {
        let told = limits.iter().find(|told| told.name == "tokens" && told.limit > 0)?;
        let reset = told.reset_seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(LONGEST_RESET_S);
        Some(Self {
            limit: told.limit.min(MOST),
            remaining: told.remaining.min(told.limit).min(MOST),
            reset_ms: (reset.min(LONGEST_RESET_S) * 1e3) as Millis,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::realtime::events::{self, ServerEvent};

    fn read(limits: &str) -> Option<TokenLimit> {
        let event = Bytes::from(format!(r#"{{"type":"rate_limits.updated","rate_limits":{limits}}}"#));
        match events::parse(&event).unwrap() {
            ServerEvent::RateLimits(told) => Some(told),
            other => {
                assert_eq!(other, ServerEvent::Other);
                None
            }
        }
    }

    #[test]
    fn the_entry_about_tokens_is_read_wherever_it_stands() {
        let told = read(
            r#"[{"name":"requests","limit":1000,"remaining":999,"reset_seconds":0.06},
                {"name":"tokens","limit":50000,"remaining":45728,"reset_seconds":5.126}]"#,
        );
        assert_eq!(told, Some(TokenLimit { limit: 50_000, remaining: 45_728, reset_ms: 5_126 }));
    }

    #[test]
    fn odd_entries_say_nothing_or_no_more_than_they_can() {
        assert_eq!(read("[]").or(read("7")).or(read("null")), None);
        assert_eq!(read(r#"[null, 7, {"name":"tokens"}, {"name":"tokens","limit":0,"remaining":5}]"#), None);
        let odd = read(r#"[{"name":"tokens","limit":10,"remaining":20,"reset_seconds":-1}]"#).unwrap();
        assert_eq!(odd, TokenLimit { limit: 10, remaining: 10, reset_ms: 60_000 });
        let odd = read(r#"[{"name":"tokens","limit":10,"remaining":-3,"reset_seconds":1e12}]"#).unwrap();
        assert_eq!(odd, TokenLimit { limit: 10, remaining: 0, reset_ms: 60_000 });
    }
}
