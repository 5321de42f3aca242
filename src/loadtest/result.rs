//! What a load test found: the JSON that is kept and compared, and what the page shows.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::figure::{figure, known};
use crate::sim::report::{CallsReport, Percentiles};

/// One run of `switchboard loadtest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadTest {
    /// Of the program that generated the load.
    pub version: String,
    pub started_at: DateTime<Utc>,
    /// The origin under load.
    pub target: String,
    /// Processors of the machine that generated the load.
    pub cpus: usize,
    pub verdict: Verdict,
    pub scenarios: Vec<Scenario>,
}

/// How a figure, a scenario or a run stands against the thresholds; the worst one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    #[default]
    Fine,
    Warning,
    Critical,
}

/// One scenario of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scenario {
    /// `calls`, `webhooks` or `database`, with a step's size where there are several.
    pub name: String,
    /// What was asked of the program, in a sentence.
    pub task: String,
    pub seconds: f64,
    pub verdict: Verdict,
    pub checks: Vec<Check>,
    /// Requests, or calls.
    pub asked: u64,
    /// What the error rate is of: requests that were not answered as they should be, calls that suffered.
    pub errors: Vec<ErrorCount>,
    /// Failures of the Realtime service behind the program. They are not in the error rate: whoever suffered
    /// by one is.
    #[serde(default)]
    pub upstream: Vec<ErrorCount>,
    /// Of requests: from when each was due to its answer. Of calls: from a caller's last word to the first of
    /// the answer.
    pub response_ms: Percentiles,
    /// So many requests took up to so many milliseconds, in rising order: the distribution of `response_ms`.
    pub distribution: Vec<Bucket>,
    /// How late this program itself was; a large one makes the other figures worthless.
    pub own_lag_ms: Percentiles,
    /// One a second.
    pub samples: Vec<Sample>,
    /// As the callers heard it; of a scenario of calls alone.
    pub calls: Option<CallsReport>,
}

/// A figure and its thresholds; its text is for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `response time P95`.
    pub what: String,
    /// Null if it could not be known.
    pub value: Option<f64>,
    /// `ms`, `%`, or nothing.
    pub unit: String,
    pub warning_above: f64,
    pub critical_above: f64,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorCount {
    /// `429`, `timeout`, `connection refused`.
    pub cause: String,
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    pub up_to_ms: f64,
    pub count: u64,
}

/// The program under load at one moment; null where it did not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Since the scenario's start.
    pub at_seconds: f64,
    /// Of the requests answered in this second; of calls, of the frames relayed to the caller.
    pub response_p95_ms: Option<f64>,
    pub errors: u64,
    pub active_calls: Option<u64>,
    pub calls_limit: Option<u64>,
    pub pool_busy: Option<u64>,
    pub pool_waiting: Option<u64>,
    pub pool_limit: Option<u64>,
    pub memory_mib: Option<f64>,
    /// Of the control group, or of the machine.
    pub memory_limit_mib: Option<f64>,
}

impl Verdict {
    /// The command's exit status.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

impl Check {
    /// A figure against its thresholds; one that is not known is a warning.
    pub fn new(
        what: impl Into<String>,
        value: Option<f64>,
        unit: &str,
        warning_above: f64,
        critical_above: f64,
    ) -> Self {
        let verdict = match value {
            Some(value) if value > critical_above => Verdict::Critical,
            Some(value) if value <= warning_above => Verdict::Fine,
            _ => Verdict::Warning,
        };
        Self { what: what.into(), value, unit: unit.to_owned(), warning_above, critical_above, verdict }
    }
}

impl Scenario {
    /// The checks that are not fine.
    pub fn breached(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.verdict != Verdict::Fine)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, value, unit, warning_above, critical_above, .. } = self;
        let unit = if unit.is_empty() || value.is_none() { String::new() } else { format!(" {unit}") };
        let (warning, critical) = (figure(*warning_above), figure(*critical_above));
        write!(f, "{what} {}{unit} (warning above {warning}, critical above {critical})", known(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_thresholds() {
        let verdict = |value| Check::new("response time P95", value, "ms", 2_000.0, 5_000.0).verdict;
        assert_eq!(verdict(Some(2_000.0)), Verdict::Fine);
        assert_eq!(verdict(Some(2_001.0)), Verdict::Warning);
        assert_eq!(verdict(Some(5_001.0)), Verdict::Critical);
        assert_eq!(verdict(None), Verdict::Warning);
        assert_eq!(verdict(Some(f64::NAN)), Verdict::Warning);
    }
}
