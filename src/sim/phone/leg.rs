//! One call leg: asks the number's webhooks what to do, follows the TwiML and reports what became of it.

use std::rc::Rc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use chrono::{SecondsFormat, Utc};
use tokio::time::{Instant, sleep};
use url::Url;

use super::AfterDrop;
use super::line::{End, Event, Line};
use super::network::{ACCOUNT_SID, Inner};
use super::stream::{Media, StreamEnd};
use super::twiml::{self, Dialled, Method, Target, Verb};

/// Documents in a row that may send the call on.
const MAX_REDIRECTS: u32 = 10;
/// The time a sentence takes is about this for each character, up to [`MAX_SAY`].
const SAY_PER_CHARACTER: Duration = Duration::from_millis(60);
const MAX_SAY: Duration = Duration::from_secs(5);
/// How long a dialled party talks, or a caller is silent in front of a recorder.
const ELSEWHERE: Duration = Duration::from_secs(1);
/// The number that is called.
const NUMBER: &str = "+15005550006";

pub struct Leg {
    pub net: Rc<Inner>,
    pub line: Rc<Line>,
    /// The number of the call, as in its tags.
    pub number: u16,
    pub call_sid: String,
    /// Status callbacks under way.
    pub callbacks: Vec<JoinHandle<()>>,
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
    /// Carries the call from ring to the last status callback.
    pub async fn run(mut self) {
        let end = self.follow().await;
        self.reports(&end);
        for callback in std::mem::take(&mut self.callbacks) {
            let _ = callback.await;
        }
        self.line.change(|state| {
            state.breaks_silence(Instant::now());
            state.end = Some(end);
        });
    }

    async fn follow(&mut self) -> End {
        let mut request = Request {
            url: self.net.voice_url.clone(),
            method: Method::Post,
            call_status: "ringing",
            extra: Vec::new(),
            is_fallback: false,
        };
        let mut redirects = 0;
        loop {
            let line = self.line.clone();
            let fetched = line.unless_hung_up(self.fetch(&request)).await;
            let (base, was_fallback) = (request.url, request.is_fallback);
            request = match fetched {
                None => return End::ByCaller,
                Some(Ok(verbs)) => match self.run_verbs(verbs, &base, &mut redirects).await {
                    Ok(next) if redirects > MAX_REDIRECTS => {
                        self.violation("11215", "too many redirects".into());
                        self.fallback(11215, &next.url)
                    }
                    Ok(next) => next,
                    Err(end) => return end,
                },
                Some(Err(_)) if was_fallback => return End::Lost,
                Some(Err(code)) => self.fallback(code, &base),
            };
            if request.is_fallback && was_fallback {
                return End::Lost;
            }
        }
    }

    /// Fetches a document. The error is Twilio's code for what was wrong with it; it has been reported.
    async fn fetch(&self, request: &Request) -> Result<Vec<Verb>, u32> {
        let mut params = self.params(request.call_status);
        params.extend(request.extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let answer =
            self.net.webhooks.deliver(&request.url, request.method, &params).await.map_err(|error| {
                // Not a breach of protocol: the bridge may be away. The call goes to the fallback, which is counted.
                self.net.log(self.number, &format!("{}: {error}", request.url.path()));
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
        Err(End::ByBridge)
    }

    async fn step(&mut self, verb: Verb, base: &Url, first: bool) -> Next {
        let line = self.line.clone();
        let for_a_while = |length| line.unless_hung_up(sleep(length));
        match verb {
            Verb::Say(text) => {
                let length = SAY_PER_CHARACTER.saturating_mul(text.chars().count() as u32).min(MAX_SAY);
                line.change(|state| {
                    state.breaks_silence(Instant::now());
                    state.ear.is_told(text);
                });
                let said = for_a_while(length).await;
                line.change(|state| state.breaks_silence(Instant::now()));
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
            Verb::Dial { action, to } => {
                let (Dialled::Number(to) | Dialled::Conference(to)) = to;
                line.event(Event::Dialled(to));
                match (for_a_while(ELSEWHERE).await, action) {
                    (None, _) => Next::End(End::ByCaller),
                    (Some(()), None) => Next::End(End::Dialled),
                    (Some(()), Some(action)) => {
                        self.document(&action, base, vec![("DialCallStatus", "completed".to_owned())])
                    }
                }
            }
            Verb::Record { action } => {
                if for_a_while(ELSEWHERE).await.is_none() {
                    return Next::End(End::ByCaller);
                }
                line.event(Event::Recorded);
                let sid = super::sid("RE");
                let url =
                    format!("https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings/{sid}");
                let extra =
                    vec![("RecordingUrl", url), ("RecordingDuration", "1".into()), ("Digits", String::new())];
                let again = Target { url: base.to_string(), method: Method::Post };
                self.document(&action.unwrap_or(again), base, extra)
            }
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
                self.violation("11100", format!("{:?} is not a URL: {error}", target.url));
                Next::Document(self.fallback(11100, base))
            }
        }
    }

    fn fallback(&self, code: u32, failed: &Url) -> Request {
        self.net.fallbacks.update(|count| count + 1);
        self.line.event(Event::Fallback(code));
        Request {
            url: self.net.fallback_url.clone(),
            method: Method::Post,
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
            Media::connect(self.net.clone(), self.line.clone(), self.number, &self.call_sid, &url);
        let end = match self.line.clone().unless_hung_up(connecting).await {
            None => StreamEnd::HungUp,
            Some(Err(why)) => {
                let error = format!("31920: {why}");
                self.stream_status(stream, base, &super::sid("MZ"), "stream-error", Some(&error));
                self.line.event(Event::StreamEnded(error.clone()));
                self.net.log(self.number, &error);
                StreamEnd::Lost(error)
            }
            Some(Ok(media)) => {
                let stream_sid = media.stream_sid().to_owned();
                self.stream_status(stream, base, &stream_sid, "stream-started", None);
                let end = media.carry(stream).await;
                let error = match &end {
                    StreamEnd::Lost(how) => Some(format!("31903: {how}")),
                    StreamEnd::ClosedByBridge | StreamEnd::HungUp => None,
                };
                let event = if error.is_some() { "stream-error" } else { "stream-stopped" };
                self.stream_status(stream, base, &stream_sid, event, error.as_deref());
                end
            }
        };
        match (end, action) {
            (StreamEnd::HungUp, action) => {
                if let Some(Next::Document(request)) =
                    action.map(|action| self.document(&action, base, Vec::new()))
                {
                    self.callback(request.url, request.method, self.params("completed"));
                }
                Next::End(End::ByCaller)
            }
            (StreamEnd::Lost(_), _) if self.net.options.after_drop == AfterDrop::Nothing => {
                self.line.until(|state| state.hang_up.then_some(())).await;
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

    fn stream_status(
        &mut self,
        stream: &twiml::Stream,
        base: &Url,
        stream_sid: &str,
        event: &str,
        error: Option<&str>,
    ) {
        let Some(target) = &stream.status_callback else { return };
        let Ok(url) = base.join(&target.url) else {
            return self.violation("11100", format!("{:?} is not a URL", target.url));
        };
        let mut params = owned([
            ("AccountSid", ACCOUNT_SID),
            ("CallSid", &self.call_sid),
            ("StreamSid", stream_sid),
            ("StreamName", stream.name.as_deref().unwrap_or(stream_sid)),
            ("StreamEvent", event),
            ("Timestamp", &Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)),
        ]);
        params.extend(error.map(|text| ("StreamError".to_owned(), text.to_owned())));
        self.callback(url, target.method, params);
    }

    /// The number's status callback: once, when the call is over.
    fn reports(&mut self, end: &End) {
        let (status, sip) = match end {
            End::ByCaller | End::ByBridge | End::Dialled => ("completed", "200"),
            End::Rejected { busy: true } => ("busy", "486"),
            End::Rejected { busy: false } => ("no-answer", "603"),
            End::Lost => ("failed", "500"),
        };
        let seconds = self.line.with(|state| state.rang_at.elapsed()).as_secs();
        let mut params = self.params(status);
        params.extend(owned([
            ("CallDuration", seconds.to_string().as_str()),
            ("Duration", seconds.div_ceil(60).to_string().as_str()),
            ("SipResponseCode", sip),
            ("Timestamp", &Utc::now().to_rfc2822()),
            ("CallbackSource", "call-progress-events"),
            ("SequenceNumber", "0"),
        ]));
        self.callback(self.net.status_url.clone(), Method::Post, params);
    }

    /// Sends a callback beside the call. It steers nothing; a failure is a violation of 15003.
    fn callback(&mut self, url: Url, method: Method, params: Vec<(String, String)>) {
        let (net, number) = (self.net.clone(), self.number);
        self.callbacks.push(actix_rt::spawn(async move {
            if let Err(error) = net.webhooks.deliver(&url, method, &params).await {
                net.violation(number, "15003", format!("{}: {error}", url.path()));
            }
        }));
    }

    /// The parameters of every webhook of this call.
    fn params(&self, call_status: &str) -> Vec<(String, String)> {
        let caller = format!("+1415555{:04}", self.number % 10_000);
        owned([
            ("AccountSid", ACCOUNT_SID),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", &self.call_sid),
            ("CallStatus", call_status),
            ("Called", NUMBER),
            ("CalledCity", ""),
            ("CalledCountry", "US"),
            ("Caller", &caller),
            ("CallerCity", "SAN FRANCISCO"),
            ("CallerCountry", "US"),
            ("Direction", "inbound"),
            ("From", &caller),
            ("FromCity", "SAN FRANCISCO"),
            ("FromCountry", "US"),
            ("FromState", "CA"),
            ("FromZip", ""),
            ("StirVerstat", "TN-Validation-Passed-A"),
            ("To", NUMBER),
            ("ToCity", ""),
            ("ToCountry", "US"),
            ("ToState", ""),
            ("ToZip", ""),
        ])
    }

    /// Whether something other than a `<Reject>` has been done for the caller.
    fn is_answered(&self) -> bool {
        self.line.with(|state| state.connected_at.is_some() || !state.ear.heard().is_empty())
    }

    fn violation(&self, kind: &str, detail: String) {
        self.net.violation(self.number, kind, detail);
    }
}

fn owned<const N: usize>(params: [(&str, &str); N]) -> Vec<(String, String)> {
    params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
