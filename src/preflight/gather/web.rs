//! HTTP by hand, for what no client tells: the certificate that a server shows, and the answer to an upgrade
//! that is none. One request for each connection.

use actors::wire::dial::dial;
use actors::wire::https::Tls;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::preflight::facts::{Broken, TlsFault};
use crate::tls;

/// Bytes of an answer that are read at most.
const LARGEST: usize = 256 * 1024;
/// A close of ours (RFC 6455, section 5.5.1): masked with zeros, code 1000.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

/// An open connection.
pub(super) struct Connection {
    socket: Box<dyn Socket>,
    host: String,
    /// Until when the certificate holds; none without TLS.
    pub(super) until: Option<DateTime<Utc>>,
}

/// An answer by HTTP/1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// As it came: possibly in chunks.
    pub(super) body: String,
}

/// Connects to the origin. Has no deadline of its own: its caller has one.
pub(super) async fn open(origin: &Url, tls: &Tls) -> Result<Connection, Broken> {
    let host = origin.host_str().unwrap_or_default();
    let port = origin.port_or_known_default().unwrap_or(443);
    let tcp = dial(host, port).await.map_err(|error| Broken::Unreachable(error.to_string()))?;
    let host = origin.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    if origin.scheme() == "http" {
        return Ok(Connection { socket: Box::new(tcp), host, until: None });
    }
    let bare = origin.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let other = |said: String| Broken::Tls(TlsFault::Other(said));
    let name = ServerName::try_from(bare).map_err(|error| other(error.to_string()))?;
    let socket = TlsConnector::from(tls.clone()).connect(name, tcp).await;
    let socket = socket.map_err(|error| tls_fault(&error).map_or(other(error.to_string()), Broken::Tls))?;
    let shown = socket.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let until = shown.and_then(|certificate| tls::holds_until(certificate));
    Ok(Connection { socket: Box::new(socket), host, until })
}

impl Connection {
    /// Asks for a path, and reads the whole answer.
    pub(super) async fn get(mut self, path: &str) -> Result<Answer, Broken> {
        self.asks("GET", path, "Accept: application/json\r\nConnection: close\r\n").await?;
        self.answer().await
    }

    /// Sends an empty form, and reads the whole answer.
    pub(super) async fn post(mut self, path: &str) -> Result<Answer, Broken> {
        let headers = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\
                       Connection: close\r\n";
        self.asks("POST", path, headers).await?;
        self.answer().await
    }

    async fn answer(mut self) -> Result<Answer, Broken> {
        let mut bytes = Vec::new();
        while !is_whole(&bytes) && self.reads(&mut bytes).await? {}
        parsed(&bytes)
    }

    /// Asks for a websocket; the status of the answer. An open one is closed again.
    pub(super) async fn upgrade(mut self, path: &str, more: &[(&str, &str)]) -> Result<u16, Broken> {
        let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
        let more: String = more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let upgrade = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        self.asks("GET", path, &(upgrade + &more)).await?;
        let mut bytes = Vec::new();
        while head_length(&bytes).is_none() && self.reads(&mut bytes).await? {}
        let Answer { status, .. } = parsed(&bytes)?;
        if status == 101 {
            let _ = self.socket.write_all(&CLOSE).await;
            let _ = self.socket.shutdown().await;
        }
        Ok(status)
    }

    async fn asks(&mut self, method: &str, path: &str, headers: &str) -> Result<(), Broken> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: switchboard-preflight\r\n{headers}\r\n",
            self.host
        );
        let sent = async {
            self.socket.write_all(request.as_bytes()).await?;
            self.socket.flush().await
        };
        sent.await.map_err(broken)
    }

    /// False: there is no more.
    async fn reads(&mut self, bytes: &mut Vec<u8>) -> Result<bool, Broken> {
        match self.socket.read_buf(bytes).await {
            Ok(count) => Ok(count > 0 && bytes.len() < LARGEST),
            // Some servers end TLS without a word; the answer is what came before.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(broken(error)),
        }
    }
}

fn broken(error: std::io::Error) -> Broken {
    tls_fault(&error).map_or_else(|| Broken::Unreachable(error.to_string()), Broken::Tls)
}

/// The fault of TLS behind this error; none where the connection itself failed.
fn tls_fault(error: &std::io::Error) -> Option<TlsFault> {
    use rustls::Error;
    let fault = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match fault {
        Error::InvalidCertificate(fault) => of_certificate(fault),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFault::Plain,
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => TlsFault::OldVersion,
        other => TlsFault::Other(other.to_string()),
    })
}

fn of_certificate(fault: &CertificateError) -> TlsFault {
    match fault {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::UnknownIssuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYet,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::OtherName
        }
        // The library has no name of its own for it.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => TlsFault::OfACa,
        other => TlsFault::Other(other.to_string()),
    }
}

/// How long the head is, with the empty line behind it.
fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

/// The head is there, and so many bytes behind it as it says.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(head) = head_length(bytes) else { return false };
    let Ok(answer) = parsed(bytes) else { return true };
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() - head >= length)
}

fn parsed(bytes: &[u8]) -> Result<Answer, Broken> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(Broken::NotHttp)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or(Broken::NotHttp)?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Ok(Answer { status, headers: headers.collect(), body: body.to_owned() })
}

impl Answer {
    /// The first header of this name, which is in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The origin of a server that sends this to whoever connects, and keeps the connection open.
    async fn says(text: &'static str) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        actix_rt::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(text.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        origin.parse().unwrap()
    }

    async fn connection(text: &'static str) -> Connection {
        open(&says(text).await, &actors::wire::lenient::of_any_certificate()).await.unwrap()
    }

    #[actix_rt::test]
    async fn an_answer_is_whole_when_its_length_is_there_though_the_connection_stays_open() {
        let answer = connection(
            "HTTP/1.1 302 Found\r\nLocation: https://b.example.com/\r\ncontent-length: 2\r\n\r\nok",
        );
        let answer = answer.await.get("/").await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (302, "ok"));
        assert_eq!(
            (answer.header("location"), answer.header("date")),
            (Some("https://b.example.com/"), None)
        );
    }

    #[actix_rt::test]
    async fn an_upgrade_ends_with_the_head_whatever_follows() {
        let status = connection("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}");
        assert_eq!(status.await.upgrade("/s", &[("X-A", "b")]).await, Ok(101));
        let status = connection("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 900\r\n\r\n");
        assert_eq!(status.await.upgrade("/s", &[]).await, Ok(426));
    }

    #[actix_rt::test]
    async fn what_is_no_http_is_told_and_a_closed_port_as_well() {
        assert_eq!(connection("SSH-2.0-OpenSSH\r\n\r\n").await.upgrade("/", &[]).await, Err(Broken::NotHttp));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin: Url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let refused = open(&origin, &actors::wire::lenient::of_any_certificate()).await;
        assert!(matches!(refused, Err(Broken::Unreachable(_))));
        let plain = says("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let plain = Url::parse(&plain.as_str().replacen("http", "https", 1)).unwrap();
        let refused = open(&plain, &actors::wire::lenient::of_any_certificate()).await;
        assert_eq!(refused.err(), Some(Broken::Tls(TlsFault::Plain)));
    }
}
