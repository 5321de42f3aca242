//! A certificate authority of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::postgres::Folder;

/// A CA, and the folder of its certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: Folder,
}

/// What a server shows, and its key; both PEM.
pub struct ServerCertificate {
    chain: String,
    key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("CA {} of the tests", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = Folder::new();
        fs::write(folder.path().join("ca.crt"), certificate.pem()).expect("written");
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// The file for `sslrootcert`.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// For a server of this name or address.
    pub fn issue(&self, name: &str) -> ServerCertificate {
        self.sign(params(name))
    }

    /// The same, but of long ago.
    pub fn issue_expired(&self, name: &str) -> ServerCertificate {
        let mut params = params(name);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> ServerCertificate {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        ServerCertificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl ServerCertificate {
    /// One that calls itself a CA, and is signed by nobody else.
    pub fn of_its_own(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// The end of TLS that shows it.
    pub fn acceptor(&self) -> TlsAcceptor {
        let chain = CertificateDer::from_pem_slice(self.chain.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("known versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a key that fits");
        TlsAcceptor::from(Arc::new(config))
    }

    /// Writes `server.crt` and `server.key`.
    pub fn write(&self, folder: &Path) {
        fs::write(folder.join("server.crt"), &self.chain).expect("written");
        fs::write(folder.join("server.key"), &self.key).expect("written");
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a name")
}
