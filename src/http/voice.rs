//! Twilio's doors: the webhooks that steer a call, which are answered with TwiML, and its media stream.
//!
//! Nothing of a request is believed before its signature holds. What steers a call is answered in time, and
//! whatever fails here.

use std::rc::Rc;
use std::time::Duration;

use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actors::backoff::jittered;
use actors::call::flow::documents::{self, Documents, EPOCH};
use actors::call::flow::person::seal::Seal;
use actors::call::flow::person::steps::Wish;
use actors::call::flow::person::{Caller, Meets};
use actors::call::flow::resume::agent_goes_on;
use actors::call::pump::Pump;
use actors::call::sentences::Sentences;
use actors::db::record::NextStep;
use actors::registry::{Answer, RegistryDown};
use actors::wire::twilio::form::Form;
use actors::wire::twilio::rest::TwilioApi;
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::signature::{HEADER, SETTINGS_HEADER, Signature, SignatureError, Tried, Validator};
use actors::wire::twilio::stream;
use actors::wire::twilio::token::TokenKey;
use actors::wire::twilio::twiml::{self, Twiml};
use chrono::Utc;
use tokio::time::{sleep, timeout};
use tracing::{Instrument as _, Span};
use url::Url;

use super::openapi::forms;
use super::problem::ApiError;
use super::transfer;
use crate::app::App;
use crate::connections::Connection;
use crate::resume;

/// Twilio waits 5 s for an answer (see [`twiml::DELIVERY_FRAGMENT`]): the last resort is answered before.
const STEERED_WITHIN: Duration = Duration::from_secs(4);
/// The pause before the registry is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What Twilio's doors need besides the app's parts.
pub struct Voice {
    /// None where `BYPASS_TWILIO_VALIDATION` is set.
    pub validator: Option<Validator>,
    pub tokens: TokenKey,
    pub pump: Pump,
    pub documents: Documents,
    /// The way to the REST API, where an account is named; it answers in time for a webhook.
    pub rest: Option<TwilioApi>,
}

impl Voice {
    /// `public_url` is the origin that Twilio sees; its scheme decides the stream's.
    pub fn new(
        public_url: &Url,
        validator: Option<Validator>,
        (tokens, seal): (TokenKey, Seal),
        pump: Pump,
        rest: Option<TwilioApi>,
    ) -> Self {
        let documents = Documents::at(public_url, seal);
        Self { validator, tokens, pump, documents, rest: transfer::in_time(rest) }
    }

    /// The media stream of `epoch`, with its one-time token.
    fn connect(&self, call_sid: CallSid, epoch: u32) -> Twiml {
        let token = self.tokens.mint(call_sid, epoch, Utc::now().timestamp().unsigned_abs());
        self.documents.connect(epoch, &token)
    }
}

/// `POST /api/voice/incoming`: a call rings.
#[utoipa::path(
    post,
    path = "/api/voice/incoming",
    operation_id = "incoming",
    tag = "twilio",
    summary = "A call rings",
    request_body(content = forms::Ringing, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 200, description = "TwiML", content_type = "text/xml", body = String),
    ),
)]
pub async fn incoming(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        tracing::info!(call.sid = %call_sid, "a call rings");
        let answer = in_time(&app, form, async || {
            let [from, to] = from_and_to(form);
            let answer = app.registry.admit(call_sid, from, to).await?;
            Ok(told(&app, call_sid, answer, form, app.voice.documents.incoming()).await)
        });
        Ok(steer(&answer.await))
    })
    .await
}

/// `POST /api/voice/after-stream`: the media stream has ended; what comes next?
#[utoipa::path(
    post,
    path = "/api/voice/after-stream",
    operation_id = "afterStream",
    tag = "twilio",
    summary = "A media stream has ended: what comes next?",
    params(("epoch" = Option<u32>, Query, description = "The stream that has ended")),
    request_body(content = forms::AfterStream, content_type = "application/x-www-form-urlencoded", description = "As Twilio sends it, with further parameters; at most 64 KiB"),
    responses(
        (status = 200, description = "TwiML", content_type = "text/xml", body = String),
    ),
)]
pub async fn after_stream(
    app: Data<App>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    signed(&app, &request, &body, async |form| {
        let call_sid = call_sid(form)?;
        if Caller::of(form).has_hung_up {
            app.registry.call_over(call_sid).await.map_err(ApiError::unavailable)?;
            return Ok(steer(&Twiml::new()));
        }
        let last_epoch = last_epoch(&request);
        let here = app.voice.documents.after_stream(last_epoch);
        let next = in_time(&app, form, async || {
            let answer = what_next(&app, call_sid, last_epoch, form).await?;
            tracing::info!(call.sid = %call_sid, ?answer, "what comes after the stream");
            Ok(told(&app, call_sid, answer, form, here.as_str()).await)
        });
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
                Err(RegistryDown) => sleep(jittered(ASK_AGAIN_AFTER, rand::random())).await,
            }
        }
    });
    if let Ok(Some(answer)) = asked.await {
        return answer;
    }
    tracing::error!("a call meets the last resort: the registry does not answer in time");
    transfer::without_rest(app, form)
}

/// What the registry knows; of a call that it does not know, what another process decided. A call that
/// another process had on the line goes on here, with as much of its history as can be had.
async fn what_next(
    app: &App,
    call_sid: CallSid,
    last_epoch: Option<u32>,
    form: &Form,
) -> Result<Answer, RegistryDown> {
    if let Some(answer) = app.registry.after_stream(call_sid, last_epoch).await? {
        return Ok(answer);
    }
    let decided = resume::decided(call_sid, async || app.db.doors().decided(call_sid).await).await;
    if let Err(next) = agent_goes_on(decided) {
        return Ok(Answer::Next(next));
    }
    let past = resume::past(&app.db, call_sid, last_epoch).await;
    tracing::info!(call.sid = %call_sid, past.is_whole, "a call that this process does not know is taken up");
    let [from, to] = from_and_to(form);
    app.registry.take_up(call_sid, from, to, past).await
}

/// The answer as Twilio reads it. `here`: the door at which the call may ask again.
async fn told(app: &App, call_sid: CallSid, answer: Answer, form: &Form, here: &str) -> Twiml {
    match answer {
        Answer::Connect { epoch } => app.voice.connect(call_sid, epoch),
        Answer::FullHouse => documents::full_house(),
        Answer::Next(NextStep::Human) => {
            let asked = app.db.doors().transfer_asked(call_sid).await;
            let (destination, reason) = (asked.destination.as_deref(), asked.reason.as_deref());
            transfer::give(app, form, Wish { destination, reason }).await
        }
        Answer::Next(NextStep::Voicemail) => {
            let sentences = Sentences::of(&app.persona.now().language);
            app.voice.documents.meets(Meets::VoicemailBox, sentences)
        }
        Answer::Next(NextStep::HangUp) => Twiml::new().hangup(),
        Answer::Next(NextStep::HandedOver) => documents::ask_again(here),
    }
}

fn from_and_to(form: &Form) -> [String; 2] {
    ["From", "To"].map(|name| form.told(name).unwrap_or_default().to_owned())
}

/// `GET /api/voice/stream`: Twilio opens the media stream.
#[utoipa::path(
    get,
    path = "/api/voice/stream",
    operation_id = "stream",
    tag = "twilio",
    summary = "The audio of a call, as a websocket",
    responses(
        (status = 101, description = "The websocket is open"),
        (status = 400, description = "The request opens no websocket"),
        (status = 426, description = "Another version of the websocket protocol is needed"),
    ),
)]
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
