//! A value of the spool's file: one byte for the format, and then JSON.

use chrono::{DateTime, Utc};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use crate::db::write::record::Record;
use crate::db::write::spool::SpoolFailure;

/// The first byte of a value.
pub(super) const FORMAT: u8 = 1;

/// A record and when it came.
#[derive(Deserialize)]
pub(super) struct Spooled {
    pub(super) at: DateTime<Utc>,
    pub(super) record: Record,
}

#[derive(Serialize)]
struct SpooledRef<'a> {
    at: DateTime<Utc>,
    record: &'a Record,
    /// Why it is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
}

/// SID and value, as they stand in the file.
pub(super) type Entry = (String, Vec<u8>);

pub(super) fn encode(at: DateTime<Utc>, record: &Record, cause: Option<&str>) -> Result<Entry, SpoolFailure> {
    let mut value = vec![FORMAT];
    serde_json::to_writer(&mut value, &SpooledRef { at, record, cause })
        .map_err(|error| SpoolFailure(error.to_string()))?;
    let call_sid = record.call_sid().map(|call_sid| call_sid.to_string());
    Ok((call_sid.unwrap_or_default(), value))
}

/// None if it is damaged, or of a later version of this program.
pub(super) fn decode(value: &[u8]) -> Option<Spooled> {
    serde_json::from_slice(value.strip_prefix(&[FORMAT])?).ok()
}

/// When the first record from this one on came.
pub(super) fn oldest(
    table: &impl ReadableTable<(u64, &'static str), &'static [u8]>,
    first: u64,
) -> Result<Option<DateTime<Utc>>, redb::Error> {
    let entry = table.range((first, "")..)?.next().transpose()?;
    Ok(entry.and_then(|(_, value)| decode(value.value())).map(|spooled| spooled.at))
}

/// What is read is written again with the same meaning.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::db::write::spool) fn fuzz_record(data: &[u8]) {
    if let Some(spooled) = decode(data) {
        let (_, written) = encode(spooled.at, &spooled.record, None).expect("it was read");
        let again = decode(&written).expect("it was just written");
        assert_eq!((again.at, again.record), (spooled.at, spooled.record));
    }
}
