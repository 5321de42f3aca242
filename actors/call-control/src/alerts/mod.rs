//! Alerts: rules over what the process knows of itself, and which of them are broken. No clock: each
//! [`Sample`] comes with its time, and the [`Change`]s go out.
//!
//! An alert is *raised* when its rule's value is above a level, and *worsens* when it is above the higher
//! one. It *eases*, or is *cleared*, only when the value has stayed at a part of that level for some time.
//! There is one alert a rule at most.
//!
//! Not every change is told to a person. After one was told of a rule, the next is told after
//! [`COOL_DOWN`], unless it is worse, or critical again after a person was told that it is over. A critical
//! alert that nobody has acknowledged is told again then. An alert that comes back soon after its end has to
//! stay away for longer: so what flaps stays open, and does not tell each turn.
//!
//! The memory is fixed: [`KEPT`] samples, and a few words a rule.

use std::collections::VecDeque;

use crate::Millis;
use crate::policy::thresholds::Levels;

pub mod digest;
mod overrides;
mod readings;
mod rules;
mod sample;
mod scope;
pub mod text;
pub mod urgent;

pub use overrides::{BadLevels, levels_of};
pub use readings::{Lacks, Readings};
pub use rules::{LONGEST_WINDOW, RULES, Rule, Watch, position};
pub use sample::{Buckets, Figure, MOST_BOUNDS, Sample, Timing};
pub use scope::is_local;

/// So many samples are remembered: those of the longest window at one in 5 s.
pub const KEPT: usize = 62;
/// What was told of a rule is not told again before.
pub const COOL_DOWN: Millis = 15 * 60 * 1_000;
/// What reached nobody is told again after this.
pub const TELL_AGAIN: Millis = 60 * 1_000;
/// What may have reached nobody is told again after this.
pub const PERHAPS_AGAIN: Millis = 5 * 60 * 1_000;
/// An alert that comes back within [`COOL_DOWN`] of its end has to stay away for twice as long as before, up
/// to so many doublings.
const MOST_RETURNS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 2] = [Self::Warning, Self::Critical];

    /// The word used in answers, metrics and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Raised,
    Worsened,
    Eased,
    Cleared,
    /// It goes on, and is to be told again.
    Repeat,
}

/// A change of one alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub rule: &'static Rule,
    pub turn: Turn,
    /// As it is now; of one that was cleared, as it was.
    pub severity: Severity,
    /// The value that decided it, where it is known.
    pub value: Option<f64>,
    /// A person is to be told.
    pub is_told: bool,
}

/// An alert that goes on.
#[derive(Debug, Clone, Copy)]
struct Open {
    severity: Severity,
    is_acknowledged: bool,
    was_told: bool,
    /// Since when the value is low enough to clear it.
    calm_since: Option<Millis>,
    /// Since when it is low enough to ease it.
    eased_since: Option<Millis>,
}

/// One rule and what is remembered of it.
#[derive(Debug, Clone, Copy)]
struct Watched {
    levels: Levels,
    open: Option<Open>,
    /// What was told last, and until when that suffices.
    told: Option<Severity>,
    quiet_until: Millis,
    /// After that, a person was told that it is over.
    end_was_told: bool,
    ended_at: Option<Millis>,
    /// How often in a row it came back soon after its end.
    returns: u32,
}

impl Watched {
    fn new(rule: &Rule) -> Self {
        Self {
            levels: rule.levels,
            open: None,
            told: None,
            quiet_until: 0,
            end_was_told: false,
            ended_at: None,
            returns: 0,
        }
    }
}

/// What is remembered from one sample to the next.
#[derive(Debug, Clone)]
pub struct State {
    watched: Vec<Watched>,
    history: VecDeque<(Millis, Sample)>,
    began: Option<Millis>,
}

impl State {
    /// Nothing is wrong yet. `levels` stand in for those of the table, each by its rule's [`position`].
    pub fn new(levels: &[(usize, Levels)]) -> Self {
        let mut watched: Vec<_> = RULES.iter().map(Watched::new).collect();
        for (position, levels) in levels {
            if let Some(watched) = watched.get_mut(*position) {
                watched.levels = *levels;
            }
        }
        Self { watched, history: VecDeque::with_capacity(KEPT), began: None }
    }

    /// Takes an alert up that was open before this state was made. `told_ago`: how long ago it was told.
    pub fn restore(
        &mut self,
        position: usize,
        severity: Severity,
        is_acknowledged: bool,
        told_ago: Option<Millis>,
        now: Millis,
    ) {
        let Some(watched) = self.watched.get_mut(position) else { return };
        let was_told = told_ago.is_some();
        watched.open =
            Some(Open { severity, is_acknowledged, was_told, calm_since: None, eased_since: None });
        if let Some(ago) = told_ago {
            watched.told = Some(severity);
            watched.quiet_until = (now + COOL_DOWN).saturating_sub(ago);
        }
    }

    /// Somebody takes care of it: it is not told again while it goes on.
    pub fn acknowledge(&mut self, position: usize) {
        if let Some(open) = self.watched.get_mut(position).and_then(|watched| watched.open.as_mut()) {
            open.is_acknowledged = true;
        }
    }

    /// What was to be told of it has reached nobody: it is told again after [`TELL_AGAIN`].
    pub fn untold(&mut self, position: usize, now: Millis) {
        let Some(watched) = self.watched.get_mut(position) else { return };
        watched.told = None;
        watched.quiet_until = now + TELL_AGAIN;
        if let Some(open) = watched.open.as_mut() {
            open.was_told = false;
        }
    }

    /// What was to be told of it has reached a person, perhaps after it had reached nobody by another way.
    pub fn told(&mut self, position: usize, severity: Severity, now: Millis) {
        let Some(watched) = self.watched.get_mut(position) else { return };
        watched.told = watched.told.max(Some(severity));
        watched.quiet_until = watched.quiet_until.max(now + COOL_DOWN);
        if let Some(open) = watched.open.as_mut() {
            open.was_told = true;
        }
    }

    /// Nobody knows whether what was told of it has reached a person: if it is critical, it is told again
    /// after [`PERHAPS_AGAIN`].
    pub fn perhaps_told(&mut self, position: usize, now: Millis) {
        if let Some(watched) = self.watched.get_mut(position) {
            watched.quiet_until = watched.quiet_until.min(now + PERHAPS_AGAIN);
        }
    }

    /// A person was told of the end.
    pub fn end_told(&mut self, position: usize) {
        if let Some(watched) = self.watched.get_mut(position) {
            watched.end_was_told = true;
        }
    }

    /// Nobody was told of the end: it goes on elsewhere, or could not be told.
    pub fn end_untold(&mut self, position: usize) {
        if let Some(watched) = self.watched.get_mut(position) {
            watched.end_was_told = false;
        }
    }

    /// The alert of a rule, if it is open.
    pub fn open(&self, position: usize) -> Option<Severity> {
        Some(self.watched.get(position)?.open?.severity)
    }

    /// How many samples are remembered.
    pub fn remembered(&self) -> usize {
        self.history.len()
    }

    /// Judges every rule by one more sample; `now` never goes back.
    pub fn evaluate(&mut self, sample: &Sample, now: Millis) -> Vec<Change> {
        if self.history.len() >= KEPT {
            self.history.pop_front();
        }
        self.history.push_back((now, sample.clone()));
        let age = now.saturating_sub(*self.began.get_or_insert(now));
        let mut changes = Vec::new();
        for (rule, watched) in RULES.iter().zip(&mut self.watched) {
            let looked = look(&self.history, rule, age, now);
            changes.extend(watched.judge(rule, looked, now));
        }
        changes
    }
}

/// What a rule sees.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Looked {
    /// What it is raised by: it lasts. None where that is not known, or too little to judge by.
    lasting: Option<f64>,
    /// What it is cleared by.
    latest: Option<f64>,
}

fn look(history: &VecDeque<(Millis, Sample)>, rule: &Rule, age: Millis, now: Millis) -> Looked {
    let since = now.saturating_sub(rule.window);
    let Some((_, latest)) = history.back() else { return Looked { lasting: None, latest: None } };
    let level = |read: &dyn Fn(&Sample) -> Option<f64>| {
        let window = history.iter().rev().take_while(|(at, _)| *at > since || *at == now);
        let (mut least, mut count) = (f64::INFINITY, 0);
        for (_, sample) in window {
            least = least.min(read(sample).unwrap_or(f64::NEG_INFINITY));
            count += 1;
        }
        let is_known = age >= rule.window && count >= 2 && least.is_finite();
        Looked { lasting: is_known.then_some(least), latest: read(latest) }
    };
    let before = history.iter().rev().find(|(at, _)| *at <= since).or(history.front());
    let growth = |figure| {
        let earlier = before.and_then(|(_, sample)| sample.get(figure)).unwrap_or(0.0);
        Some((latest.get(figure)? - earlier).max(0.0))
    };
    let same = |value| Looked { lasting: value, latest: value };
    match rule.watch {
        Watch::Level(figure) => level(&|sample| sample.get(figure)),
        Watch::Percent(part, whole) => level(&|sample| {
            let whole = sample.get(whole).filter(|whole| *whole > 0.0)?;
            Some(sample.get(part)? / whole * 100.0)
        }),
        Watch::Growth(figure) => same(growth(figure)),
        Watch::Share { part, whole, least } => share(history, now, since, (part, whole), least),
        Watch::P95 { timing, least } => p95(history, now, since, timing, least),
    }
}

/// The P95 of a window with too little to judge by: further back is looked, as for a share. If there is too
/// little even then, nothing is raised; what goes on is judged by the little that there is.
fn p95(
    history: &VecDeque<(Millis, Sample)>,
    now: Millis,
    since: Millis,
    timing: Timing,
    least: f64,
) -> Looked {
    let nothing = Looked { lasting: None, latest: None };
    let Some((_, latest)) = history.back() else { return nothing };
    let latest = latest.timing(timing);
    let of = |earlier: &Sample, least| latest.p95_ms_since(earlier.timing(timing), least);
    let Some((_, before)) = history.iter().rev().find(|(at, _)| *at <= since).or(history.front()) else {
        return nothing;
    };
    let Some(few) = of(before, 1.0) else { return nothing };
    let oldest = now.saturating_sub(LONGEST_WINDOW);
    let further = history.iter().rev().filter(|(at, _)| (oldest..since).contains(at));
    let value =
        of(before, least).or_else(|| further.map(|(_, sample)| sample).find_map(|one| of(one, least)));
    Looked { lasting: value, latest: value.or(Some(few)) }
}

/// A share of a window with too little to judge by: so many more samples are looked at, up to the longest
/// window, that there is enough. If there is not, and the part grows, it is not over.
fn share(
    history: &VecDeque<(Millis, Sample)>,
    now: Millis,
    since: Millis,
    (part, whole): (Figure, Figure),
    least: f64,
) -> Looked {
    let nothing = Looked { lasting: None, latest: None };
    let Some((_, latest)) = history.back() else { return nothing };
    let growth =
        |figure, earlier: &Sample| Some((latest.get(figure)? - earlier.get(figure).unwrap_or(0.0)).max(0.0));
    let percent = |earlier: &Sample| {
        let whole = growth(whole, earlier).filter(|whole| *whole >= least)?;
        Some(growth(part, earlier).unwrap_or(0.0) / whole * 100.0)
    };
    let oldest = now.saturating_sub(LONGEST_WINDOW);
    let Some((_, before)) = history.iter().rev().find(|(at, _)| *at <= since).or(history.front()) else {
        return nothing;
    };
    if let Some(value) = percent(before) {
        return Looked { lasting: Some(value), latest: Some(value) };
    }
    if growth(part, before).unwrap_or(0.0) <= 0.0 {
        return nothing;
    }
    let further = history.iter().rev().filter(|(at, _)| (oldest..since).contains(at));
    let value = further.map(|(_, sample)| sample).find_map(percent);
    // Nobody knows the share; that there is one is bad enough for an alert to go on.
    Looked { lasting: value, latest: value.or(Some(f64::INFINITY)) }
}

impl Watched {
    fn judge(&mut self, rule: &'static Rule, looked: Looked, now: Millis) -> Option<Change> {
        let reached = looked.lasting.and_then(|value| severity(self.levels, value));
        let change = |turn, severity, value, is_told| Change { rule, turn, severity, value, is_told };
        let Some(mut open) = self.open else {
            let severity = reached?;
            let is_back = self.ended_at.is_some_and(|at| now.saturating_sub(at) < COOL_DOWN);
            self.returns = if is_back { (self.returns + 1).min(MOST_RETURNS) } else { 0 };
            let is_told = self.tell(severity, now);
            let (calm_since, eased_since) = (None, None);
            self.open =
                Some(Open { severity, is_acknowledged: false, was_told: is_told, calm_since, eased_since });
            return Some(change(Turn::Raised, severity, looked.lasting, is_told));
        };
        if reached > Some(open.severity) {
            let severity = reached?;
            let is_told = self.tell(severity, now);
            // Who took care of a warning has not seen this.
            open = Open { severity, is_acknowledged: false, was_told: open.was_told || is_told, ..open };
            self.open = Some(open);
            return Some(change(Turn::Worsened, severity, looked.lasting, is_told));
        }
        // What is not known, because nothing happens, is calm.
        let since = |level: f64, since: Option<Millis>| {
            let is_calm = looked.latest.is_none_or(|value| value <= level * rule.clear_at);
            is_calm.then(|| since.unwrap_or(now))
        };
        open.calm_since = since(self.levels.warning, open.calm_since);
        open.eased_since = since(self.levels.critical, open.eased_since);
        let clear_after = rule.clear_after << self.returns;
        let lasted =
            |since: Option<Millis>| since.is_some_and(|since| now.saturating_sub(since) >= clear_after);
        if lasted(open.calm_since) {
            self.open = None;
            self.ended_at = Some(now);
            self.end_was_told |= open.was_told;
            return Some(change(Turn::Cleared, open.severity, looked.latest, open.was_told));
        }
        let can_ease = open.severity == Severity::Critical && self.levels.critical > self.levels.warning;
        if can_ease && lasted(open.eased_since) {
            self.open = Some(Open { severity: Severity::Warning, ..open });
            return Some(change(Turn::Eased, Severity::Warning, looked.latest, false));
        }
        let is_due = now >= self.quiet_until && !open.is_acknowledged;
        if is_due && (open.severity == Severity::Critical || !open.was_told) {
            open.was_told = self.tell(open.severity, now);
            self.open = Some(open);
            return Some(change(Turn::Repeat, open.severity, looked.latest, true));
        }
        self.open = Some(open);
        None
    }

    /// Whether this is told: it is worse than what was told last, or that was long ago, or it is critical and
    /// a person believes that it is over.
    fn tell(&mut self, severity: Severity, now: Millis) -> bool {
        let is_news = self.end_was_told && severity == Severity::Critical;
        let is_told = now >= self.quiet_until || Some(severity) > self.told || is_news;
        if is_told {
            self.told = Some(severity);
            self.end_was_told = false;
            self.quiet_until = now + COOL_DOWN;
        }
        is_told
    }
}

fn severity(levels: Levels, value: f64) -> Option<Severity> {
    if value > levels.critical {
        Some(Severity::Critical)
    } else {
        (value > levels.warning).then_some(Severity::Warning)
    }
}

#[cfg(test)]
mod tests;
