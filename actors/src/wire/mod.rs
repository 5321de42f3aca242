//! The two protocols: Twilio's and the Realtime service's.

pub mod dial;
pub(crate) mod endpoint;
pub mod https;
pub mod lenient;
pub mod realtime;
pub mod roots;
pub mod twilio;

pub use call_control::scan;
use url::{Host, Url};

/// Whether the host of `url` is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_localhost_or_a_loopback_address() {
        let is_here = |url: &str| is_loopback(&url.parse().unwrap());
        for here in ["http://localhost:80", "ws://127.0.0.1/a", "http://127.8.8.8", "https://[::1]:8443"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com", "data:x"] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
