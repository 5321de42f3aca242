//! The way from outside: name, certificate, proxy, websocket, clock.

use std::net::IpAddr;

use actors::wire::is_loopback;
use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use crate::preflight::Line;
use crate::preflight::facts::{Answer, Broken, Facts, Public, Said, TlsFault};

/// A certificate that ends within this should have been renewed.
const RENEWED_BEFORE: TimeDelta = TimeDelta::days(14);
/// By how much two clocks may differ, in milliseconds.
const CLOCKS_DIFFER_MS: i64 = 30_000;
/// Proxies and balancers keep an idle connection for so many seconds, unless they are told otherwise.
const PROXIES_KEEP: u64 = 60;
const START: &str = "start `switchboard serve`, and give the proxy the address where it listens";

pub(super) fn lines(facts: &Facts) -> Vec<Line> {
    let said = &facts.said;
    let (Some(url), Some(public)) = (&said.public_url, &facts.public) else {
        let seen = "PUBLIC_URL is not set, so that only this machine reaches the program";
        let remedy = "set PUBLIC_URL to the origin that Twilio sees, such as https://voice.example.com";
        let mut lines = vec![Line::fail("public-url", seen, remedy)];
        let others = ["certificate", "public-health", "public-stream", "public-webhook", "trusted-proxies"];
        lines.extend(others.map(|name| Line::unknown(name, "public-url")));
        lines.extend([keep_alive(said), clock(facts)]);
        return lines;
    };
    vec![
        address(url, said, public),
        certificate(public, facts.now),
        health(public),
        stream(public),
        webhook(public),
        proxies(url, said),
        keep_alive(said),
        clock(facts),
    ]
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
        Some(Err(Broken::Tls(fault))) => Line::fail(name, fault.to_string(), of_tls(fault)),
        Some(Err(_)) => Line::unknown(name, first(public)),
    }
}

/// What helps.
fn of_tls(fault: &TlsFault) -> &'static str {
    match fault {
        TlsFault::UnknownIssuer => {
            "use a certificate of a public CA, such as Let's Encrypt, and give the proxy its whole chain \
             (`fullchain.pem`)"
        }
        TlsFault::OfACa => {
            "use a certificate of a public CA, such as Let's Encrypt, for the name in PUBLIC_URL"
        }
        TlsFault::Expired => {
            "renew the certificate, let the proxy read it again, and see why it was not renewed"
        }
        TlsFault::NotYet => "check the clock of this machine and the date of the certificate",
        TlsFault::OtherName => "give the proxy a certificate for the name in PUBLIC_URL",
        TlsFault::Plain => {
            "let the proxy speak TLS on this port: `listen 443 ssl` in nginx, `bind :443 ssl crt FILE` in HAProxy"
        }
        TlsFault::OldVersion => {
            "let the proxy take TLS 1.2 and 1.3: `ssl_protocols TLSv1.2 TLSv1.3` in nginx, `ssl-min-ver TLSv1.2` in \
             HAProxy"
        }
        TlsFault::Other(_) => {
            "read the proxy's log, and give it a certificate for this name with its issuers'"
        }
    }
}

/// The line to mend before those that need an answer.
fn first(public: &Public) -> &'static str {
    if public.addresses.is_err() { "public-url" } else { "public-health" }
}

fn health(public: &Public) -> Line {
    let name = "public-health";
    let Answer { status, leads_to, is_ours, is_draining } = match &public.health {
        Ok(answer) => answer,
        Err(Broken::Tls(_)) => return Line::unknown(name, "certificate"),
        Err(_) if public.addresses.is_err() => return Line::unknown(name, "public-url"),
        Err(broken) => {
            let remedy = "start the proxy, and open its port in the firewall";
            return Line::fail(name, format!("PUBLIC_URL does not answer: {broken}"), remedy);
        }
    };
    match (status, leads_to) {
        (200, _) if *is_draining => Line::warn(
            name,
            "the program at PUBLIC_URL drains, and takes no new calls",
            "run `switchboard ops resume`; if the program is about to end, start it again",
        ),
        (200, _) if *is_ours => Line::pass(name, "the program answers at PUBLIC_URL"),
        (200, _) => Line::fail(name, "another program answers at PUBLIC_URL", START),
        // A proxy that closes /healthz to strangers does what it should.
        (401 | 403 | 404, _) if public.stream == Ok(101) || refuses_unsigned(public) => {
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
        Err(_) => Line::unknown(name, first(public)),
    }
}

/// The program itself has answered a webhook that is not signed.
fn refuses_unsigned(public: &Public) -> bool {
    matches!(&public.webhook, Some(Ok(Answer { status: 403, is_ours: true, .. })))
}

/// Whether Twilio's webhooks reach the program: it refuses one that is not signed, in its own words.
fn webhook(public: &Public) -> Line {
    let name = "public-webhook";
    let Answer { status, leads_to, .. } = match &public.webhook {
        None => return Line::unknown(name, "twilio-signatures"),
        Some(Ok(_)) if refuses_unsigned(public) => {
            return Line::pass(name, "a webhook gets through: the program refuses one that is not signed");
        }
        Some(Ok(answer)) => answer,
        Some(Err(Broken::Tls(_))) => return Line::unknown(name, "certificate"),
        Some(Err(_)) if public.health.is_err() => return Line::unknown(name, first(public)),
        Some(Err(broken)) => {
            let remedy = "let the proxy forward POST requests for /api/voice/ to the program";
            return Line::fail(name, format!("POST /api/voice/incoming: {broken}"), remedy);
        }
    };
    let post = "POST /api/voice/incoming";
    match (status, leads_to) {
        (200..=299, _) => Line::fail(
            name,
            format!("{post} without a signature is taken ({status})"),
            "unset BYPASS_TWILIO_VALIDATION for the running program; give the proxy the address where it listens",
        ),
        (300..=399, Some(host)) => Line::fail(
            name,
            format!("{post} is redirected to {host}"),
            "let the proxy forward /api/voice/ without a redirect: a signature holds for one URL",
        ),
        (401, _) => Line::fail(
            name,
            format!("the proxy demands a login for {post} (401)"),
            "let the proxy ask no login for /api/voice/: Twilio has none, and the program checks its signatures",
        ),
        (403, _) => Line::fail(
            name,
            format!("the proxy refuses {post} (403)"),
            "let the proxy forward POST requests for /api/voice/ from every address: Twilio's addresses change",
        ),
        (429, _) => Line::warn(name, format!("{post} is limited (429)"), "run the check again in a minute"),
        (502..=504, _) => Line::fail(name, format!("the proxy answers {post} with {status}"), START),
        _ => Line::fail(
            name,
            format!("{post} is answered with {status}, and not by the route for calls"),
            "let the proxy forward /api/voice/ to the program, with path and method unchanged",
        ),
    }
}

fn keep_alive(said: &Said) -> Line {
    let (name, kept) = ("keep-alive", said.keep_alive_seconds);
    if kept <= PROXIES_KEEP && !said.ends_tls {
        let seen = format!(
            "the program keeps an idle connection for {kept} s, and proxies for {PROXIES_KEEP} s: requests go into \
             connections that it closes"
        );
        let remedy = "set HTTP_KEEP_ALIVE_SECONDS to more than the proxy's idle time; 75 is the default";
        return Line::warn(name, seen, remedy);
    }
    Line::pass(name, format!("an idle connection is kept for {kept} s"))
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
        return Line::warn(name, "not known", "mend `database` or `twilio-account` first");
    };
    let seconds = (ahead.abs() + 500) / 1_000;
    let side = if ahead > 0 { "behind" } else { "ahead of" };
    if ahead.abs() > CLOCKS_DIFFER_MS {
        return Line::warn(name, format!("this machine's clock is {seconds} s {side} {whose}"), remedy);
    }
    Line::pass(name, "this machine's clock is right")
}
