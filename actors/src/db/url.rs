//! `postgres://…` as people paste it, into what tokio-postgres understands; and the TLS that `sslmode` asks for.
//!
//! tokio-postgres refuses every key it does not know, so keys meant for other clients are taken out. Keys that ask
//! for a checked certificate are refused rather than ignored: a connection must never be less safe than it looks.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::chain;

/// Keys of other clients that mean nothing to this one.
const FOREIGN_KEYS: [&str; 8] = [
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "statement_cache_size",
    "prepared_statements",
    "schema",
    "supa",
    "uselibpqcompat",
];

/// Keys that ask for a certificate to be checked or shown.
const CERTIFICATE_KEYS: [&str; 6] =
    ["sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslcertmode"];

/// What is wrong with a database URL. The URL itself is never repeated: it holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error("a database URL begins with `postgres://`")]
    Scheme,
    #[error("`sslmode={0}` is not supported; use `disable`, `prefer` or `require`")]
    SslMode(String),
    #[error("`{0}` is not supported: certificates are not checked yet")]
    Certificate(String),
    #[error("{0}")]
    Malformed(String),
}

/// A database and how to reach it. Not printable: it holds the password.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, BadUrl> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(BadUrl::Scheme);
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                (key, value) if value.contains('@') || !key.bytes().all(is_key_byte) => {
                    // Most likely a password with a bare `?`: not a byte of it is repeated.
                    return Err(BadUrl::Malformed("special characters are to be percent-encoded".to_owned()));
                }
                ("sslmode", "disable" | "prefer" | "require") => kept.push(pair),
                ("sslmode", "no-verify") => kept.push("sslmode=require"),
                ("sslmode", mode) => return Err(BadUrl::SslMode(mode.to_owned())),
                (key, _) if CERTIFICATE_KEYS.contains(&key) => {
                    return Err(BadUrl::Certificate(key.to_owned()));
                }
                (key, _) if FOREIGN_KEYS.contains(&key) => {}
                _ => kept.push(pair),
            }
        }
        let mut config: Config =
            format!("{base}?{}", kept.join("&")).parse().map_err(|error| BadUrl::Malformed(chain(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(BadUrl::Malformed("a database URL names a host".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("switchboard");
        }
        Ok(Self { config, tls: MakeRustlsConnect::new(encrypt_without_checking()) })
    }
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'_'
}

/// TLS as libpq's `require` means it: encrypted, whoever the server is.
fn encrypt_without_checking() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth()
}

/// Accepts any certificate; still checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    fn refusal(url: &str) -> String {
        Target::parse(url).err().expect("refused").to_string()
    }

    #[test]
    fn sslmode_is_honoured() {
        for (query, mode) in [
            ("", SslMode::Prefer),
            ("?sslmode=disable", SslMode::Disable),
            ("?sslmode=prefer", SslMode::Prefer),
            ("?sslmode=require", SslMode::Require),
            ("?sslmode=no-verify", SslMode::Require),
        ] {
            let target = Target::parse(&format!("postgres://user:word@host:6543/db{query}")).ok().unwrap();
            assert_eq!(target.config.get_ssl_mode(), mode, "{query}");
        }
    }

    #[test]
    fn keys_of_other_clients_are_taken_out() {
        let url = "postgresql://u:p@h/d?pgbouncer=true&connection_limit=1&sslmode=require&application_name=x";
        let target = Target::parse(url).ok().unwrap();
        assert_eq!(target.config.get_application_name(), Some("x"));
        assert_eq!(target.config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn a_request_to_check_certificates_is_refused_and_named() {
        assert!(refusal("postgres://u:p@h/d?sslmode=verify-full").contains("sslmode=verify-full"));
        assert!(refusal("postgres://u:p@h/d?sslrootcert=/ca.crt").contains("sslrootcert"));
    }

    #[test]
    fn a_refusal_never_repeats_the_password() {
        for url in [
            "mysql://user:hunter2@host/db",
            "postgres://user:hunter2@host:port/db",
            "postgres://user:x?hunter2@host/db",
            "postgres://user:x?hunter2=hunter2@host/db",
            "postgres://user:hunter2%f@host/db",
            "postgres://user:hunter2@/db",
            "postgres://user:hunter2@host/db?sslmode=verify-ca",
        ] {
            if let Err(error) = Target::parse(url) {
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
        }
    }
}
