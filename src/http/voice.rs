//! Twilio's doors: the webhooks that steer a call, which are answered with TwiML, and its media stream.
//!
//! Nothing of a request is believed before its signature holds.

use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actors::call::conversation::Next;
use actors::call::pump::Pump;
use actors::db::record::NextStep;
use actors::registry::{Admission, AfterStream};
use actors::wire::twilio::form::Form;
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::signature::Validator;
use actors::wire::twilio::stream;
use actors::wire::twilio::token::{TOKEN_PARAMETER, TokenKey};
use actors::wire::twilio::twiml::{self, ConnectStream, Dial, Twiml};
use chrono::Utc;
use url::Url;

use super::problem::ApiError;
use crate::app::App;

const FULL_HOUSE: &str = "Thank you for calling. All our lines are busy at the moment. Please call again in a few minutes. Goodbye.";
const CONNECTING_YOU: &str = "One moment please, I am connecting you.";
const GOODBYE: &str = "Thank you for calling. Goodbye.";
const NOBODY: &str =
    "We are sorry, we cannot take your call right now. Please call again in a few minutes. Goodbye.";
/// How long the person who takes over is rung.
const RING_SECONDS: u32 = 30;
/// The query parameter by which the URL of `after-stream` names its stream.
const EPOCH: &str = "epoch";

/// What Twilio's doors need besides the app's parts.
pub struct Voice {
    /// None where `BYPASS_TWILIO_VALIDATION` is set.
    pub validator: Option<Validator>,
    pub tokens: TokenKey,
    pub pump: Pump,
    urls: Urls,
}

/// The URLs we hand out, without fragment.
struct Urls {
    after_stream: Url,
    stream: String,
    stream_status: String,
}

impl Voice {
    /// `public_url` is the origin that Twilio sees; its scheme decides the stream's.
    pub fn new(public_url: &Url, validator: Option<Validator>, tokens: TokenKey, pump: Pump) -> Self {
        let origin = public_url.origin().ascii_serialization();
        let websocket = origin.replacen("http", "ws", 1);
        let mut after_stream = public_url.clone();
        after_stream.set_path("/api/voice/after-stream");
        let urls = Urls {
            after_stream,
            stream: format!("{websocket}/api/voice/stream"),
            stream_status: format!("{origin}/api/voice/stream-status"),
        };
        Self { validator, tokens, pump, urls }
    }

    /// Where Twilio asks what comes after the stream of `epoch`; Twilio retries it as it does our webhooks.
    pub fn after_stream_url(&self, epoch: u32) -> Url {
        let mut url = self.after_stream(epoch);
        url.set_fragment(Some(&twiml::DELIVERY_FRAGMENT[1..]));
        url
    }

    /// The epoch is named, so that a process which cannot ask the database knows how far the call has come.
    fn after_stream(&self, epoch: u32) -> Url {
        let mut url = self.urls.after_stream.clone();
        url.query_pairs_mut().append_pair(EPOCH, &epoch.to_string());
        url
    }

    /// The media stream of `epoch`, with its one-time token.
    fn connect(&self, call_sid: CallSid, epoch: u32) -> Twiml {
        let token = self.tokens.mint(call_sid, epoch, Utc::now().timestamp().unsigned_abs());
        Twiml::new().connect_stream(ConnectStream {
            action: self.after_stream(epoch).as_str(),
            stream_url: &self.urls.stream,
            status_callback: &self.urls.stream_status,
            parameters: &[(TOKEN_PARAMETER, &token)],
        })
    }
}

/// `POST /api/voice/incoming`: a call rings.
pub async fn incoming(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    let form = signed_form(&app, &request, &body)?;
    let call_sid = call_sid(&form)?;
    tracing::info!(call.sid = %call_sid, "a call rings");
    let answer = match admit(&app, call_sid, &form).await? {
        Admission::Admitted { epoch } => app.voice.connect(call_sid, epoch),
        Admission::Full => Twiml::new().say(FULL_HOUSE).hangup(),
        // Twilio tries again, and then meets another instance or the next process.
        Admission::Draining => return Err(ApiError::NotReady("no new calls: this instance is draining")),
    };
    Ok(steer(&answer))
}

/// `POST /api/voice/after-stream`: the media stream has ended; what comes next?
pub async fn after_stream(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let form = signed_form(&app, &request, &body)?;
    let call_sid = call_sid(&form)?;
    if form.get("CallStatus").is_some_and(|status| status != "in-progress") {
        app.registry.call_over(call_sid).await.map_err(ApiError::unavailable)?;
        return Ok(steer(&Twiml::new()));
    }
    let after = app.registry.after_stream(call_sid).await.map_err(ApiError::unavailable)?;
    tracing::info!(call.sid = %call_sid, ?after, "what comes after the stream");
    Ok(steer(&match after {
        AfterStream::Decided(Next::Nothing) => Twiml::new().hangup(),
        AfterStream::Decided(Next::Human) | AfterStream::GiveUp => human(&app),
        AfterStream::Resume { epoch } => app.voice.connect(call_sid, epoch),
        AfterStream::Unknown => return unknown(&app, call_sid, last_epoch(&request), &form).await,
    }))
}

/// A call that this process does not know: another one has decided what comes next, or had it on the line.
async fn unknown(
    app: &App,
    call_sid: CallSid,
    last_epoch: Option<u32>,
    form: &Form,
) -> Result<HttpResponse, ApiError> {
    let decided = app.db.decided(call_sid).await.unwrap_or_default();
    let answer = match decided {
        Some(NextStep::HangUp) => Twiml::new().hangup(),
        Some(NextStep::Human | NextStep::Voicemail) => human(app),
        None => match take_up(app, call_sid, last_epoch, form).await? {
            Admission::Admitted { epoch } => app.voice.connect(call_sid, epoch),
            Admission::Full | Admission::Draining => human(app),
        },
    };
    Ok(steer(&answer))
}

/// The call goes on here, with as much of its history as can be had.
async fn take_up(
    app: &App,
    call_sid: CallSid,
    last_epoch: Option<u32>,
    form: &Form,
) -> Result<Admission, ApiError> {
    let past = app.past(call_sid, last_epoch).await;
    if past.is_blank() {
        return admit(app, call_sid, form).await;
    }
    tracing::info!(call.sid = %call_sid, past.is_whole, "a call of another process is taken up");
    let text = |name| form.get(name).unwrap_or_default().to_owned();
    app.registry.take_up(call_sid, text("From"), text("To"), past).await.map_err(ApiError::unavailable)
}

/// `GET /api/voice/stream`: Twilio opens the media stream.
pub async fn stream(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    if let Some(validator) = &app.voice.validator {
        validator.verify_upgrade(path_and_query(&request), signature(&request)).map_err(forged)?;
    }
    let (response, incoming, outgoing) = stream::accept(&request, payload)?;
    actix_rt::spawn(app.voice.pump.clone().run(incoming, outgoing));
    Ok(response)
}

async fn admit(app: &App, call_sid: CallSid, form: &Form) -> Result<Admission, ApiError> {
    let text = |name| form.get(name).unwrap_or_default().to_owned();
    app.registry.admit(call_sid, text("From"), text("To")).await.map_err(ApiError::unavailable)
}

/// A person takes over, if there is one; else the caller is told so.
fn human(app: &App) -> Twiml {
    match &app.settings.twilio.human_fallback_number {
        Some(number) => Twiml::new()
            .say(CONNECTING_YOU)
            .dial(Dial { number, action: None, timeout_seconds: RING_SECONDS })
            .say(GOODBYE) // whether or not the person answered
            .hangup(),
        None => Twiml::new().say(NOBODY).hangup(),
    }
}

/// Believes a webhook only if its signature holds.
pub(super) fn signed_form(app: &App, request: &HttpRequest, body: &[u8]) -> Result<Form, ApiError> {
    if let Some(validator) = &app.voice.validator {
        validator.verify_form(path_and_query(request), body, signature(request)).map_err(forged)?;
    }
    Ok(Form::parse(body))
}

fn forged(cause: impl std::fmt::Display) -> ApiError {
    tracing::warn!(%cause, "a request was refused: not signed by Twilio");
    ApiError::Forbidden
}

fn signature(request: &HttpRequest) -> &str {
    let header = request.headers().get("X-Twilio-Signature");
    header.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn path_and_query(request: &HttpRequest) -> &str {
    request.uri().path_and_query().map_or("/", |path| path.as_str())
}

/// The epoch that the URL of `after-stream` names.
fn last_epoch(request: &HttpRequest) -> Option<u32> {
    Form::parse(request.query_string().as_bytes()).get(EPOCH)?.parse().ok()
}

pub(super) fn call_sid(form: &Form) -> Result<CallSid, ApiError> {
    let wrong = "must be `CA` and 32 hexadecimal digits";
    required(form, "CallSid")?.parse().map_err(|_| ApiError::BadRequest { field: "CallSid", wrong })
}

fn required<'a>(form: &'a Form, field: &'static str) -> Result<&'a str, ApiError> {
    form.get(field).ok_or(ApiError::BadRequest { field, wrong: "is missing" })
}

fn steer(answer: &Twiml) -> HttpResponse {
    HttpResponse::Ok().content_type(twiml::CONTENT_TYPE).body(answer.render())
}
