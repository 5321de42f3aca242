//! The agent takes leave: the goodbye is heard to its last mark, and then the call ends or a person takes
//! over.
//!
//! The goodbye is what the agent says in the response that takes leave, or, if that says nothing, in one that
//! is asked for. A caller who speaks before the end calls a hang-up off. They do not call a transfer off: it
//! happens when the agent has fallen silent.

use serde_json::json;

use super::end::{Outcome, Reason};
use super::tool_result::ToolOutcome;
use super::tools::error_output;
use super::{Conversation, Effect, NextStep, Stream};
use crate::Millis;
use crate::call_flow::TransferTo;
use crate::realtime::requests::Request;

/// After what is to be heard already, the goodbye has so long.
const WITHIN: Millis = 20_000;
const LEAVES_ALREADY: &str = "the call is about to end already";
const NOT_ON_THE_LINE: &str = "the caller is not on the line";
const CALLED_OFF: &str = "The caller spoke before your goodbye was over, so the call was not ended. Go on with them. \
                          Use end_call again when they are done.";

/// How the agent leaves the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leave {
    HangUp,
    Person { destination: String, reason: String },
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Farewell {
    leave: Leave,
    /// The caller hears, or has heard, a goodbye.
    is_said: bool,
    /// The service was asked for one.
    is_asked: bool,
    pub(super) until: Millis,
}

impl Conversation {
    /// The agent takes leave. Answers what it is told.
    pub(super) fn take_leave(
        &mut self,
        leave: Leave,
        response_id: &str,
        now: Millis,
    ) -> (ToolOutcome, String) {
        if self.farewell.is_some() {
            return (ToolOutcome::NotNow, error_output(LEAVES_ALREADY));
        }
        if self.stream != Stream::Open {
            return (ToolOutcome::NotNow, error_output(NOT_ON_THE_LINE));
        }
        let is_overtaken = self.speaking_since.is_some() || self.responses.is_cancelled(response_id);
        if leave == Leave::HangUp && is_overtaken {
            return (ToolOutcome::NotNow, error_output(CALLED_OFF));
        }
        let told = match &leave {
            Leave::HangUp => "the call ends when the caller has heard your goodbye",
            Leave::Person { .. } => {
                "the caller is connected when they have heard that you are connecting them"
            }
        };
        self.farewell = Some(Farewell {
            leave,
            is_said: self.responses.has_sounded(response_id),
            is_asked: false,
            until: now + self.playback.unheard_ms() + WITHIN,
        });
        (
            ToolOutcome::Ok,
            json!({"status": told, "if_not_said_yet": "say it now, in one sentence"}).to_string(),
        )
    }

    /// The agent says something that the caller hears.
    pub(super) fn farewell_sounds(&mut self) {
        if let Some(farewell) = &mut self.farewell {
            farewell.is_said = true;
        }
    }

    /// The caller has something to say.
    pub(super) fn farewell_interrupted(&mut self, effects: &mut Vec<Effect>) {
        if self.farewell.take_if(|farewell| farewell.leave == Leave::HangUp).is_some() {
            effects.push(Effect::WriteEvent { kind: "stays", data: json!({}) });
            if self.link.is_ready() {
                effects.push(Effect::Ask(Request::Note { text: CALLED_OFF.into() }));
            }
        }
    }

    /// Leaves once the goodbye was heard, or its time is over; asks for one that was not said.
    pub(super) fn leave(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let is_leaving = self.is_leaving();
        let Some(farewell) = self.farewell.as_mut().filter(|_| !is_leaving) else { return };
        if farewell.until <= now {
            return self.conclude(now, effects);
        }
        if self.responses.is_due() || self.tools.is_awaited() {
            return;
        }
        if !farewell.is_said && !farewell.is_asked {
            farewell.is_asked = true;
            self.responses.want();
        } else if !self.playback.is_playing() {
            self.conclude(now, effects);
        }
    }

    /// Ends the agent's part as it was decided, if it was. False if the agent has not taken leave.
    pub(super) fn concludes(&mut self, now: Millis, effects: &mut Vec<Effect>) -> bool {
        let leaves = self.farewell.is_some();
        if leaves {
            self.conclude(now, effects);
        }
        leaves
    }

    fn conclude(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let Some(Farewell { leave, .. }) = self.farewell.take() else { return };
        match leave {
            Leave::HangUp => {
                self.end(Outcome::Completed, Reason::AgentHungUp, NextStep::HangUp, now, effects);
            }
            Leave::Person { destination, reason } => {
                effects.push(Effect::Transfer(TransferTo { destination, reason }));
                self.end(Outcome::Completed, Reason::AgentTransferred, NextStep::Human, now, effects);
            }
        }
    }
}
