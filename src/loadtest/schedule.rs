//! When each request of a scenario is due: a plan without a clock.

use std::time::Duration;

/// So many requests within a time, in groups that are due at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    pub count: u32,
    pub within: Duration,
    /// 1: evenly spread.
    pub at_once: u32,
}

impl Schedule {
    /// When the request `index`, from 0, is due, from the start. The last group is due one group's time
    /// before `within` is over, so that it is answered within it.
    pub fn due(&self, index: u32) -> Duration {
        let at_once = self.at_once.max(1);
        let groups = self.count.div_ceil(at_once).max(1);
        self.within.mul_f64(f64::from(index / at_once) / f64::from(groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(count: u32, within: u64, at_once: u32) -> Vec<u64> {
        let schedule = Schedule { count, within: Duration::from_secs(within), at_once };
        (0..count).map(|index| schedule.due(index).as_millis() as u64).collect()
    }

    #[test]
    fn requests_are_spread_evenly_over_the_time() {
        assert_eq!(due(4, 10, 1), [0, 2_500, 5_000, 7_500]);
        let storm = due(500, 60, 1);
        assert_eq!((storm[1], storm[499]), (120, 59_880));
    }

    #[test]
    fn groups_are_due_together_and_the_last_one_may_be_smaller() {
        assert_eq!(due(5, 6, 2), [0, 0, 2_000, 2_000, 4_000]);
        let queries = due(100, 10, 10);
        assert_eq!((queries[9], queries[10], queries[99]), (0, 1_000, 9_000));
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let schedule = Schedule { count: 0, within: Duration::from_secs(1), at_once: 0 };
        assert_eq!(schedule.due(0), Duration::ZERO);
    }
}
