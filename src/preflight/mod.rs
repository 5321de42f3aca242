//! `switchboard preflight`: what a first deployment gets wrong, found before the first caller does.
//!
//! The shell [gathers](mod@gather) facts: all at once, each within [`DEADLINE`]. The core [judges](mod@judge)
//! them and asks nobody. No line shows a secret.

use std::time::Duration;

use serde::Serialize;

pub mod facts;
pub mod fix;
pub mod gather;
pub mod judge;
pub mod models;
pub mod show;

/// Whoever has not answered within this is not waited for: the whole check takes less than 5 s.
pub const DEADLINE: Duration = Duration::from_secs(4);

/// How something stands. The worst one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    Pass,
    Warn,
    Fail,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// The command's exit status.
    pub fn exit_status(self) -> u8 {
        self as u8
    }
}

/// One line of the check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub name: &'static str,
    pub level: Level,
    /// What was seen.
    pub seen: String,
    /// How to mend it; null where nothing is to be mended.
    pub remedy: Option<String>,
}

impl Line {
    pub(crate) fn pass(name: &'static str, seen: impl Into<String>) -> Self {
        Self { name, level: Level::Pass, seen: seen.into(), remedy: None }
    }

    pub(crate) fn warn(name: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, level: Level::Warn, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    pub(crate) fn fail(name: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, level: Level::Fail, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    /// Nobody knows, as another line fails: it is named.
    pub(crate) fn unknown(name: &'static str, other: &str) -> Self {
        Self::warn(name, "not known", format!("mend `{other}` first"))
    }
}

/// The worst of the lines.
pub fn worst(lines: &[Line]) -> Level {
    lines.iter().map(|line| line.level).max().unwrap_or(Level::Pass)
}
