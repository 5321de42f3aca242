//! Which rules cannot be judged because a figure is missing, and when that is news.

use super::rules::{RULES, Rule, Watch};
use super::sample::{Figure, Sample};

/// What is remembered of the readings so far.
#[derive(Debug, Clone)]
pub struct Readings {
    /// Figures that were read at some time.
    known: [bool; Figure::COUNT],
    /// By the position of a rule.
    missing: [bool; RULES.len()],
}

/// What one reading lacks.
#[derive(Debug, Default, PartialEq)]
pub struct Lacks {
    /// Rules that cannot be judged now.
    pub missing: Vec<&'static str>,
    /// Those that could be judged before.
    pub lost: Vec<&'static str>,
    /// Rules that can be judged again.
    pub back: Vec<&'static str>,
}

impl Default for Readings {
    fn default() -> Self {
        Self { known: [false; Figure::COUNT], missing: [false; RULES.len()] }
    }
}

impl Readings {
    /// Takes a reading. None: nothing could be read.
    pub fn note(&mut self, sample: Option<&Sample>) -> Lacks {
        let mut lacks = Lacks::default();
        for (rule, was_missing) in RULES.iter().zip(&mut self.missing) {
            let is_missing = sample.is_none_or(|sample| is_missing(rule, sample, &self.known));
            match (*was_missing, is_missing) {
                (false, true) => lacks.lost.push(rule.name),
                (true, false) => lacks.back.push(rule.name),
                _ => {}
            }
            if is_missing {
                lacks.missing.push(rule.name);
            }
            *was_missing = is_missing;
        }
        if let Some(sample) = sample {
            let read = sample.figures().map(|value| value.is_finite());
            self.known.iter_mut().zip(read).for_each(|(known, read)| *known |= read);
        }
        lacks
    }
}

/// A level is always there. A count, and a histogram, may begin with the first thing that is counted: a count
/// is missing only where it was there before.
fn is_missing(rule: &Rule, sample: &Sample, known: &[bool; Figure::COUNT]) -> bool {
    let lacks = |figure| sample.get(figure).is_none();
    let has_lost = |figure: Figure| lacks(figure) && known[figure as usize];
    match rule.watch {
        Watch::Level(figure) => lacks(figure),
        Watch::Percent(part, whole) => lacks(part) || sample.get(whole).is_none_or(|whole| whole <= 0.0),
        Watch::Growth(figure) => has_lost(figure),
        Watch::Share { part, whole, .. } => has_lost(part) || has_lost(whole),
        Watch::P95 { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample in which every figure is there.
    fn whole() -> Sample {
        let mut sample = Sample::default();
        sample.figures_mut().fill(1.0);
        sample
    }

    #[test]
    fn a_level_that_cannot_be_read_is_missing_and_is_news_once() {
        let mut readings = Readings::default();
        assert_eq!(readings.note(Some(&whole())), Lacks::default());
        let mut without = whole();
        without.set(Figure::MemoryLimit, f64::NAN);
        let memory = || vec!["memory"];
        let lost = Lacks { missing: memory(), lost: memory(), back: vec![] };
        assert_eq!(readings.note(Some(&without)), lost);
        let still = Lacks { missing: memory(), ..Lacks::default() };
        assert_eq!(readings.note(Some(&without)), still);
        assert_eq!(readings.note(Some(&whole())), Lacks { back: memory(), ..Lacks::default() });
    }

    #[test]
    fn what_was_never_counted_is_not_missing_and_what_was_is() {
        let mut readings = Readings::default();
        let mut sample = whole();
        sample.set(Figure::ApiErrors, f64::NAN);
        assert_eq!(readings.note(Some(&sample)), Lacks::default(), "nobody has asked yet");
        assert_eq!(readings.note(Some(&whole())), Lacks::default());
        assert_eq!(readings.note(Some(&sample)).lost, ["api-errors"]);
    }

    #[test]
    fn a_reading_that_fails_lacks_every_rule() {
        let mut readings = Readings::default();
        assert_eq!(readings.note(None).lost.len(), RULES.len());
        let still = readings.note(None);
        assert_eq!((still.missing.len(), still.lost.len()), (RULES.len(), 0));
        assert_eq!(readings.note(Some(&whole())).back.len(), RULES.len());
    }
}
