//! What is asked of the call log: which calls, in which order, from where on.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Datelike as _, Utc};

use crate::call::end::Outcome;
use crate::db::tables::calls::CallSummary;
use crate::wire::twilio::sid::CallSid;

/// A question to the log.
#[derive(Debug, Clone, PartialEq)]
pub struct CallQuery {
    pub filter: CallFilter,
    pub start: Start,
    /// 1 to 200.
    pub page_size: u32,
}

/// Which calls: those of which all that is given is true.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFilter {
    /// The caller's number, as a whole; of digits alone the last ones.
    pub from: Option<String>,
    /// The number called, in the same way.
    pub to: Option<String>,
    /// Started then or later.
    pub since: Option<DateTime<Utc>>,
    /// Started earlier.
    pub until: Option<DateTime<Utc>>,
    pub outcome: Option<Outcome>,
    pub urgent: Option<bool>,
    pub has_recording: Option<bool>,
    /// Said in the call: all these words, `"a phrase"`, `one or another`, `-not this`.
    pub words: Option<String>,
}

impl CallFilter {
    /// It asks for more than words and times.
    pub(super) fn is_of_the_call(&self) -> bool {
        let Self { from, to, since: _, until: _, outcome, urgent, has_recording, words: _ } = self;
        from.is_some() || to.is_some() || outcome.is_some() || urgent.is_some() || has_recording.is_some()
    }
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// So many pages on, from 1. A page far on takes a moment the first time.
    Page(u32, Sort),
    /// After a page that was answered before: as fast at any depth, and nothing is skipped or seen twice
    /// because calls came in meanwhile.
    After(Cursor),
}

impl Start {
    /// The order that goes with it.
    pub fn sort(&self) -> Sort {
        match self {
            Self::Page(_, sort) => *sort,
            Self::After(cursor) => cursor.sort,
        }
    }

    pub(super) fn page(&self) -> u32 {
        match self {
            Self::Page(page, _) => (*page).max(1),
            Self::After(cursor) => cursor.page,
        }
    }
}

/// What the calls are sorted by; those that have it in common, by SID. What is not known is less than what
/// is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortKey {
    StartedAt,
    DurationSeconds,
    CostUsd,
}

impl SortKey {
    pub const ALL: [Self; 3] = [Self::StartedAt, Self::DurationSeconds, Self::CostUsd];

    /// The field's name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartedAt => "startedAt",
            Self::DurationSeconds => "durationSeconds",
            Self::CostUsd => "costUsd",
        }
    }
}

/// An order: written as the field's name, behind a minus if it is descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sort {
    pub key: SortKey,
    pub descending: bool,
}

impl Sort {
    pub const NEWEST_FIRST: Self = Self { key: SortKey::StartedAt, descending: true };
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.descending { "-" } else { "" }, self.key.as_str())
    }
}

/// It is no order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sort order")]
pub struct BadSort;

impl FromStr for Sort {
    type Err = BadSort;

    fn from_str(text: &str) -> Result<Self, BadSort> {
        let (descending, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        let key = SortKey::ALL.into_iter().find(|key| key.as_str() == name).ok_or(BadSort)?;
        Ok(Self { key, descending })
    }
}

/// The place between two calls of an order. Written as a text that means nothing to anybody else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cursor {
    pub sort: Sort,
    /// The number of the page that begins here.
    pub(super) page: u32,
    pub(super) after: Place,
}

/// A call's place in an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) value: Value,
    pub(super) call_sid: CallSid,
}

/// What a call is sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Time(DateTime<Utc>),
    Seconds(i64),
    Usd(f64),
}

/// Stands for a duration or a cost that is not known.
const UNKNOWN: i8 = -1;

impl Place {
    /// Where a call is in this order. None for a call whose SID is not one: the table's CHECK leaves no such.
    pub(super) fn of(call: &CallSummary, key: SortKey) -> Option<Self> {
        let value = match key {
            SortKey::StartedAt => Value::Time(call.started_at),
            SortKey::DurationSeconds => Value::Seconds(call.duration_seconds.unwrap_or(UNKNOWN.into())),
            SortKey::CostUsd => Value::Usd(call.cost_usd.unwrap_or(UNKNOWN.into())),
        };
        Some(Self { value, call_sid: call.call_sid.parse().ok()? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sort, page, after: Place { value, call_sid } } = self;
        let value = match value {
            Value::Time(time) => time.timestamp_micros(), // all that the database keeps
            Value::Seconds(seconds) => *seconds,
            Value::Usd(cost) => cost.to_bits().cast_signed(),
        };
        f.write_str(&BASE64.encode(format!("{sort} {page} {value} {call_sid}")))
    }
}

/// A time that PostgreSQL has, too.
fn time(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).filter(|time| (1..10_000).contains(&time.year()))
}

/// What is no number is no cost, either: PostgreSQL has it, but above all costs, and it is equal to none.
fn cost(bits: i64) -> Option<f64> {
    Some(f64::from_bits(bits.cast_unsigned())).filter(|cost| cost.is_finite())
}

/// It was not answered by this API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let read = || {
            let text = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
            let [sort, page, value, call_sid] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
            let sort: Sort = sort.parse().ok()?;
            let value: i64 = value.parse().ok()?;
            let value = match sort.key {
                SortKey::StartedAt => Value::Time(time(value)?),
                SortKey::DurationSeconds => Value::Seconds(value),
                SortKey::CostUsd => Value::Usd(cost(value)?),
            };
            let after = Place { value, call_sid: call_sid.parse().ok()? };
            Some(Self { sort, page: page.parse().ok()?, after })
        };
        read().ok_or(BadCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let call_sid = "CA00000000000000000000000000000001".parse().unwrap();
        let values = [
            (
                SortKey::StartedAt,
                Value::Time(DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap()),
            ),
            (SortKey::DurationSeconds, Value::Seconds(-1)),
            (SortKey::CostUsd, Value::Usd(0.1 + 0.2)),
            (SortKey::CostUsd, Value::Usd(-1.0)),
        ];
        for ((key, value), descending) in values.into_iter().zip([true, false, true, false]) {
            let after = Place { value, call_sid };
            let cursor = Cursor { sort: Sort { key, descending }, page: 7, after };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_was_not_written_here_is_no_cursor() {
        let sid = "CA00000000000000000000000000000001";
        let texts = [
            String::new(),
            "%".to_owned(),
            sid.to_owned(),
            BASE64.encode([0xff]),
            BASE64.encode(format!("-startedAt 2 {sid}")),
            BASE64.encode(format!("-endedAt 2 1 {sid}")),
            BASE64.encode(format!("-startedAt -2 1 {sid}")),
            BASE64.encode(format!("-startedAt 2 {} {sid}", i64::MAX)),
            BASE64.encode(format!("-startedAt 2 1 {sid} more")),
            BASE64.encode("-startedAt 2 1 CA1"),
            BASE64.encode(format!("costUsd 2 {} {sid}", f64::NAN.to_bits().cast_signed())),
            BASE64.encode(format!("costUsd 2 {} {sid}", f64::INFINITY.to_bits().cast_signed())),
        ];
        for text in texts {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text}");
        }
    }

    #[test]
    fn an_order_is_a_field_behind_a_minus_or_none() {
        assert_eq!("-startedAt".parse(), Ok(Sort::NEWEST_FIRST));
        assert_eq!("costUsd".parse(), Ok(Sort { key: SortKey::CostUsd, descending: false }));
        for wrong in ["", "-", "--costUsd", "cost_usd", "turns", "+costUsd"] {
            assert_eq!(wrong.parse::<Sort>(), Err(BadSort), "{wrong}");
        }
    }
}
