//! Sessions and tokens that the table has lately called valid. While the database is away, they stay valid
//! for five minutes, and a token that reads nothing but the metrics for a day. While the database answers,
//! its answer counts and nothing here does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actors::access::{Scope, Scopes};
use chrono::{DateTime, Utc};

use super::identity::Identity;

/// How long the table's last word holds.
const HOLDS: Duration = Duration::from_secs(5 * 60);
/// The same for whoever may read the metrics and nothing else: the alarms of an outage come from them.
const HOLDS_FOR_METRICS: Duration = Duration::from_secs(24 * 3600);
/// Of one more, the one is forgotten that was seen first.
const MOST: usize = 1_000;

/// The hash of a session's key or of a token.
type Hash = [u8; 32];

#[derive(Default)]
pub struct Seen(Mutex<HashMap<Hash, One>>);

struct One {
    identity: Identity,
    at: Instant,
    expires_at: DateTime<Utc>,
}

/// The two clocks: one that is never set, and the one that expiries are told by.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub steady: Instant,
    pub wall: DateTime<Utc>,
}

impl Now {
    pub fn read() -> Self {
        Self { steady: Instant::now(), wall: Utc::now() }
    }
}

impl Seen {
    /// The table calls it valid.
    pub fn is_valid(&self, hash: Hash, identity: Identity, expires_at: DateTime<Utc>, now: Now) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&hash) {
            let oldest = all.iter().min_by_key(|(_, one)| one.at).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        all.insert(hash, One { identity, at: now.steady, expires_at });
    }

    /// The table does not know it any more, or this process has ended it.
    pub fn is_over(&self, hash: &Hash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
    }

    /// Whoever it was lately.
    pub fn lately(&self, hash: &Hash, now: Now) -> Option<Identity> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = all.get(hash)?;
        let only_metrics = one.identity.scopes == Scopes::of(&[Scope::Metrics]);
        let lasts = if only_metrics { HOLDS_FOR_METRICS } else { HOLDS };
        let holds = now.steady.saturating_duration_since(one.at) < lasts && now.wall < one.expires_at;
        holds.then(|| one.identity.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u32) -> Hash {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        hash
    }

    fn later(now: Now, seconds: u64) -> Now {
        let by = Duration::from_secs(seconds);
        Now { steady: now.steady + by, wall: now.wall + by }
    }

    #[test]
    fn the_last_word_holds_for_five_minutes_and_not_beyond_the_expiry() {
        let (seen, now) = (Seen::default(), Now::read());
        let is_known = |number, seconds| seen.lately(&hash(number), later(now, seconds)).is_some();
        seen.is_valid(hash(1), Identity::local(), now.wall + Duration::from_secs(3_600), now);
        seen.is_valid(hash(2), Identity::local(), now.wall + Duration::from_secs(60), now);
        assert!(is_known(1, 0) && is_known(1, 299) && !is_known(1, 300));
        assert!(is_known(2, 59) && !is_known(2, 60));
        assert!(!is_known(3, 0));
        seen.is_valid(hash(1), Identity::local(), now.wall + Duration::from_secs(3_600), later(now, 200));
        assert!(is_known(1, 499) && !is_known(1, 500));
        seen.is_over(&hash(1));
        assert!(!is_known(1, 200));

        let scraper = Identity { scopes: Scopes::of(&[Scope::Metrics]), ..Identity::local() };
        let reader = Identity { scopes: Scopes::of(&[Scope::Metrics, Scope::Logs]), ..Identity::local() };
        let year = now.wall + Duration::from_secs(365 * 86_400);
        seen.is_valid(hash(4), scraper, year, now);
        seen.is_valid(hash(5), reader, year, now);
        assert!(is_known(4, 86_399) && !is_known(4, 86_400) && !is_known(5, 300));
    }

    #[test]
    fn a_thousand_are_remembered_the_latest_ones() {
        let (seen, now) = (Seen::default(), Now::read());
        let expiry = now.wall + Duration::from_secs(3_600);
        for number in 0..1_100 {
            seen.is_valid(hash(number), Identity::local(), expiry, later(now, number.into()));
        }
        let now = later(now, 100); // an instant before it was seen is no later one
        let known: Vec<_> = (0..1_100).filter(|number| seen.lately(&hash(*number), now).is_some()).collect();
        assert_eq!(known, (100..1_100).collect::<Vec<_>>());
    }
}
