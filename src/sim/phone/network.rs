//! The simulated telephone network: the number that is called, the webhooks behind it, and what all calls have in
//! common. One network is one thread: start it within an actix system.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal;
use std::rc::Rc;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use hdrhistogram::Histogram;
use url::Url;

use super::caller::Caller;
use super::leg::Leg;
use super::line::Line;
use super::webhook::{Webhooks, is_loopback};
use super::{Options, sid};
use crate::sim::report::Violation;

/// The account whose calls these are.
pub const ACCOUNT_SID: &str = "AC00000000000000000000000000000001";
/// What a number's voice and status URLs end in, so that a restart of the bridge is waited for.
const FRAGMENT: &str = "ct=1000&rt=5000&rc=5&rp=ct,rt,5xx&tt=15000";
/// The page behind the number's fallback URL.
const FALLBACK_PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response><Say>We are sorry. Please call again.</Say><Hangup/></Response>"#;
/// Violations that are kept word by word; all are counted.
const MAX_VIOLATIONS: usize = 1_000;

/// A simulated telephone network. Its calls end when it is dropped with the runtime; its fallback page at once.
pub struct Network {
    inner: Rc<Inner>,
    fallback_page: ServerHandle,
}

/// What the calls of a network share.
pub struct Inner {
    pub options: Options,
    pub webhooks: Webhooks,
    pub voice_url: Url,
    pub status_url: Url,
    pub fallback_url: Url,
    /// Requests for the fallback URL.
    pub fallbacks: Cell<u64>,
    /// Calls that are on the line.
    pub live: Cell<usize>,
    /// Microseconds from an agent's frame being sent to its arrival here.
    pub latencies: RefCell<Histogram<u64>>,
    /// Microseconds by which a caller's frame was sent after its time: this program's own lag.
    pub lag: RefCell<Histogram<u64>>,
    violations: RefCell<(u64, Vec<Violation>)>,
    next_number: Cell<Option<u16>>,
}

impl Network {
    /// Starts the network and the page behind the number's fallback URL.
    ///
    /// # Errors
    /// The bridge is not on this machine, or no port is free for the page.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        anyhow::ensure!(
            is_loopback(&options.url),
            "the bridge is not on a loopback address: {}",
            options.url
        );
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
            webhooks: Webhooks::new(options.auth_token.clone(), options.retry_gap),
            voice_url: at("/api/voice/incoming")?,
            status_url: at("/api/voice/call-status")?,
            fallback_url,
            fallbacks: Cell::new(0),
            live: Cell::new(0),
            latencies: RefCell::new(histogram()),
            lag: RefCell::new(histogram()),
            violations: RefCell::default(),
            next_number: Cell::new(Some(0)),
            options,
        };
        Ok(Self { inner: Rc::new(inner), fallback_page })
    }

    /// Rings the number: the call is carried in the background from here on, the caller is in your hands.
    ///
    /// # Errors
    /// The numbers of calls (65,536, the width of a tag's `source`) are used up.
    pub fn rings(&self) -> anyhow::Result<Caller> {
        let number = self.inner.next_number.get().context("no call numbers left")?;
        self.inner.next_number.set(number.checked_add(1));
        let (line, call_sid, net) = (Rc::new(Line::new(number)), sid("CA"), self.inner.clone());
        let leg = Leg { net, line: line.clone(), number, call_sid: call_sid.clone(), callbacks: Vec::new() };
        self.inner.live.update(|live| live + 1);
        let net = self.inner.clone();
        actix_rt::spawn(async move {
            leg.run().await;
            net.live.update(|live| live - 1);
        });
        Ok(Caller::new(number, call_sid, line))
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

    /// What a real network would have complained of: how often, and the first thousand complaints.
    pub fn violations(&self) -> (u64, Vec<Violation>) {
        self.inner.violations.borrow().clone()
    }

    pub(super) fn shared(&self) -> &Rc<Inner> {
        &self.inner
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The order to stop is given by the call itself; nobody waits for it to be carried out.
        drop(self.fallback_page.stop(false));
    }
}

impl Inner {
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
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order")
}
