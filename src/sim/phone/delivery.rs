//! How a webhook is delivered: what the fragment of its URL says about time limits and retries, as a plan
//! without I/O (reference: Twilio's "Webhooks: connection overrides").

use std::time::Duration;

use url::Url;

/// The plan of one delivery. The defaults are Twilio's: one retry, after a failed connect only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Limit of one connect.
    pub connect: Duration,
    /// Limit of one answer.
    pub read: Duration,
    /// Limit of the whole delivery, retries included.
    pub total: Duration,
    /// Attempts after the first.
    pub retries: u32,
    policy: Policy,
}

/// The failures that are tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Policy {
    connect: bool,
    read: bool,
    client_error: bool,
    server_error: bool,
    all: bool,
}

/// Why one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no answer in time")]
    Read,
    /// The connection was made and broke before the answer was complete. None of Twilio's policies names
    /// this, so only `rp=all` tries it again: what depends on more is not to be relied on.
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("answered {0}")]
    Status(u16),
}

impl Failure {
    /// Twilio's error code.
    pub fn code(&self) -> u32 {
        match self {
            Self::Connect(_) => 11205,
            Self::Read | Self::Broken(_) | Self::Status(_) => 11200,
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(15),
            total: Duration::from_secs(15),
            retries: 1,
            policy: Policy { connect: true, ..Policy::default() },
        }
    }
}

impl Delivery {
    /// The plan for `url`, and the URL as it is requested and signed: without its fragment. What the fragment
    /// says beyond its range is brought into it; keys that steer nothing here (`sni`, `e`) are passed over.
    pub fn of(url: &Url) -> (Self, Url) {
        let mut plan = Self::default();
        for (key, value) in form_urlencoded::parse(url.fragment().unwrap_or_default().as_bytes()) {
            let number = value.parse::<u64>().ok();
            let millis = |from, to| number.map(|ms| Duration::from_millis(ms.clamp(from, to)));
            match key.as_ref() {
                "ct" => plan.connect = millis(100, 10_000).unwrap_or(plan.connect),
                "rt" => plan.read = millis(100, 15_000).unwrap_or(plan.read),
                "tt" => plan.total = millis(100, 15_000).unwrap_or(plan.total),
                "rc" => plan.retries = number.map_or(plan.retries, |count| count.min(5) as u32),
                "rp" => plan.policy = Policy::parse(&value),
                _ => {}
            }
        }
        let mut bare = url.clone();
        bare.set_fragment(None);
        (plan, bare)
    }

    /// Whether to try again after `failure` of the attempt numbered `attempt`, from 0.
    pub fn tries_again(&self, attempt: u32, failure: &Failure) -> bool {
        let named = match failure {
            Failure::Connect(_) => self.policy.connect,
            Failure::Read => self.policy.read,
            Failure::Broken(_) => false,
            Failure::Status(400..500) => self.policy.client_error,
            Failure::Status(_) => self.policy.server_error,
        };
        attempt < self.retries && (named || self.policy.all)
    }
}

impl Policy {
    fn parse(list: &str) -> Self {
        let mut policy = Self::default();
        for name in list.split(',') {
            match name {
                "ct" => policy.connect = true,
                "rt" => policy.read = true,
                "4xx" => policy.client_error = true,
                "5xx" => policy.server_error = true,
                "all" => policy.all = true,
                _ => {}
            }
        }
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str) -> Delivery {
        Delivery::of(&url.parse().unwrap()).0
    }

    fn refused() -> Failure {
        Failure::Connect("refused".into())
    }

    #[test]
    fn without_a_fragment_only_a_failed_connect_is_tried_again_and_only_once() {
        let plan = plan("http://127.0.0.1/voice?x=1");
        assert!(plan.tries_again(0, &refused()));
        assert!(!plan.tries_again(1, &refused()));
        assert!(!plan.tries_again(0, &Failure::Read));
        assert!(!plan.tries_again(0, &Failure::Status(503)));
    }

    #[test]
    fn the_fragment_steers_and_is_not_requested() {
        let url = "http://127.0.0.1/voice?x=1#ct=1000&rt=5000&rc=5&rp=ct,rt,5xx&tt=15000".parse().unwrap();
        let (plan, bare) = Delivery::of(&url);
        assert_eq!(bare.as_str(), "http://127.0.0.1/voice?x=1");
        assert_eq!((plan.connect, plan.read), (Duration::from_secs(1), Duration::from_secs(5)));
        assert!(plan.tries_again(4, &Failure::Status(500)) && plan.tries_again(4, &Failure::Read));
        assert!(!plan.tries_again(5, &refused()));
        assert!(!plan.tries_again(0, &Failure::Status(404)));
        assert!(!plan.tries_again(0, &Failure::Broken("reset".into())));
    }

    #[test]
    fn figures_outside_their_range_are_brought_into_it() {
        let plan = plan("http://127.0.0.1/#ct=1&rt=99999&rc=9&rp=all");
        assert_eq!((plan.connect, plan.read), (Duration::from_millis(100), Duration::from_secs(15)));
        assert_eq!(plan.retries, 5);
        assert!(plan.tries_again(0, &Failure::Broken("reset".into())));
    }
}
