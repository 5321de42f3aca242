//! The agent calls functions: each is carried out by rules that do not depend on the model, and answered
//! once.

use serde_json::{Value, json};

use super::farewell::Leave;
use super::inbox_item::InboxItem;
use super::tool_result::{ToolCalled, ToolDone, ToolFault, ToolOutcome};
use super::tools::{error_output, fault_output, late_note};
use super::{Conversation, Effect};
use crate::Millis;
use crate::policy::tools::{Kind, Read, Tool};
use crate::realtime::events::Item;
use crate::realtime::requests::Request;

/// What is told of a call whose arguments ended with its response.
const CUT_OFF: &str = "the call was cut off, and nothing was done. Make it again if it is still needed";
const TOO_MANY: &str = "too many tools are at work. Wait for their answers first";

impl Conversation {
    /// A function call is told of, perhaps for the second time.
    pub(super) fn function_call(
        &mut self,
        response_id: &str,
        item: &Item,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let ("function_call", Some(call_id)) = (item.kind.as_str(), &item.call_id) else { return };
        if !self.tools.learn(call_id) {
            return;
        }
        let toolbox = self.rules.toolbox.clone();
        let name = item.name.as_deref().unwrap_or_default();
        let tool = toolbox.get(name);
        let called = match (item.status.as_deref(), self.read_call(item), tool) {
            (Some("incomplete"), ..) => Err((ToolOutcome::CutOff, CUT_OFF.to_owned())),
            (_, Read::Fits { arguments }, Some(tool)) => Ok((tool, arguments)),
            (_, Read::Fits { .. }, None) => Err((ToolOutcome::Unknown, CUT_OFF.to_owned())),
            (_, Read::Refused { code, text }, _) => Err((code, text)),
        };
        let known = tool.map(|tool| tool.name.clone());
        let ids = (response_id, call_id.as_str());
        let (outcome, output) = match called {
            Ok((tool, arguments)) => match self.carry_out_call(ids, tool, arguments, now, effects) {
                Some(answered) => answered,
                None => return, // it is at work
            },
            Err((outcome, text)) => (outcome, error_output(&text)),
        };
        effects.push(Effect::ToolCalled(ToolCalled { name: known, outcome, took: 0 }));
        if outcome == ToolOutcome::Ok {
            self.tools.remember(name, &output);
        }
        // Who takes leave twice has said goodbye, and need not say it again.
        let takes_leave = tool.is_some_and(|tool| matches!(tool.kind, Kind::EndCall | Kind::TransferToHuman));
        let is_leaving = takes_leave && self.farewell.is_some();
        self.answer_call(ids, output, !is_leaving, effects);
    }

    /// Holds the arguments of a function call against the tools, unless that was done.
    pub(super) fn read_call(&self, item: &Item) -> Read {
        let [name, arguments] = [&item.name, &item.arguments].map(|text| text.as_deref().unwrap_or_default());
        item.read.as_deref().cloned().unwrap_or_else(|| self.rules.toolbox.verdict(name, arguments))
    }

    /// Does what the call asks for, or puts a tool to work. Answers the output where there is one already.
    fn carry_out_call(
        &mut self,
        (response_id, call_id): (&str, &str),
        tool: &Tool,
        arguments: Value,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) -> Option<(ToolOutcome, String)> {
        let text = |key: &str| arguments[key].as_str().unwrap_or_default().to_owned();
        let leave = match &tool.kind {
            Kind::EndCall => Leave::HangUp,
            Kind::TransferToHuman => {
                Leave::Person { destination: text("destination"), reason: text("reason") }
            }
            Kind::TakeMessage => {
                let name = arguments["name"].as_str().map(str::to_owned);
                let call_back = arguments["call_back"] == json!(true);
                effects.push(Effect::FileItem(InboxItem::Message {
                    key: call_id.to_owned(),
                    text: text("message"),
                    name,
                    call_back,
                }));
                return Some((ToolOutcome::Ok, json!({"status": "the message is stored"}).to_string()));
            }
            Kind::FlagUrgent => {
                self.flag_urgent(text("reason"), effects);
                let number = "the person on duty is alerted. In an emergency the caller must dial the emergency \
                              number themselves";
                return Some((ToolOutcome::Ok, json!({"status": number}).to_string()));
            }
            Kind::Http(endpoint) => {
                if !self.tools.has_room() {
                    return Some((ToolOutcome::NotNow, error_output(TOO_MANY)));
                }
                let number = self.tools.start((response_id, call_id), &tool.name, endpoint.within, now);
                let (call_id, name) = (call_id.to_owned(), tool.name.clone());
                effects.push(Effect::RunTool { number, call_id, name, arguments });
                return None;
            }
        };
        Some(self.take_leave(leave, response_id, now))
    }

    /// A tool that was put to work has come to its end; its time may be over already, and its answer sent.
    pub(super) fn tool_done(&mut self, done: &ToolDone, now: Millis, effects: &mut Vec<Effect>) {
        let ToolDone { number, call_id, result } = done;
        let Some(running) = self.tools.finish(*number, call_id) else { return };
        let output = result.as_ref().map_or_else(fault_output, String::clone);
        let took = now.saturating_sub(running.began);
        let (name, outcome) = (running.name, ToolOutcome::of(result));
        effects.push(Effect::ToolCalled(ToolCalled { name: Some(name.clone()), outcome, took }));
        self.tools.remember(&name, &output);
        if running.is_awaited {
            let call_id = call_id.clone();
            effects.push(Effect::Ask(Request::FunctionOutput { call_id, output }));
            self.responses.output_sent();
        } else if self.link.is_ready() {
            effects.push(Effect::Ask(Request::Note { text: late_note(&name, &output).into() }));
            self.responses.want(); // the caller waits for it
        }
    }

    /// Gives up the tools whose time is over.
    pub(super) fn give_up_tools(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for (number, call_id) in self.tools.overdue(now) {
            let result = Err(ToolFault::TimedOut);
            self.tool_done(&ToolDone { number, call_id, result }, now, effects);
        }
    }

    /// `follow`: the agent is to go on with the output.
    fn answer_call(
        &mut self,
        (response_id, call_id): (&str, &str),
        output: String,
        follow: bool,
        effects: &mut Vec<Effect>,
    ) {
        let call_id = call_id.to_owned();
        effects.push(Effect::Ask(Request::FunctionOutput { call_id, output }));
        self.responses.output_sent();
        if follow {
            self.tools.follow(response_id);
        }
    }

    /// Whether the agent owes the caller something: a response is due, or a tool is at work for one.
    pub(super) fn owes(&self) -> bool {
        self.responses.is_due() || self.tools.is_awaited()
    }
}
