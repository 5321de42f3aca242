//! The way from outside: name, certificate, proxy, websocket, clock.

use std::net::IpAddr;

use actors::wire::is_loopback;
use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use crate::preflight::Line;
use crate::preflight::facts::{Answer, Broken, Facts, Public, Said};

/// A certificate that ends within this should have been renewed.
const RENEWED_BEFORE: TimeDelta = TimeDelta::days(14);
/// By how much two clocks may differ, in milliseconds.
const CLOCKS_DIFFER_MS: i64 = 30_000;
const START: &str = "start `switchboard serve`, and give the proxy the address where it listens";

pub(super) fn lines(facts: &Facts) -> Vec<Line> {
    let said = &facts.said;
    let (Some(url), Some(public)) = (&said.public_url, &facts.public) else {
        let seen = "PUBLIC_URL is not set, so that only this machine reaches the program";
        let remedy = "set PUBLIC_URL to the origin that Twilio sees, such as https://voice.example.com";
        return vec![Line::fail("public-url", seen, remedy), clock(facts)];
    };
    let mut lines = vec![address(url, said, public), certificate(public, facts.now)];
    lines.extend([health(public), stream(public), proxies(url, said), clock(facts)]);
    lines
}

fn address(url: &Url, said: &Said, public: &Public) -> Line {
    let name = "public-url";
    let origin = url.origin().ascii_serialization();
    if is_loopback(url) && !said.twilio_is_local {
        let seen = format!("{origin} is this machine, which Twilio does not reach");
        return Line::fail(name, seen, "set PUBLIC_URL to the origin that Twilio sees");
    }
    match &public.addresses {
        Err(why) => {
            let host = url.host_str().unwrap_or_default();
            Line::fail(name, format!("{host} has no address: {why}"), "add a DNS record for the name")
        }
        Ok(addresses) => {
            let shown: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            let seen = format!("{origin} is {}", shown.join(", "));
            if !said.twilio_is_local && !addresses.is_empty() && addresses.iter().all(is_private) {
                let seen = format!("{seen}, an address that the internet does not reach");
                return Line::warn(name, seen, "ask for the name from another network: `dig +short NAME`");
            }
            Line::pass(name, seen)
        }
    }
}

/// Whether only a network of one's own leads there.
pub(super) fn is_private(address: &IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn certificate(public: &Public, now: DateTime<Utc>) -> Line {
    let name = "certificate";
    match &public.certificate {
        None => Line::warn(name, "PUBLIC_URL has no TLS", "set PUBLIC_URL to an https origin"),
        Some(Ok(until)) => {
            let seen = format!("valid until {}", until.date_naive());
            if *until - now < RENEWED_BEFORE {
                return Line::warn(name, seen, "renew the certificate, and see why it was not renewed");
            }
            Line::pass(name, seen)
        }
        Some(Err(Broken::Tls(why))) => {
            let remedy = "give the proxy a certificate for this name with the certificates of its issuers";
            Line::fail(name, why.as_str(), remedy)
        }
        Some(Err(_)) => Line::unknown(name, "public-health"),
    }
}

fn health(public: &Public) -> Line {
    let name = "public-health";
    let Answer { status, leads_to, is_ours } = match &public.health {
        Ok(answer) => answer,
        Err(Broken::Tls(_)) => return Line::unknown(name, "certificate"),
        Err(broken) => {
            let remedy = "start the proxy, and open its port in the firewall";
            return Line::fail(name, format!("PUBLIC_URL does not answer: {broken}"), remedy);
        }
    };
    match (status, leads_to) {
        (200, _) if *is_ours => Line::pass(name, "the program answers at PUBLIC_URL"),
        (200, _) => Line::fail(name, "another program answers at PUBLIC_URL", START),
        // A proxy that closes /healthz to strangers does what it should.
        (401 | 403 | 404, _) if public.stream == Ok(101) => {
            Line::pass(name, format!("the proxy closes /healthz ({status}), and the program is behind it"))
        }
        (300..=399, Some(host)) => Line::fail(
            name,
            format!("PUBLIC_URL redirects to {host}"),
            "set PUBLIC_URL to the origin that answers without a redirect: a signature holds for one URL",
        ),
        (502..=504, _) => {
            Line::fail(name, format!("the proxy answers {status} in place of the program"), START)
        }
        _ => Line::fail(name, format!("PUBLIC_URL answers {status}"), START),
    }
}

fn stream(public: &Public) -> Line {
    let name = "public-stream";
    match &public.stream {
        Ok(101) => Line::pass(name, "a media stream gets through"),
        Ok(status @ 403) => Line::fail(
            name,
            format!("a media stream that is signed correctly is refused ({status})"),
            "give the running program the same PUBLIC_URL and TWILIO_AUTH_TOKEN; let the proxy change no path",
        ),
        Ok(status @ (200 | 400 | 426)) => Line::fail(
            name,
            format!("the proxy forwards no websocket ({status})"),
            "forward the headers Upgrade and Connection, as deploy/nginx.conf does",
        ),
        Ok(status) => Line::fail(name, format!("a media stream is answered with {status}"), START),
        Err(Broken::Tls(_)) => Line::unknown(name, "certificate"),
        Err(Broken::Silent) if public.health.is_ok() => {
            let remedy = "forward the headers Upgrade and Connection, as deploy/nginx.conf does";
            Line::fail(name, "a media stream gets no answer within 4 s", remedy)
        }
        Err(_) => Line::unknown(name, "public-health"),
    }
}

fn proxies(url: &Url, said: &Said) -> Line {
    let name = "trusted-proxies";
    if url.scheme() == "https" && !said.ends_tls && said.trusted_proxies.is_empty() {
        let seen = "TLS ends in a proxy that is not trusted, so that all clients share one rate limit";
        return Line::warn(name, seen, "set TRUSTED_PROXIES to the address of the proxy");
    }
    if said.trusted_proxies.is_empty() {
        return Line::pass(
            name,
            "TRUSTED_PROXIES is not set: clients are known by the address they come from",
        );
    }
    let set = said.trusted_proxies.join(", ");
    Line::pass(name, format!("TRUSTED_PROXIES is {set}; whether the proxy is there is not known"))
}

fn clock(facts: &Facts) -> Line {
    let name = "clock";
    let remedy = "let the machine set its clock by NTP: `timedatectl set-ntp true`";
    let of_twilio = facts.twilio_ahead_ms.as_ref().ok().map(|ahead| ("Twilio's", *ahead));
    let of_database = facts.database_ahead_ms.map(|ahead| ("the database's", ahead));
    let Some((whose, ahead)) = of_twilio.into_iter().chain(of_database).max_by_key(|(_, ahead)| ahead.abs())
    else {
        return Line::warn(name, "nobody told the time to compare with", remedy);
    };
    let seconds = (ahead.abs() + 500) / 1_000;
    let side = if ahead > 0 { "behind" } else { "ahead of" };
    if ahead.abs() > CLOCKS_DIFFER_MS {
        return Line::warn(name, format!("this machine's clock is {seconds} s {side} {whose}"), remedy);
    }
    Line::pass(name, "this machine's clock is right")
}
