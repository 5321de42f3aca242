//! Whether the account at the Realtime service carries another call: a call that it does not carry would make
//! all others wait for their answers.
//!
//! The service tells at the start of each response how many tokens are left, and at its end how many it took.
//! A response takes the whole conversation again, so what a call needs is learnt from the last responses of
//! all calls.

use crate::Millis;
use crate::realtime::rate_limits::TokenLimit;

/// A talkative call has so many responses in a minute.
const RESPONSES_A_MINUTE: u64 = 6;
/// A response counts for this part of what is expected of the next one.
const WEIGHT: u64 = 8;
/// Fewer responses than this say too little of what a call needs.
const KNOWN_AFTER: u32 = 5;

/// What is known of the account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headroom {
    told: Option<(TokenLimit, Millis)>,
    /// Tokens of a response, times [`WEIGHT`].
    weighted: u64,
    responses: u32,
}

/// As people are shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Tokens that the account may use in a minute.
    pub limit: u64,
    /// Of these, so many are left now.
    pub remaining: u64,
    /// So many does a call need in a minute; 0 while that is not known.
    pub per_call: u64,
}

impl Headroom {
    /// The service has told the account's limit.
    pub fn limit_told(&mut self, limit: TokenLimit, now: Millis) {
        self.told = Some((limit, now));
    }

    /// A response has taken so many tokens.
    pub fn response_took(&mut self, tokens: u64) {
        let tokens = tokens.min(u64::from(u32::MAX)); // no account has as many in a minute
        self.weighted = match self.responses {
            0 => tokens * WEIGHT,
            _ => self.weighted - self.weighted / WEIGHT + tokens,
        };
        self.responses = self.responses.saturating_add(1);
    }

    /// What is known; none before the service has told a limit.
    pub fn shown(&self, now: Millis) -> Option<Shown> {
        let (told, at) = self.told?;
        let passed = now.saturating_sub(at);
        let gone = told.limit - told.remaining;
        let back = if passed >= told.reset_ms { gone } else { gone * passed / told.reset_ms };
        Some(Shown { limit: told.limit, remaining: told.remaining + back, per_call: self.per_call() })
    }

    /// Whether another call can be taken beside `active` ones. The first one always can: without a call
    /// nobody learns how things stand.
    pub fn carries_another(&self, active: usize, now: Millis) -> bool {
        let Some(Shown { limit, remaining, per_call }) = self.shown(now) else { return true };
        if active == 0 || per_call == 0 {
            return true;
        }
        // What the service has told stands over what is expected: with most of the tokens there, a call that
        // talks less than others is no reason to turn the next caller away.
        let is_plenty = remaining >= limit - limit / 4;
        let all = (active as u64).saturating_add(1).saturating_mul(per_call);
        is_plenty || (all <= limit && remaining >= per_call / RESPONSES_A_MINUTE)
    }

    /// Tokens that a call needs in a minute; 0 while that is not known.
    fn per_call(&self) -> u64 {
        if self.responses < KNOWN_AFTER { 0 } else { self.weighted / WEIGHT * RESPONSES_A_MINUTE }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(limit: u64, remaining: u64) -> TokenLimit {
        TokenLimit { limit, remaining, reset_ms: 10_000 }
    }

    /// Each response takes a thousand tokens: a call needs six thousand a minute.
    fn known(limit: u64, remaining: u64) -> Headroom {
        let mut headroom = Headroom::default();
        (0..KNOWN_AFTER).for_each(|_| headroom.response_took(1_000));
        headroom.limit_told(told(limit, remaining), 0);
        headroom
    }

    #[test]
    fn as_many_calls_are_carried_as_the_limit_of_a_minute_allows() {
        let headroom = known(40_000, 20_000);
        assert_eq!(headroom.shown(0).unwrap().per_call, 6_000);
        assert!(headroom.carries_another(5, 0), "six calls take 36,000");
        assert!(!headroom.carries_another(6, 0), "seven would take 42,000");
        assert!(known(40_000, 30_000).carries_another(6, 0), "but those that there are take little");
    }

    #[test]
    fn a_call_that_would_wait_for_its_first_answer_is_not_taken_until_tokens_are_back() {
        let headroom = known(40_000, 0);
        assert!(!headroom.carries_another(1, 0));
        assert!(!headroom.carries_another(1, 200), "800 are back, and an answer takes 1,000");
        assert!(headroom.carries_another(1, 300), "1,200 are back");
        assert_eq!(headroom.shown(5_000).unwrap().remaining, 20_000);
        assert_eq!(headroom.shown(10_000).unwrap().remaining, 40_000);
        assert_eq!(headroom.shown(99_000).unwrap().remaining, 40_000);
    }

    #[test]
    fn what_is_not_known_keeps_nobody_out_and_the_first_call_is_always_taken() {
        assert!(Headroom::default().carries_another(19, 0));
        let mut headroom = Headroom::default();
        headroom.limit_told(told(100, 0), 0);
        assert!(headroom.carries_another(19, 0), "nobody knows what a call needs");
        assert!(known(100, 0).carries_another(0, 0));
    }

    #[test]
    fn what_a_call_needs_follows_what_responses_take() {
        let mut headroom = known(1_000_000, 1_000_000);
        (0..50).for_each(|_| headroom.response_took(5_000));
        let per_call = headroom.shown(0).unwrap().per_call;
        assert!((29_000..=30_000).contains(&per_call), "{per_call}");
    }

    proptest! {
        #[test]
        fn nothing_overflows_and_more_calls_never_need_less(
            tokens in prop::collection::vec(any::<u64>(), 0..20),
            limit in 1..=u64::from(u32::MAX),
            part in 0..=100_u64,
            reset_ms in 0..=60_000_u64,
            active in 0..1_000_usize,
            now in 0..1_000_000_u64,
        ) {
            let mut headroom = Headroom::default();
            tokens.into_iter().for_each(|tokens| headroom.response_took(tokens));
            headroom.limit_told(TokenLimit { limit, remaining: limit * part / 100, reset_ms }, now / 2);
            let shown = headroom.shown(now).unwrap();
            prop_assert!(shown.remaining <= limit);
            prop_assert!(active == 0 || headroom.carries_another(active, now) || !headroom.carries_another(active + 1, now));
        }
    }
}
