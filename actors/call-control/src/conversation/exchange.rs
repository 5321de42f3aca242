//! What goes into a conversation, and what comes out of it: plain data.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::end::CallEnd;
use super::inbox_item::InboxItem;
use super::phrases::{self, Phrases};
use super::tool_result::{ToolCalled, ToolDone};
use super::turns::TurnUpdate;
use crate::Millis;
use crate::call_flow::{NextStep, TransferTo};
use crate::conversation::state::{CallState, Speaking};
use crate::policy::tools::{self, Toolbox};
use crate::policy::urgent::{self, UrgentPhrases};
use crate::realtime::events::ServerEvent;
use crate::realtime::requests::Request;
use crate::realtime::usage::Usage;
use crate::twilio::frames::Mark;

/// What can be chosen about a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)] // an older recording lacks what is newer
pub struct Rules {
    /// Speech shorter than this does not interrupt the agent.
    pub barge_in_min_ms: Millis,
    /// Spreads the retries of many calls; any number.
    pub jitter_seed: u64,
    /// What can be said while the service is away.
    #[serde(with = "phrases::shared")]
    pub phrases: Arc<Phrases>,
    /// What the agent can do besides talk.
    #[serde(with = "tools::shared")]
    pub toolbox: Arc<Toolbox>,
    /// Words of the caller that are urgent whatever the agent makes of them.
    #[serde(with = "urgent::shared")]
    pub urgent: Arc<UrgentPhrases>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input<'a> {
    /// The caller's media stream was accepted.
    StreamOpened,
    /// Twilio echoed a mark.
    Mark(Mark),
    /// The caller pressed a key.
    Digit(char),
    /// No audio has come from the caller for some seconds, though the stream is open.
    CallerInaudible,
    /// It comes again, after so long.
    CallerAudible {
        quiet_ms: Millis,
    },
    /// The caller's side was as loud as speech for a good part of the last second.
    CallerLoud,
    /// Twilio said `stop`: nothing more will be heard on this stream.
    StreamStopped,
    /// The stream's socket ended without `stop`.
    StreamLost,
    /// Nobody opened the stream in time.
    Unclaimed,
    /// Twilio says that the call has ended.
    CallOver,
    /// The process is going down.
    Shutdown,
    /// An operator gives the caller to a person.
    ToPerson,
    /// The call's actor failed more often than its supervisor allows.
    ActorFailed,
    Service(ServerEvent<'a>),
    /// The service answered a ping.
    Pong,
    /// The Realtime socket could not be opened, or is gone.
    #[serde(skip)] // it is kept and recorded in a form of its own
    ServiceLost {
        fatal: bool,
        #[serde(skip)]
        cause: &'a str,
        /// What the service says of when to try again.
        wait: Option<Millis>,
    },
    /// A tool that was put to work has come to its end.
    ToolDone(ToolDone),
    /// Time has passed.
    Tick,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Open a Realtime socket, after a while.
    Connect {
        after: Millis,
    },
    /// Close the one in use.
    Disconnect,
    /// Ask the service for a sign of life.
    Ping,
    Ask(Request),
    /// The session understands μ-law: the caller's audio may flow.
    OpenGate,
    /// Base64 of μ-law for the caller.
    #[serde(skip)] // a recording has its length
    Play(Bytes),
    Mark(Mark),
    /// Twilio is to forget what it has not played.
    Clear,
    WriteTurn(TurnUpdate),
    WriteEvent {
        kind: &'static str,
        data: Value,
    },
    /// Put a tool to work; [`Input::ToolDone`] tells what came of it.
    RunTool {
        number: u32,
        call_id: String,
        name: String,
        /// They fit the tool's schema.
        arguments: Value,
    },
    /// A function call has come to its end.
    ToolCalled(ToolCalled),
    /// The staff are to see this.
    FileItem(InboxItem),
    /// The agent gives the caller to this person; the end follows.
    Transfer(TransferTo),
    /// The call is over; nothing follows.
    End {
        end: CallEnd,
        next: NextStep,
        result: CallResult,
    },
}

/// What is known of a call when it is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CallResult {
    pub barge_ins: u32,
    pub first_audio_ms: Option<u32>,
    pub usage: Usage,
}

/// The live picture's part that the conversation knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub state: CallState,
    pub speaking: Speaking,
    pub turns: u32,
    pub barge_ins: u32,
    pub first_audio_ms: Option<u32>,
    pub last_turn_ms: Option<u32>,
    /// Answers the caller has heard begin.
    pub answers: u32,
    pub reconnects: u32,
    pub usage: Usage,
    pub errors: Errors,
}

/// What the service has refused or failed to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Errors {
    /// The call went on.
    pub benign: u32,
    /// The agent's part of the call ended.
    pub fatal: u32,
}
