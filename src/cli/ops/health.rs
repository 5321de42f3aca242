//! `switchboard ops health`: whether the process on this machine serves. For containers without curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use actors::wire::{dial, https, lenient, roots};
use clap::Args;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::cli::shell::print_line;
use crate::cli::{FAILED, FINE, USAGE};
use crate::settings::environment;

/// For connecting and the answer together. Less than a supervisor usually waits.
const DEADLINE: Duration = Duration::from_secs(4);
/// Bytes of the answer that are read at most.
const LARGEST: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Ask whether the process should get new calls (`/readyz`), and not whether it serves (`/healthz`)
    #[arg(long)]
    ready: bool,
    /// Where the process listens [default: this machine, at PORT]
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
}

/// Whom to ask.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// The name in the certificate, if the process ends TLS itself.
    pub(super) name: Option<String>,
}

fn parsed<T: FromStr>(name: &str, text: &str, wanted: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} is {text:?}: give {wanted}"))
}

impl Target {
    /// As the settings of the process have it.
    pub(super) fn of(
        address: Option<SocketAddr>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let value = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let port = value("PORT").map_or(Ok(8080), |text| parsed("PORT", &text, "a port number"))?;
        let bound = value("BIND_ADDR").map_or(Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)), |text| {
            parsed("BIND_ADDR", &text, "an IP address")
        })?;
        let ip = match bound {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let address = address.unwrap_or(SocketAddr::new(ip, port));
        let public = value("PUBLIC_URL")
            .and_then(|url| Some(Url::parse(&url).ok()?.host_str()?.trim_matches(['[', ']']).to_owned()));
        let name = value("TLS_CERT_FILE").map(|_| public.unwrap_or_else(|| address.ip().to_string()));
        Ok(Self { address, name })
    }

    /// The answer's status and body.
    pub(super) async fn ask(&self, path: &str) -> Result<(u16, String), String> {
        let failed = |error: std::io::Error| format!("{} does not answer: {error}", self.address);
        let stream = dial::dial_any(vec![self.address]).await.map_err(failed)?;
        let host = match &self.name {
            Some(name) if name.contains(':') => format!("[{name}]"),
            Some(name) => name.clone(),
            None => self.address.to_string(),
        };
        let answer = match &self.name {
            None => exchange(stream, &host, path).await.map_err(failed)?,
            Some(name) => {
                // On this machine, the question is whether the process serves, and not who it is.
                let tls = if self.address.ip().to_canonical().is_loopback() {
                    lenient::of_any_certificate()
                } else {
                    https::trusting(roots::of_the_system().unwrap_or_else(|_| roots::compiled_in()))
                };
                let connector = TlsConnector::from(tls);
                let name = ServerName::try_from(name.clone()).map_err(|error| error.to_string())?;
                let stream = connector.connect(name, stream).await.map_err(failed)?;
                exchange(stream, &host, path).await.map_err(failed)?
            }
        };
        parse(&answer).ok_or_else(|| format!("{} does not answer as HTTP does", self.address))
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
) -> std::io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The status and body of an answer by HTTP/1.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.trim_end().to_owned()))
}

pub fn run(arguments: &Arguments) -> u8 {
    let target = match Target::of(arguments.address, environment) {
        Ok(target) => target,
        Err(wrong) => {
            eprintln!("switchboard ops health: {wrong}");
            return USAGE;
        }
    };
    let path = if arguments.ready { "/readyz" } else { "/healthz" };
    let asked = async { timeout(DEADLINE, target.ask(path)).await };
    match actix_rt::System::new().block_on(asked) {
        Ok(Ok((status, body))) => {
            print_line(format_args!("{status} {body}"));
            if status == 200 { FINE } else { FAILED }
        }
        Ok(Err(wrong)) => {
            eprintln!("switchboard ops health: {wrong}");
            FAILED
        }
        Err(_) => {
            eprintln!("switchboard ops health: {} has not answered within 4 s", target.address);
            FAILED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_asked_where_its_settings_say_that_it_listens() {
        let target = |variables: &[(&str, &str)]| {
            let found = |name: &str| variables.iter().find(|(known, _)| *known == name);
            let target = Target::of(None, |name| found(name).map(|(_, value)| (*value).to_owned()))?;
            Ok::<_, String>((target.address.to_string(), target.name))
        };
        let plain = |address: &str| Ok((address.to_owned(), None));
        assert_eq!(target(&[]), plain("127.0.0.1:8080"));
        assert_eq!(target(&[("PORT", ""), ("BIND_ADDR", "0.0.0.0")]), plain("127.0.0.1:8080"));
        assert_eq!(target(&[("PORT", "80"), ("BIND_ADDR", "::")]), plain("[::1]:80"));
        assert_eq!(target(&[("BIND_ADDR", "10.0.0.1")]), plain("10.0.0.1:8080"));
        let tls = [("TLS_CERT_FILE", "c.pem"), ("PUBLIC_URL", "https://voice.example.com")];
        assert_eq!(target(&tls), Ok(("127.0.0.1:8080".to_owned(), Some("voice.example.com".to_owned()))));
        let tls = [("TLS_CERT_FILE", "c.pem"), ("PUBLIC_URL", "https://[fd00::1]")];
        assert_eq!(target(&tls), Ok(("127.0.0.1:8080".to_owned(), Some("fd00::1".to_owned()))));
        assert_eq!(target(&[("PORT", "80a")]), Err("PORT is \"80a\": give a port number".to_owned()));
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = b"HTTP/1.0 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}\n";
        assert_eq!(parse(answer), Some((503, "{}".to_owned())));
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n\r\n"), None);
        assert_eq!(parse(b""), None);
    }
}
