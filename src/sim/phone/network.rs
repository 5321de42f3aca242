//! The simulated telephone network: the number that is called, the webhooks behind it, and what all calls
//! have in common. One network is one thread: start it within an actix system.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use hdrhistogram::Histogram;
use url::Url;

use super::api::Api;
use super::caller::Caller;
use super::ear::Heard;
use super::ledger::{CallRecord, Conference, Direction, Happened, Ledger, Message};
use super::leg::{Leg, StatusCallback};
use super::line::{Line, Order};
use super::number::{Hook, Number};
use super::twiml::Method;
use super::webhook::Webhooks;
use super::{Options, Person};
use crate::sim::report::Violation;

/// The account whose calls these are.
pub const ACCOUNT_SID: &str = "AC00000000000000000000000000000001";
/// Its telephone number, which is called and from which calls and messages go out.
pub const NUMBER: &str = "+15005550006";
/// What a number's voice and status URLs end in, so that a restart of the bridge is waited for.
const FRAGMENT: &str = "ct=1000&rt=5000&rc=5&rp=ct,rt,5xx&tt=15000";
/// The page behind the number's fallback URL.
const FALLBACK_PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response><Say>We are sorry. Please call again.</Say><Hangup/></Response>"#;
/// Violations that are kept word by word; all are counted.
const MAX_VIOLATIONS: usize = 1_000;

/// A simulated telephone network. Its calls end when it is dropped with the runtime; its fallback page at
/// once.
pub struct Network {
    inner: Rc<Inner>,
    fallback_page: ServerHandle,
    api: Option<Api>,
}

/// What the calls of a network share.
pub struct Inner {
    pub options: Options,
    pub webhooks: Webhooks,
    /// Where the number sends its calls.
    pub number: RefCell<Number>,
    /// Requests for the fallback URL.
    pub fallbacks: Cell<u64>,
    /// Calls that are on the line.
    pub live: Cell<usize>,
    pub ledger: Ledger,
    /// Microseconds from an agent's frame being sent to its arrival here.
    pub latencies: RefCell<Histogram<u64>>,
    /// Microseconds by which a caller's frame was sent after its time: this program's own lag.
    pub lag: RefCell<Histogram<u64>>,
    violations: RefCell<(u64, Vec<Violation>)>,
    next_number: Cell<Option<u16>>,
}

impl Network {
    /// Starts the network, the page behind the number's fallback URL, and the REST API if it is asked for.
    ///
    /// # Errors
    /// The bridge may not be rung, or no port is to be had for the page or the REST API.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        options.reach.permits(&options.url)?;
        let page = || async { HttpResponse::Ok().content_type("text/xml").body(FALLBACK_PAGE) };
        let server = HttpServer::new(move || App::new().default_service(web::to(page)))
            .workers(1)
            .disable_signals()
            .shutdown_timeout(0)
            .bind(("127.0.0.1", 0))
            .context("no port for the fallback page")?;
        let fallback_url = Url::parse(&format!("http://{}/fallback", server.addrs()[0]))?;
        let server = server.run();
        let fallback_page = server.handle();
        actix_rt::spawn(server);
        let at = |path| {
            let mut url = options.url.join(path)?;
            url.set_fragment(Some(FRAGMENT));
            anyhow::Ok(url)
        };
        let inner = Inner {
            webhooks: Webhooks::new(options.auth_token.clone(), options.retry_gap, options.reach.clone()),
            number: RefCell::new(Number {
                voice: Hook::post(at("/api/voice/incoming")?),
                fallback: Hook::post(fallback_url),
                status: Hook::post(at("/api/voice/call-status")?),
            }),
            fallbacks: Cell::new(0),
            live: Cell::new(0),
            ledger: Ledger::default(),
            latencies: RefCell::new(histogram()),
            lag: RefCell::new(histogram()),
            violations: RefCell::default(),
            next_number: Cell::new(Some(0)),
            options,
        };
        let inner = Rc::new(inner);
        let api = inner.options.api_listen.map(|listen| Api::start(listen, inner.clone())).transpose()?;
        Ok(Self { inner, fallback_page, api })
    }

    /// Rings the number: the call is carried in the background from here on, the caller is in your hands.
    ///
    /// # Errors
    /// The numbers of calls (65,536, the width of a tag's `source`) are used up.
    pub fn rings(&self) -> anyhow::Result<Caller> {
        let (line, record) = self.inner.begins(None)?;
        Ok(Caller::new(record.number, record.sid.clone(), line))
    }

    /// Rings and waits until the call is connected to a media stream or over.
    ///
    /// # Errors
    /// As [`Network::rings`]. A call that is refused is no error: see [`Caller::end`].
    pub async fn ring(&self) -> anyhow::Result<Caller> {
        let caller = self.rings()?;
        caller.is_connected().await;
        Ok(caller)
    }

    /// How long a silence the callers bear.
    pub(super) fn patience(&self) -> Duration {
        self.inner.options.patience
    }

    /// What a real network would have complained of: how often, and the first thousand complaints.
    pub fn violations(&self) -> (u64, Vec<Violation>) {
        self.inner.violations.borrow().clone()
    }

    /// Where the simulated REST API listens, if it does.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(Api::address)
    }

    /// The calls to this number that the bridge has made and that are over: how each ended, and what was
    /// heard there.
    pub fn calls_to(&self, number: &str) -> Vec<(&'static str, Vec<Heard>)> {
        let calls = self.inner.ledger.calls.borrow();
        let of_number = calls.iter().filter(|call| call.to == number && call.is_over());
        of_number.map(|call| (call.status.get().as_str(), call.heard.borrow().clone())).collect()
    }

    /// The text messages that were sent, in order.
    pub fn messages(&self) -> Vec<Message> {
        self.inner.ledger.messages.borrow().clone()
    }

    pub(in crate::sim::phone) fn shared(&self) -> &Rc<Inner> {
        &self.inner
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The order to stop is given by the call itself; nobody waits for it to be carried out.
        drop(self.fallback_page.stop(false));
    }
}

/// A call that the REST API makes.
pub struct Outgoing {
    pub from: String,
    pub to: String,
    /// What the call does once it is answered.
    pub order: Order,
    pub status_callback: Option<StatusCallback>,
    /// Who answers, and how long it rings for them; none answers at once and does nothing.
    pub person: Option<(Person, Duration)>,
}

impl Inner {
    /// Begins a call: one that rings the number, or an outgoing one. It is carried in the background from
    /// here on.
    pub fn begins(self: &Rc<Self>, outgoing: Option<Outgoing>) -> anyhow::Result<(Rc<Line>, Rc<CallRecord>)> {
        let number = self.next_number.get().context("no call numbers left")?;
        self.next_number.set(number.checked_add(1));
        let line = Rc::new(Line::new(number));
        let person = outgoing.as_ref().and_then(|outgoing| outgoing.person);
        let (from, to, direction, status_callback, first) = match outgoing {
            None => {
                let from = format!("+1415555{:04}", number % 10_000);
                let Hook { url, method } = self.number.borrow().status.clone();
                let callback = StatusCallback { url, method, events: vec!["completed".to_owned()] };
                (from, NUMBER.to_owned(), Direction::Inbound, Some(callback), None)
            }
            Some(Outgoing { from, to, order, status_callback, .. }) => {
                (from, to, Direction::OutboundApi, status_callback, Some(order))
            }
        };
        let record = self.ledger.add_call(number, from, to, direction, &line);
        let (net, line_of_leg, record_of_leg) = (self.clone(), line.clone(), record.clone());
        let leg = Leg {
            net: net.clone(),
            line: line_of_leg,
            record: record_of_leg,
            status_callback,
            callbacks: Vec::new(),
            person,
            said_hangup: false,
        };
        self.live.update(|live| live + 1);
        actix_rt::spawn(async move {
            leg.run(first).await;
            net.live.update(|live| live - 1);
        });
        Ok((line, record))
    }

    /// Sends a callback. It steers nothing; a failure is a violation of 15003.
    pub fn callback(
        self: &Rc<Self>,
        number: u16,
        url: Url,
        method: Method,
        params: Vec<(String, String)>,
    ) -> JoinHandle<()> {
        let net = self.clone();
        actix_rt::spawn(async move {
            if let Err(error) = net.webhooks.deliver(&url, method, &params).await {
                net.violation(number, "15003", format!("{}: {error}", url.path()));
            }
        })
    }

    /// Tells whoever wants to know what has happened in a conference.
    pub fn tells_of(self: &Rc<Self>, conference: &Conference) -> Vec<JoinHandle<()>> {
        let happened = conference.untold.take();
        let Some((target, events)) = &conference.callback else { return Vec::new() };
        let Ok(url) = Url::parse(&target.url) else { return Vec::new() };
        let mut told = Vec::new();
        for Happened { event, participant } in happened {
            let wanted = event.split('-').next_back().unwrap_or_default();
            if !events.iter().any(|known| known == wanted) {
                continue;
            }
            let sequence = conference.sequence.replace(conference.sequence.get() + 1).to_string();
            let number = participant.as_ref().map_or(u16::MAX, |one| one.call.number);
            let mut params = vec![
                ("AccountSid", ACCOUNT_SID.to_owned()),
                ("ConferenceSid", conference.sid.clone()),
                ("FriendlyName", conference.name.clone()),
                ("SequenceNumber", sequence),
                ("Timestamp", chrono::Utc::now().to_rfc2822()),
                ("StatusCallbackEvent", event.to_owned()),
            ];
            if let Some(one) = participant {
                params.extend([
                    ("CallSid", one.call.sid.clone()),
                    ("Muted", one.muted.to_string()),
                    ("Hold", one.hold.to_string()),
                    ("Coaching", "false".to_owned()),
                    ("StartConferenceOnEnter", one.start_on_enter.to_string()),
                    ("EndConferenceOnExit", one.end_on_exit.to_string()),
                ]);
                params.extend(one.label.map(|label| ("ParticipantLabel", label)));
            }
            let params = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            told.push(self.callback(number, url.clone(), target.method, params));
        }
        told
    }

    /// Records something a real network would have complained of.
    pub fn violation(&self, source: u16, kind: &str, detail: String) {
        let (count, kept) = &mut *self.violations.borrow_mut();
        *count += 1;
        if kept.len() < MAX_VIOLATIONS {
            kept.push(Violation { source, kind: kind.to_owned(), detail });
        }
    }

    /// Tells a person at a log what befell a call. Quiet on a terminal, where the progress bar stands.
    pub fn log(&self, number: u16, what: &str) {
        if !self.options.quiet && !std::io::stderr().is_terminal() {
            eprintln!("call {number}: {what}");
        }
    }
}

/// Microseconds up to ten minutes, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order")
}
