//! Twilio's ways to write a field: times as RFC 2822, durations and prices as strings (reference: twilio.md
//! section 7).

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A time, or none for null.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| DateTime::parse_from_rfc2822(&text).map(Into::into).map_err(D::Error::custom)).transpose()
}

/// A duration in whole seconds, or none for null. A recording of unknown length has `-1`.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty() && text != "-1");
    text.map(|text| text.parse().map(Duration::from_secs).map_err(D::Error::custom)).transpose()
}

/// A number, or none for null.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}
