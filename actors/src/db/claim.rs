//! Keeps two live processes from having one `INSTANCE_ID`.
//!
//! A process that has the name writes its heartbeat every 5 s. One that starts takes the name if its row is
//! 15 s old. It also does so if the row is that of its predecessor: the spool's folder says since when that
//! one was heard of, and its lock says that it is gone. In any other case it watches the row: a new heartbeat
//! proves that another process lives.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::sleep;

use super::Shared;
use super::connect::error::DbError;
use super::handles::Operations;
use super::tables::instances::{self, Claim};

/// The row of another process is looked at this often; a heartbeat comes every 5 s.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// One look takes at most this long.
const DEADLINE: Duration = Duration::from_secs(2);

impl Operations {
    /// Takes the name for this process, unless another live process has it: false. Answers at once if the
    /// name is free or was the predecessor's in this spool, otherwise within 16 s. To be called again after
    /// an error.
    pub async fn claim(&self, instance: &str) -> Result<bool, DbError> {
        let mut heard_at = None;
        loop {
            let predecessor = self.0.shared.spool.heard_since();
            let claim = self
                .0
                .shared
                .ask("claim", DEADLINE, async |connection| {
                    Ok(instances::claim(connection, instance, predecessor).await?)
                })
                .await?;
            match claim {
                Claim::Ours(since) => {
                    self.0.shared.heard_since(since).await;
                    self.0.shared.claimed.store(true, Ordering::Relaxed);
                    return Ok(true);
                }
                Claim::Theirs(at) if lives(heard_at, at) => return Ok(false),
                Claim::Theirs(at) => {
                    if heard_at.is_none() {
                        tracing::warn!(instance, "a process of this name was alive just now; is it gone?");
                    }
                    heard_at = heard_at.or(at);
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether this process has its name for itself.
    pub fn has_claimed(&self) -> bool {
        self.0.shared.claimed.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Remembers for a successor since when this process has been heard of.
    pub(super) async fn heard_since(&self, since: DateTime<Utc>) {
        if self.spool.heard_since() != Some(since) {
            self.spool.remember(since).await;
        }
    }
}

/// Whether a heartbeat came between two looks.
fn lives(before: Option<DateTime<Utc>>, now: Option<DateTime<Utc>>) -> bool {
    before.is_some() && now.is_some() && before != now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_lives_if_its_heartbeat_changes_between_two_looks() {
        let at = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0);
        assert!(lives(at(0), at(5)));
        assert!(!lives(at(0), at(0)), "a dead process leaves a fresh row");
        assert!(!lives(None, at(0)), "one look proves nothing");
        assert!(!lives(at(0), None), "a row that is gone is no heartbeat");
    }
}
