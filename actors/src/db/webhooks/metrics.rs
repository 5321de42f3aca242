//! The metrics of the webhooks.

use chrono::Utc;
use prometheus::{HistogramVec, IntCounterVec, IntGauge};

use super::backlog::WebhookBacklog;
use super::{Route, Webhook};
use crate::db::connect::error::DbError;

/// From at once to what nobody waits for, in seconds; 5 s is what is asked of us.
const DELAY_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0];

/// Where an acknowledged webhook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) enum Kept {
    Stored,
    Spooled,
}

/// How processing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Processed {
    Done,
    /// It is tried again.
    Failed,
    /// It is not.
    Dead,
}

crate::metrics! {
    /// The metrics of the webhooks.
    pub(in crate::db) struct Metrics {
        /// Status callbacks at the door, by route and result: `stored`, `spooled` or `unavailable`.
        received: IntCounterVec = "switchboard_webhooks_received_total"
            ["route" = &Route::ALL.map(Route::as_str), "result" = &["stored", "spooled", "unavailable"]];
        /// Attempts to process a status callback, by route and result: `done`, `failed` (tried again) or
        /// `dead`.
        processed: IntCounterVec = "switchboard_webhooks_processed_total"
            ["route" = &Route::ALL.map(Route::as_str), "result" = &["done", "failed", "dead"]];
        /// Seconds from the moment that Twilio says, else from when it came, until a status callback was
        /// processed.
        delay: HistogramVec = "switchboard_webhook_delay_seconds"
            ["route" = &Route::ALL.map(Route::as_str)] {DELAY_BUCKETS};
        /// Status callbacks in the database that are not processed yet, as of some seconds ago.
        pending: IntGauge = "switchboard_webhooks_pending";
        /// Status callbacks that were given up and wait for an operator, as of some seconds ago.
        dead: IntGauge = "switchboard_webhooks_dead";
    }
}

impl Metrics {
    pub(in crate::db) fn received(&self, route: Route, result: &Result<Kept, DbError>) {
        let result = match result {
            Ok(Kept::Stored) => "stored",
            Ok(Kept::Spooled) => "spooled",
            Err(_) => "unavailable",
        };
        self.received.with_label_values(&[route.as_str(), result]).inc();
    }

    pub(super) fn processed(&self, webhook: &Webhook, result: Processed) {
        let route = webhook.route.as_str();
        let word = match result {
            Processed::Done => "done",
            Processed::Failed => "failed",
            Processed::Dead => "dead",
        };
        self.processed.with_label_values(&[route, word]).inc();
        if result == Processed::Done {
            // Twilio's clock may be ahead.
            let delay = (Utc::now() - webhook.at()).to_std().unwrap_or_default();
            self.delay.with_label_values(&[route]).observe(delay.as_secs_f64());
        }
    }

    pub(super) fn backlog(&self, backlog: &WebhookBacklog) {
        self.pending.set(backlog.pending);
        self.dead.set(backlog.dead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_the_five_seconds_within_which_callbacks_are_to_be_processed() {
        // The load tests and whoever sets an alarm count the late ones by it: nearly five seconds would not
        // do.
        assert!(DELAY_BUCKETS.contains(&5.0));
    }
}
