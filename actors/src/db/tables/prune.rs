//! Rows that nobody needs once they are old: callbacks that were dealt with, events of calls, notes of what
//! was deleted, instances that were not heard of since, sessions that have expired, the audit, alerts
//! that are over, and items of the inbox.
//!
//! Most rows come about in the order of time, so what is old is among those with the lowest numbers: as many
//! as a batch has are looked at, and no further index is needed.

use chrono::{DateTime, Utc};

use crate::db::connect::error::DbError;
use crate::db::handles::Operations;

/// A table whose old rows can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldRows {
    Webhooks,
    CallEvents,
    Deletions,
    Instances,
    /// Old is one that expired long ago.
    Sessions,
    Audit,
    /// Only those that are over.
    Alerts,
    /// Also those that nobody has marked as done.
    Inbox,
}

impl OldRows {
    pub const ALL: [Self; 8] = [
        Self::Webhooks,
        Self::CallEvents,
        Self::Deletions,
        Self::Instances,
        Self::Sessions,
        Self::Audit,
        Self::Alerts,
        Self::Inbox,
    ];

    /// The table's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::CallEvents => "call_events",
            Self::Deletions => "deletions",
            Self::Instances => "instances",
            Self::Sessions => "sessions",
            Self::Audit => "audit",
            Self::Alerts => "alerts",
            Self::Inbox => "inbox",
        }
    }

    /// Deletes what is older than `$1` among the `$2` oldest rows.
    fn sql(self) -> &'static str {
        match self {
            Self::Webhooks => {
                "DELETE FROM webhooks USING (SELECT id FROM webhooks ORDER BY id LIMIT $2) AS oldest
                 WHERE webhooks.id = oldest.id AND received_at < $1 AND state IN ('done', 'dead')"
            }
            Self::CallEvents => {
                "DELETE FROM call_events USING (SELECT id FROM call_events ORDER BY id LIMIT $2) AS oldest
                 WHERE call_events.id = oldest.id AND at < $1"
            }
            Self::Deletions => {
                "DELETE FROM deletions USING (SELECT id FROM deletions ORDER BY id LIMIT $2) AS oldest
                 WHERE deletions.id = oldest.id AND at < $1"
            }
            Self::Instances => {
                "DELETE FROM instances USING (
                     SELECT instance_id FROM instances ORDER BY heartbeat_at LIMIT $2
                 ) AS oldest
                 WHERE instances.instance_id = oldest.instance_id AND heartbeat_at < $1"
            }
            Self::Sessions => {
                "DELETE FROM sessions USING (
                     SELECT key_hash FROM sessions ORDER BY expires_at LIMIT $2
                 ) AS oldest
                 WHERE sessions.key_hash = oldest.key_hash AND expires_at < $1"
            }
            Self::Audit => {
                "DELETE FROM audit USING (SELECT id FROM audit ORDER BY id LIMIT $2) AS oldest
                 WHERE audit.id = oldest.id AND at < $1"
            }
            Self::Alerts => {
                "DELETE FROM alerts USING (SELECT id FROM alerts ORDER BY id LIMIT $2) AS oldest
                 WHERE alerts.id = oldest.id AND cleared_at < $1"
            }
            Self::Inbox => {
                "DELETE FROM inbox USING (SELECT id FROM inbox ORDER BY id LIMIT $2) AS oldest
                 WHERE inbox.id = oldest.id AND at < $1"
            }
        }
    }
}

impl Operations {
    /// Deletes the rows of a table that are older than `before` among its `batch` oldest ones, within 10 s.
    /// Answers how many: none means that none is left.
    pub async fn prune(&self, rows: OldRows, before: DateTime<Utc>, batch: u32) -> Result<usize, DbError> {
        self.delete("prune", rows.sql(), before, batch).await
    }
}
