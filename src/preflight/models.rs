//! Until when OpenAI runs its Realtime models, as far as that is announced.
//!
//! Source: OpenAI's API reference (the model of a Realtime session) and its list of deprecations, as of
//! [`AS_OF`]. A model that is not in the table has no announced end that is known here.

use chrono::{Days, NaiveDate};

/// When the table was last compared with its source.
pub const AS_OF: &str = "2026-11-23";
/// An end that is nearer than this is a warning.
const NEAR: Days = Days::new(90);

/// A model, its last day, and what follows it.
const ENDS: [(&str, (i32, u32, u32), &str); 8] = [
    ("gpt-realtime", (2027, 1, 20), "gpt-realtime-2.1"),
    ("gpt-realtime-2025-08-28", (2027, 1, 20), "gpt-realtime-2.1"),
    ("gpt-realtime-mini", (2027, 1, 20), "gpt-realtime-2.1-mini"),
    ("gpt-realtime-mini-2025-12-15", (2027, 1, 20), "gpt-realtime-2.1-mini"),
    ("gpt-4o-realtime-preview", (2026, 2, 27), "gpt-realtime-2.1"),
    ("gpt-4o-realtime-preview-2024-10-01", (2026, 2, 27), "gpt-realtime-2.1"),
    ("gpt-4o-realtime-preview-2024-12-17", (2026, 2, 27), "gpt-realtime-2.1"),
    ("gpt-4o-mini-realtime-preview", (2026, 2, 27), "gpt-realtime-2.1-mini"),
];

/// How long a model goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    NotKnown,
    Until {
        end: NaiveDate,
        successor: &'static str,
    },
    /// It ends soon.
    Near {
        end: NaiveDate,
        successor: &'static str,
    },
    Over {
        end: NaiveDate,
        successor: &'static str,
    },
}

/// How long this model goes on, seen from this day.
pub fn life(model: &str, today: NaiveDate) -> Life {
    let Some((_, (year, month, day), successor)) = ENDS.into_iter().find(|(name, ..)| *name == model) else {
        return Life::NotKnown;
    };
    let Some(end) = NaiveDate::from_ymd_opt(year, month, day) else { return Life::NotKnown };
    if end <= today {
        Life::Over { end, successor }
    } else if end <= today + NEAR {
        Life::Near { end, successor }
    } else {
        Life::Until { end, successor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn a_model_ends_on_its_day_and_is_near_its_end_for_ninety_days() {
        let (end, successor) = (day(2027, 1, 20), "gpt-realtime-2.1");
        for (today, wanted) in [
            (day(2026, 10, 21), Life::Until { end, successor }),
            (day(2026, 10, 22), Life::Near { end, successor }),
            (day(2027, 1, 19), Life::Near { end, successor }),
            (day(2027, 1, 20), Life::Over { end, successor }),
        ] {
            assert_eq!(life("gpt-realtime", today), wanted, "{today}");
        }
        assert_eq!(life("gpt-realtime-2.1", day(2030, 1, 1)), Life::NotKnown);
    }

    #[test]
    fn every_day_of_the_table_exists_and_no_successor_has_an_end() {
        for (model, (year, month, date), successor) in ENDS {
            assert!(NaiveDate::from_ymd_opt(year, month, date).is_some(), "{model}");
            assert_eq!(life(successor, day(2026, 1, 1)), Life::NotKnown, "{successor}");
        }
    }
}
