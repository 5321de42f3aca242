//! What `sslmode` and `sslrootcert` ask for, as libpq means it, and what a refused handshake is told as.
//!
//! `prefer` and `require` encrypt and look at no certificate; `verify-ca` wants one that a trusted CA has
//! issued, whoever it is for; `verify-full` wants it to be for the host of the URL, too.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::wire::https;

/// What must be true of the server's certificate.
pub(super) enum Check {
    Nothing,
    /// A CA of these has issued it.
    Issuer(RootCertStore),
    /// The same, and it is for the host.
    IssuerAndName(RootCertStore),
}

impl Check {
    pub(super) fn connector(self) -> MakeRustlsConnect {
        let config = match self {
            Self::IssuerAndName(roots) => https::builder().with_root_certificates(roots),
            Self::Issuer(roots) => lenient(Some(roots)),
            Self::Nothing => lenient(None),
        };
        MakeRustlsConnect::new(config.with_no_client_auth())
    }
}

/// A certificate that any of these CAs has issued will do, or any at all.
fn lenient(roots: Option<RootCertStore>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let builder = https::builder();
    let provider = Arc::clone(builder.crypto_provider());
    let issuers = roots.map(|roots| {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("there is a root, and no revocation list")
    });
    builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName { issuers, provider }))
}

/// What to do about a handshake that failed because of the server's certificate.
pub(super) fn remedy(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let is_a_ca = |other: &OtherError| other.to_string().contains("CaUsedAsEndEntity");
    Some(match certificate_fault(error)? {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "point `sslrootcert` at the certificate of the CA that issued the server's (hosted databases offer it for \
             download)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "connect by a name that the certificate is for, or settle for `sslmode=verify-ca`"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the server's certificate, and see that this machine's clock is right"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "see that this machine's clock is right"
        }
        CertificateError::Other(other) if is_a_ca(other) => {
            "the server shows a CA's own certificate; give it one that this CA has issued"
        }
        _ => "give the server another certificate",
    })
}

fn certificate_fault<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // `source` of an I/O error skips the error it was made of.
        let inner: &(dyn Error + 'static) =
            match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => inner,
                None => error,
            };
        if let Some(rustls::Error::InvalidCertificate(fault)) = inner.downcast_ref() {
            return Some(fault);
        }
        cause = inner.source();
    }
    None
}

/// Accepts a certificate that is in order but for another name, which is looked at last; or any, if nobody is
/// to have issued it. Always checks that the server holds its key.
#[derive(Debug)]
struct AnyName {
    issuers: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(issuers) = &self.issuers else { return Ok(ServerCertVerified::assertion()) };
        match issuers.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
