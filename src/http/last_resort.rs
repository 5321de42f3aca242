//! The last resort: what a caller meets when the agent cannot be had. A person if there is one, else a
//! voicemail box; never silence.
//!
//! The documents are made from settings alone. What came of them is stored as the call's aftermath.

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use actors::call::end::Outcome;
use actors::call::flow::person::{Caller, Message, after_message};
use actors::call::sentences::Sentences;
use actors::db::record::{Aftermath, Event};
use actors::wire::twilio::form::Form;
use actors::wire::twilio::sid::CallSid;
use chrono::Utc;
use serde_json::json;

use super::openapi::forms;
use super::problem::ApiError;
use super::transfer;
use super::voice::{call_sid, signed, steer};
use crate::app::App;

/// `POST /api/voice/fallback`: our own redirect of last resort. It works without database and registry.
#[utoipa::path(
    post,
    path = "/api/voice/fallback",
    operation_id = "fallback",
    tag = "twilio",
    summary = "The last resort: a person, or the voicemail",
    description = "Needs neither the database nor the registry, nor Twilio's REST API.",
    request_body(content = forms::LastResort, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 200, description = "TwiML", content_type = "text/xml", body = String),
    ),
)]
pub async fn fallback(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| Ok(steer(&transfer::without_rest(&app, form)))).await
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
        let sentences = Sentences::of(&app.persona.now().language);
        let meets = after_message(message.as_ref(), Caller::of(form));
        Ok(steer(&app.voice.documents.meets(meets, sentences)))
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
