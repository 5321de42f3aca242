//! Twilio's status callbacks: how calls, streams, conferences and recordings go, at Twilio.
//!
//! A callback is acknowledged with 204 when it is durable, and processed afterwards. Of its parameters only
//! those are asked for without which it would concern nobody; whatever else comes, known to us or not, is
//! kept. One that is too many is not kept, but a call that is over frees its slot all the same, and a message
//! that was left counts.

use actix_web::http::header::HeaderMap;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use actors::call::flow::person::Message;
use actors::db::webhooks::{Route, Webhook};
use actors::wire::twilio::form::Form;
use actors::wire::twilio::time::timestamp;
use chrono::Utc;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::last_resort;
use super::limits;
use super::openapi::forms;
use super::problem::ApiError;
use super::voice::{call_sid, required, signed};
use crate::app::App;

/// The statuses after which a call is over (reference: Twilio, "CallStatus").
const TERMINAL: [&str; 5] = ["completed", "busy", "failed", "no-answer", "canceled"];
/// Twilio's identifiers have 34 characters; those of load tests may have others.
const LONGEST_SID: usize = 64;
/// A longer key is told by its hash.
const LONGEST_KEY: usize = 200;
/// The same for each attempt to deliver one message (reference: twilio.md section 6.1).
const IDEMPOTENCY_TOKEN: &str = "I-Twilio-Idempotency-Token";

/// `POST /api/voice/call-status`
#[utoipa::path(
    post,
    path = "/api/voice/call-status",
    operation_id = "callStatus",
    tag = "twilio",
    summary = "The status of a call has changed",
    request_body(content = forms::CallStatus, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 204, description = "It is stored"),
        (status = 429, description = "Too many status callbacks: this one is not stored"),
    ),
)]
pub async fn call_status(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        let status = required(form, "CallStatus")?;
        if TERMINAL.contains(&status) {
            app.registry.call_over(call_sid).await.map_err(ApiError::unavailable)?;
        }
        let key = own_key([call_sid.as_str(), status], form.told("SequenceNumber"));
        store(&app, Route::CallStatus, &request, form, Some(key)).await
    })
    .await
}

/// `POST /api/voice/stream-status`
#[utoipa::path(
    post,
    path = "/api/voice/stream-status",
    operation_id = "streamStatus",
    tag = "twilio",
    summary = "A media stream has started or stopped",
    request_body(content = forms::StreamStatus, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 204, description = "It is stored"),
        (status = 429, description = "Too many status callbacks: this one is not stored"),
    ),
)]
pub async fn stream_status(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        call_sid(form)?;
        let event = required(form, "StreamEvent")?;
        let key = form.told("StreamSid").map(|stream_sid| own_key([stream_sid, event], None));
        store(&app, Route::StreamStatus, &request, form, key).await
    })
    .await
}

/// `POST /api/voice/conference-events`
#[utoipa::path(
    post,
    path = "/api/voice/conference-events",
    operation_id = "conferenceEvents",
    tag = "twilio",
    summary = "Something has happened in a conference",
    request_body(content = forms::ConferenceEvents, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 204, description = "It is stored"),
        (status = 429, description = "Too many status callbacks: this one is not stored"),
    ),
)]
pub async fn conference_events(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let conference_sid = required(form, "ConferenceSid")?;
        let event = required(form, "StatusCallbackEvent")?;
        // The same thing happens many times in one conference: only the number tells which.
        let number = form.told("SequenceNumber");
        let key = number.map(|_| own_key([conference_sid, event], number));
        store(&app, Route::ConferenceEvents, &request, form, key).await
    })
    .await
}

/// `POST /api/voice/recording-status`. A message that was left counts though its `<Record>` action never
/// came.
#[utoipa::path(
    post,
    path = "/api/voice/recording-status",
    operation_id = "recordingStatus",
    tag = "twilio",
    summary = "The status of a recording has changed",
    request_body(content = forms::RecordingStatus, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 204, description = "It is stored"),
        (status = 429, description = "Too many status callbacks: this one is not stored"),
    ),
)]
pub async fn recording_status(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let (recording_sid, status) = (required(form, "RecordingSid")?, required(form, "RecordingStatus")?);
        let is_message = status == "completed" && form.told("RecordingSource") == Some("RecordVerb");
        if is_message && let Some(message) = Message::of(form) {
            let left = last_resort::left(call_sid(form)?, &message, form);
            app.db.doors().store_aftermath(left).await.map_err(ApiError::unavailable)?;
        }
        let key = own_key([recording_sid, status], None);
        store(&app, Route::RecordingStatus, &request, form, Some(key)).await
    })
    .await
}

/// Acknowledges the callback once it is durable, unless there were too many; Twilio sends it again if it
/// could not be kept.
async fn store(
    app: &App,
    route: Route,
    request: &HttpRequest,
    form: &Form,
    own_key: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let standing = limits::callback(app, request, form.told("AccountSid")).await?;
    for field in ["CallSid", "ConferenceSid", "RecordingSid"] {
        if form.told(field).is_some_and(|sid| sid.len() > LONGEST_SID) {
            return Err(ApiError::BadRequest { field, wrong: "is too long to be an identifier" });
        }
    }
    let key = token(request.headers()).map(|token| format!("token {token}"));
    let key = key.or(own_key).filter(|key| key.len() <= LONGEST_KEY);
    let sid = |name| form.told(name).map(str::to_owned);
    let webhook = Webhook {
        route,
        dedupe_key: format!("{} {}", route.as_str(), key.unwrap_or_else(|| hash(form))),
        call_sid: sid("CallSid"),
        conference_sid: sid("ConferenceSid"),
        body: parameters(form),
        twilio_at: form.told("Timestamp").and_then(timestamp),
        received_at: Utc::now(),
    };
    app.db.doors().store_webhook(webhook).await.map_err(ApiError::unavailable)?;
    let mut acknowledgement = HttpResponse::NoContent().finish();
    standing.tell(acknowledgement.headers_mut());
    Ok(acknowledgement)
}

/// What Twilio tells the attempts to deliver one message from all others by; a blank one tells nothing.
fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(IDEMPOTENCY_TOKEN)?.to_str().ok().map(str::trim).filter(|token| !token.is_empty())
}

/// What tells one message from all others where Twilio does not: whom it concerns, what happened, and its
/// number.
fn own_key([sid, event]: [&str; 2], number: Option<&str>) -> String {
    match number {
        Some(number) => format!("{sid} {event} {number}"),
        None => format!("{sid} {event}"),
    }
}

/// A message that nothing else tells apart is the same if it says the same.
fn hash(form: &Form) -> String {
    let mut pairs: Vec<_> = form.iter().collect();
    pairs.sort_unstable();
    let mut hash = Sha256::new();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    format!("hash {:x}", hash.finalize())
}

/// All of them; one that came several times is an array.
fn parameters(form: &Form) -> Value {
    let mut parameters: Map<String, Value> = Map::new();
    for (name, value) in form.iter() {
        match parameters.get_mut(name) {
            None => drop(parameters.insert(name.to_owned(), value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
        }
    }
    Value::Object(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_if_it_says_the_same_in_any_order() {
        let of = |body: &[u8]| hash(&Form::parse(body));
        assert_eq!(of(b"a=1&b=2"), of(b"b=2&a=1"));
        assert_ne!(of(b"a=1&b=2"), of(b"a=12&b="));
        assert_ne!(of(b"a=1"), of(b"a=1&a=1"));
    }

    #[test]
    fn a_blank_idempotency_token_is_none() {
        let of = |value| {
            let mut headers = HeaderMap::new();
            let name = actix_web::http::header::HeaderName::from_static("i-twilio-idempotency-token");
            headers.insert(name, value);
            token(&headers).map(str::to_owned)
        };
        let value = actix_web::http::header::HeaderValue::from_static;
        assert_eq!(of(value("ba2f-1")).as_deref(), Some("ba2f-1"));
        assert_eq!([of(value("")), of(value("  ")), of(value("\t"))], [None, None, None]);
        assert_eq!(token(&HeaderMap::new()), None);
    }

    #[test]
    fn every_parameter_is_kept_and_every_value_of_a_repeated_one() {
        let kept = parameters(&Form::parse(b"A=1&B=&A=2&A=3"));
        assert_eq!(kept, serde_json::json!({"A": ["1", "2", "3"], "B": ""}));
    }
}
