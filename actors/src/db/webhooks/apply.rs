//! What a webhook changes (reference: twilio.md sections 6.2 to 6.5): statements that lead to the same rows
//! in whatever order, and however often, they are executed.

use diesel::QueryResult;

use super::{Route, Webhook};
use crate::db::connect::error::DbError;
use crate::db::connect::statement::Statement;
use crate::db::tables::{conferences, events, recordings};
use crate::db::write::record::Event;

impl Webhook {
    /// Where it stands among those that are processed together.
    pub(super) fn place(&self) -> impl Ord {
        (self.route, &self.conference_sid, &self.call_sid, &self.dedupe_key)
    }
}

/// The webhook's changes, in the order in which they lock rows.
pub(super) fn statements(webhook: &Webhook) -> Result<Vec<Statement>, DbError> {
    Ok(match webhook.route {
        Route::CallStatus => {
            let status = required(webhook, "CallStatus")?;
            vec![event(webhook, "call-status", format!("call-status {status}"))?]
        }
        Route::StreamStatus => {
            let kind = required(webhook, "StreamEvent")?;
            let stream_sid = webhook.parameter("StreamSid").unwrap_or_default();
            vec![event(webhook, kind, format!("{kind} {stream_sid}"))?]
        }
        Route::ConferenceEvents => {
            let conference_sid = required(webhook, "ConferenceSid")?;
            let mut statements = vec![conferences::write(webhook, conference_sid)?];
            if let Some(call_sid) = webhook.parameter("CallSid") {
                statements.push(conferences::write_participant(webhook, conference_sid, call_sid)?);
            }
            statements
        }
        Route::RecordingStatus => {
            let recording_sid = required(webhook, "RecordingSid")?;
            let mut statements = vec![recordings::write(webhook, recording_sid)?];
            if let Some(call_sid) = webhook.parameter("CallSid") {
                statements.push(recordings::lock_call(call_sid)?);
                statements.push(recordings::count(call_sid)?);
            }
            statements
        }
    })
}

/// An event of the call's log.
fn event(webhook: &Webhook, kind: &str, dedupe_key: String) -> Result<Statement, DbError> {
    let call_sid = required(webhook, "CallSid")?;
    let call_sid = call_sid.parse().map_err(|_| DbError::Refused("CallSid is none".to_owned()))?;
    let event = Event {
        call_sid,
        at: webhook.at(),
        kind: kind.to_owned(),
        data: webhook.body.clone(),
        dedupe_key: Some(dedupe_key),
    };
    written(events::write(&event))
}

/// The doors let nothing in without these; what was stored by another version may lack one.
fn required<'a>(webhook: &'a Webhook, name: &str) -> Result<&'a str, DbError> {
    webhook.parameter(name).ok_or_else(|| DbError::Refused(format!("{name} is missing")))
}

fn written(statement: QueryResult<Statement>) -> Result<Statement, DbError> {
    Ok(statement?)
}
