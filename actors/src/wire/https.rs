//! The client for whoever is asked by HTTP: its roots are compiled in, and its cryptography is *ring*.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix_tls::connect::{Resolve, Resolver};
use awc::{Client, Connector};
use futures_util::future::LocalBoxFuture;
use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use tokio::net::lookup_host;

use super::{dial, roots};

/// Limit of a connect, and of the TLS handshake after it.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);

/// How a client speaks TLS. A cheap clone.
pub type Tls = Arc<ClientConfig>;

static TLS: LazyLock<Tls> = LazyLock::new(|| trusting(roots::compiled_in()));

/// The beginning of what a client of TLS is: *ring*, and the versions that are safe.
pub(crate) fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
}

/// TLS that believes the certificates of these CAs.
pub fn trusting(roots: RootCertStore) -> Tls {
    Arc::new(builder().with_root_certificates(roots).with_no_client_auth())
}

/// Why a client of TLS broke off a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeFault {
    /// No trusted CA has issued the certificate.
    UnknownIssuer,
    Other(String),
}

/// The fault of a handshake that failed with this error; none where the connection itself failed.
pub fn handshake_fault(error: &io::Error) -> Option<HandshakeFault> {
    use rustls::Error::InvalidCertificate;
    let fault = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match fault {
        InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            HandshakeFault::UnknownIssuer
        }
        other => HandshakeFault::Other(other.to_string()),
    })
}

/// A client for this thread. The deadline of a whole request is its caller's; a redirect, which would carry
/// credentials elsewhere, is not followed.
pub fn client() -> Client {
    let dialer = actix_tls::connect::Connector::new(Resolver::custom(Reachable)).service();
    let connector = Connector::new().connector(dialer);
    let connector = connector.timeout(CONNECT).handshake_timeout(CONNECT).rustls_0_23(TLS.clone());
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

/// Resolves a name to its addresses; of several, to the one that answers first. The library would try them
/// one after the other, and never reach the second one if the first swallows packets.
struct Reachable;

impl Resolve for Reachable {
    fn lookup<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, Box<dyn std::error::Error>>> {
        Box::pin(async move {
            let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
            if addresses.len() < 2 {
                return Ok(addresses);
            }
            let probe = dial::dial_any(addresses).await?;
            Ok(vec![probe.peer_addr()?])
        })
    }
}
