//! Whom TLS trusts: the CAs of this machine, of a file, or those that are compiled in.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The CAs that browsers trust, as of when this was built.
pub fn compiled_in() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// What this machine trusts: its own store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Fails with the
/// reason.
pub fn of_the_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let reason = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    Err(format!("this machine trusts no CA (on Debian: `apt-get install ca-certificates`){reason}"))
}

/// The certificates of a PEM file. Fails with the reason: there is at least one.
pub fn of_file(path: impl AsRef<Path>) -> Result<RootCertStore, String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("not a PEM file: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("no certificate is in it".to_owned()) } else { Ok(roots) }
}
