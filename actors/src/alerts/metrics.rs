//! The metrics of the alerts.

use call_control::alerts::{RULES, Severity};
use prometheus::{IntCounterVec, IntGaugeVec};

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Sent,
    /// Another instance has told it.
    Elsewhere,
    /// The other side refuses it for good.
    Refused,
    /// It could not be sent, to the last attempt.
    Failed,
    /// Too many waited.
    Dropped,
    /// There was no answer in time, twice: it may have reached a person.
    Unknown,
}

impl Outcome {
    const WORDS: [&str; 6] = ["sent", "elsewhere", "refused", "failed", "dropped", "unknown"];

    fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

const TURNS: [&str; 5] = ["raised", "worsened", "eased", "cleared", "repeated"];

crate::metrics! {
    /// The metrics of the alerts.
    pub struct Metrics {
        /// Whether the alert of a rule is open: 0 no, 1 a warning, 2 critical.
        open: IntGaugeVec = "switchboard_alerts_open" ["rule"];
        /// Changes of alerts: `raised`, `worsened`, `eased`, `cleared`, or `repeated` to a person.
        changes: IntCounterVec = "switchboard_alerts_changes_total" ["turn" = &TURNS];
        /// Notices to a person, by way and result: `sent`, `elsewhere` (another instance told it), `refused`
        /// for good, `failed` to the last attempt, `dropped` (there was no room), or `unknown` (no answer
        /// came in time). A text message may hold several.
        notices: IntCounterVec = "switchboard_alerts_notices_total"
            ["way" = &["sms", "webhook"], "result" = &Outcome::WORDS];
        /// Readings of a rule's figures that failed: the rule was not judged.
        readings_missing: IntCounterVec = "switchboard_alerts_readings_missing_total" ["rule"];
        /// Alerts whose last change is not in the database yet.
        pub(super) unstored: prometheus::IntGauge = "switchboard_alerts_unstored";
        /// Urgent callers of the last hour whom nobody has marked as done, as far as this process knows.
        pub(super) urgent_open: prometheus::IntGauge = "switchboard_urgent_open";
    }
}

impl Metrics {
    pub(super) fn show_all(&self) {
        for rule in RULES {
            self.open(rule.name, None);
            self.readings_missing.with_label_values(&[rule.name]);
        }
    }

    pub(super) fn missing(&self, rule: &str) {
        self.readings_missing.with_label_values(&[rule]).inc();
    }

    pub(super) fn open(&self, rule: &str, severity: Option<Severity>) {
        let level = severity.map_or(0, |severity| severity as i64 + 1);
        self.open.with_label_values(&[rule]).set(level);
    }

    pub(super) fn changed(&self, turn: call_control::alerts::Turn) {
        self.changes.with_label_values(&[TURNS[turn as usize]]).inc();
    }

    #[cfg(test)]
    pub(super) fn count(&self, way: &str, outcome: Outcome) -> u64 {
        self.notices.with_label_values(&[way, outcome.as_str()]).get()
    }

    #[cfg(test)]
    pub(super) fn missing_readings(&self, rule: &str) -> u64 {
        self.readings_missing.with_label_values(&[rule]).get()
    }

    pub(super) fn noticed(&self, way: &str, outcome: Outcome) {
        self.notices.with_label_values(&[way, outcome.as_str()]).inc();
    }
}
