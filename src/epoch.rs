//! An epoch for a call of which nobody can tell how often it had a stream.

use chrono::{DateTime, Utc};

/// The second from which such epochs count, 2026-01-01: the database's INTEGER holds them until 2094.
const BEGINNING: i64 = 1_767_225_600;

/// An epoch that is above each one that was counted, and above each one that was made so at an earlier
/// second.
pub(crate) fn unused(now: DateTime<Utc>) -> u32 {
    const HIGHEST: i64 = i32::MAX as i64 - 1_000_000; // the streams that follow count on from there
    // A clock that was never set is before the beginning.
    (now.timestamp() - BEGINNING).clamp(1_000_000, HIGHEST).try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> u32 {
        unused(time.parse().unwrap())
    }

    #[test]
    fn a_later_second_is_a_higher_epoch_that_the_database_can_hold_also_after_2038() {
        let times =
            ["2026-11-29T08:00:00Z", "2026-11-29T08:00:01Z", "2038-01-20T00:00:00Z", "2090-01-01T00:00:00Z"];
        let epochs = times.map(at);
        assert!(epochs.is_sorted_by(|earlier, later| earlier < later), "{epochs:?}");
        assert!(epochs.iter().all(|epoch| i32::try_from(epoch + 1_000).is_ok()), "{epochs:?}");
    }

    #[test]
    fn a_clock_that_is_far_off_still_makes_an_epoch_above_those_that_are_counted() {
        assert_eq!(at("1970-01-01T00:00:00Z"), 1_000_000);
        assert_eq!(at("2150-01-01T00:00:00Z"), i32::MAX as u32 - 1_000_000);
    }
}
