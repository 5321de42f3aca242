//! TLS in process: the certificate that the doors show, and its renewal while calls go on.
//!
//! The files are looked at every two seconds, and at once on SIGHUP. New connections have the new
//! certificate. Open ones, media streams among them, go on. A new pair that is faulty is not used: the log
//! and `/healthz` say so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_rt::task::spawn_blocking;
use actix_rt::time::sleep;
use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use self::pair::Content;
pub use self::pair::{Files, Pair, PairFault};
use self::watch::Watch;

mod pair;
mod validity;
mod watch;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A certificate that ends within this should have been renewed.
const RENEWED_BEFORE: chrono::Duration = chrono::Duration::days(7);

/// `TLS_CERT_FILE` and `TLS_KEY_FILE`, and what they held at the start.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    pub files: Files,
    pub pair: Pair,
    content: Content,
}

impl TlsSettings {
    /// Reads and loads these files. A certificate that has ended is shown all the same: a proxy in front
    /// may not care.
    ///
    /// # Errors
    /// What is wrong with one of the files.
    pub fn load(files: Files) -> Result<Self, PairFault> {
        let content = files.read()?;
        Ok(Self { pair: files.pair(&content)?, files, content })
    }
}

/// The certificate that is shown now.
#[derive(Debug)]
pub struct Shown {
    pair: RwLock<Pair>,
    /// The files hold another pair, which is faulty.
    is_stale: AtomicBool,
}

impl Shown {
    pub fn new(pair: Pair) -> Self {
        Self { pair: RwLock::new(pair), is_stale: AtomicBool::new(false) }
    }

    /// The files have changed, and are not used.
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    /// It has ended, ends soon, or has not begun.
    pub fn is_ending(&self) -> bool {
        is_ending(&self.pair.read().unwrap_or_else(PoisonError::into_inner), Utc::now())
    }

    /// Shows another pair. False: it has the same certificate.
    fn replace(&self, pair: Pair) -> bool {
        let mut shown = self.pair.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = shown.certified.cert != pair.certified.cert;
        *shown = pair;
        is_other
    }
}

/// Until when a certificate in DER holds; none if it cannot be read.
pub(crate) fn holds_until(certificate: &[u8]) -> Option<DateTime<Utc>> {
    validity::of(certificate).map(|(_, until)| until)
}

fn is_ending(pair: &Pair, now: DateTime<Utc>) -> bool {
    now < pair.from || now + RENEWED_BEFORE >= pair.until
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair.read().unwrap_or_else(PoisonError::into_inner).certified.clone())
    }
}

/// The server's end of TLS 1.2 and 1.3.
pub fn acceptor(shown: Arc<Shown>) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Loads the files again when they have changed, as long as the process serves.
pub(crate) async fn look_after(shown: Arc<Shown>, TlsSettings { files, content, .. }: TlsSettings) {
    let mut hang_ups = match signal(SignalKind::hangup()) {
        Ok(hang_ups) => hang_ups,
        Err(error) => return tracing::warn!(%error, "the certificate stays as it is: no signals"),
    };
    let read = async || {
        let files = files.clone();
        spawn_blocking(move || files.read()).await
    };
    let mut watch = Watch::new(content);
    loop {
        let is_asked = tokio::select! {
            Some(()) = hang_ups.recv() => true,
            () = sleep(LOOK_EVERY) => false,
        };
        let Ok(found) = read().await else { continue };
        if let Some(news) = watch.look(found, is_asked) {
            load(&shown, &files, &news);
        }
    }
}

/// Shows this pair from now on, if it is a good one.
fn load(shown: &Shown, files: &Files, found: &Result<Content, PairFault>) {
    let pair = found.as_ref().map_err(Clone::clone).and_then(|content| files.pair(content));
    let pair = pair.and_then(|pair| files.not_valid_at(&pair, Utc::now()).map_or(Ok(pair), Err));
    match pair {
        Ok(pair) => {
            let until = pair.until;
            shown.is_stale.store(false, Ordering::Relaxed);
            if shown.replace(pair) {
                tracing::info!(%until, "new connections are shown the new certificate");
            }
        }
        Err(PairFault { setting, wrong, remedy }) => {
            shown.is_stale.store(true, Ordering::Relaxed);
            tracing::warn!(setting, wrong, remedy, "the new certificate is not used: the old one is shown");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::pair::tests::{files, issue};
    use super::*;

    /// A pair for this host.
    pub(crate) fn issued(host: &str) -> TlsSettings {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        write(&files, &issue(host, 2100));
        TlsSettings::load(files).unwrap()
    }

    fn write(files: &Files, (certificate, key): &(String, String)) {
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
    }

    #[test]
    fn a_faulty_or_ended_new_pair_leaves_the_old_one_and_a_good_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        write(&files, &issue("a.example.com", 2100));
        let settings = TlsSettings::load(files.clone()).unwrap();
        let shown = Shown::new(settings.pair.clone());
        let first = settings.pair.certified.cert.clone();
        let shows = || shown.pair.read().unwrap().certified.cert.clone();

        let (new, other) = (issue("a.example.com", 2101), issue("a.example.com", 2102));
        write(&files, &(new.0.clone(), other.1));
        load(&shown, &files, &files.read());
        assert!(shown.is_stale() && shows() == first, "half of a pair");
        write(&files, &issue("a.example.com", 2020));
        load(&shown, &files, &files.read());
        assert!(shown.is_stale() && shows() == first, "it has ended");
        write(&files, &new);
        load(&shown, &files, &files.read());
        assert!(!shown.is_stale() && shows() != first);
    }

    #[test]
    fn a_certificate_that_ends_within_a_week_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        write(&files, &issue("a.example.com", 2100));
        let pair = TlsSettings::load(files).unwrap().pair;
        let before = |days| pair.until - chrono::Duration::days(days);
        assert!(!is_ending(&pair, before(8)));
        assert!(is_ending(&pair, before(7)) && is_ending(&pair, before(-1)));
        assert!(is_ending(&pair, pair.from - chrono::Duration::days(1)), "it has not begun");
    }
}
