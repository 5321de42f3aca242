//! How a call goes on that another process began.

use chrono::{DateTime, Utc};

use super::NextStep;
use crate::conversation::history::{Past, Said};

/// The second from which unused epochs count, 2026-01-01: the database's INTEGER holds them until 2094.
const UNUSED_SINCE: i64 = 1_767_225_600;

/// What could be read of a call's earlier turns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The highest epoch that was read; 0 if there is none.
    pub epoch: u32,
    pub said: Vec<Said>,
    /// Nothing is missing, as far as the reader can tell.
    pub is_whole: bool,
}

/// What the agent is told of the call. `last_epoch` is that of the call's last stream, where Twilio names it:
/// what was read is incomplete if it ends before that one. Where nobody knows the last epoch, the call goes
/// on after one that cannot have been used.
pub fn past(written: Written, last_epoch: Option<u32>, now: DateTime<Utc>) -> Past {
    let is_whole = written.is_whole && last_epoch.is_none_or(|last| last <= written.epoch);
    let guessed = if is_whole { 0 } else { unused_epoch(now) };
    let epoch = last_epoch.unwrap_or(guessed).max(written.epoch);
    Past { epoch, said: written.said, is_whole }
}

/// Whether the agent goes on with a call that this process does not know; otherwise what was decided holds.
pub fn agent_goes_on(decided: Option<NextStep>) -> Result<(), NextStep> {
    match decided {
        None | Some(NextStep::HandedOver) => Ok(()),
        Some(next) => Err(next),
    }
}

/// An epoch above every one that was counted, and above every one that was made so at an earlier second.
fn unused_epoch(now: DateTime<Utc>) -> u32 {
    const HIGHEST: i64 = i32::MAX as i64 - 1_000_000; // the streams that follow count on from there
    // A clock that was never set is before the beginning.
    (now.timestamp() - UNUSED_SINCE).clamp(1_000_000, HIGHEST).try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unused_at(time: &str) -> u32 {
        unused_epoch(time.parse().unwrap())
    }

    fn written(epoch: u32, is_whole: bool) -> Written {
        Written { epoch, said: vec![], is_whole }
    }

    /// The epoch of the past, and whether it is whole.
    fn known(written: Written, last_epoch: Option<u32>) -> (u32, bool) {
        let past = past(written, last_epoch, DateTime::UNIX_EPOCH);
        (past.epoch, past.is_whole)
    }

    #[test]
    fn a_later_second_is_a_higher_epoch_that_the_database_can_hold_also_after_2038() {
        let times =
            ["2026-11-29T08:00:00Z", "2026-11-29T08:00:01Z", "2038-01-20T00:00:00Z", "2090-01-01T00:00:00Z"];
        let epochs = times.map(unused_at);
        assert!(epochs.is_sorted_by(|earlier, later| earlier < later), "{epochs:?}");
        assert!(epochs.iter().all(|epoch| i32::try_from(epoch + 1_000).is_ok()), "{epochs:?}");
    }

    #[test]
    fn a_clock_that_is_far_off_still_makes_an_epoch_above_those_that_are_counted() {
        assert_eq!(unused_at("1970-01-01T00:00:00Z"), 1_000_000);
        assert_eq!(unused_at("2150-01-01T00:00:00Z"), i32::MAX as u32 - 1_000_000);
    }

    #[test]
    fn a_past_is_whole_if_it_reaches_the_last_stream() {
        assert_eq!(known(written(2, true), Some(2)), (2, true));
        assert_eq!(known(written(2, true), None), (2, true), "Twilio names no stream");
        assert_eq!(known(written(2, true), Some(3)), (3, false), "what was said in the third is not written");
        assert_eq!(known(written(3, true), Some(2)), (3, true), "an old question");
    }

    #[test]
    fn a_call_of_which_nobody_knows_the_last_stream_goes_on_after_an_unused_epoch() {
        assert_eq!(known(written(0, false), None), (1_000_000, false));
        assert_eq!(known(written(0, false), Some(4)), (4, false));
        assert_eq!(known(written(0, true), None), (0, true), "a call that nobody has had");
    }

    #[test]
    fn the_agent_goes_on_unless_it_was_decided_otherwise() {
        assert_eq!([None, Some(NextStep::HandedOver)].map(agent_goes_on), [Ok(()); 2]);
        for next in [NextStep::Human, NextStep::Voicemail, NextStep::HangUp] {
            assert_eq!(agent_goes_on(Some(next)), Err(next));
        }
    }
}
