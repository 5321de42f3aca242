//! The simulated REST API of Twilio, acting on the calls of its network (reference: Twilio's REST API,
//! version 2010-04-01).
//!
//! Strict: a path, method or parameter that the real one does not know, a parameter that is missing or of the
//! wrong kind, is refused with Twilio's error body, and is a violation. That something is over (20404,
//! 21220), that credentials are wrong (20003) or that there are too many requests (20429) is refused only: it
//! happens to the best.
//!
//! HTTP is served on a thread of its own; requests are carried out on the thread of the network, one after
//! the other.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::network::{ACCOUNT_SID, Inner};
use crate::sim::arguments::NOT_LOOPBACK;
use params::Params;
use reply::{Fault, Reply};

mod calls;
mod conferences;
mod messages;
mod numbers;
mod params;
mod recordings;
mod reply;

#[cfg(test)]
mod tests;

/// Requests that wait for the network's thread; more wait at their sockets.
const BACKLOG: usize = 64;
/// How long a request that is not to be answered is left hanging.
const UNANSWERED: Duration = Duration::from_secs(60);
/// The source of violations that concern no call.
const NO_CALL: u16 = u16::MAX;

/// The running API. It stops when dropped.
pub struct Api {
    address: SocketAddr,
    server: ServerHandle,
}

/// A request as it came, and where its answer goes.
struct Asked {
    method: String,
    path: String,
    query: String,
    authorization: Option<String>,
    content_type: Option<String>,
    body: web::Bytes,
    /// None: no answer.
    reply: oneshot::Sender<Option<Reply>>,
}

impl Api {
    /// Serves the API at `listen` for the calls of `net`.
    pub(super) fn start(listen: SocketAddr, net: Rc<Inner>) -> anyhow::Result<Self> {
        anyhow::ensure!(listen.ip().is_loopback(), NOT_LOOPBACK);
        let (asks, mut asked) = mpsc::channel(BACKLOG);
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(asks.clone())).default_service(web::to(relay))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .bind(listen)
        .with_context(|| listen.to_string())?;
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        let desk = Desk {
            throttled: Cell::new(net.options.api_throttled),
            unanswered: Cell::new(net.options.api_unanswered),
            net,
        };
        actix_rt::spawn(async move {
            while let Some(request) = asked.recv().await {
                let reply = desk.takes(&request);
                // Whoever asked may have given up.
                let _ = request.reply.send(reply);
            }
        });
        Ok(Self { address, server: handle })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // The order to stop is given by the call itself; nobody waits for it to be carried out.
        drop(self.server.stop(false));
    }
}

async fn relay(request: HttpRequest, body: web::Bytes, asks: web::Data<mpsc::Sender<Asked>>) -> HttpResponse {
    let (sender, receiver) = oneshot::channel();
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let asked = Asked {
        method: request.method().to_string(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        authorization: header("Authorization"),
        content_type: header("Content-Type"),
        body,
        reply: sender,
    };
    if asks.send(asked).await.is_err() {
        return HttpResponse::ServiceUnavailable().finish();
    }
    match receiver.await {
        Ok(Some(Reply { status, audio: Some(audio), .. })) => {
            let status = StatusCode::from_u16(status).expect("our statuses are valid");
            HttpResponse::build(status).content_type("audio/x-wav").body(audio)
        }
        Ok(Some(Reply { status, body, .. })) => {
            let status = StatusCode::from_u16(status).expect("our statuses are valid");
            match body {
                Some(body) => HttpResponse::build(status).json(body),
                None => HttpResponse::build(status).finish(),
            }
        }
        Ok(None) => {
            sleep(UNANSWERED).await;
            HttpResponse::GatewayTimeout().finish()
        }
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// Where requests are carried out.
struct Desk {
    net: Rc<Inner>,
    /// Requests that are still to be refused as too many.
    throttled: Cell<u32>,
    /// POST requests that are still to stay unanswered.
    unanswered: Cell<u32>,
}

impl Desk {
    fn takes(&self, asked: &Asked) -> Option<Reply> {
        if counts_down(&self.throttled) {
            return Some(Fault::new(429, 20429, "Too Many Requests").into());
        }
        let reply = self.answers(asked).unwrap_or_else(|fault| {
            if let Some(number) = fault.violation_of {
                let kind = fault.code.to_string();
                let detail = format!("{} {}: {}", asked.method, asked.path, fault.message);
                self.net.violation(number.unwrap_or(NO_CALL), &kind, detail);
            }
            fault.into()
        });
        let silent = asked.method == "POST" && reply.status < 300 && counts_down(&self.unanswered);
        (!silent).then_some(reply)
    }

    fn answers(&self, asked: &Asked) -> Result<Reply, Fault> {
        self.authenticates(asked)?;
        let unknown = || Fault::new(404, 20404, "The requested resource was not found");
        let path = asked.path.strip_prefix("/2010-04-01/Accounts/");
        if let Some(recording) = path.and_then(|path| path.strip_suffix(".wav")) {
            return recordings::audio(&self.net, recording);
        }
        let path = path.and_then(|path| path.strip_suffix(".json"));
        let path = path.ok_or_else(|| unknown().violation())?;
        let decoded: Vec<String> = path.split('/').map(decode).collect();
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let Some((&ACCOUNT_SID, path)) = segments.split_first() else { return Err(unknown()) };
        let params = || Params::read(asked);
        let net = &self.net;
        match (asked.method.as_str(), path) {
            ("GET", ["Calls"]) => calls::list(net, &params()?),
            ("POST", ["Calls"]) => calls::create(net, &params()?),
            ("DELETE", ["Calls", sid]) => calls::delete(net, sid, &params()?),
            ("GET", ["Calls", sid]) => calls::fetch(net, sid, &params()?),
            ("POST", ["Calls", sid]) => calls::update(net, sid, &params()?),
            ("GET", ["Calls", sid, "Recordings"]) => recordings::list(net, sid, &params()?),
            ("POST", ["Calls", sid, "Recordings"]) => recordings::create(net, sid, &params()?),
            ("POST", ["Calls", sid, "Recordings", recording]) => {
                recordings::update(net, sid, recording, &params()?)
            }
            ("GET", ["Recordings"]) => recordings::list_all(net, &params()?),
            ("GET", ["Recordings", sid]) => recordings::fetch(net, sid, &params()?),
            ("DELETE", ["Recordings", sid]) => recordings::delete(net, sid, &params()?),
            ("GET", ["Conferences"]) => conferences::list(net, &params()?),
            ("GET", ["Conferences", sid]) => conferences::fetch(net, sid, &params()?),
            ("POST", ["Conferences", sid]) => conferences::update(net, sid, &params()?),
            ("GET", ["Conferences", sid, "Participants"]) => conferences::participants(net, sid, &params()?),
            ("POST", ["Conferences", sid, "Participants"]) => conferences::add(net, sid, &params()?),
            ("GET", ["Conferences", sid, "Participants", who]) => {
                conferences::participant(net, sid, who, &params()?)
            }
            ("POST", ["Conferences", sid, "Participants", who]) => {
                conferences::change(net, sid, who, &params()?)
            }
            ("DELETE", ["Conferences", sid, "Participants", who]) => {
                conferences::kick(net, sid, who, &params()?)
            }
            ("GET", ["Messages"]) => messages::list(net, &params()?),
            ("POST", ["Messages"]) => messages::create(net, &params()?),
            ("GET", ["Messages", sid]) => messages::fetch(net, sid, &params()?),
            ("GET", []) => numbers::account(&params()?),
            ("GET", ["IncomingPhoneNumbers"]) => numbers::list(net, &params()?),
            ("GET", ["IncomingPhoneNumbers", sid]) => numbers::fetch(net, sid, &params()?),
            ("POST", ["IncomingPhoneNumbers", sid]) => numbers::update(net, sid, &params()?),
            ("GET", ["Queues"]) => {
                let params = params()?;
                params.check(&params::PAGING, &[])?;
                Ok(Reply::page(&params, "Queues", "queues", vec![]))
            }
            // The network has no queues: nobody waits in one.
            ("POST", ["Queues", _, "Members", _]) => {
                params()?.check(&[("Url", params::Kind::Url), ("Method", params::Kind::Method)], &["Url"])?;
                Err(unknown())
            }
            (
                _,
                []
                | ["Calls" | "Conferences" | "Messages" | "Recordings" | "Queues" | "IncomingPhoneNumbers"]
                | ["Calls" | "Recordings" | "Conferences" | "Messages" | "IncomingPhoneNumbers", _]
                | ["Calls", _, "Recordings"]
                | ["Calls", _, "Recordings", _]
                | ["Conferences", _, "Participants"]
                | ["Conferences", _, "Participants", _]
                | ["Queues", _, "Members", _],
            ) => Err(Fault::new(405, 20004, "Method not allowed").violation()),
            _ => Err(unknown().violation()),
        }
    }

    /// HTTP Basic: the account and its token; any token if the network has none.
    fn authenticates(&self, asked: &Asked) -> Result<(), Fault> {
        let given = asked.authorization.as_deref().and_then(|header| header.strip_prefix("Basic "));
        let given =
            given.and_then(|text| STANDARD.decode(text).ok()).and_then(|text| String::from_utf8(text).ok());
        let fits = given.as_deref().and_then(|text| text.split_once(':')).is_some_and(|(user, password)| {
            let token = self.net.options.auth_token.as_ref();
            user == ACCOUNT_SID && token.is_none_or(|token| token.expose() == password)
        });
        if fits { Ok(()) } else { Err(Fault::new(401, 20003, "Authenticate")) }
    }
}

fn counts_down(left: &Cell<u32>) -> bool {
    let some = left.get() > 0;
    left.set(left.get().saturating_sub(1));
    some
}

/// A segment of a path without its percent encoding.
fn decode(segment: &str) -> String {
    let escaped = segment.replace('+', "%2B");
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}
