//! A sliding window, in memory: requests are counted in slots, which go out of view one by one.
//!
//! A request stays in view for the whole window and up to a 30th of it longer, so that in no window more may
//! pass than the quota says. A client takes the same room whatever it does. [`MAX_CLIENTS`] of them have a
//! place, which they keep as long as they come; those who find none are counted together, as one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::mem;
use std::time::Duration;

use super::{Decision, Quota};

/// Clients that have a place of their own: in each class up to 24 MB of them, and 6 MB more while a map
/// grows.
const MAX_CLIENTS: usize = 50_000;
/// Those of a window, and the one that has begun.
pub(super) const SLOTS: usize = 31;

/// How long a slot of this window is: whole microseconds, the unit of every store's clock.
pub(super) fn slot_micros(window: Duration) -> u64 {
    (window.as_micros() as u64).div_ceil(SLOTS as u64 - 1).max(1)
}

/// The requests of one class, by client.
#[derive(Debug)]
pub struct SlidingWindow<K> {
    quota: Quota,
    slot_nanos: u64,
    /// Periods have [`SLOTS`] slots each: what was counted in one is out of view after the next.
    period: u64,
    /// Clients that came in this period.
    recent: HashMap<K, Counts>,
    /// Clients that came in the period before, and not yet in this one.
    earlier: HashMap<K, Counts>,
    /// Clients that found no place.
    others: Counts,
}

/// A client's requests, by slot.
#[derive(Debug, Default)]
struct Counts {
    of: [u32; SLOTS],
    newest: u64,
}

impl<K: Eq + Hash> SlidingWindow<K> {
    pub fn new(quota: Quota) -> Self {
        let slot_nanos = slot_micros(quota.window) * 1_000;
        let (recent, earlier, others) = (HashMap::new(), HashMap::new(), Counts::default());
        Self { quota, slot_nanos, period: 0, recent, earlier, others }
    }

    /// Decides on one more request of `client`; `now` is the time since any fixed moment, and never less than
    /// before.
    pub fn take(&mut self, client: K, now: Duration) -> Decision {
        let (now, slot_nanos, quota) = (now.as_nanos() as u64, self.slot_nanos, self.quota.requests);
        let slot = now / slot_nanos;
        self.begin(slot / SLOTS as u64);
        let counts = self.counts_of(client);
        counts.begin(slot);
        let used = counts.in_view();
        let is_allowed = used < quota;
        if is_allowed {
            counts.add();
        }
        Decision {
            is_allowed,
            remaining: quota - used - u32::from(is_allowed),
            more_in: Duration::from_nanos(counts.next_to_go() * slot_nanos - now),
        }
    }

    /// What [`take`](Self::take) would refuse this client now. Counts nothing, and gives nobody a place.
    pub fn refusal(&mut self, client: &K, now: Duration) -> Option<Decision> {
        let (now, slot_nanos) = (now.as_nanos() as u64, self.slot_nanos);
        let slot = now / slot_nanos;
        self.begin(slot / SLOTS as u64);
        let is_full = self.recent.len() + self.earlier.len() >= MAX_CLIENTS;
        let counts = match self.recent.get_mut(client).or_else(|| self.earlier.get_mut(client)) {
            Some(counts) => counts,
            None if is_full => &mut self.others,
            None => return None,
        };
        counts.begin(slot);
        (counts.in_view() >= self.quota.requests).then(|| Decision {
            is_allowed: false,
            remaining: 0,
            more_in: Duration::from_nanos(counts.next_to_go() * slot_nanos - now),
        })
    }

    fn begin(&mut self, period: u64) {
        if period == self.period {
            return;
        }
        let recent = mem::take(&mut self.recent);
        self.earlier = if period == self.period + 1 { recent } else { HashMap::new() };
        self.period = period;
    }

    fn counts_of(&mut self, client: K) -> &mut Counts {
        let is_full = self.recent.len() + self.earlier.len() >= MAX_CLIENTS;
        match self.recent.entry(client) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => match self.earlier.remove(place.key()) {
                Some(counts) => place.insert(counts),
                None if is_full => &mut self.others,
                None => place.insert(Counts::default()),
            },
        }
    }
}

impl Counts {
    /// Forgets what is out of view in this slot.
    fn begin(&mut self, slot: u64) {
        let begun = slot.saturating_sub(self.newest).min(SLOTS as u64);
        for slot in slot + 1 - begun..=slot {
            self.of[index(slot)] = 0;
        }
        self.newest = slot;
    }

    fn add(&mut self) {
        self.of[index(self.newest)] += 1;
    }

    fn in_view(&self) -> u32 {
        self.of.iter().sum()
    }

    /// The slot with which the oldest requests go out of view.
    fn next_to_go(&self) -> u64 {
        let (later, first) = self.of.split_at(index(self.newest) + 1);
        let mut from_oldest = first.iter().chain(later);
        let kept = from_oldest.position(|requests| *requests > 0).unwrap_or(SLOTS - 1);
        self.newest + 1 + kept as u64
    }
}

/// Where the requests of this slot are, and before those of the slot that goes out of view with it.
fn index(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rate_limit::Client;

    const MINUTE: Duration = Duration::from_secs(60);
    /// A request is in view for so much longer than the window at the most.
    const SLOT: Duration = Duration::from_secs(2);

    fn window<K: Eq + Hash>(requests: u32) -> SlidingWindow<K> {
        SlidingWindow::new(Quota { requests, window: MINUTE })
    }

    fn at(seconds: f64) -> Duration {
        MINUTE * 100 + Duration::from_secs_f64(seconds)
    }

    /// How many of so many requests pass at one moment.
    fn passed(window: &mut SlidingWindow<u32>, client: u32, requests: usize, now: Duration) -> usize {
        (0..requests).filter(|_| window.take(client, now).is_allowed).count()
    }

    #[test]
    fn as_many_as_the_quota_pass_and_the_next_one_is_told_when_to_come_again() {
        let mut window = window(3);
        let more_in = MINUTE + SLOT;
        assert_eq!(window.take(1, at(0.0)), Decision { is_allowed: true, remaining: 2, more_in });
        assert_eq!(window.take(1, at(0.0)), Decision { is_allowed: true, remaining: 1, more_in });
        assert_eq!(window.take(1, at(0.0)), Decision { is_allowed: true, remaining: 0, more_in });
        assert_eq!(window.take(1, at(0.0)), Decision { is_allowed: false, remaining: 0, more_in });
        assert_eq!(passed(&mut window, 2, 4, at(0.0)), 3, "another client");
        assert_eq!(passed(&mut window, 1, 4, at(0.0) + more_in), 3);
    }

    #[test]
    fn a_refusal_is_known_before_it_and_asking_for_it_counts_nothing() {
        let mut window = window(3);
        for second in 0..1_000 {
            let now = at(f64::from(second) * 7.0);
            let (first, second) = (window.refusal(&1, now), window.refusal(&1, now));
            assert_eq!(first, second);
            let taken = window.take(1, now);
            assert_eq!(first, (!taken.is_allowed).then_some(taken));
        }
        assert_eq!(window.refusal(&2, at(0.0) + MINUTE * 200), None, "nobody knows it");
    }

    #[test]
    fn places_come_free_as_their_requests_go_out_of_view() {
        let mut window = window(100);
        assert_eq!(passed(&mut window, 1, 40, at(10.0)), 40);
        assert_eq!(passed(&mut window, 1, 200, at(40.0)), 60);
        assert_eq!(passed(&mut window, 1, 200, at(69.9)), 0);
        assert_eq!(passed(&mut window, 1, 200, at(72.0)), 40);
        assert_eq!(passed(&mut window, 1, 200, at(102.0)), 60);
        assert_eq!(passed(&mut window, 1, 200, at(1_000.0)), 100);
    }

    #[test]
    fn a_million_addresses_find_bounded_room_and_whoever_has_a_place_keeps_it() {
        let mut window = window(2);
        let client = |number: u32| Client::address(number.to_be_bytes().into());
        let mut is_allowed = |number, seconds| window.take(client(number), at(seconds)).is_allowed;
        assert!(is_allowed(0, 0.0));
        let refused = (1..1_000_000).filter(|number| !is_allowed(*number, 1.0)).count();
        assert_eq!(refused, 1_000_000 - MAX_CLIENTS - 2, "those without a place share one");
        assert!(is_allowed(0, 30.0));
        assert!(!is_allowed(0, 31.0));
        for number in 0..100_000 {
            window.take(client(number), at(70.0));
        }
        assert!(window.recent.len() + window.earlier.len() <= MAX_CLIENTS);
        let places = window.recent.capacity() + window.earlier.capacity();
        assert!(places * size_of::<(Client, Counts)>() < 24 << 20, "{places} places");
        assert!(window.take(client(7), at(200.0)).is_allowed, "the flood is over");
    }

    proptest! {
        #[test]
        fn in_no_window_do_more_pass_than_the_quota_says(
            quota in 1..20_u32,
            gaps in prop::collection::vec(0..20_000_u64, 1..200),
        ) {
            let (mut window, mut now) = (window(quota), at(0.0));
            let mut passed: Vec<Duration> = vec![];
            for gap in gaps {
                now += Duration::from_millis(gap);
                let since = |length| passed.iter().filter(|then| **then + length > now).count();
                let (in_window, in_view) = (since(MINUTE), since(MINUTE + SLOT));
                if window.take(1, now).is_allowed {
                    prop_assert!(in_window < quota as usize);
                    passed.push(now);
                } else {
                    prop_assert!(in_view >= quota as usize, "refused without need");
                }
            }
        }

        #[test]
        fn whoever_waits_as_told_may_pass_and_nobody_may_before(
            quota in 1..20_u32,
            gaps in prop::collection::vec(0..5_000_u64, 1..200),
        ) {
            let (mut window, mut now) = (window(quota), at(0.0));
            for gap in gaps {
                now += Duration::from_millis(gap);
                let Decision { is_allowed: false, more_in, .. } = window.take(1, now) else { continue };
                prop_assert!(!window.take(1, now + more_in - Duration::from_nanos(1)).is_allowed);
                now += more_in;
                prop_assert!(window.take(1, now).is_allowed, "after {more_in:?}");
            }
        }
    }
}
