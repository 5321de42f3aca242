//! The progress of a scenario: a line that stays in place, on a terminal only.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::result::Sample;
use super::tally::Tally;

/// A bar over what there is to do; gone when dropped.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// With so much to do; `label` stands before it.
    pub fn of(label: &str, work: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{prefix:<10} {bar:24} {pos}/{len}  {elapsed_precise}  {msg}";
            let style = ProgressStyle::with_template(template).expect("a valid template");
            ProgressBar::new(work).with_style(style).with_prefix(label.to_owned())
        });
        Self(bar)
    }

    /// What the last second was like.
    pub fn show(&self, tally: &Tally, sample: &Sample) {
        let Some(bar) = &self.0 else { return };
        let p95 = sample.response_p95_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        let active = sample.active_calls.map_or_else(|| "-".to_owned(), |calls| calls.to_string());
        let errors = tally.noticed();
        bar.set_position(tally.done());
        bar.set_message(format!("{active} calls active  p95 {p95}  {errors} errors"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
