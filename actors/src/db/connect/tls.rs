//! What `sslmode` and `sslrootcert` ask for, as libpq means it, and what a refused handshake is told as.
//!
//! `prefer` and `require` encrypt and look at no certificate; `verify-ca` wants one that a trusted CA has
//! issued, whoever it is for; `verify-full` wants it to be for the host of the URL, too.

use std::error::Error;
use std::io;

use rustls::{CertificateError, OtherError, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::wire::https;
use crate::wire::lenient::lenient;

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
