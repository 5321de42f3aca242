//! How many requests a client may make: sliding windows, one for each class of requests.
//!
//! A [`Store`] counts and decides. [`InMemory`] knows what this process has seen. [`redis::Shared`] knows
//! what all processes have seen that share a Redis.

use std::future::ready;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};

pub mod redis;
mod window;

use window::SlidingWindow;

/// So many requests in any time of this length: `100/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// At least 1.
    pub requests: u32,
    pub window: Duration,
}

/// A text that is no quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a number of requests and a window, such as 100/1m")]
pub struct BadQuota;

impl FromStr for Quota {
    type Err = BadQuota;

    /// The window is in seconds, minutes or hours, and a day at the most.
    fn from_str(text: &str) -> Result<Self, BadQuota> {
        let (requests, window) = text.split_once('/').ok_or(BadQuota)?;
        let requests = requests.parse().ok().filter(|requests| *requests >= 1).ok_or(BadQuota)?;
        let mut units = [('s', 1), ('m', 60), ('h', 3_600)].into_iter();
        let in_unit = |(unit, seconds)| Some((window.strip_suffix(unit)?, seconds));
        let (number, unit_seconds) = units.find_map(in_unit).ok_or(BadQuota)?;
        let number: u16 = number.parse().map_err(|_| BadQuota)?;
        let seconds = u64::from(number) * unit_seconds;
        let fits = (1..=86_400).contains(&seconds);
        fits.then_some(Self { requests, window: Duration::from_secs(seconds) }).ok_or(BadQuota)
    }
}

/// The quota of each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    pub api: Quota,
    pub webhook: Quota,
    pub auth: Quota,
}

impl Quotas {
    pub fn of(&self, class: Class) -> Quota {
        match class {
            Class::Api => self.api,
            Class::Page => Quota { requests: self.api.requests.saturating_mul(PAGES), ..self.api },
            Class::Webhook => self.webhook,
            Class::Auth => self.auth,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        let minutes = |requests, minutes: u64| Quota { requests, window: Duration::from_secs(60 * minutes) };
        Self { api: minutes(100, 1), webhook: minutes(500, 1), auth: minutes(10, 15) }
    }
}

/// For each request that the API allows, so many looks at the live picture: it is drawn once for all who ask.
/// A page asks every three seconds, and a dozen of them may stand behind one address.
const PAGES: u32 = 5;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Requests to the API.
    Api,
    /// Looks at the live picture, which are all that an idle page asks for.
    Page,
    /// Status callbacks of Twilio.
    Webhook,
    /// Credentials that were wrong. Whoever brings the right one is let in, however often another has guessed
    /// from the same address: a token cannot be guessed, and nobody can lock its owner out. A password can
    /// be: a login counts each attempt before it compares, and compares only if the attempt may pass.
    Auth,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Api, Self::Page, Self::Webhook, Self::Auth];

    /// The class in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Page => "page",
            Self::Webhook => "webhook",
            Self::Auth => "auth",
        }
    }
}

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(Key);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// An IPv6 network of 64 bits, or an IPv4 address as IPv6 has it.
    Address(u128),
    /// The digits of an AccountSid.
    Account(u128),
    /// The number of a user.
    User(i64),
    /// The number of a token.
    Token(i64),
    /// The hash of a name that somebody logs in with.
    Name(u128),
    /// An address, as the sender of tokens that are none.
    Guesser(u128),
}

impl Client {
    /// Of an IPv6 address the first 64 bits: what one subscriber gets at least.
    pub fn address(address: IpAddr) -> Self {
        Self(Key::Address(match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits() & (u128::MAX << 64),
        }))
    }

    /// Somebody who is logged in.
    pub fn user(id: i64) -> Self {
        Self(Key::User(id))
    }

    /// A program with a token.
    pub fn token(id: i64) -> Self {
        Self(Key::Token(id))
    }

    /// The account that somebody tries to log in to, by its name: whatever its capitals, and whether it is
    /// there or not.
    pub fn name(name: &str) -> Self {
        let hash = Sha256::digest(name.to_lowercase());
        let (first, _) = hash.split_at(16);
        Self(Key::Name(first.iter().fold(0, |number, byte| (number << 8) | u128::from(*byte))))
    }

    /// An address that sends tokens. A token that has expired, which a program sends again and again, is not
    /// to keep the people behind the same address from logging in.
    pub fn guesser(address: IpAddr) -> Self {
        let Self(key) = Self::address(address);
        Self(if let Key::Address(bits) = key { Key::Guesser(bits) } else { key })
    }

    /// A Twilio account, by its SID: `AC` and 32 hexadecimal digits.
    pub fn account(sid: &str) -> Option<Self> {
        let digits = sid.strip_prefix("AC").filter(|digits| digits.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().map(|number| Self(Key::Account(number)))
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// It may pass, and counts. One that may not pass does not count.
    pub is_allowed: bool,
    /// So many more may pass now.
    pub remaining: u32,
    /// Within this time no more than those may pass; then more may.
    pub more_in: Duration,
}

/// Counts requests and decides. One that cannot tell lets them pass: a limit is no reason to be away.
pub trait Store: Send + Sync {
    /// Decides on one more request of this client.
    fn take(&self, class: Class, client: Client) -> BoxFuture<'_, Decision>;

    /// It is meant to count for several processes, and counts for this one alone.
    fn is_alone(&self) -> bool {
        false
    }
}

/// Counts what this process has seen.
#[derive(Debug)]
pub struct InMemory {
    began: Instant,
    /// From 1970 until it began: slots begin when those of Redis do.
    since_1970: Duration,
    /// In the order of [`Class::ALL`].
    windows: [Mutex<SlidingWindow<Client>>; 4],
}

impl InMemory {
    pub fn new(quotas: &Quotas) -> Self {
        let windows = Class::ALL.map(|class| Mutex::new(SlidingWindow::new(quotas.of(class))));
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), since_1970, windows }
    }

    /// What this process refuses by itself. Counts nothing.
    fn refusal(&self, class: Class, client: Client) -> Option<Decision> {
        self.window(class).refusal(&client, self.now())
    }

    /// The decision of this process alone.
    fn decide(&self, class: Class, client: Client) -> Decision {
        self.window(class).take(client, self.now())
    }

    fn window(&self, class: Class) -> MutexGuard<'_, SlidingWindow<Client>> {
        self.windows[class as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.since_1970 + self.began.elapsed()
    }
}

impl Store for InMemory {
    fn take(&self, class: Class, client: Client) -> BoxFuture<'_, Decision> {
        Box::pin(ready(self.decide(class, client)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_quota_is_a_number_and_a_window() {
        let quota = |requests, seconds| Ok(Quota { requests, window: Duration::from_secs(seconds) });
        assert_eq!("100/1m".parse(), quota(100, 60));
        assert_eq!("10/15m".parse(), quota(10, 900));
        assert_eq!("5/30s".parse(), quota(5, 30));
        assert_eq!("1000000/24h".parse(), quota(1_000_000, 86_400));
        for wrong in
            ["", "100", "0/1m", "100/", "100/m", "100/1", "100/0s", "100/25h", "-1/1m", "1/1d", "1/é"]
        {
            assert_eq!(wrong.parse::<Quota>(), Err(BadQuota), "{wrong}");
        }
    }

    #[test]
    fn a_client_is_an_address_a_network_or_an_account() {
        let address = |text: &str| Client::address(text.parse().unwrap());
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:0:0:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        let account = Client::account("AC00000000000000000000000000000001");
        assert!(account.is_some());
        assert_ne!(account, Some(address("::1")));
        assert_eq!(Client::name("Anna"), Client::name("anna"));
        assert_ne!(Client::name("anna"), Client::name("anne"));
        assert_ne!(Client::user(1), Client::token(1));
        for wrong in ["", "AC1", "CA00000000000000000000000000000001", "AC0000000000000000000000000000000g"] {
            assert_eq!(Client::account(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_one_class_or_client_has_used_is_not_missing_to_another() {
        let one = Quota { requests: 1, window: Duration::from_secs(3_600) };
        let store = InMemory::new(&Quotas { api: one, webhook: one, auth: one });
        let is_allowed = |class, address: [u8; 4]| {
            let decision = store.take(class, Client::address(address.into()));
            decision.now_or_never().expect("known at once").is_allowed
        };
        for class in [Class::Api, Class::Webhook, Class::Auth] {
            for address in [[192, 0, 2, 1], [192, 0, 2, 2]] {
                assert!(is_allowed(class, address));
                assert!(!is_allowed(class, address));
            }
        }
    }

    #[test]
    fn five_pages_behind_one_address_see_every_picture() {
        let store = InMemory::new(&Quotas::default());
        let office = Client::address([192, 0, 2, 1].into());
        for _ in 0..5 * 60 / 3 * 2 {
            assert!(store.take(Class::Page, office).now_or_never().expect("known at once").is_allowed);
        }
        let decision = store.take(Class::Api, office).now_or_never().expect("known at once");
        assert_eq!(decision.remaining, 99, "the log is counted apart");
    }
}
