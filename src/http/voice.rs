//! Twilio's doors: the webhooks that steer a call, which are answered with TwiML, and its media stream.
//!
//! Nothing of a request is believed before its signature holds. What steers a call is answered in time, and
//! whatever fails here.

use std::rc::Rc;
use std::time::Duration;

use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actors::call::conversation::Next;
use actors::call::pump::Pump;
use actors::db::record::NextStep;
use actors::registry::{Admission, AfterStream, RegistryDown};
use actors::wire::twilio::form::Form;
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::signature::{HEADER, SETTINGS_HEADER, Signature, SignatureError, Tried, Validator};
use actors::wire::twilio::stream;
use actors::wire::twilio::token::{TOKEN_PARAMETER, TokenKey};
use actors::wire::twilio::twiml::{self, ConnectStream, Twiml};
use chrono::Utc;
use tokio::time::{sleep, timeout};
use tracing::{Instrument as _, Span};
use url::Url;

use super::last_resort::{CALLER_ID, OURS, person_or_voicemail, voicemail_box};
use super::problem::ApiError;
use super::resume;
use crate::app::App;
use crate::connections::Connection;

const FULL_HOUSE: &str = "Thank you for calling. All our lines are busy at the moment. Please call again in a few minutes. Goodbye.";
/// Twilio waits 5 s for an answer (see [`twiml::DELIVERY_FRAGMENT`]): the last resort is answered before.
const STEERED_WITHIN: Duration = Duration::from_secs(4);
/// The pause before the registry is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// The pause before a caller asks again who is to meet another instance.
const ELSEWHERE_SECONDS: u32 = 1;
/// The query parameter by which the URL of `after-stream` names its stream.
const EPOCH: &str = "epoch";

/// What Twilio's doors need besides the app's parts.
pub struct Voice {
    /// None where `BYPASS_TWILIO_VALIDATION` is set.
    pub validator: Option<Validator>,
    pub tokens: TokenKey,
    pub pump: Pump,
    pub(super) urls: Urls,
}

/// The URLs we hand out, without fragment.
pub(super) struct Urls {
    incoming: String,
    after_stream: Url,
    stream: String,
    stream_status: String,
    pub(super) transfer_done: String,
    /// The same, where the person was called from our own number.
    pub(super) transfer_from_us_done: String,
    pub(super) voicemail: String,
    pub(super) recording_status: String,
}

impl Voice {
    /// `public_url` is the origin that Twilio sees; its scheme decides the stream's.
    pub fn new(public_url: &Url, validator: Option<Validator>, tokens: TokenKey, pump: Pump) -> Self {
        let origin = public_url.origin().ascii_serialization();
        let websocket = origin.replacen("http", "ws", 1);
        let door = |name| format!("{origin}/api/voice/{name}");
        let mut after_stream = public_url.clone();
        after_stream.set_path("/api/voice/after-stream");
        let urls = Urls {
            incoming: door("incoming"),
            after_stream,
            stream: format!("{websocket}/api/voice/stream"),
            stream_status: door("stream-status"),
            transfer_done: door("transfer-done"),
            transfer_from_us_done: format!("{}?{CALLER_ID}={OURS}", door("transfer-done")),
            voicemail: door("voicemail"),
            recording_status: door("recording-status"),
        };
        Self { validator, tokens, pump, urls }
    }

    /// Where Twilio asks what comes after the stream of `epoch`; Twilio retries it as it does our webhooks.
    pub fn after_stream_url(&self, epoch: u32) -> Url {
        let mut url = self.after_stream(Some(epoch));
        url.set_fragment(Some(&twiml::DELIVERY_FRAGMENT[1..]));
        url
    }

    /// The epoch is named, so that a process which cannot ask the database knows how far the call has come.
    fn after_stream(&self, epoch: Option<u32>) -> Url {
        let mut url = self.urls.after_stream.clone();
        if let Some(epoch) = epoch {
            url.query_pairs_mut().append_pair(EPOCH, &epoch.to_string());
        }
        url
    }

    /// The media stream of `epoch`, with its one-time token.
    fn connect(&self, call_sid: CallSid, epoch: u32) -> Twiml {
        let token = self.tokens.mint(call_sid, epoch, Utc::now().timestamp().unsigned_abs());
        Twiml::new().connect_stream(ConnectStream {
            action: self.after_stream(Some(epoch)).as_str(),
            stream_url: &self.urls.stream,
            status_callback: &self.urls.stream_status,
            parameters: &[(TOKEN_PARAMETER, &token)],
        })
    }
}

/// `POST /api/voice/incoming`: a call rings.
pub async fn incoming(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        tracing::info!(call.sid = %call_sid, "a call rings");
        let answer = in_time(&app, form, async || {
            Ok(match admit(&app, call_sid, form).await? {
                Admission::Admitted { epoch } => app.voice.connect(call_sid, epoch),
                Admission::Full => Twiml::new().say(FULL_HOUSE).hangup(),
                Admission::Elsewhere => elsewhere(&app.voice.urls.incoming),
            })
        });
        Ok(steer(&answer.await))
    })
    .await
}

/// `POST /api/voice/after-stream`: the media stream has ended; what comes next?
pub async fn after_stream(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        if form.told("CallStatus").is_some_and(|status| status != "in-progress") {
            app.registry.call_over(call_sid).await.map_err(ApiError::unavailable)?;
            return Ok(steer(&Twiml::new()));
        }
        let last_epoch = last_epoch(&request);
        let next = in_time(&app, form, async || what_next(&app, call_sid, last_epoch, form).await);
        Ok(steer(&next.await))
    })
    .await
}

/// What the registry lets us answer; it is asked again while it restarts. Without an answer in time, the last
/// resort.
async fn in_time(app: &App, form: &Form, answer: impl AsyncFn() -> Result<Twiml, RegistryDown>) -> Twiml {
    let asked = timeout(STEERED_WITHIN, async {
        loop {
            match answer().await {
                Ok(answer) => return Some(answer),
                Err(RegistryDown) if app.is_worn_out() => return None,
                Err(RegistryDown) => sleep(ASK_AGAIN_AFTER).await,
            }
        }
    });
    if let Ok(Some(answer)) = asked.await {
        return answer;
    }
    tracing::error!("a call meets the last resort: the registry does not answer in time");
    person_or_voicemail(app, form)
}

async fn what_next(
    app: &App,
    call_sid: CallSid,
    last_epoch: Option<u32>,
    form: &Form,
) -> Result<Twiml, RegistryDown> {
    let after = app.registry.after_stream(call_sid, last_epoch).await?;
    tracing::info!(call.sid = %call_sid, ?after, "what comes after the stream");
    Ok(match after {
        AfterStream::Decided(Next::Nothing) => Twiml::new().hangup(),
        AfterStream::Decided(Next::Human) | AfterStream::GiveUp => person_or_voicemail(app, form),
        AfterStream::Decided(Next::Elsewhere) => elsewhere(app.voice.after_stream(last_epoch)),
        AfterStream::Resume { epoch } => app.voice.connect(call_sid, epoch),
        AfterStream::Unknown => unknown(app, call_sid, last_epoch, form).await?,
    })
}

/// A call that this process does not know: another one has decided what comes next, or had it on the line.
async fn unknown(
    app: &App,
    call_sid: CallSid,
    last_epoch: Option<u32>,
    form: &Form,
) -> Result<Twiml, RegistryDown> {
    let decided = resume::decided(call_sid, async || app.db.doors().decided(call_sid).await).await;
    Ok(match decided {
        Some(NextStep::HangUp) => Twiml::new().hangup(),
        Some(NextStep::Human) => person_or_voicemail(app, form),
        Some(NextStep::Voicemail) => voicemail_box(app),
        Some(NextStep::HandedOver) | None => match take_up(app, call_sid, last_epoch, form).await? {
            Admission::Admitted { epoch } => app.voice.connect(call_sid, epoch),
            Admission::Full => person_or_voicemail(app, form),
            Admission::Elsewhere => elsewhere(app.voice.after_stream(last_epoch)),
        },
    })
}

/// The caller is asked to wait a moment, and comes back to this door, behind which another instance may be
/// then.
fn elsewhere(door: impl AsRef<str>) -> Twiml {
    Twiml::new().pause(ELSEWHERE_SECONDS).redirect(door.as_ref())
}

/// The call goes on here, with as much of its history as can be had.
async fn take_up(
    app: &App,
    call_sid: CallSid,
    last_epoch: Option<u32>,
    form: &Form,
) -> Result<Admission, RegistryDown> {
    let past = app.past(call_sid, last_epoch).await;
    if past.is_blank() {
        return admit(app, call_sid, form).await;
    }
    tracing::info!(call.sid = %call_sid, past.is_whole, "a call of another process is taken up");
    let text = |name| form.told(name).unwrap_or_default().to_owned();
    app.registry.take_up(call_sid, text("From"), text("To"), past).await
}

/// `GET /api/voice/stream`: Twilio opens the media stream.
pub async fn stream(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    if let Some(validator) = &app.voice.validator {
        validator
            .verify_upgrade(path_and_query(&request), signature(&request))
            .map_err(|cause| forged(&app, cause, &validator.stream_urls(path_and_query(&request))))?;
    }
    let (response, incoming, outgoing) = stream::accept(&request, payload)?;
    if let Some(connection) = request.conn_data::<Rc<Connection>>() {
        connection.becomes_call();
    }
    actix_rt::spawn(app.voice.pump.clone().run(incoming, outgoing));
    Ok(response)
}

async fn admit(app: &App, call_sid: CallSid, form: &Form) -> Result<Admission, RegistryDown> {
    let text = |name| form.told(name).unwrap_or_default().to_owned();
    app.registry.admit(call_sid, text("From"), text("To")).await
}

/// Answers a webhook if its signature holds, as a span in the trace of the call that it names.
pub(super) async fn signed(
    app: &App,
    request: &HttpRequest,
    body: &[u8],
    answer: impl AsyncFnOnce(&Form) -> Result<HttpResponse, ApiError>,
) -> Result<HttpResponse, ApiError> {
    if let Some(validator) = &app.voice.validator {
        validator
            .verify_form(path_and_query(request), body, signature(request))
            .map_err(|cause| forged(app, cause, &validator.webhook_urls(path_and_query(request))))?;
    }
    let form = Form::parse(body);
    let span = call_sid(&form).map_or_else(
        |_| Span::none(),
        |call_sid| tracing::info_span!("webhook", call.sid = %call_sid, route = request.path()),
    );
    answer(&form).instrument(span).await
}

fn forged(app: &App, cause: SignatureError, tried: &Tried) -> ApiError {
    app.requests.forged.inc();
    let url = tried.url();
    tracing::warn!(%cause, url, candidates = %tried, "a request was refused: not signed by Twilio");
    ApiError::Forbidden
}

fn signature(request: &HttpRequest) -> Signature<'_> {
    // A value that is no text names no key and is no signature.
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    Signature { value: header(HEADER).unwrap_or_default(), settings: header(SETTINGS_HEADER) }
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

pub(super) fn required<'a>(form: &'a Form, field: &'static str) -> Result<&'a str, ApiError> {
    form.told(field).ok_or(ApiError::BadRequest { field, wrong: "is missing" })
}

pub(super) fn steer(answer: &Twiml) -> HttpResponse {
    HttpResponse::Ok().content_type(twiml::CONTENT_TYPE).body(answer.render())
}
