//! Limits lines that repeat: each place in the code may write only so many lines in a window of time. What is
//! left out is counted, and told later.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The lines of one place are counted over so long.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Lines by the place that they come from.
pub struct Repeats<Place> {
    places: Mutex<HashMap<Place, Lines>>,
}

struct Lines {
    window_began: Instant,
    /// In this window.
    seen: u32,
    left_out: Option<LeftOut>,
}

/// Lines of one place that are not in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub since: Instant,
    pub lines: u64,
    /// What the first of them was about.
    pub example: String,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Written,
    /// The first since the last report: it may serve as the [example](Repeats::illustrate).
    FirstLeftOut,
    LeftOut,
}

impl<Place: Eq + Hash> Repeats<Place> {
    pub fn new() -> Self {
        Self { places: Mutex::default() }
    }

    /// Counts a line: the first `allowed` in a window are written.
    pub fn count(&self, place: Place, allowed: u32, now: Instant) -> Verdict {
        let mut places = self.lock();
        let lines = places.entry(place).or_insert(Lines { window_began: now, seen: 0, left_out: None });
        if now.saturating_duration_since(lines.window_began) >= WINDOW {
            (lines.window_began, lines.seen) = (now, 0);
        }
        lines.seen = lines.seen.saturating_add(1);
        if lines.seen <= allowed {
            return Verdict::Written;
        }
        let is_first = lines.left_out.is_none();
        let nothing = LeftOut { since: now, lines: 0, example: String::new() };
        lines.left_out.get_or_insert(nothing).lines += 1;
        if is_first { Verdict::FirstLeftOut } else { Verdict::LeftOut }
    }

    /// Says what the lines that are left out are about. Whoever makes the text may log: no lock is held
    /// meanwhile.
    pub fn illustrate(&self, place: &Place, example: String) {
        if let Some(left_out) = self.lock().get_mut(place).and_then(|lines| lines.left_out.as_mut()) {
            left_out.example = example;
        }
    }

    /// What was left out and is to be told now: what began a window ago, or whatever there is, at the end.
    pub fn overdue(&self, now: Instant, at_the_end: bool) -> Vec<LeftOut> {
        let is_due =
            |left_out: &mut LeftOut| at_the_end || now.saturating_duration_since(left_out.since) >= WINDOW;
        self.lock().values_mut().filter_map(|lines| lines.left_out.take_if(is_due)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Lines>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
