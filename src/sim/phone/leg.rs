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
use super::twiml::{self, Dialled, Method, Room, Target, Verb};
use super::{AfterDrop, Person};

mod recorder;
mod reports;
#[cfg(test)]
mod tests;

/// Documents in a row that may send the call on.
const MAX_REDIRECTS: u32 = 10;
/// The time a sentence takes is about this for each character, up to [`MAX_SAY`].
const SAY_PER_CHARACTER: Duration = Duration::from_millis(60);
const MAX_SAY: Duration = Duration::from_secs(5);
/// How long a dialled party talks.
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
        self.line.with(|state| state.stops_listening(Instant::now()));
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
        let for_a_while = |length| line.unless_interrupted(sleep(length));
        match verb {
            Verb::Say(text) => {
                let length = SAY_PER_CHARACTER.saturating_mul(text.chars().count() as u32).min(MAX_SAY);
                line.change(|state| {
                    state.breaks_silence(Instant::now());
                    state.ear.is_told(text);
                });
                let said = for_a_while(length).await;
                line.change(|state| state.was_not_silent_until(Instant::now()));
                said.map_or(Next::End(End::ByCaller), |()| Next::Verb)
            }
            Verb::Play(_) => for_a_while(ELSEWHERE).await.map_or(Next::End(End::ByCaller), |()| Next::Verb),
            Verb::Pause(length) => {
                for_a_while(length).await.map_or(Next::End(End::ByCaller), |()| Next::Verb)
            }
            Verb::Redirect(target) => self.document(&target, base, Vec::new()),
            Verb::Hangup => Next::End(End::ByBridge),
            Verb::Reject { busy } if first && !self.is_answered() => Next::End(End::Rejected { busy }),
            Verb::Reject { .. } => Next::Verb,
            Verb::Connect { action, stream } => self.connects(action, &stream, base).await,
            Verb::Dial { action, timeout, to } => self.dials(action, timeout, to, base).await,
            Verb::Record { action, recorder } => self.records(action, &recorder, base).await,
        }
    }

    async fn dials(&mut self, action: Option<Target>, timeout: Duration, to: Dialled, base: &Url) -> Next {
        let line = self.line.clone();
        line.change(|state| state.breaks_silence(Instant::now()));
        let (interrupted, result) = match to {
            Dialled::Number(number) => {
                line.event(Event::Dialled(number));
                let (length, status) = match self.net.options.person {
                    Person::Answers => (ELSEWHERE, "completed"),
                    Person::NoAnswer => (timeout, "no-answer"),
                    Person::Busy => (BUSY_TONE, "busy"),
                };
                let interrupted = line.unless_interrupted(sleep(length)).await.is_none();
                if self.net.options.person == Person::Answers {
                    line.event(Event::Answered);
                }
                (
                    interrupted,
                    dialled_number(if interrupted && status != "completed" { "canceled" } else { status }),
                )
            }
            Dialled::Conference(room) => {
                line.event(Event::Dialled(room.name.clone()));
                line.event(Event::Answered);
                (self.confers(&room).await.is_none(), vec![("DialCallStatus", "answered".to_owned())])
            }
        };
        line.change(|state| state.was_not_silent_until(Instant::now()));
        match action {
            _ if interrupted => self.hangs_up_before(action, base, result),
            Some(action) => self.document(&action, base, result),
            None => Next::Verb,
        }
    }

    /// The caller hung up, or the REST API has an order: the action is told of a hang-up, and steers nothing.
    fn hangs_up_before(
        &mut self,
        action: Option<Target>,
        base: &Url,
        extra: Vec<(&'static str, String)>,
    ) -> Next {
        let hung_up = self.line.with(|state| state.hang_up);
        if let Some(action) = action.filter(|_| hung_up)
            && let Next::Document(request) = self.document(&action, base, extra)
        {
            let mut params = self.params("completed");
            params.extend(request.extra.into_iter().map(|(name, value)| (name.to_owned(), value)));
            self.callback(request.url, request.method, params);
        }
        Next::End(End::ByCaller)
    }

    /// Stays in a conference until somebody ends that; without a REST API nobody can, so it is a short one.
    /// None if the caller hung up or the REST API has an order.
    async fn confers(&self, room: &Room) -> Option<()> {
        let Some(conference) = self.net.ledger.join(room, &self.record) else {
            self.violation("16025", format!("the participant label {:?} is taken", room.label));
            return Some(());
        };
        let stayed = if self.net.options.api_listen.is_some() {
            let over = self.line.until(|_| (!conference.has(&self.record.sid)).then_some(()));
            self.line.unless_interrupted(over).await
        } else {
            self.line.unless_interrupted(sleep(ELSEWHERE)).await
        };
        conference.leave(&self.record.sid);
        stayed
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

/// What the `action` of a `<Dial>` of a number is told (reference: twilio.md section 2.3).
fn dialled_number(status: &'static str) -> Vec<(&'static str, String)> {
    let answered = status == "completed";
    let mut told = vec![
        ("DialCallStatus", status.to_owned()),
        ("DialCallSid", super::sid("CA")),
        ("DialBridged", answered.to_string()),
    ];
    told.extend(answered.then(|| ("DialCallDuration", ELSEWHERE.as_secs().to_string())));
    told
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
