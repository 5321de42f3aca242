//! Whom TLS trusts: the CAs of this machine, or those that are compiled in.

use rustls::RootCertStore;

/// The CAs that browsers trust, as of when this was built.
pub fn compiled_in() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// What this machine trusts: its own store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Fails with the reason.
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
