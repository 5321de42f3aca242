//! The client for whoever is asked by HTTP: its roots are compiled in, and its cryptography is *ring*.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use awc::{Client, Connector};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::roots;

/// Limit of a connect, and of the TLS handshake after it.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);

static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| trusting(roots::compiled_in()));

/// TLS that believes the certificates of these CAs.
pub fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A client for this thread. The deadline of a whole request is its caller's; a redirect, which would carry credentials
/// elsewhere, is not followed.
pub fn client() -> Client {
    let connector = Connector::new().timeout(CONNECT).handshake_timeout(CONNECT).rustls_0_23(TLS.clone());
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}
