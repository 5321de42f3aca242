//! The last resort: what a caller meets when the agent cannot be had. A person if there is one, else a
//! voicemail box; never silence.
//!
//! The documents are made from settings alone. What came of them is stored as the call's aftermath.

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use actors::call::end::Outcome;
use actors::db::record::{Aftermath, Event};
use actors::wire::twilio::form::Form;
use actors::wire::twilio::number::can_be_caller_id;
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::twiml::{Dial, Record, Twiml};
use chrono::Utc;
use serde_json::json;

use super::problem::ApiError;
use super::voice::{call_sid, required, signed, steer};
use crate::app::App;

const CONNECTING_YOU: &str = "One moment please."; // the agent has said why, if it could
const NOBODY: &str =
    "We are sorry, we cannot take your call right now. Please leave a message after the tone.";
const NO_MESSAGE: &str = "We did not receive a message. Please call again in a few minutes. Goodbye.";
const THANK_YOU: &str = "Thank you for your message. Goodbye.";
/// The query parameter by which the URL of `transfer-done` tells that our own number was the caller ID.
pub(super) const CALLER_ID: &str = "caller-id";
pub(super) const OURS: &str = "ours";
const GOODBYE: &str = "Thank you for calling. Goodbye.";
/// How long the person who takes over is rung.
const RING_SECONDS: u32 = 30;
const LONGEST_MESSAGE_SECONDS: u32 = 120;
/// So much silence ends a message.
const END_OF_MESSAGE_SECONDS: u32 = 5;

/// A person takes over, if there is one; else the caller may leave a message. Needs nobody's answer. `form`
/// is the webhook that is answered: it names the caller.
pub fn person_or_voicemail(app: &App, form: &Form) -> Twiml {
    let Some(number) = &app.settings.twilio.human_fallback_number else { return voicemail_box(app) };
    let caller_id = match form.told("From") {
        Some(from) if can_be_caller_id(from) => None,
        _ => our_number(app, form),
    };
    dial(app, Twiml::new().say(CONNECTING_YOU), number, caller_id)
}

/// Rings the person. The action learns whether the call was made from our own number.
fn dial(app: &App, before: Twiml, number: &str, caller_id: Option<&str>) -> Twiml {
    let urls = &app.voice.urls;
    let action = if caller_id.is_some() { &urls.transfer_from_us_done } else { &urls.transfer_done };
    before.dial(Dial { number, action: Some(action), timeout_seconds: RING_SECONDS, caller_id })
}

/// The number that we make calls from: the one that is set, else the one that was called.
fn our_number<'a>(app: &'a App, form: &'a Form) -> Option<&'a str> {
    let is_to_us = form.told("Direction").is_none_or(|direction| direction == "inbound");
    let called = form.told("To").filter(|to| is_to_us && can_be_caller_id(to));
    app.settings.twilio.from_number.as_deref().or(called)
}

/// What comes after a dial that failed: as Twilio refuses a caller's number that it does not like, and a
/// network does likewise, the person is rung once more, from our own number.
fn after_failed_dial(app: &App, request: &HttpRequest, form: &Form) -> Twiml {
    let was_ours = Form::parse(request.query_string().as_bytes()).get(CALLER_ID) == Some(OURS);
    let person = app.settings.twilio.human_fallback_number.as_deref();
    match (person, our_number(app, form)) {
        (Some(person), Some(ours)) if !was_ours => dial(app, Twiml::new(), person, Some(ours)),
        _ => voicemail_box(app),
    }
}

/// The caller may leave a message. Needs nobody's answer.
pub fn voicemail_box(app: &App) -> Twiml {
    let urls = &app.voice.urls;
    let record = Record {
        action: &urls.voicemail,
        recording_status_callback: &urls.recording_status,
        max_length_seconds: LONGEST_MESSAGE_SECONDS,
        timeout_seconds: END_OF_MESSAGE_SECONDS,
        finish_on_key: "#",
    };
    Twiml::new().say(NOBODY).record(record).say(NO_MESSAGE).hangup()
}

/// `POST /api/voice/fallback`: our own redirect of last resort. It works without database and registry.
pub async fn fallback(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| Ok(steer(&person_or_voicemail(&app, form)))).await
}

/// `POST /api/voice/transfer-done`: the call to a person has ended, or never began. The caller is answered
/// even where the result cannot be kept.
pub async fn transfer_done(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        let status = required(form, "DialCallStatus")?;
        let answered = matches!(status, "completed" | "answered");
        tracing::info!(call.sid = %call_sid, status, "a transfer is over");
        let event = transfer(call_sid, status, form);
        let kept = if answered {
            app.db.doors().store_aftermath(Aftermath { event, outcome: Outcome::Transferred }).await
        } else {
            app.db.doors().store_event(event).await
        };
        if let Err(error) = kept {
            tracing::error!(call.sid = %call_sid, %error, "the result of a transfer is lost");
        }
        Ok(steer(&match answered {
            _ if is_over(form) => Twiml::new(),
            true => Twiml::new().say(GOODBYE).hangup(),
            false if status == "failed" => after_failed_dial(&app, &request, form),
            false => voicemail_box(&app),
        }))
    })
    .await
}

/// `POST /api/voice/voicemail`: the caller has left a message; it is durable before the answer.
pub async fn voicemail(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        let left = message(call_sid, form);
        let said = if left.is_some() { THANK_YOU } else { NO_MESSAGE };
        if let Some(left) = left {
            app.db.doors().store_aftermath(left).await.map_err(ApiError::unavailable)?;
            tracing::info!(call.sid = %call_sid, "a message was left");
        }
        Ok(steer(&if is_over(form) { Twiml::new() } else { Twiml::new().say(said).hangup() }))
    })
    .await
}

/// The message that was left, told by its `<Record>` action or by its recording's status, both of which may
/// come; none if it is empty. Equal recordings are one message.
pub fn message(call_sid: CallSid, form: &Form) -> Option<Aftermath> {
    let url = form.told("RecordingUrl")?;
    let seconds: u32 = form.told("RecordingDuration")?.parse().ok().filter(|&seconds| seconds > 0)?;
    // The action is not sure to get the SID (reference: twilio.md section 2.7); the URL ends in it.
    let sid = form.told("RecordingSid").or_else(|| url.rsplit('/').next()).unwrap_or_default();
    let event = Event {
        call_sid,
        at: Utc::now(),
        kind: "voicemail".to_owned(),
        data: json!({"recordingSid": sid, "recordingUrl": url, "durationSeconds": seconds}),
        dedupe_key: Some(format!("voicemail {sid}")),
    };
    Some(Aftermath { event, outcome: Outcome::Voicemail })
}

fn transfer(call_sid: CallSid, status: &str, form: &Form) -> Event {
    let dialled = form.told("DialCallSid").unwrap_or_default();
    let seconds = form.told("DialCallDuration").and_then(|seconds| seconds.parse::<u32>().ok());
    Event {
        call_sid,
        at: Utc::now(),
        kind: "transfer".to_owned(),
        data: json!({"status": status, "dialledCallSid": dialled, "durationSeconds": seconds}),
        dedupe_key: Some(format!("transfer {dialled} {status}")),
    }
}

/// The caller has hung up: what we answer is not heard.
fn is_over(form: &Form) -> bool {
    form.told("CallStatus").is_some_and(|status| status != "in-progress")
}
