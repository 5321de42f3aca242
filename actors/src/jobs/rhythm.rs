//! When the runner looks again, and when a job is due again. Pure: `spread`, from 0 to 1, is the jitter's
//! die.

use std::time::Duration;

use super::Progress;
use crate::db::JobResult;
use call_control::backoff::Backoff;

/// How often a runner looks for a job that is due.
const POLL: Duration = Duration::from_secs(2);
/// The same while the database is away.
const AWAY: Backoff = Backoff::new(POLL, POLL_AWAY);
const POLL_AWAY: Duration = Duration::from_secs(60);
/// A job that failed is tried again at least so often.
const TRY_AGAIN: Duration = Duration::from_secs(5 * 60);

/// How long a runner that found nothing to do waits: 1.5 to 2.5 s.
pub(super) fn poll(spread: f64) -> Duration {
    POLL.mul_f64(0.75 + spread / 2.0)
}

/// How long a runner waits that asked the database in vain, and `times` times in a row before.
pub(super) fn poll_away(times: u32, spread: f64) -> Duration {
    AWAY.pause_after(times, spread)
}

/// How long after a run its job is due again: its rhythm give or take a tenth; sooner if it failed, at once
/// if there is more to do.
pub(super) fn next_in(every: Duration, result: JobResult, progress: Progress, spread: f64) -> Duration {
    let jittered = |time: Duration| time.mul_f64(0.9 + spread / 5.0);
    match (result, progress) {
        (JobResult::Ok | JobResult::Interrupted, Progress::More) => Duration::ZERO,
        (result, _) if result.is_failure() => jittered(every.min(TRY_AGAIN)),
        _ => jittered(every),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_job_is_due_after_its_rhythm_or_at_once_if_there_is_more() {
        assert_eq!(next_in(HOUR, JobResult::Ok, Progress::Done, 0.5), HOUR);
        assert_eq!(next_in(HOUR, JobResult::Ok, Progress::More, 0.5), Duration::ZERO);
        assert_eq!(next_in(HOUR, JobResult::Interrupted, Progress::More, 0.5), Duration::ZERO);
    }

    #[test]
    fn a_job_that_failed_is_tried_again_sooner_but_not_sooner_than_its_rhythm() {
        for failure in [JobResult::Failed, JobResult::TimedOut, JobResult::Panicked] {
            assert_eq!(next_in(HOUR, failure, Progress::Done, 0.5), TRY_AGAIN);
            let minute = Duration::from_secs(60);
            assert_eq!(next_in(minute, failure, Progress::Done, 0.5), minute);
        }
    }

    #[test]
    fn a_database_that_is_away_is_asked_ever_more_rarely() {
        let pauses: Vec<_> = (0..7).map(|times| poll_away(times, 1.0).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(poll_away(u32::MAX, 0.0), POLL_AWAY / 2);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_bounds(spread in 0.0..1.0_f64, seconds in 1..1_000_000_u64) {
            let every = Duration::from_secs(seconds);
            let due = next_in(every, JobResult::Ok, Progress::Done, spread);
            prop_assert!(every.mul_f64(0.899) <= due && due <= every.mul_f64(1.101));
            prop_assert!(POLL.mul_f64(0.749) <= poll(spread) && poll(spread) <= POLL.mul_f64(1.251));
            prop_assert!(poll_away(9, spread) >= POLL_AWAY / 2);
        }
    }
}
