//! Counts what all processes have seen that share a Redis.
//!
//! This process counts beside it what Redis has let pass. So it can go on alone when Redis does not answer,
//! from what it knows. After Redis has lost its keys, whoever used up a limit here stays refused here.

use std::sync::Arc;

use actors::metrics::{MetricSet as _, Registrar};
use actors::secret::Secret;
use futures_util::future::BoxFuture;
use prometheus::{IntCounterVec, IntGauge};

use self::key::Keys;
use self::link::{Link, Miss};
pub use self::settings::RedisSettings;
use super::{Class, Client, Decision, InMemory, Quotas, Store};

mod key;
mod link;
pub mod probe;
mod script;
mod settings;
#[cfg(test)]
mod tests;

actors::metrics! {
    /// The metrics of the limits that processes share.
    struct SharedMetrics {
        /// Decisions that this process made alone though `REDIS_URL` is set, by reason: Redis was `away`,
        /// `busy` with too many decisions, `late`, or it `failed`.
        alone: IntCounterVec = "switchboard_rate_limit_alone_total" ["reason" = &Miss::ALL];
        /// Whether requests are counted in Redis: 1 or 0.
        is_up: IntGauge = "switchboard_redis_up";
    }
}

/// Counts in Redis.
pub struct Shared {
    quotas: Quotas,
    keys: Keys,
    link: Arc<Link>,
    local: InMemory,
    metrics: SharedMetrics,
}

impl Shared {
    /// Connects in the background, on the current actix system.
    ///
    /// # Errors
    /// The registry has the metrics already.
    pub fn start(
        quotas: &Quotas,
        settings: RedisSettings,
        secret_key: &Secret,
        registry: &dyn Registrar,
    ) -> prometheus::Result<Self> {
        let metrics = SharedMetrics::register(registry)?;
        Ok(Self {
            quotas: *quotas,
            keys: Keys::new(secret_key),
            link: Link::keep(settings, metrics.is_up.clone()),
            metrics,
            local: InMemory::new(quotas),
        })
    }
}

impl Store for Shared {
    fn take(&self, class: Class, client: Client) -> BoxFuture<'_, Decision> {
        Box::pin(async move {
            let quota = self.quotas.of(class);
            // What may not pass does not count, there neither.
            if let Some(refusal) = self.local.refusal(class, client) {
                return refusal;
            }
            match self.link.decide(&self.keys.of(class, client, quota), quota).await {
                Ok(decision) if decision.is_allowed => stricter(decision, self.local.decide(class, client)),
                Ok(refusal) => refusal,
                Err(miss) => {
                    self.metrics.alone.with_label_values(&[miss.as_str()]).inc();
                    self.local.decide(class, client)
                }
            }
        })
    }

    fn is_alone(&self) -> bool {
        self.link.is_away()
    }
}

/// What holds if Redis lets a request pass, and this process has counted by itself.
fn stricter(shared: Decision, local: Decision) -> Decision {
    if !local.is_allowed || local.remaining < shared.remaining { local } else { shared }
}
