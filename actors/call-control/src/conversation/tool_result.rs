//! What comes of a function call: plain data.

use serde::{Deserialize, Serialize};

use crate::Millis;

/// A tool that was put to work has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolDone {
    pub number: u32,
    pub call_id: String,
    /// JSON for the model.
    pub result: Result<String, ToolFault>,
}

/// Why a tool gave no answer. The text is for the model, which tells the caller in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum ToolFault {
    #[error("the tool did not answer in time. What it was to do may have been done or not")]
    TimedOut,
    #[error("the tool cannot be reached now")]
    Unreachable,
    #[error("too many tools are at work. Try again later")]
    Busy,
    #[error("the tool answered with the status {status}")]
    Status { status: u16 },
    #[error("the tool answered with a redirect, which is not followed")]
    Redirected,
    #[error("the tool's answer is too long")]
    TooLong,
    #[error("the tool's answer is not JSON")]
    NotJson,
    #[error("the tool's answer is not what it should be: {wrong}")]
    Unfit { wrong: String },
}

impl ToolFault {
    fn outcome(&self) -> ToolOutcome {
        match self {
            Self::TimedOut => ToolOutcome::TimedOut,
            Self::Unreachable => ToolOutcome::Unreachable,
            Self::Busy => ToolOutcome::Busy,
            Self::Status { .. } | Self::Redirected => ToolOutcome::Refused,
            Self::TooLong | Self::NotJson | Self::Unfit { .. } => ToolOutcome::BadAnswer,
        }
    }
}

/// How a function call ended: a closed list of slugs, safe as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolOutcome {
    Ok,
    /// There is no tool of that name.
    Unknown,
    /// The arguments do not fit the schema.
    BadArguments,
    /// Its arguments were cut off with the response.
    CutOff,
    /// It cannot be done now.
    NotNow,
    TimedOut,
    Unreachable,
    Busy,
    /// The endpoint answered with an error or a redirect.
    Refused,
    BadAnswer,
}

impl ToolOutcome {
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Unknown,
        Self::BadArguments,
        Self::CutOff,
        Self::NotNow,
        Self::TimedOut,
        Self::Unreachable,
        Self::Busy,
        Self::Refused,
        Self::BadAnswer,
    ];

    pub fn of(result: &Result<String, ToolFault>) -> Self {
        result.as_ref().map_or_else(ToolFault::outcome, |_| Self::Ok)
    }

    /// The slug used in a call's log and as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown-tool",
            Self::BadArguments => "bad-arguments",
            Self::CutOff => "cut-off",
            Self::NotNow => "not-now",
            Self::TimedOut => "timed-out",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::BadAnswer => "bad-answer",
        }
    }
}

/// A function call and how it ended, for the call's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolCalled {
    /// None: of a name that no tool has.
    pub name: Option<String>,
    pub outcome: ToolOutcome,
    pub took: Millis,
}
