//! API_AUTH=off: whoever sits at this machine is let in.
//!
//! That is a connection from a loopback address that no proxy has forwarded, for a host name that only this
//! machine answers to (a page elsewhere could point its own name at 127.0.0.1 and read on).

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::uri::Authority;
use actors::wire::is_loopback as is_loopback_url;
use url::{Origin, Url};

use crate::app::App;
use crate::http::settings::ApiAuth;

/// Headers by which a proxy says whom it forwards for, besides `Forwarded`, `Via` and `X-Forwarded-…`.
const FORWARDING: [&str; 6] = [
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// Whether a request is from this machine, and may be.
pub fn lets_in(app: &App, request: &HttpRequest) -> bool {
    app.settings.http.api_auth == ApiAuth::Off && is_from_this_machine(request)
}

/// The origin of our pages: PUBLIC_URL, otherwise whatever name of this machine the request asks for.
pub fn own_origin(app: &App, request: &HttpRequest) -> Origin {
    if let Some(url) = &app.settings.http.public_url {
        return url.origin();
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let scheme = app.settings.scheme();
    let url = host.and_then(|host| Url::parse(&format!("{scheme}://{host}")).ok());
    url.filter(is_loopback_url).map_or_else(Origin::new_opaque, |url| url.origin())
}

fn is_from_this_machine(request: &HttpRequest) -> bool {
    let from_loopback = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    from_loopback && !is_forwarded(request.headers()) && is_for_loopback(request)
}

/// By the headers of any common proxy, content network or tunnel.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        name == header::FORWARDED
            || name == header::VIA
            || name.as_str().starts_with("x-forwarded-")
            || FORWARDING.contains(&name.as_str())
    })
}

/// Every host that the request names: one that names none is no browser's.
fn is_for_loopback(request: &HttpRequest) -> bool {
    let of_target = request.uri().authority().is_none_or(is_loopback);
    let is_ours =
        |host: &HeaderValue| Authority::try_from(host.as_bytes()).is_ok_and(|host| is_loopback(&host));
    of_target && request.headers().get_all(header::HOST).all(is_ours)
}

fn is_loopback(authority: &Authority) -> bool {
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
