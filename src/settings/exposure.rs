//! Settings that let in whoever asks: they are for a program that only this machine reaches.

use std::net::SocketAddr;

use actors::wire::is_loopback;

use super::Settings;
use super::reader::Reader;
use crate::http::settings::{ApiAuth, HttpSettings};

/// The setting by which others than this machine reach the program, as the end of a sentence; none where
/// nothing does.
fn reached_by(http: &HttpSettings) -> Option<&'static str> {
    if !http.bind.ip().is_loopback() {
        Some("is for a loopback BIND_ADDR only")
    } else if http.public_url.as_ref().is_some_and(|url| !is_loopback(url)) {
        Some("is for a loopback PUBLIC_URL only")
    } else if !http.trusted_proxies.is_empty() {
        Some("does not go with TRUSTED_PROXIES")
    } else {
        None
    }
}

/// Refuses an API without logins that a proxy or a network opens to strangers. A proxy need not say that it
/// forwards.
pub(super) fn check_api(http: &HttpSettings, reader: &mut Reader<'_>) {
    if let (ApiAuth::Off, Some(wrong)) = (http.api_auth, reached_by(http)) {
        reader.fault(
            "API_AUTH",
            &format!("`off` {wrong}"),
            "keep it to this machine, or set API_AUTH=required",
        );
    }
}

/// Refuses to believe unsigned webhooks where strangers can send them.
pub(super) fn check_bypass(bypasses: bool, http: &HttpSettings, reader: &mut Reader<'_>) {
    if let (true, Some(wrong)) = (bypasses, reached_by(http)) {
        let remedy =
            "unset it; it is for tests on this machine, with a loopback PUBLIC_URL and no trusted proxies";
        reader.fault("BYPASS_TWILIO_VALIDATION", wrong, remedy);
    }
}

impl Settings {
    /// The setting that forbids to listen here. A socket can be handed over by whoever starts the program,
    /// whatever `BIND_ADDR` says.
    pub fn forbids(&self, address: SocketAddr) -> Option<&'static str> {
        if address.ip().to_canonical().is_loopback() {
            return None;
        }
        if self.twilio.bypass_validation {
            return Some("BYPASS_TWILIO_VALIDATION=true");
        }
        (self.http.api_auth == ApiAuth::Off).then_some("API_AUTH=off")
    }
}
