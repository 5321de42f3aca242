//! The last resort: what a caller meets when the agent cannot be had. A person if there is one, else a
//! voicemail box; never silence.
//!
//! The documents are made from settings alone. What came of them is stored as the call's aftermath.

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use actors::call::end::Outcome;
use actors::call::flow::documents::{CALLER_ID, OURS};
use actors::call::flow::person::{
    Caller, Message, Staff, after_dial, after_message, is_answered, person_or_voicemail,
};
use actors::db::record::{Aftermath, Event};
use actors::wire::twilio::form::Form;
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::twiml::Twiml;
use chrono::Utc;
use serde_json::json;

use super::openapi::forms;
use super::problem::ApiError;
use super::voice::{call_sid, required, signed, steer};
use crate::app::App;

/// A person takes over, if there is one; else the caller may leave a message. Needs nobody's answer. `form`
/// is the webhook that is answered: it names the caller.
pub fn without_agent(app: &App, form: &Form) -> Twiml {
    app.voice.documents.meets(person_or_voicemail(staff(app), Caller::of(form)))
}

fn staff(app: &App) -> Staff<'_> {
    let twilio = &app.settings.twilio;
    Staff { person: twilio.human_fallback_number.as_deref(), ours: twilio.from_number.as_deref() }
}

/// `POST /api/voice/fallback`: our own redirect of last resort. It works without database and registry.
#[utoipa::path(
    post,
    path = "/api/voice/fallback",
    operation_id = "fallback",
    tag = "twilio",
    summary = "The last resort: a person, or the voicemail",
    description = "Needs neither the database nor the registry.",
    request_body(content = forms::LastResort, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 200, description = "TwiML", content_type = "text/xml", body = String),
    ),
)]
pub async fn fallback(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| Ok(steer(&without_agent(&app, form)))).await
}

/// `POST /api/voice/transfer-done`: the call to a person has ended, or never began. The caller is answered
/// even where the result cannot be kept.
#[utoipa::path(
    post,
    path = "/api/voice/transfer-done",
    operation_id = "transferDone",
    tag = "twilio",
    summary = "The call to a person has ended, or never began",
    params(("caller-id" = Option<String>, Query, description = "`ours`: the person was called from our own number")),
    request_body(content = forms::TransferDone, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 200, description = "TwiML", content_type = "text/xml", body = String),
    ),
)]
pub async fn transfer_done(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        let status = required(form, "DialCallStatus")?;
        tracing::info!(call.sid = %call_sid, status, "a transfer is over");
        let event = transfer(call_sid, status, form);
        let kept = if is_answered(status) {
            app.db
                .doors()
                .store_aftermath(Aftermath { event, outcome: Outcome::Transferred, from: None })
                .await
        } else {
            app.db.doors().store_event(event).await
        };
        if let Err(error) = kept {
            tracing::error!(call.sid = %call_sid, %error, "the result of a transfer is lost");
        }
        let was_ours = Form::parse(request.query_string().as_bytes()).get(CALLER_ID) == Some(OURS);
        let meets = after_dial(status, was_ours, staff(&app), Caller::of(form));
        Ok(steer(&app.voice.documents.meets(meets)))
    })
    .await
}

/// `POST /api/voice/voicemail`: the caller has left a message; it is durable before the answer.
#[utoipa::path(
    post,
    path = "/api/voice/voicemail",
    operation_id = "voicemail",
    tag = "twilio",
    summary = "The caller has left a message",
    request_body(content = forms::MessageLeft, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 200, description = "TwiML", content_type = "text/xml", body = String),
    ),
)]
pub async fn voicemail(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        let message = Message::of(form);
        if let Some(message) = &message {
            app.db
                .doors()
                .store_aftermath(left(call_sid, message, form))
                .await
                .map_err(ApiError::unavailable)?;
            tracing::info!(call.sid = %call_sid, "a message was left");
        }
        Ok(steer(&app.voice.documents.meets(after_message(message.as_ref(), Caller::of(form)))))
    })
    .await
}

/// The message as it is kept. Equal recordings are one message.
pub fn left(call_sid: CallSid, message: &Message<'_>, form: &Form) -> Aftermath {
    let Message { recording_sid: sid, recording_url: url, seconds } = message;
    let event = Event {
        call_sid,
        at: Utc::now(),
        kind: "voicemail".to_owned(),
        data: json!({"recordingSid": sid, "recordingUrl": url, "durationSeconds": seconds}),
        dedupe_key: Some(format!("voicemail {sid}")),
    };
    Aftermath { event, outcome: Outcome::Voicemail, from: form.told("From").map(str::to_owned) }
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
