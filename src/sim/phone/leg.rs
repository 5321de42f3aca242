//! One call leg: asks the number's webhooks what to do, follows the TwiML and reports what became of it.

use std::rc::Rc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use tokio::time::{Instant, sleep};
use url::Url;

use super::ledger::{CallRecord, Status};
use super::line::{End, Event, Line, Order};
use super::network::Inner;
use super::number::Hook;
use super::stream::{Media, StreamEnd};
use super::twiml::{self, Method, Target, Verb};
use super::{AfterDrop, Person};

mod dial;
mod gather;
mod recorder;
mod reports;
#[cfg(test)]
mod tests;

/// Documents in a row that may send the call on.
const MAX_REDIRECTS: u32 = 10;
/// The time a sentence takes is about this for each character, up to [`MAX_SAY`].
const SAY_PER_CHARACTER: Duration = Duration::from_millis(60);
const MAX_SAY: Duration = Duration::from_secs(5);
/// How long a dialled party talks, and how long audio is that is played.
const ELSEWHERE: Duration = Duration::from_secs(1);
/// How long it takes to hear that a dialled party is busy.
const BUSY_TONE: Duration = Duration::from_millis(500);
/// The base of a document that came with a request of the REST API: nothing relative can be joined to it.
const INLINE: &str = "twiml:inline";

pub struct Leg {
    pub net: Rc<Inner>,
    pub line: Rc<Line>,
    pub record: Rc<CallRecord>,
    /// Whom to tell of the call's progress, and of what.
    pub status_callback: Option<StatusCallback>,
    /// Callbacks under way.
    pub callbacks: Vec<JoinHandle<()>>,
    /// Of a leg to somebody: who answers, and how long it rings for them.
    pub person: Option<(Person, Duration)>,
    /// A `<Hangup>` has ended it.
    pub said_hangup: bool,
}

/// Who is told of a call's progress.
pub struct StatusCallback {
    pub url: Url,
    pub method: Method,
    /// `initiated`, `ringing`, `answered`, `completed`.
    pub events: Vec<String>,
}

/// What a leg follows.
enum Document {
    Fetch(Request),
    Inline(Vec<Verb>),
}

/// A document to fetch.
struct Request {
    url: Url,
    method: Method,
    call_status: &'static str,
    extra: Vec<(&'static str, String)>,
    is_fallback: bool,
}

/// What follows a verb.
enum Next {
    Verb,
    Document(Request),
    End(End),
}

impl Leg {
    /// Carries the call from ring to the last status callback. An outgoing call is answered and follows
    /// `first`, an incoming one asks the number's voice URL.
    pub async fn run(mut self, first: Option<Order>) {
        let first = match first {
            None => {
                let Hook { url, method } = self.net.number.borrow().voice.clone();
                let (call_status, extra, is_fallback) = ("ringing", Vec::new(), false);
                Document::Fetch(Request { url, method, call_status, extra, is_fallback })
            }
            Some(order) => {
                self.rings_elsewhere();
                if let Some(end) = self.is_not_answered().await {
                    return self.ends(end).await;
                }
                self.is_answered_elsewhere();
                match ordered(order) {
                    Ok(document) => document,
                    Err(end) => return self.ends(end).await,
                }
            }
        };
        let end = self.follow(first).await;
        self.ends(end).await;
    }

    async fn ends(mut self, end: End) {
        let status = match end {
            End::ByCaller | End::ByBridge | End::Dialled => Status::Completed,
            End::Rejected { busy: true } => Status::Busy,
            End::Rejected { busy: false } => Status::NoAnswer,
            End::Canceled => Status::Canceled,
            End::Lost => Status::Failed,
        };
        let heard = self.line.with(|state| {
            state.stops_listening(Instant::now());
            state.ear.heard().to_vec()
        });
        self.record.heard.replace(heard);
        self.record.ends(status);
        for recording in self.net.ledger.recordings_of(&self.record.sid) {
            self.callbacks.extend(self.net.completes(&recording));
        }
        self.reports_end();
        for callback in std::mem::take(&mut self.callbacks) {
            let _ = callback.await;
        }
        self.line.change(|state| state.end = Some(end));
    }

    async fn follow(&mut self, mut document: Document) -> End {
        let mut redirects = 0;
        loop {
            let end = match self.perform(document, &mut redirects).await {
                Ok(next) => {
                    document = next;
                    continue;
                }
                Err(end) => end,
            };
            let order = self.line.with(|state| if state.hang_up { None } else { state.order.take() });
            let Some(order) = order else { return end };
            redirects = 0;
            document = match ordered(order) {
                Ok(next) => next,
                Err(end) => return end,
            };
        }
    }

    /// Follows one document to the next. The error is how the call ends unless the REST API has an order for
    /// it.
    async fn perform(&mut self, document: Document, redirects: &mut u32) -> Result<Document, End> {
        let (verbs, base, was_fallback) = match document {
            Document::Inline(verbs) => (verbs, Url::parse(INLINE).expect("a valid URL"), false),
            Document::Fetch(request) => {
                let line = self.line.clone();
                match line.unless_interrupted(self.fetch(&request)).await {
                    None => return Err(End::ByCaller),
                    Some(Ok(verbs)) => (verbs, request.url, request.is_fallback),
                    Some(Err(_)) if request.is_fallback => return Err(End::Lost),
                    Some(Err(code)) => return Ok(Document::Fetch(self.fallback(code, &request.url))),
                }
            }
        };
        let mut next = self.run_verbs(verbs, &base, redirects).await?;
        if *redirects > MAX_REDIRECTS {
            self.violation("11215", "too many redirects".into());
            next = self.fallback(11215, &next.url);
        }
        if next.is_fallback && was_fallback { Err(End::Lost) } else { Ok(Document::Fetch(next)) }
    }

    /// Fetches a document. The error is Twilio's code for what was wrong with it; it has been reported.
    async fn fetch(&self, request: &Request) -> Result<Vec<Verb>, u32> {
        let mut params = self.params(request.call_status);
        params.extend(request.extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let answer =
            self.net.webhooks.deliver(&request.url, request.method, &params).await.map_err(|error| {
                // Not a breach of protocol: the bridge may be away. The call goes to the fallback, which is
                // counted.
                self.net.log(self.record.number, &format!("{}: {error}", request.url.path()));
                error.failure.code()
            })?;
        self.line.event(Event::Fetched(request.url.path().to_owned()));
        let (verbs, faults) = twiml::read(answer.content_type.as_deref(), &answer.body).map_err(|fault| {
            self.violation(&fault.code.to_string(), format!("{}: {}", request.url.path(), fault.detail));
            fault.code
        })?;
        for fault in faults {
            self.violation(&fault.code.to_string(), format!("{}: {}", request.url.path(), fault.detail));
        }
        Ok(verbs)
    }

    async fn run_verbs(&mut self, verbs: Vec<Verb>, base: &Url, redirects: &mut u32) -> Result<Request, End> {
        let dials_last = matches!(verbs.last(), Some(Verb::Dial { .. }));
        for (index, verb) in verbs.into_iter().enumerate() {
            let redirect = matches!(verb, Verb::Redirect(_));
            match self.step(verb, base, index == 0).await {
                Next::Verb => {}
                Next::Document(request) => {
                    *redirects = if redirect { *redirects + 1 } else { 0 };
                    return Ok(request);
                }
                Next::End(end) => return Err(end),
            }
        }
        Err(if dials_last { End::Dialled } else { End::ByBridge })
    }

    async fn step(&mut self, verb: Verb, base: &Url, first: bool) -> Next {
        let line = self.line.clone();
        if !matches!(verb, Verb::Reject { .. }) {
            self.record.status.set(Status::InProgress);
        }
        match verb {
            Verb::Say(_) | Verb::Play(_) | Verb::Pause(_) => {
                let heard = line.unless_interrupted(self.hears(&verb)).await;
                line.change(|state| state.was_not_silent_until(Instant::now()));
                heard.map_or(Next::End(End::ByCaller), |()| Next::Verb)
            }
            Verb::Redirect(target) => self.document(&target, base, Vec::new()),
            Verb::Hangup => {
                self.said_hangup = true;
                Next::End(End::ByBridge)
            }
            Verb::Reject { busy } if first && !self.is_answered() => Next::End(End::Rejected { busy }),
            Verb::Reject { .. } => Next::Verb,
            Verb::Connect { action, stream } => self.connects(action, &stream, base).await,
            Verb::Dial { action, timeout, to } => self.dials(action, timeout, to, base).await,
            Verb::Gather(gather) => self.gathers(&gather, base).await,
            Verb::Record { action, recorder } => self.records(action, &recorder, base).await,
        }
    }

    /// What is said or played, to its end.
    async fn hears(&self, verb: &Verb) {
        if !matches!(verb, Verb::Pause(_)) {
            self.line.change(|state| {
                state.breaks_silence(Instant::now());
                if let Verb::Say(text) = verb {
                    state.ear.is_told(text.clone());
                }
            });
        }
        sleep(length(verb)).await;
        if !matches!(verb, Verb::Pause(_)) {
            self.line.change(|state| state.was_not_silent_until(Instant::now()));
        }
    }

    fn document(&self, target: &Target, base: &Url, extra: Vec<(&'static str, String)>) -> Next {
        match base.join(&target.url) {
            Ok(url) => Next::Document(Request {
                url,
                method: target.method,
                call_status: "in-progress",
                extra,
                is_fallback: false,
            }),
            Err(error) => {
                let code = if base.cannot_be_a_base() { 15004 } else { 11100 };
                self.violation(&code.to_string(), format!("{:?} is not a URL: {error}", target.url));
                Next::Document(self.fallback(code, base))
            }
        }
    }

    fn fallback(&self, code: u32, failed: &Url) -> Request {
        self.net.fallbacks.update(|count| count + 1);
        self.line.event(Event::Fallback(code));
        let Hook { url, method } = self.net.number.borrow().fallback.clone();
        Request {
            url,
            method,
            call_status: "in-progress",
            extra: vec![("ErrorCode", code.to_string()), ("ErrorUrl", failed.to_string())],
            is_fallback: true,
        }
    }

    async fn connects(&mut self, action: Option<Target>, stream: &twiml::Stream, base: &Url) -> Next {
        let Some(url) = self.stream_url(stream, base) else {
            return Next::Document(self.fallback(11100, base));
        };
        let connecting =
            Media::connect(self.net.clone(), self.line.clone(), self.record.number, &self.record.sid, &url);
        let end = match self.line.clone().unless_interrupted(connecting).await {
            None => StreamEnd::Stopped,
            Some(Err(why)) => {
                let error = format!("31920: {why}");
                self.stream_status(stream, base, &super::sid("MZ"), "stream-error", Some(&error));
                self.line.event(Event::StreamEnded(error.clone()));
                self.net.log(self.record.number, &error);
                StreamEnd::Lost(error)
            }
            Some(Ok(media)) => {
                let stream_sid = media.stream_sid().to_owned();
                self.stream_status(stream, base, &stream_sid, "stream-started", None);
                let end = media.carry(stream).await;
                let error = match &end {
                    StreamEnd::Lost(how) => Some(format!("31903: {how}")),
                    StreamEnd::ClosedByBridge | StreamEnd::Stopped => None,
                };
                let event = if error.is_some() { "stream-error" } else { "stream-stopped" };
                self.stream_status(stream, base, &stream_sid, event, error.as_deref());
                end
            }
        };
        match (end, action) {
            (StreamEnd::Stopped, action) => self.hangs_up_before(action, base, Vec::new()),
            (StreamEnd::Lost(_), _) if self.net.options.after_drop == AfterDrop::Nothing => {
                self.line.until(|state| state.is_interrupted().then_some(())).await;
                Next::End(End::ByCaller)
            }
            (_, Some(action)) => self.document(&action, base, Vec::new()),
            (_, None) => Next::Verb,
        }
    }

    fn stream_url(&self, stream: &twiml::Stream, base: &Url) -> Option<Url> {
        let url = base.join(&stream.url);
        let Ok(mut url) =
            url.inspect_err(|error| self.violation("11100", format!("{:?}: {error}", stream.url)))
        else {
            return None;
        };
        if url.query().is_some() {
            self.violation("12200", "Stream@url has a query string, which is stripped".into());
            url.set_query(None);
        }
        if url.scheme() == "http" && url.set_scheme("ws").is_err() {
            return None;
        }
        Some(url)
    }

    /// Whether something other than a `<Reject>` has been done for the caller.
    fn is_answered(&self) -> bool {
        self.line.with(|state| state.connected_at.is_some() || !state.ear.heard().is_empty())
    }

    fn violation(&self, kind: &str, detail: String) {
        self.net.violation(self.record.number, kind, detail);
    }
}

/// How long it takes to say or play something.
fn length(verb: &Verb) -> Duration {
    match verb {
        Verb::Say(text) => SAY_PER_CHARACTER.saturating_mul(text.chars().count() as u32).min(MAX_SAY),
        Verb::Play(_) => ELSEWHERE,
        Verb::Pause(length) => *length,
        _ => Duration::ZERO,
    }
}

/// An order as what to do next; the error ends the call.
fn ordered(order: Order) -> Result<Document, End> {
    match order {
        Order::Fetch(url, method) => Ok(Document::Fetch(Request {
            url,
            method,
            call_status: "in-progress",
            extra: Vec::new(),
            is_fallback: false,
        })),
        Order::Follow(verbs) => Ok(Document::Inline(verbs)),
        Order::End(end) => Err(end),
    }
}
