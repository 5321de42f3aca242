//! The model's agent: its phrases and tools, what its service calls, and what comes of it.

use serde_json::json;

use super::*;
use crate::conversation::inbox_item::InboxItem;
use crate::conversation::phrases::{Phrase, Phrases, Recording};
use crate::conversation::tool_result::{ToolDone, ToolFault};
use crate::policy::destinations::Destination;
use crate::policy::tools::{Endpoint, Kind, Schema, Tool, Toolbox};
use crate::policy::urgent::UrgentPhrases;
use crate::realtime::events::Item;

/// A tool of the agent's owner gives up after this time.
const WITHIN: Millis = 4_000;
/// What an utterance that is urgent says.
pub(super) const URGENT_WORDS: &str = "Please help, I have CHEST-pain!";

/// A function call of the service.
#[derive(Debug, Clone, Copy)]
pub enum Called {
    Unknown,
    /// A tool that answers so much later, or never.
    LookUp(Option<Millis>),
    BadArguments,
    /// Its arguments end with the response.
    CutOff,
    TakeMessage,
    FlagUrgent,
    EndCall,
    Transfer,
}

impl Called {
    pub(super) fn item(self, call: usize) -> Item {
        let (name, arguments) = match self {
            Self::Unknown => ("fly", "{}"),
            Self::LookUp(_) => ("look_up", r#"{"day":"Monday"}"#),
            Self::BadArguments => ("look_up", r#"{"day":5}"#),
            Self::CutOff => ("look_up", r#"{"day":"Mon"#),
            Self::TakeMessage => ("take_message", r#"{"message":"Call me."}"#),
            Self::FlagUrgent => ("flag_urgent", r#"{"reason":"It burns."}"#),
            Self::EndCall => ("end_call", "{}"),
            Self::Transfer => ("transfer_to_human", r#"{"destination":"reception","reason":"asked"}"#),
        };
        let status = if matches!(self, Self::CutOff) { "incomplete" } else { "completed" };
        Item {
            id: format!("f{call:07}"),
            kind: "function_call".into(),
            status: Some(status.into()),
            call_id: Some(format!("c{call:07}")),
            name: Some(name.into()),
            arguments: Some(arguments.into()),
            ..Item::default()
        }
    }
}

fn toolbox() -> Toolbox {
    let day = json!({"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]});
    let endpoint =
        Endpoint { url: "https://e.com".parse().unwrap(), within: WITHIN, secret: None, answer: None };
    let look_up = Tool {
        name: "look_up".into(),
        description: String::new(),
        parameters: Schema::of_object(day).unwrap(),
        kind: Kind::Http(Box::new(endpoint)),
    };
    let reception = Destination { name: "reception".into(), ..Destination::person_on_duty("+14155550123") };
    Toolbox::new(&[reception], vec![look_up], vec![])
}

fn urgent() -> UrgentPhrases {
    UrgentPhrases::of_language("en")
}

impl Scenario {
    pub(super) fn rules(&self) -> Rules {
        let phrases = if self.phrases { phrases() } else { Phrases::default() };
        let (toolbox, urgent) = (toolbox().into(), urgent().into());
        let barge_in_min_ms = self.barge_in_min_ms;
        Rules { barge_in_min_ms, jitter_seed: 7, phrases: phrases.into(), toolbox, urgent }
    }
}

/// Each begins with `//` in base64, as no piece of the service does.
fn phrases() -> Phrases {
    let mut phrases = Phrases::default();
    for (phrase, ms) in [
        (Phrase::Moment, 900),
        (Phrase::StillHere, 1_310),
        (Phrase::Transfer, 1_900),
        (Phrase::Emergency, 2_100),
    ] {
        phrases.add(phrase, Recording::new(&vec![0xFF; ms * 8]));
    }
    phrases
}

impl World<'_> {
    /// A tool is put to work: it answers in its time, perhaps too late, or never.
    pub(super) fn run_tool(&mut self, number: u32, call_id: &str) {
        let call = super::number(call_id);
        if !self.at_work.insert(call) {
            self.fault(Property::CallsAnswered, format!("call {call} is carried out twice"));
        }
        let Called::LookUp(after) = self.service.calls[call].called else {
            return self.fault(Property::CallsAnswered, format!("call {call} is no tool of the owner's"));
        };
        self.report.tools_run += 1;
        if let Some(after) = after {
            let done = |result| ToolDone { number, call_id: call_id.to_owned(), result };
            self.later(self.now + after, Happening::ToolDone(done(Ok(r#"{"free":true}"#.into()))));
            if after % 2 == 0 {
                // Its runner says it twice.
                self.later(self.now + after + 7, Happening::ToolDone(done(Err(ToolFault::Unreachable))));
            }
        }
    }

    pub(super) fn filed(&mut self, item: &InboxItem) {
        match item {
            InboxItem::Message { .. } => self.report.messages += 1,
            InboxItem::Urgent { .. } => {
                self.report.urgent += 1;
                if std::mem::replace(&mut self.is_urgent, true) {
                    self.fault(Property::Urgency, "the same call is urgent twice");
                }
            }
        }
    }

    /// The caller's words reach us.
    pub(super) fn words_heard(&mut self, words: &str) {
        if words == URGENT_WORDS && !self.is_urgent {
            self.fault(Property::Urgency, "urgent words, and nobody was alerted");
        }
    }
}
