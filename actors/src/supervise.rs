//! What a panic becomes: caught at the edge of an actor, logged and counted, and a restart from the last checkpoint,
//! as long as the intensity allows.
//!
//! `actix::Supervisor` restarts after `ctx.stop()`, never after a panic, so everything an actor does runs inside
//! [`caught`].

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Runs `work`; a panic in it is caught and told as a text.
///
/// The state that `work` was changing must be thrown away by whoever gets the error.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(&*panic))
}

/// What a panic says.
pub fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

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
    fn a_panic_becomes_its_message() {
        assert_eq!(caught(|| panic!("frame {}", 7)), Err::<(), _>("frame 7".to_owned()));
        assert_eq!(caught(|| 1), Ok(1));
    }

    #[test]
    fn the_fourth_restart_within_a_minute_is_one_too_many() {
        let mut intensity = Intensity::new(3, Duration::from_secs(60));
        let start = Instant::now();
        assert!((0..3).all(|second| intensity.allows(start + Duration::from_secs(second))));
        assert!(!intensity.allows(start + Duration::from_secs(59)));
        assert!(intensity.allows(start + Duration::from_secs(61)));
    }
}
