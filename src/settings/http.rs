//! The doors: where they listen, the origin that others see, who may use the API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use url::Url;

use super::reader::Reader;
use super::{exposure, is_public_origin, network};
use crate::http::settings::{ApiAuth, HttpSettings, MetricsAuth};

pub(super) fn read(reader: &mut Reader<'_>) -> HttpSettings {
    let ip = reader.parsed("BIND_ADDR", IpAddr::V4(Ipv4Addr::LOCALHOST), "an IP address", |v| v.parse().ok());
    let port = reader.parsed("PORT", 8080, "a port number", |v| v.parse().ok());
    let public_url = reader.optional("PUBLIC_URL").and_then(|text| {
        let url = Url::parse(&text).ok().filter(is_public_origin);
        if url.is_none() {
            let origin = "is not the origin that Twilio sees, such as https://voice.example.com";
            let remedy = "give scheme and host, without path, query or user; http only for a loopback host";
            reader.fault("PUBLIC_URL", origin, remedy);
        }
        url
    });
    if reader.is_unset("PUBLIC_URL") && !ip.is_loopback() {
        reader.fault(
            "PUBLIC_URL",
            "is not set",
            "give the origin that Twilio sees, such as https://voice.example.com",
        );
    }
    let api_auth = reader.parsed("API_AUTH", ApiAuth::Required, "`required` or `off`", |v| match v {
        "required" => Some(ApiAuth::Required),
        "off" => Some(ApiAuth::Off),
        _ => None,
    });
    let wanted = "addresses and networks such as `10.0.0.0/8,fd00::1`";
    let trusted_proxies = reader
        .parsed("TRUSTED_PROXIES", vec![], wanted, |v| v.split(',').map(|one| network(one.trim())).collect());
    let metrics_auth = reader.parsed("METRICS_AUTH", MetricsAuth::Open, "`open` or `token`", |v| match v {
        "open" => Some(MetricsAuth::Open),
        "token" => Some(MetricsAuth::Token),
        _ => None,
    });
    let wanted = "an IP address and a port, such as `127.0.0.1:9464`";
    let metrics_addr = reader.parsed("METRICS_ADDR", None, wanted, |v| v.parse().ok().map(Some));
    // Longer than a balancer's, which is mostly 60 s: it must be the balancer that ends an idle
    // connection.
    let keep_alive = reader.number("HTTP_KEEP_ALIVE_SECONDS", 75, 1, 3_600);
    let http = HttpSettings {
        bind: SocketAddr::new(ip, port),
        public_url,
        api_auth,
        trusted_proxies,
        metrics_auth,
        metrics_addr,
        keep_alive: Duration::from_secs(keep_alive.into()),
    };
    exposure::check_api(&http, reader);
    http
}
