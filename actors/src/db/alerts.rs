//! The alerts of all instances. Nothing here is waited for before a person is told.

use std::time::Duration;

use super::accounts::Accounts;
use super::connect::error::DbError;
use super::tables::alerts::{self, Acknowledged, AlertRow};

/// Nobody is told later than this for want of an answer. A database that is slow is waited for, so that two
/// instances do not tell the same person: a person is told within one evaluation, which takes 5 s.
const CLAIM_DEADLINE: Duration = Duration::from_secs(3);

/// The handle of the alerts. A cheap clone.
#[derive(Clone)]
pub struct AlertLog(Accounts);

impl Accounts {
    /// The alerts, by the same way.
    pub fn alerts(&self) -> AlertLog {
        AlertLog(self.clone())
    }
}

impl AlertLog {
    pub(super) fn accounts(&self) -> &Accounts {
        &self.0
    }

    /// Writes an alert as it is now.
    pub async fn store(&self, row: &AlertRow) -> Result<(), DbError> {
        self.0.ask("store_alert", async |connection| alerts::store(connection, row).await).await
    }

    /// The open alerts of an instance, the newest first.
    pub async fn open_of(&self, instance: &str) -> Result<Vec<AlertRow>, DbError> {
        self.0.ask("open_alerts", async |connection| alerts::open_of(connection, instance).await).await
    }

    /// The newest alerts, of those older than `before`, the identifier of one; 1 to 1,000 of them. With
    /// `is_open` only those that go on, or that are over.
    pub async fn page(
        &self,
        before: Option<&str>,
        limit: u32,
        is_open: Option<bool>,
    ) -> Result<Vec<AlertRow>, DbError> {
        self.0
            .ask("alerts_page", async |connection| alerts::page(connection, before, limit, is_open).await)
            .await
    }

    /// Acknowledges this open alert, and every open alert of its rule if that is about what instances share.
    /// None: there is no such alert, or it is over.
    pub async fn acknowledge(&self, id: &str, who: &str) -> Result<Option<AlertRow>, DbError> {
        self.0
            .ask("acknowledge_alert", async |connection| alerts::acknowledge(connection, id, who).await)
            .await
    }

    /// Those of the alerts that somebody has acknowledged.
    pub async fn acknowledged(&self, ids: &[String]) -> Result<Vec<Acknowledged>, DbError> {
        self.0
            .ask("acknowledged_alerts", async |connection| alerts::acknowledged(connection, ids).await)
            .await
    }

    /// Whether a notice is this instance's to tell: no other instance has told one of this kind within
    /// `window`, nor this one within `own_window`. Answers within 3 s.
    pub async fn claim(
        &self,
        rule: &str,
        kind: &str,
        instance: &str,
        window: Duration,
        own_window: Duration,
    ) -> Result<bool, DbError> {
        self.0
            .ask_within(CLAIM_DEADLINE, "claim_notice", async |connection| {
                alerts::claim(connection, rule, kind, instance, window, own_window).await
            })
            .await
    }

    /// Gives a claim of this instance back. Answers within 3 s.
    pub async fn unclaim(&self, rule: &str, kind: &str, instance: &str) -> Result<(), DbError> {
        self.0
            .ask_within(CLAIM_DEADLINE, "unclaim_notice", async |connection| {
                alerts::unclaim(connection, rule, kind, instance).await
            })
            .await
    }

    /// Deletes the claim on a notice, whichever instance made it. Answers within 3 s.
    pub async fn release(&self, rule: &str, kind: &str) -> Result<(), DbError> {
        self.0
            .ask_within(CLAIM_DEADLINE, "release_notice", async |connection| {
                alerts::release(connection, rule, kind).await
            })
            .await
    }

    /// Writes an alert that is over. Whether one of its rule goes on at another instance: of several that end
    /// at once, the last one finds none. Answers within 3 s.
    pub async fn goes_on_elsewhere(&self, row: &AlertRow) -> Result<bool, DbError> {
        self.0
            .ask_within(CLAIM_DEADLINE, "end_alert", async |connection| {
                alerts::store(connection, row).await?;
                alerts::is_open_elsewhere(connection, &row.rule, &row.instance).await
            })
            .await
    }

    /// Clears the alerts of instances that were not heard of for an hour, and forgets claims that are over.
    pub async fn clear_of_gone(&self) -> Result<usize, DbError> {
        self.0.ask("clear_gone_alerts", alerts::clear_of_gone).await
    }
}
