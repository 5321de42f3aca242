//! Whom simulated calls may ring: programs on this machine, and over TLS the named hosts of one's own.

use std::ffi::OsStr;
use std::net::Ipv6Addr;
use std::sync::LazyLock;
use std::time::Duration;

use actors::wire::https::{self, HandshakeFault, Tls};
use actors::wire::{is_loopback, roots};
use awc::error::{ConnectError, SendRequestError};
use awc::{Client, Connector};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use url::{Host, Url};

/// Limit of the request that tries TLS.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nobody's own: their hosts and all below them are never rung.
const SERVICES: [&str; 2] = ["twilio.com", "openai.com"];

// Which hosts are rung, and whose certificates are believed. A doc comment would be the help of the command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Reach {
    /// Ring this host of your own over https, besides this machine; may be repeated
    #[arg(long = "allow-host", value_name = "HOST", value_parser = own_host)]
    pub hosts: Vec<Host>,
    /// Believe the CAs in this PEM file over https, instead of those that this machine trusts
    #[arg(long, value_name = "FILE", value_parser = CaFile)]
    pub cacert: Option<Tls>,
}

/// Why a URL is not rung.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0} is not on this machine: simulated calls go to other hosts over https only")]
    Plain(String),
    #[error("{0} is not on this machine: if the host is your own, name it with --allow-host {1}")]
    Stranger(String, String),
    #[error("{0} is a public service: simulated calls go to this machine and to hosts of your own")]
    Service(String),
}

impl Reach {
    /// Whether this URL of a webhook or a media stream may be asked for.
    ///
    /// # Errors
    /// It may not be: for this reason.
    pub fn permits(&self, url: &Url) -> Result<(), Refusal> {
        if is_loopback(url) {
            return Ok(());
        }
        let origin = url.origin().ascii_serialization();
        let Some(host) = url.host().map(|host| host.to_owned()) else { return Err(Refusal::Plain(origin)) };
        if is_service(&host) {
            Err(Refusal::Service(origin))
        } else if !matches!(url.scheme(), "https" | "wss") {
            Err(Refusal::Plain(origin))
        } else if !self.hosts.contains(&host) {
            Err(Refusal::Stranger(origin, host.to_string()))
        } else {
            Ok(())
        }
    }

    /// Whether only this machine is rung, and whom it trusts is believed.
    pub fn is_usual(&self) -> bool {
        self.hosts.is_empty() && self.cacert.is_none()
    }

    /// Tries TLS with a program before it is asked for more: each request would meet the same fault. A
    /// program that is away is no fault of TLS.
    ///
    /// # Errors
    /// Its certificate is not believed, or it speaks no TLS: for this reason, in one line.
    pub async fn tries_tls(&self, origin: &Url) -> Result<(), String> {
        if origin.scheme() != "https" {
            return Ok(());
        }
        let asked = self.client("https", PATIENCE, Some(PATIENCE)).head(origin.as_str()).send().await;
        let Err(SendRequestError::Connect(ConnectError::Io(error))) = asked else { return Ok(()) };
        let origin = origin.origin().ascii_serialization();
        match https::handshake_fault(&error) {
            None => Ok(()),
            Some(HandshakeFault::UnknownIssuer) if self.cacert.is_some() => {
                Err(format!("{origin}: none of the CAs in the file of --cacert has issued its certificate"))
            }
            Some(HandshakeFault::UnknownIssuer) => Err(format!(
                "{origin}: no CA that this machine trusts has issued its certificate; name the CA's file with --cacert"
            )),
            Some(HandshakeFault::Other(fault)) => Err(format!("{origin}: TLS failed: {fault}")),
        }
    }

    /// How TLS is spoken.
    pub fn tls(&self) -> Tls {
        /// A machine that trusts no CA believes those that browsers do.
        static USUAL: LazyLock<Tls> = LazyLock::new(|| {
            https::trusting(roots::of_the_system().unwrap_or_else(|_| roots::compiled_in()))
        });
        self.cacert.as_ref().unwrap_or_else(|| &*USUAL).clone()
    }

    /// A client for this thread and URLs of this scheme. It follows no redirect. `whole` limits a whole
    /// request.
    pub fn client(&self, scheme: &str, connect: Duration, whole: Option<Duration>) -> Client {
        let mut connector = Connector::new().timeout(connect).handshake_timeout(connect);
        if scheme == "https" {
            connector = connector.rustls_0_23(self.tls());
        }
        let client = Client::builder().connector(connector).disable_redirects();
        match whole {
            Some(limit) => client.timeout(limit),
            None => client.disable_timeout(),
        }
        .finish()
    }
}

fn is_service(host: &Host) -> bool {
    let Host::Domain(name) = host else { return false };
    let name = name.trim_end_matches('.');
    SERVICES
        .iter()
        .any(|service| name.strip_suffix(service).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn own_host(text: &str) -> Result<Host, String> {
    let host = text.parse::<Ipv6Addr>().map(Host::Ipv6).or_else(|_| Host::parse(text));
    let host = host.ok().filter(|_| !text.contains('*'));
    let host = host.ok_or("a host's name or address is wanted, without scheme, port or `*`")?;
    if is_service(&host) { Err("a public service is no host of your own".to_owned()) } else { Ok(host) }
}

/// Parses the name of a file of CAs, and reads it.
#[derive(Debug, Clone, Copy)]
struct CaFile;

impl TypedValueParser for CaFile {
    type Value = Tls;

    fn parse_ref(&self, _: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<Tls, Error> {
        roots::of_file(value).map(https::trusting).map_err(|why| {
            let name = argument.map(ToString::to_string).unwrap_or_default();
            Error::raw(ErrorKind::ValueValidation, format!("{name}: {}: {why}\n", value.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(allowed: &[&str], url: &str) -> Result<(), Refusal> {
        let hosts = allowed.iter().map(|host| own_host(host).unwrap()).collect();
        Reach { hosts, cacert: None }.permits(&url.parse().unwrap())
    }

    #[test]
    fn this_machine_is_rung_with_and_without_tls() {
        for url in [
            "http://127.0.0.1:8080",
            "https://127.0.0.2",
            "wss://localhost/stream",
            "ws://[::1]:1/",
            "https://[::1]",
        ] {
            assert_eq!(permits(&[], url), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_host_of_ones_own_is_rung_over_tls_only_and_has_to_be_named() {
        let own = ["Voice.example.com", "10.0.0.7", "fd00::7"];
        for url in [
            "https://voice.example.com:8443",
            "wss://VOICE.example.com/s",
            "https://10.0.0.7",
            "https://[fd00::7]",
        ] {
            assert_eq!(permits(&own, url), Ok(()), "{url}");
            assert!(matches!(permits(&[], url), Err(Refusal::Stranger(..))), "{url}");
        }
        for url in ["http://voice.example.com", "ws://10.0.0.7", "http://192.0.2.1"] {
            assert!(matches!(permits(&own, url), Err(Refusal::Plain(_))), "{url}");
        }
        for url in
            ["https://example.com", "https://other.voice.example.com", "wss://10.0.0.8", "https://[fd00::8]"]
        {
            assert!(matches!(permits(&own, url), Err(Refusal::Stranger(..))), "{url}");
        }
        let refusal = permits(&own, "https://other.example.com:8443/path?secret").unwrap_err().to_string();
        assert_eq!(
            refusal,
            "https://other.example.com:8443 is not on this machine: if the host is your own, name it with \
             --allow-host other.example.com"
        );
    }

    #[test]
    fn public_services_are_never_rung_and_cannot_be_named() {
        for host in ["twilio.com", "api.twilio.com", "API.Twilio.com.", "api.openai.com"] {
            assert_eq!(own_host(host).unwrap_err(), "a public service is no host of your own", "{host}");
            assert!(matches!(permits(&[], &format!("https://{host}/")), Err(Refusal::Service(_))), "{host}");
        }
        assert_eq!(permits(&["nottwilio.com"], "https://nottwilio.com"), Ok(()));
        for wrong in ["", "https://a", "a:443", "a/b", "*.example.com", "me@a"] {
            assert!(own_host(wrong).is_err(), "{wrong}");
        }
    }
}
