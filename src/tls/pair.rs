//! A certificate and its key, as two PEM files hold them.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use actors::secret::Secret;
use chrono::{DateTime, Utc};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::validity;

/// No chain and no key is longer.
const MOST_BYTES: u64 = 1 << 20;

/// `TLS_CERT_FILE` and `TLS_KEY_FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub certificate: String,
    pub key: String,
}

/// What the files hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    certificate: Vec<u8>,
    key: Secret,
}

/// A certificate that fits its key.
#[derive(Debug, Clone)]
pub struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
}

#[cfg(test)]
impl Pair {
    /// The server's own certificate.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certified.cert[0].clone()
    }
}

/// What is wrong with one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFault {
    pub setting: &'static str,
    pub wrong: String,
    pub remedy: &'static str,
}

const CERTIFICATE: &str = "TLS_CERT_FILE";
const KEY: &str = "TLS_KEY_FILE";

impl Files {
    pub(super) fn read(&self) -> Result<Content, PairFault> {
        let certificate =
            read(&self.certificate).map_err(|error| unread(CERTIFICATE, &self.certificate, &error))?;
        let key = read(&self.key).and_then(|key| String::from_utf8(key).map_err(io::Error::other));
        let key = Secret::new(key.map_err(|error| unread(KEY, &self.key, &error))?);
        Ok(Content { certificate, key })
    }

    /// What keeps a pair from being shown now.
    pub(super) fn not_valid_at(&self, pair: &Pair, now: DateTime<Utc>) -> Option<PairFault> {
        let fault = |wrong: String, remedy| {
            let wrong = format!("is {}: the certificate {wrong}", self.certificate);
            PairFault { setting: CERTIFICATE, wrong, remedy }
        };
        if pair.until <= now {
            return Some(fault(format!("ended at {}", pair.until), "renew it"));
        }
        (pair.from > now).then(|| {
            let remedy = "check this machine's clock; once the certificate has begun, send SIGHUP";
            fault(format!("begins at {}", pair.from), remedy)
        })
    }

    /// The pair that was read from these files.
    pub(super) fn pair(&self, content: &Content) -> Result<Pair, PairFault> {
        let in_certificate = |wrong: &str| PairFault {
            setting: CERTIFICATE,
            wrong: format!("is {}: {wrong}", self.certificate),
            remedy: "give a PEM file with the server's certificate first and the certificates of its issuers after it",
        };
        let in_key = |wrong: &str, remedy| {
            let wrong = format!("is {}: {wrong}", self.key);
            PairFault { setting: KEY, wrong, remedy }
        };
        let chain: Result<Vec<_>, pem::Error> =
            CertificateDer::pem_slice_iter(&content.certificate).collect();
        let chain = chain.map_err(|_| in_certificate("it is no PEM file"))?;
        let first = chain.first().ok_or_else(|| in_certificate("no certificate is in it"))?;
        let unreadable = || in_certificate("its first certificate cannot be read");
        let (from, until) = validity::of(first).ok_or_else(unreadable)?;
        let no_key = |_| in_key("no private key is in it", "give a PEM file with an unencrypted private key");
        let key = PrivateKeyDer::from_pem_slice(content.key.expose().as_bytes()).map_err(no_key)?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => in_key(
                "it is not the key of the certificate in TLS_CERT_FILE",
                "give the key with which that certificate was requested",
            ),
            rustls::Error::InvalidCertificate(_) => unreadable(),
            _ => {
                in_key("its private key cannot be used", "give an ECDSA (P-256 or P-384), Ed25519 or RSA key")
            }
        })?;
        Ok(Pair { certified: Arc::new(certified), from, until })
    }
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}

fn unread(setting: &'static str, path: &str, error: &io::Error) -> PairFault {
    let wrong = format!("is {path}: it cannot be read: {error}");
    PairFault { setting, wrong, remedy: "give a file that this process may read" }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate for this host that holds until this year, and its key.
    pub(in crate::tls) fn issue(host: &str, until: i32) -> (String, String) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    pub(in crate::tls) fn files(folder: &Path) -> Files {
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        Files { certificate: path("a.crt"), key: path("a.key") }
    }

    fn load(files: &Files) -> Result<Pair, PairFault> {
        files.pair(&files.read()?)
    }

    fn fault(certificate: &str, key: &str) -> (&'static str, String) {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        let fault = load(&files).unwrap_err();
        let (_, wrong) = fault.wrong.split_once(": ").unwrap();
        (fault.setting, wrong.to_owned())
    }

    #[test]
    fn a_fault_names_the_file_and_what_is_wrong_and_shows_no_key() {
        let ((certificate, key), (other, other_key)) =
            (issue("a.example.com", 2100), issue("b.example.com", 2100));
        let said = |setting, wrong: &str| (setting, wrong.to_owned());
        assert_eq!(fault("", &key), said(CERTIFICATE, "no certificate is in it"));
        assert_eq!(fault(&key, &key), said(CERTIFICATE, "no certificate is in it"));
        let cut = &certificate[..certificate.len() / 2];
        assert_eq!(fault(cut, &key), said(CERTIFICATE, "it is no PEM file"));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(fault(garbage, &key), said(CERTIFICATE, "its first certificate cannot be read"));
        assert_eq!(fault(&certificate, &other), said(KEY, "no private key is in it"));
        let not_its_key = "it is not the key of the certificate in TLS_CERT_FILE";
        assert_eq!(fault(&certificate, &other_key), said(KEY, not_its_key));
        let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(fault(&certificate, garbage), said(KEY, "its private key cannot be used"));
        let nowhere = Files { certificate: "/proc/nowhere".to_owned(), key: "/proc/nowhere".to_owned() };
        let fault = load(&nowhere).unwrap_err();
        assert_eq!(fault.setting, CERTIFICATE);
        assert!(fault.wrong.starts_with("is /proc/nowhere: it cannot be read: No such file"), "{fault:?}");
    }

    #[test]
    fn a_pair_says_until_when_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let (certificate, key) = issue("a.example.com", 2100);
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        let pair = load(&files).unwrap();
        assert_eq!(pair.until.to_rfc3339(), "2100-01-01T00:00:00+00:00");
        assert_eq!(pair.certified.cert.len(), 1);
    }
}
