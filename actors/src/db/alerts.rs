//! The alerts of all instances. Nothing here is waited for before a person is told.

use std::time::Duration;

use tokio::time::timeout;

use super::accounts::Accounts;
use super::connect::error::DbError;
use super::tables::alerts::{self, Acknowledged, AlertRow};

/// Nobody is told later than this for want of an answer. A database that is slow is waited for, so that two
/// instances do not tell the same person: a person is told within one evaluation, which takes 5 s.
const CLAIM_DEADLINE: Duration = Duration::from_secs(4);

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
    /// `window`, nor this one within `own_window`. Answers within 4 s.
    pub async fn claim(
        &self,
        rule: &str,
        kind: &str,
        instance: &str,
        window: Duration,
        own_window: Duration,
    ) -> Result<bool, DbError> {
        let claim = self.0.ask("claim_notice", async |connection| {
            alerts::claim(connection, rule, kind, instance, window, own_window).await
        });
        timeout(CLAIM_DEADLINE, claim).await.unwrap_or_else(|_| Err(DbError::unanswered(CLAIM_DEADLINE)))
    }

    /// Gives a claim of this instance back. Answers within 4 s.
    pub async fn unclaim(&self, rule: &str, kind: &str, instance: &str) -> Result<(), DbError> {
        let unclaim = self.0.ask("unclaim_notice", async |connection| {
            alerts::unclaim(connection, rule, kind, instance).await
        });
        timeout(CLAIM_DEADLINE, unclaim).await.unwrap_or_else(|_| Err(DbError::unanswered(CLAIM_DEADLINE)))
    }

    /// Deletes the claim on a notice, whichever instance made it. Answers within 4 s.
    pub async fn release(&self, rule: &str, kind: &str) -> Result<(), DbError> {
        let release =
            self.0.ask("release_notice", async |connection| alerts::release(connection, rule, kind).await);
        timeout(CLAIM_DEADLINE, release).await.unwrap_or_else(|_| Err(DbError::unanswered(CLAIM_DEADLINE)))
    }

    /// Writes an alert that is over. Whether one of its rule goes on at another instance: of several that end
    /// at once, the last one finds none. Answers within 4 s.
    pub async fn goes_on_elsewhere(&self, row: &AlertRow) -> Result<bool, DbError> {
        let asked = self.0.ask("end_alert", async |connection| {
            alerts::store(connection, row).await?;
            alerts::is_open_elsewhere(connection, &row.rule, &row.instance).await
        });
        timeout(CLAIM_DEADLINE, asked).await.unwrap_or_else(|_| Err(DbError::unanswered(CLAIM_DEADLINE)))
    }

    /// Clears the alerts of instances that were not heard of for an hour, and forgets claims that are over.
    pub async fn clear_of_gone(&self) -> Result<usize, DbError> {
        self.0.ask("clear_gone_alerts", alerts::clear_of_gone).await
    }
}
