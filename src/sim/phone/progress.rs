//! The progress of a run on stderr: a line that stays in place on a terminal, plain lines elsewhere.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::network::{Inner, histogram};
use super::report::percentiles;
use super::script::Verdict;
use crate::terminal::draws_over_lines;

/// How far a run has come.
#[derive(Debug, Default)]
pub struct Progress {
    pub completed: Cell<usize>,
    pub with_person: Cell<usize>,
    pub refused: Cell<usize>,
    pub failed: Cell<usize>,
}

/// A glance at a run that goes on.
#[derive(Debug)]
pub struct Glance {
    /// Calls on the line.
    pub live: usize,
    pub completed: usize,
    pub refused: usize,
    pub failed: usize,
    /// What was added, in microseconds, to each frame that reached a caller since the last glance.
    pub latencies: Histogram<u64>,
}

impl Progress {
    /// A call is over.
    pub fn counts(&self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Completed => &self.completed,
            Verdict::WithPerson => &self.with_person,
            Verdict::Refused => &self.refused,
            Verdict::Failed(_) => &self.failed,
        };
        counter.update(|count| count + 1);
    }

    /// Lets `observer` have a glance every second, until it has seen enough.
    pub async fn observe(&self, net: &Inner, observer: impl Fn(Glance) -> ControlFlow<()>) {
        let mut known = histogram();
        let mut due = interval(Duration::from_secs(1));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let all = net.latencies.borrow().clone();
            let mut latencies = all.clone();
            latencies.subtract(&known).expect("a histogram has all that it had a second ago");
            known = all;
            let seen = observer(Glance {
                live: net.live.get(),
                completed: self.completed.get(),
                refused: self.refused.get(),
                failed: self.failed.get(),
                latencies,
            });
            if seen.is_break() {
                return;
            }
        }
    }

    /// Shows it until dropped.
    pub async fn show(&self, net: &Inner) {
        let started = Instant::now();
        if draws_over_lines() {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}").expect("a valid template"),
            );
            let _erased_at_the_end = Erase(&bar);
            let mut due = interval(Duration::from_millis(200));
            loop {
                due.tick().await;
                bar.set_message(self.line(net));
                bar.tick();
            }
        }
        let mut due = interval(Duration::from_secs(5));
        due.tick().await;
        loop {
            due.tick().await;
            eprintln!("{:>4} s  {}", started.elapsed().as_secs(), self.line(net));
        }
    }

    fn line(&self, net: &Inner) -> String {
        let p95 = percentiles(&net.latencies.borrow()).p95;
        let p95 = p95.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        let (live, completed, refused) = (net.live.get(), self.completed.get(), self.refused.get());
        let with_person = match self.with_person.get() {
            0 => String::new(),
            calls => format!("{calls} with a person  "),
        };
        let failed = self.failed.get();
        format!(
            "{live} live  {completed} completed  {with_person}{refused} refused  {failed} failed  \
             added latency p95 {p95}"
        )
    }
}

struct Erase<'a>(&'a ProgressBar);

impl Drop for Erase<'_> {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
