//! How often something may happen within a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many restarts an actor may have within a time, as in Erlang's supervisors.
#[derive(Debug, Clone)]
pub struct Intensity {
    most: usize,
    within: Duration,
    restarts: VecDeque<Instant>,
}

impl Intensity {
    pub fn new(most: usize, within: Duration) -> Self {
        Self { most, within, restarts: VecDeque::with_capacity(most + 1) }
    }

    /// Counts a restart at `now` and says whether it is still allowed.
    pub fn allows(&mut self, now: Instant) -> bool {
        while self.restarts.front().is_some_and(|first| now.duration_since(*first) > self.within) {
            self.restarts.pop_front();
        }
        if self.restarts.len() == self.most {
            return false;
        }
        self.restarts.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_restart_within_a_minute_is_one_too_many() {
        let mut intensity = Intensity::new(3, Duration::from_secs(60));
        let start = Instant::now();
        assert!((0..3).all(|second| intensity.allows(start + Duration::from_secs(second))));
        assert!(!intensity.allows(start + Duration::from_secs(59)));
        assert!(intensity.allows(start + Duration::from_secs(61)));
    }
}
