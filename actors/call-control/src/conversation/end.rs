//! How a call ended: one classified outcome and a short reason, counted once per call.

use serde::{Deserialize, Serialize};

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The conversation was held to its end.
    Completed,
    /// The caller was given to a person.
    Transferred,
    /// The caller left a message.
    Voicemail,
    /// The caller was gone before the conversation began.
    Abandoned,
    /// The house was full.
    Refused,
    /// The agent could not be had, or was lost.
    Failed,
}

impl Outcome {
    pub const ALL: [Self; 6] =
        [Self::Completed, Self::Transferred, Self::Voicemail, Self::Abandoned, Self::Refused, Self::Failed];

    /// The word used in JSON, in the database and as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Transferred => "transferred",
            Self::Voicemail => "voicemail",
            Self::Abandoned => "abandoned",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Why it ended so: a closed list of slugs, safe as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The caller, or the far network, hung up.
    CallerHungUp,
    /// Twilio never opened the media stream of an admitted call.
    Unclaimed,
    /// All slots were held.
    FullHouse,
    /// The account at the Realtime service does not carry another call.
    NoHeadroom,
    /// The media stream was lost and did not come back.
    StreamLost,
    /// The Realtime service could not be reached, or was lost.
    RealtimeUnavailable,
    /// The Realtime service refused us for good: key, quota, account or model.
    RealtimeRefused,
    /// The call's actor failed more often than its supervisor allows.
    ActorFailed,
    /// The process is shutting down.
    Shutdown,
    /// An operator gave the caller to a person.
    Operator,
    /// The agent ended the call after a goodbye.
    AgentHungUp,
    /// The agent gave the caller to a person.
    AgentTransferred,
    /// The process that had the call was lost, and the call ended before another had it.
    ProcessLost,
}

impl Reason {
    /// The agent could not be had: the caller was given to a person or a voicemail box.
    pub fn is_of_the_agent(self) -> bool {
        matches!(self, Self::RealtimeUnavailable | Self::RealtimeRefused)
    }

    /// Nobody has hung up yet: Twilio asks what comes next.
    pub fn leaves_the_caller_on_the_line(self) -> bool {
        self == Self::AgentHungUp
    }

    /// The slug used in JSON, in the database and as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallerHungUp => "caller-hung-up",
            Self::Unclaimed => "unclaimed",
            Self::FullHouse => "full-house",
            Self::NoHeadroom => "no-headroom",
            Self::StreamLost => "stream-lost",
            Self::RealtimeUnavailable => "realtime-unavailable",
            Self::RealtimeRefused => "realtime-refused",
            Self::ActorFailed => "actor-failed",
            Self::Shutdown => "shutdown",
            Self::Operator => "operator",
            Self::AgentHungUp => "agent-hung-up",
            Self::AgentTransferred => "agent-transferred",
            Self::ProcessLost => "process-lost",
        }
    }
}

/// The end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallEnd {
    pub outcome: Outcome,
    pub reason: Reason,
}

impl CallEnd {
    /// All that the agent's part of a call comes to.
    pub const ALL: [Self; 16] = [
        Self::new(Outcome::Completed, Reason::CallerHungUp),
        Self::new(Outcome::Completed, Reason::Operator),
        Self::new(Outcome::Completed, Reason::AgentHungUp),
        Self::new(Outcome::Completed, Reason::AgentTransferred),
        Self::new(Outcome::Abandoned, Reason::CallerHungUp),
        Self::new(Outcome::Abandoned, Reason::Unclaimed),
        Self::new(Outcome::Refused, Reason::FullHouse),
        Self::new(Outcome::Refused, Reason::NoHeadroom),
        Self::new(Outcome::Refused, Reason::Shutdown),
        Self::new(Outcome::Failed, Reason::FullHouse),
        Self::new(Outcome::Failed, Reason::StreamLost),
        Self::new(Outcome::Failed, Reason::RealtimeUnavailable),
        Self::new(Outcome::Failed, Reason::RealtimeRefused),
        Self::new(Outcome::Failed, Reason::ActorFailed),
        Self::new(Outcome::Failed, Reason::Shutdown),
        Self::new(Outcome::Failed, Reason::ProcessLost),
    ];

    pub const fn new(outcome: Outcome, reason: Reason) -> Self {
        Self { outcome, reason }
    }

    /// As a metric's labels.
    pub fn labels(self) -> [&'static str; 2] {
        [self.outcome.as_str(), self.reason.as_str()]
    }
}
