//! What a scenario counts while it runs, on one thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::result::{Bucket, ErrorCount};
use super::target::Fault;
use crate::sim::phone::network::histogram;
use crate::sim::phone::report::percentiles;
use crate::sim::report::Percentiles;

/// Bounds of a distribution's buckets within a power of ten.
const STEPS: [f64; 6] = [1.0, 1.5, 2.0, 3.0, 5.0, 7.0];
/// The first and the last power of ten of a distribution's bounds, in milliseconds.
const POWERS: std::ops::RangeInclusive<i32> = -2..=5;
/// Causes of errors that are told apart; further ones are counted together.
const MOST_CAUSES: usize = 20;
const OTHER_CAUSES: &str = "other causes";

/// The counts. All histograms are of microseconds.
#[derive(Debug)]
pub struct Tally {
    responses: RefCell<Histogram<u64>>,
    /// Since the last [`Second`] was taken.
    second: RefCell<Histogram<u64>>,
    lag: RefCell<Histogram<u64>>,
    errors: RefCell<BTreeMap<String, u64>>,
    /// Those of them that are faults of this machine.
    ours: Cell<u64>,
    errors_in_second: Cell<u64>,
    noticed: Cell<u64>,
    done: Cell<u64>,
}

/// What came in since it was last asked.
#[derive(Debug, PartialEq)]
pub struct Second {
    pub response_p95_ms: Option<f64>,
    pub errors: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            responses: RefCell::new(histogram()),
            second: RefCell::new(histogram()),
            lag: RefCell::new(histogram()),
            errors: RefCell::default(),
            ours: Cell::new(0),
            errors_in_second: Cell::new(0),
            noticed: Cell::new(0),
            done: Cell::new(0),
        }
    }
}

impl Tally {
    /// A request was answered, or failed, so long after it was due.
    pub fn answered(&self, after: Duration, result: Result<(), Fault>) {
        if let Err(Fault::Ours(want)) = result {
            self.ours.update(|ours| ours + 1);
            return self.failed(want.to_owned());
        }
        self.responded(after);
        self.second.borrow_mut().saturating_record(micros(after));
        match result {
            Ok(()) => self.done.update(|done| done + 1),
            Err(fault) => self.failed(fault.to_string()),
        }
    }

    /// A request came to nothing.
    pub fn failed(&self, cause: String) {
        self.erred(cause);
        self.done.update(|done| done + 1);
        self.noticed.update(|errors| errors + 1);
        self.errors_in_second.update(|errors| errors + 1);
    }

    /// Something was responded to so long after it was due; what the seconds show is told otherwise.
    pub fn responded(&self, after: Duration) {
        self.responses.borrow_mut().saturating_record(micros(after));
    }

    /// Something else that the seconds show.
    pub fn shows(&self, latencies: &Histogram<u64>) {
        // Both have the same bounds.
        let _ = self.second.borrow_mut().add(latencies);
    }

    /// Counts an error by its cause.
    pub fn erred(&self, cause: String) {
        let mut errors = self.errors.borrow_mut();
        let known = errors.contains_key(&cause) || errors.len() < MOST_CAUSES;
        *errors.entry(if known { cause } else { OTHER_CAUSES.to_owned() }).or_default() += 1;
    }

    /// So many calls are over, and so many of them failed; why is told later.
    pub fn reaches(&self, done: u64, failed: u64) {
        self.done.set(done);
        let known = self.noticed.replace(failed);
        self.errors_in_second.update(|errors| errors + failed.saturating_sub(known));
    }

    /// Errors so far, whether or not their causes are known.
    pub fn noticed(&self) -> u64 {
        self.noticed.get()
    }

    /// Something was sent so long after it was due.
    pub fn lagged(&self, by: Duration) {
        self.lag.borrow_mut().saturating_record(micros(by));
    }

    /// Requests answered, or calls over, so far.
    pub fn done(&self) -> u64 {
        self.done.get()
    }

    pub fn second(&self) -> Second {
        let response_p95_ms = percentiles(&self.second.borrow()).p95;
        self.second.borrow_mut().reset();
        Second { response_p95_ms, errors: self.errors_in_second.take() }
    }

    /// Errors that are not this machine's.
    pub fn error_count(&self) -> u64 {
        self.errors.borrow().values().sum::<u64>() - self.ours.get()
    }

    /// Errors that are.
    pub fn our_error_count(&self) -> u64 {
        self.ours.get()
    }

    /// How many errors had this cause.
    pub fn errors_by(&self, cause: &str) -> u64 {
        self.errors.borrow().get(cause).copied().unwrap_or_default()
    }

    /// There are answers, and all of them say that nobody knows us.
    pub fn is_refused(&self) -> bool {
        let refused = self.errors_by("401") + self.errors_by("403");
        refused > 0 && refused == self.done()
    }

    /// The most frequent first.
    pub fn errors(&self) -> Vec<ErrorCount> {
        let errors = self.errors.borrow();
        let mut errors: Vec<_> =
            errors.iter().map(|(cause, count)| ErrorCount { cause: cause.clone(), count: *count }).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors
    }

    pub fn response_ms(&self) -> Percentiles {
        percentiles(&self.responses.borrow())
    }

    pub fn lag_ms(&self) -> Percentiles {
        percentiles(&self.lag.borrow())
    }

    /// From the first bucket that has something in it to the last.
    pub fn distribution(&self) -> Vec<Bucket> {
        let bounds = POWERS.flat_map(|power| STEPS.map(|step| step * 10_f64.powi(power)));
        let mut buckets: Vec<_> = bounds.map(|up_to_ms| Bucket { up_to_ms, count: 0 }).collect();
        for recorded in self.responses.borrow().iter_recorded() {
            let ms = recorded.value_iterated_to() as f64 / 1e3;
            let place = buckets.partition_point(|bucket| bucket.up_to_ms < ms).min(buckets.len() - 1);
            buckets[place].count += recorded.count_since_last_iteration();
        }
        let last = buckets.iter().rposition(|bucket| bucket.count > 0);
        buckets.truncate(last.map_or(0, |last| last + 1));
        buckets.into_iter().skip_while(|bucket| bucket.count == 0).collect()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn answers_are_counted_in_their_second_and_in_all() {
        let tally = Tally::default();
        tally.answered(ms(100), Ok(()));
        tally.answered(ms(300), Err(Fault::Theirs("429".to_owned())));
        let second = tally.second();
        assert_eq!((second.errors, second.response_p95_ms.map(f64::round)), (1, Some(300.0)));
        assert_eq!(tally.second(), Second { response_p95_ms: None, errors: 0 });
        assert_eq!((tally.done(), tally.error_count(), tally.errors_by("429")), (2, 1, 1));
        assert_eq!(tally.response_ms().p50.map(f64::round), Some(100.0));
    }

    #[test]
    fn a_fault_of_ours_is_no_answer_and_no_error_of_the_program() {
        let tally = Tally::default();
        tally.answered(ms(100), Err(Fault::Ours("no port left here")));
        assert_eq!((tally.done(), tally.error_count(), tally.our_error_count()), (1, 0, 1));
        assert_eq!((tally.response_ms().p50, tally.errors()[0].count), (None, 1));
    }

    #[test]
    fn a_distribution_has_every_response_once() {
        let tally = Tally::default();
        [1, 4, 4, 4, 90, 2_000].into_iter().for_each(|after| tally.responded(ms(after)));
        let distribution = tally.distribution();
        assert_eq!(distribution.iter().map(|bucket| bucket.count).sum::<u64>(), 6);
        let (first, last) = (distribution.first().unwrap(), distribution.last().unwrap());
        assert!(first.up_to_ms >= 1.0 && first.up_to_ms <= 1.5, "{first:?}");
        assert!(last.up_to_ms >= 2_000.0 && last.up_to_ms <= 3_000.0, "{last:?}");
        assert!(distribution.is_sorted_by(|a, b| a.up_to_ms < b.up_to_ms));
        assert!(Tally::default().distribution().is_empty());
    }

    #[test]
    fn errors_of_many_causes_are_counted_together_in_the_end() {
        let tally = Tally::default();
        (0..100).for_each(|cause| tally.erred(format!("cause {cause}")));
        let errors = tally.errors();
        assert_eq!((errors.len(), tally.error_count()), (MOST_CAUSES + 1, 100));
        assert_eq!((errors[0].cause.as_str(), errors[0].count), (OTHER_CAUSES, 80));
    }
}
