//! The pause before something is tried again. It doubles with each failure up to a longest one, and jitter
//! keeps those who failed together from trying again together.
//!
//! Pure: `spread`, from 0 to 1, is the jitter's die.

use std::time::Duration;

/// The pauses of one who tries again and again; a copy starts afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    /// Failures in a row so far.
    failures: u32,
}

impl Backoff {
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self, spread: f64) -> Duration {
        let pause = self.pause_after(self.failures, spread);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// The pause after a failure that came after `earlier` ones in a row.
    pub fn pause_after(&self, earlier: u32, spread: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(earlier));
        jittered(doubled.min(self.longest), spread)
    }

    /// Something succeeded: the next pause is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between half of the pause and all of it.
pub fn jittered(pause: Duration, spread: f64) -> Duration {
    pause / 2 + (pause / 2).mul_f64(spread)
}

/// The die of one who must throw the same again: evenly spread over seeds and throws.
pub fn spread_of(seed: u64, throw: u32) -> f64 {
    let mut bits = seed.wrapping_add(u64::from(throw).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from((bits >> 33) as u32) / f64::from(1_u32 << 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST_SPREAD: f64 = 1.0;

    fn seconds(backoff: &mut Backoff, times: usize) -> Vec<u64> {
        (0..times).map(|_| backoff.pause(LONGEST_SPREAD).as_secs()).collect()
    }

    #[test]
    fn a_pause_doubles_up_to_the_longest_until_something_succeeds() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
        assert_eq!(seconds(&mut backoff, 7), [2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(seconds(&mut backoff, 2), [2, 4]);
    }

    #[test]
    fn seeds_and_throws_spread_evenly() {
        for throw in 0..4 {
            let mut tenths = [0; 10];
            (0..10_000).for_each(|seed| tenths[(spread_of(seed, throw) * 10.0) as usize] += 1);
            assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pause_is_between_half_of_the_doubled_one_and_all_of_it(
            first_ms in 1..100_000_u64, longest_ms in 1..10_000_000_u64, earlier: u32, spread in 0.0..=1.0_f64,
        ) {
            let (first, longest) = (Duration::from_millis(first_ms), Duration::from_millis(longest_ms));
            let pause = Backoff::new(first, longest).pause_after(earlier, spread);
            let full = (0..earlier.min(32)).fold(first, |pause, _| pause.saturating_mul(2)).min(longest);
            prop_assert!(full / 2 <= pause && pause <= full, "{pause:?} of {full:?}");
        }

        #[test]
        fn a_larger_spread_never_shortens_a_pause(earlier in 0..40_u32, less in 0.0..=1.0_f64, more in 0.0..=1.0_f64) {
            let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(900));
            let (less, more) = (less.min(more), less.max(more));
            prop_assert!(backoff.pause_after(earlier, less) <= backoff.pause_after(earlier, more));
        }

        #[test]
        fn a_throw_is_the_same_again_and_from_0_to_1(seed: u64, throw: u32) {
            let spread = spread_of(seed, throw);
            prop_assert!((0.0..1.0).contains(&spread));
            prop_assert_eq!(spread, spread_of(seed, throw));
        }

        #[test]
        fn no_number_of_failures_is_too_large(spread in 0.0..=1.0_f64) {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(2));
            backoff.failures = u32::MAX;
            prop_assert!(backoff.pause(spread) <= Duration::from_secs(2));
            prop_assert!(backoff.pause(spread) >= Duration::from_secs(1));
        }
    }
}
