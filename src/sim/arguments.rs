//! Values of arguments that several commands take.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::time::Duration;

use actors::secret::Secret;
use actors::wire::is_loopback;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use url::Url;

/// Why a simulator does not listen at an address.
pub const NOT_LOOPBACK: &str = "a simulator has no TLS: it listens on loopback only";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses an origin. One that is refused is not repeated: there may be a password in it.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    Any,
    /// What is simulated stays on this machine.
    Loopback,
}

impl Origin {
    fn takes(self, url: &Url) -> bool {
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_open = url.username().is_empty() && url.password().is_none();
        let is_reached = match self {
            Self::Any => matches!(url.scheme(), "http" | "https"),
            Self::Loopback => url.scheme() == "http" && is_loopback(url),
        };
        is_bare && is_open && is_reached
    }
}

impl TypedValueParser for Origin {
    type Value = Url;

    fn parse_ref(&self, _: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<Url, Error> {
        let url = value.to_str().and_then(|text| Url::parse(text).ok());
        url.filter(|url| self.takes(url)).ok_or_else(|| {
            let name = argument.map(ToString::to_string).unwrap_or_default();
            let wanted = match self {
                Self::Any => "an origin is wanted, without a user: https://voice.example.com",
                Self::Loopback => "an http origin on a loopback address is wanted, without a user",
            };
            Error::raw(ErrorKind::ValueValidation, format!("{name}: {wanted}\n"))
        })
    }
}

/// A number of seconds, with or without a fraction.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.filter(|seconds| *seconds <= DAY);
    seconds.ok_or_else(|| "a number of seconds up to a day is wanted".to_owned())
}

/// Where a simulator listens.
pub fn loopback_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "an address and a port are wanted: 127.0.0.1:0".to_owned())?;
    if address.ip().is_loopback() { Ok(address) } else { Err(NOT_LOOPBACK.to_owned()) }
}

pub fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(origin: Origin, text: &str) -> bool {
        let parsed = origin.parse_ref(&Command::new("any"), None, OsStr::new(text));
        if let Err(error) = &parsed {
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        parsed.is_ok()
    }

    #[test]
    fn what_is_simulated_stays_on_this_machine() {
        assert!(
            takes(Origin::Loopback, "http://127.0.0.1:8080") && takes(Origin::Loopback, "http://localhost")
        );
        for refused in ["http://example.com", "https://127.0.0.1", "http://10.0.0.1", "nonsense"] {
            assert!(!takes(Origin::Loopback, refused), "{refused}");
        }
    }

    #[test]
    fn a_simulator_listens_on_loopback_only() {
        assert_eq!(loopback_address("127.0.0.1:0"), Ok(([127, 0, 0, 1], 0).into()));
        assert_eq!(loopback_address("0.0.0.0:80"), Err(NOT_LOOPBACK.to_owned()));
        assert!(loopback_address("127.0.0.1").is_err_and(|error| error.contains("a port")));
    }

    #[test]
    fn an_origin_has_no_user_and_what_is_refused_is_not_repeated() {
        assert!(takes(Origin::Any, "https://voice.example.com") && takes(Origin::Any, "http://10.0.0.1:80"));
        for refused in
            ["http://me:hidden@a", "http://hidden@a", "ftp://me:hidden@a", "http://a/hidden", "hidden"]
        {
            assert!(!takes(Origin::Any, refused), "{refused}");
        }
    }
}
