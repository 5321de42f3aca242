//! The agent's tools, carried out: what the conversation decides is put to work, filed and counted.

use std::time::Duration;

use actix::prelude::*;
use call_control::call_flow::TransferTo;
use call_control::conversation::inbox_item::InboxItem;
use call_control::conversation::tool_result::{ToolCalled, ToolDone, ToolFault};
use call_control::policy::tools::Kind;
use chrono::Utc;
use serde_json::{Value, json};

use super::CallActor;
use super::conversation::Input;
use crate::db::TOOL;
use crate::db::record::{InboxItem as Row, InboxKind, Record, TRANSFER_ASKED};

use self::runner::Job;
pub use self::runner::ToolRunner;

mod runner;

/// Of a tool whose name is none of the agent's.
const UNKNOWN: &str = "unknown";

/// A tool has come to its end.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ToolEnded(ToolDone);

impl Handler<ToolEnded> for CallActor {
    type Result = ();

    fn handle(&mut self, ended: ToolEnded, ctx: &mut Self::Context) {
        self.take(&Input::ToolDone(ended.0), ctx);
    }
}

impl CallActor {
    /// Puts a tool to work, away from the calls. If the runner has no room for it, that is its answer.
    pub(super) fn run_tool(
        &self,
        number: u32,
        call_id: String,
        name: &str,
        arguments: Value,
        ctx: &mut Context<Self>,
    ) {
        let Some(Kind::Http(endpoint)) = self.persona.toolbox.get(name).map(|tool| tool.kind.clone()) else {
            return ctx.notify(ToolEnded(ToolDone { number, call_id, result: Err(ToolFault::Unreachable) }));
        };
        let (call, call_sid) = (ctx.address().downgrade(), self.identity.call_sid);
        let job = Job { call, call_sid, number, call_id, endpoint, arguments };
        if let Err(Job { call_id, .. }) = self.setup.tools.run(job) {
            ctx.notify(ToolEnded(ToolDone { number, call_id, result: Err(ToolFault::Busy) }));
        }
    }

    /// Writes a function call into the log and counts it. Neither says what it was called with.
    pub(super) fn tool_called(&self, ToolCalled { name, outcome, took }: &ToolCalled) {
        let (metrics, outcome) = (&self.setup.metrics, outcome.as_str());
        // A name that a model made up is no label.
        let label = name.as_deref().unwrap_or(UNKNOWN);
        metrics.tool_calls.with_label_values(&[label, outcome]).inc();
        metrics.tool_time.observe(Duration::from_millis(*took).as_secs_f64());
        self.write_event(TOOL, json!({"name": label, "outcome": outcome, "ms": took}));
    }

    /// The agent has said that it connects the caller.
    pub(super) fn transfer(&self, TransferTo { destination, reason }: &TransferTo) {
        self.write_event(TRANSFER_ASKED, json!({"destination": destination, "reason": reason}));
    }

    /// The staff are to see this.
    pub(super) fn file(&self, item: InboxItem) {
        match item {
            InboxItem::Message { key, text, name, call_back } => {
                let kind = if call_back { InboxKind::CallBack } else { InboxKind::Message };
                let dedupe_key = format!("{} {key}", kind.as_str()); // a caller may leave several
                self.write_item(Row { name, dedupe_key, ..self.row(kind, text) });
            }
            InboxItem::Urgent { by, text } => {
                self.write_event("urgent", json!({"by": by.as_str()}));
                self.write_item(self.row(InboxKind::Urgent, text));
            }
        }
    }

    fn row(&self, kind: InboxKind, text: String) -> Row {
        let from = Some(self.from.clone()).filter(|from| !from.is_empty());
        let language = Some(self.persona.language.clone());
        Row { from, language, ..Row::said(self.identity.call_sid, Utc::now(), kind, text) }
    }

    fn write_item(&self, row: Row) {
        self.setup.ledger.record(Record::Inbox(row));
    }
}
