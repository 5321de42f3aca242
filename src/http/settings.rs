//! What the doors are told from outside.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `BIND_ADDR` and `PORT`; port 0 is any free one.
    pub bind: SocketAddr,
    /// The origin that Twilio sees (`PUBLIC_URL`). None, on a loopback address only: where it listens.
    pub public_url: Option<Url>,
    pub api_auth: ApiAuth,
    /// Those whose `X-Forwarded-For` is believed (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// Who may read `/metrics` (`METRICS_AUTH`).
    pub metrics_auth: MetricsAuth,
    /// Where `/metrics` is served instead of the main port (`METRICS_ADDR`).
    pub metrics_addr: Option<SocketAddr>,
    /// How long a connection may be idle (`HTTP_KEEP_ALIVE_SECONDS`).
    pub keep_alive: Duration,
}

/// Who may use the API and the dashboard (`API_AUTH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiAuth {
    Required,
    /// Whoever sits at this machine; only with a loopback `BIND_ADDR` and `PUBLIC_URL`, and without
    /// `TRUSTED_PROXIES`.
    Off,
}

/// Who may read the metrics (`METRICS_AUTH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAuth {
    /// Whoever reaches the port.
    Open,
    /// Whoever has the scope `metrics`.
    Token,
}

impl HttpSettings {
    /// Whether browsers reach the program over TLS.
    pub fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}
