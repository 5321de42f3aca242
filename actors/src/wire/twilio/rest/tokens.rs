//! The account's auth tokens: one, or two while one replaces the other.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct Tokens {
    primary: Secret,
    secondary: Option<Secret>,
    /// The secondary one was taken where the primary was refused.
    is_secondary_first: AtomicBool,
}

impl Tokens {
    pub(super) fn new(primary: Secret, secondary: Option<Secret>) -> Self {
        Self { primary, secondary, is_secondary_first: AtomicBool::new(false) }
    }

    pub(super) fn primary(&self) -> &Secret {
        &self.primary
    }

    /// All of them, in the order in which a request tries them.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Secret> {
        let (mut first, mut second) = (Some(&self.primary), self.secondary.as_ref());
        if second.is_some() && self.is_secondary_first.load(Ordering::Relaxed) {
            std::mem::swap(&mut first, &mut second);
        }
        first.into_iter().chain(second)
    }

    /// Twilio has taken this one where it refused the other: it is tried first from now on.
    pub(super) fn was_taken(&self, token: &Secret) {
        self.is_secondary_first.store(token != &self.primary, Ordering::Relaxed);
    }
}
