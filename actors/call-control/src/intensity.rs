//! How often something may happen within a time.

use std::collections::VecDeque;

use crate::Millis;

/// How many restarts an actor may have within a time, as in Erlang's supervisors.
#[derive(Debug, Clone)]
pub struct Intensity {
    most: usize,
    within: Millis,
    restarts: VecDeque<Millis>,
}

impl Intensity {
    pub fn new(most: usize, within: Millis) -> Self {
        Self { most, within, restarts: VecDeque::with_capacity(most + 1) }
    }

    /// Counts a restart at `now` and says whether it is still allowed.
    pub fn allows(&mut self, now: Millis) -> bool {
        while self.restarts.front().is_some_and(|first| now.saturating_sub(*first) > self.within) {
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
        let mut intensity = Intensity::new(3, 60_000);
        assert!((0..3).all(|second| intensity.allows(second * 1_000)));
        assert!(!intensity.allows(59_000));
        assert!(intensity.allows(61_000));
    }
}
