//! Twilio's doors of a transfer to a person: what the caller meets who waits, and what the person hears who
//! is called.
//!
//! What is decided stands in [`actors::call::flow::person`]. All that has to be known of a transfer comes
//! with the request, sealed in its URL. So any process can answer it, and without a database. The result is
//! stored as events of the call's log; a caller is answered even where it cannot be kept.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use actors::call::flow::documents::{News, TRANSFER, tells};
use actors::call::flow::person::Meets;
use actors::call::flow::person::attempt::{Attempt, Way};
use actors::call::flow::person::steps::{
    AfterDial, Fate, Waits, Whisper, after_dial, while_waiting, whispered,
};
use actors::call::music::hold_music;
use actors::wire::twilio::form::Form;
use actors::wire::twilio::twiml::Twiml;

use super::openapi::forms;
use super::problem::ApiError;
use super::voice::{call_sid, required, signed, steer};
use crate::app::App;

mod carry_out;
mod story;

pub(crate) use carry_out::has_people;
use carry_out::{Brought, Transfers};
pub(super) use carry_out::{give, in_time, without_rest};

/// `POST /api/voice/transfer-done`: a caller's `<Dial>` to a person is over.
#[utoipa::path(
    post,
    path = "/api/voice/transfer-done",
    operation_id = "transferDone",
    tag = "twilio",
    summary = "The call to a person has ended, or never began",
    params(("transfer" = Option<String>, Query, description = "The transfer, sealed")),
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
        let transfers = Transfers::of(&app, form);
        let Some(attempt) = attempt(&app, &request) else {
            return Ok(steer(&transfers.after_unknown_dial(call_sid, status, form).await));
        };
        let is_bridged = form.told("DialBridged") == Some("true");
        let next = after_dial(&attempt, status, is_bridged, transfers.staff(), transfers.caller);
        let answer = match next {
            AfterDial::Farewell => {
                transfers.ended(&attempt, form).await;
                transfers.meets(Meets::Farewell)
            }
            AfterDial::Nothing { talked: true } => {
                transfers.ended(&attempt, form).await;
                Twiml::new()
            }
            AfterDial::Nothing { talked: false } => {
                transfers.tell(&attempt, "caller-hung-up").await;
                Twiml::new()
            }
            AfterDial::Again(again) => {
                transfers.tell(&attempt, Fate::Failed.as_str()).await;
                transfers.dials_again(&again)
            }
            AfterDial::Next(fate) => transfers.next(&attempt, fate).await,
        };
        Ok(steer(&answer))
    })
    .await
}

/// `POST /api/voice/queue-wait`: a caller who waits for a person has heard a piece of music, or has pressed a
/// key; or somebody is alone in the conference.
#[utoipa::path(
    post,
    path = "/api/voice/queue-wait",
    operation_id = "queueWait",
    tag = "twilio",
    summary = "A caller waits for a person",
    description = "Answers with news and music, or with what comes next.",
    params(("transfer" = Option<String>, Query, description = "The transfer, sealed")),
    request_body(content = forms::Waiting, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 200, description = "TwiML", content_type = "text/xml", body = String),
    ),
)]
pub async fn queue_wait(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let transfers = Transfers::of(&app, form);
        let Some(attempt) = attempt(&app, &request) else {
            tracing::warn!("a caller who waits comes without a transfer: the voicemail box answers");
            return Ok(steer(&transfers.meets(Meets::VoicemailBox)));
        };
        let is_caller = form.told("CallSid").is_none_or(|sid| sid == attempt.call_sid.as_str());
        let answer = match attempt.way {
            Way::Room if is_caller => transfers.caller_alone(&attempt).await,
            Way::Room => transfers.person_alone(&attempt, form).await,
            Way::Waiting | Way::Cold | Way::Dial => waiting(&transfers, &attempt, form).await,
        };
        Ok(steer(&answer))
    })
    .await
}

async fn waiting(transfers: &Transfers<'_>, attempt: &Attempt, form: &Form) -> Twiml {
    let key = form.told("Digits");
    let person = if key.is_none() { transfers.fate_of_person(attempt).await } else { None };
    match while_waiting(attempt, transfers.caller, key, person, transfers.now) {
        Waits::Music => transfers.waits(attempt, News::Still),
        Waits::Next(fate) => {
            transfers.hangs_up_person(attempt, fate == Fate::TimedOut);
            transfers.next(attempt, fate).await
        }
        Waits::Message => {
            transfers.hangs_up_person(attempt, true);
            transfers.tell(attempt, "message").await;
            transfers.meets(Meets::VoicemailBox)
        }
        Waits::Nothing => {
            transfers.hangs_up_person(attempt, true);
            Twiml::new()
        }
    }
}

/// `POST /api/voice/whisper`: the person who was called has answered, or has pressed a key.
#[utoipa::path(
    post,
    path = "/api/voice/whisper",
    operation_id = "whisper",
    tag = "twilio",
    summary = "A person who was called has answered, or has pressed a key",
    description = "The person hears who is calling and why. The key 1 takes the call.",
    params(("transfer" = Option<String>, Query, description = "The transfer, sealed")),
    request_body(content = forms::Waiting, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 200, description = "TwiML", content_type = "text/xml", body = String),
    ),
)]
pub async fn whisper(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let transfers = Transfers::of(&app, form);
        let sentences = transfers.sentences;
        let says = |sentence| tells(Twiml::new(), sentences, sentence);
        let Some(attempt) = attempt(&app, &request) else { return Ok(steer(&says(sentences.is_gone))) };
        let answer = match whispered(&attempt, form.told("Digits"), transfers.now) {
            Whisper::Announcement => app.voice.documents.whispers(&attempt, sentences),
            Whisper::Declined => {
                transfers.tell(&attempt, "declined").await;
                says(sentences.not_taken)
            }
            Whisper::TooLate => {
                transfers.tell(&attempt, "too-late").await;
                says(sentences.is_gone)
            }
            Whisper::Taken if attempt.way == Way::Dial => {
                transfers.taken(&attempt).await;
                Twiml::new() // its end connects both
            }
            Whisper::Taken => match transfers.brings_caller(&attempt).await {
                Brought::There(room) => {
                    transfers.taken(&attempt).await;
                    app.voice.documents.joins(&room, sentences)
                }
                Brought::Gone => {
                    transfers.tell(&attempt, "caller-hung-up").await;
                    says(sentences.has_hung_up)
                }
                Brought::NotYet => app.voice.documents.puts_off(&attempt),
            },
        };
        Ok(steer(&answer))
    })
    .await
}

/// `GET /hold-music.wav`: what a caller hears who waits. Twilio fetches it, unsigned, and keeps it.
#[utoipa::path(
    get,
    path = "/hold-music.wav",
    operation_id = "holdMusic",
    tag = "twilio",
    summary = "The music for callers who wait",
    responses(
        (status = 200, description = "5 s of μ-law", content_type = "audio/wav", body = Vec<u8>),
    ),
)]
pub async fn music() -> HttpResponse {
    static MUSIC: LazyLock<Bytes> = LazyLock::new(|| hold_music().into());
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "audio/wav"))
        .insert_header((CACHE_CONTROL, "public, max-age=86400"))
        .body(MUSIC.clone())
}

/// The transfer that the URL names. One that no process of this service has sealed is none.
fn attempt(app: &App, request: &HttpRequest) -> Option<Attempt> {
    let query = Form::parse(request.query_string().as_bytes());
    app.voice.documents.attempt(query.get(TRANSFER)?)
}
