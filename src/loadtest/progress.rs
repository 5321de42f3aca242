//! The progress of a scenario, on stderr: a line that stays in place on a terminal, a plain one now and then
//! elsewhere.

use std::cell::Cell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::result::Sample;
use super::tally::Tally;
use crate::terminal::draws_over_lines;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How much is done of what there is to do; a bar is gone when dropped.
pub struct Progress {
    label: String,
    work: u64,
    look: Look,
}

enum Look {
    Bar(ProgressBar),
    /// The last one was then.
    Lines(Cell<Instant>),
}

impl Progress {
    /// With so much to do; `label` stands before it.
    pub fn of(label: &str, work: u64) -> Self {
        let look = if draws_over_lines() {
            let template = "{prefix:<10} {bar:24} {pos}/{len}  {elapsed_precise}  {msg}";
            let style = ProgressStyle::with_template(template).expect("a valid template");
            Look::Bar(ProgressBar::new(work).with_style(style).with_prefix(label.to_owned()))
        } else {
            eprintln!("{label}: {work} to do");
            Look::Lines(Cell::new(Instant::now()))
        };
        Self { label: label.to_owned(), work, look }
    }

    /// What the last second was like.
    pub fn show(&self, tally: &Tally, sample: &Sample) {
        let p95 = sample.response_p95_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        let active = sample.active_calls.map_or_else(|| "-".to_owned(), |calls| calls.to_string());
        let errors = tally.noticed();
        let second = format!("{active} calls active  p95 {p95}  {errors} errors");
        match &self.look {
            Look::Bar(bar) => {
                bar.set_position(tally.done());
                bar.set_message(second);
            }
            Look::Lines(last) if last.get().elapsed() >= LINE_EVERY => {
                last.set(Instant::now());
                eprintln!("{}: {}/{}  {second}", self.label, tally.done(), self.work);
            }
            Look::Lines(_) => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Look::Bar(bar) = &self.look {
            bar.finish_and_clear();
        }
    }
}
