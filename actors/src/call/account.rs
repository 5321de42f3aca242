//! What calls learn of the account at the Realtime service, for the admission of further ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use call_control::Millis;
use call_control::ceiling::headroom::Headroom;
pub use call_control::ceiling::headroom::Shown;
pub use call_control::realtime::rate_limits::TokenLimit;

use crate::wire::realtime::usage::Usage;

/// The account, as this process knows it. A clone is the same one.
#[derive(Clone)]
pub struct Account(Arc<(Instant, Mutex<Headroom>)>);

impl Default for Account {
    fn default() -> Self {
        Self(Arc::new((Instant::now(), Mutex::default())))
    }
}

impl Account {
    pub(super) fn limit_told(&self, limit: TokenLimit) {
        let now = self.now();
        self.lock().limit_told(limit, now);
    }

    pub(super) fn response_took(&self, usage: &Usage) {
        self.lock().response_took(usage.input_tokens.saturating_add(usage.output_tokens));
    }

    /// Whether it carries another call beside so many.
    pub fn carries_another(&self, active: usize) -> bool {
        let now = self.now();
        self.lock().carries_another(active, now)
    }

    /// As people are shown it; none before the service has told a limit.
    pub fn shown(&self) -> Option<Shown> {
        let now = self.now();
        self.lock().shown(now)
    }

    fn now(&self) -> Millis {
        self.0.0.elapsed().as_millis() as Millis
    }

    fn lock(&self) -> MutexGuard<'_, Headroom> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
