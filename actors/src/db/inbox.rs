//! The inbox as its readers have it: pages, counts, marks. What callers leave comes as records.

use chrono::{DateTime, Utc};

use call_control::alerts::urgent::Urgent;

use super::accounts::Accounts;
use super::alerts::AlertLog;
use super::connect::error::DbError;
use super::tables::inbox::{self, InboxCounts, InboxCursor, InboxRow};

/// The handle of the inbox. A cheap clone.
#[derive(Clone)]
pub struct Inbox(Accounts);

impl Accounts {
    /// The inbox, by the same way.
    pub fn inbox(&self) -> Inbox {
        Inbox(self.clone())
    }
}

impl Inbox {
    /// The newest items, of those behind `after`; 1 to 200 of them. With `is_done` only those that are done,
    /// or are not.
    pub async fn page(
        &self,
        after: Option<InboxCursor>,
        limit: u32,
        is_done: Option<bool>,
    ) -> Result<Vec<InboxRow>, DbError> {
        self.0
            .ask("inbox_page", async |connection| inbox::page(connection, after, limit, is_done).await)
            .await
    }

    /// How many items are open.
    pub async fn counts(&self) -> Result<InboxCounts, DbError> {
        self.0.ask("inbox_counts", inbox::counts).await
    }

    /// One item. None: there is no such item.
    pub async fn item(&self, id: i64) -> Result<Option<InboxRow>, DbError> {
        self.0.ask("inbox_item", async |connection| inbox::find(connection, id).await).await
    }

    /// Marks an item as done; a mark that is there stays. Answers the item as it is then. None: there is no
    /// such item.
    pub async fn mark(&self, id: i64, who: &str) -> Result<Option<InboxRow>, DbError> {
        self.0.ask("mark_inbox_item", async |connection| inbox::mark(connection, id, who).await).await
    }

    /// Takes a mark back. Answers the item as it is then. None: there is no such item.
    pub async fn unmark(&self, id: i64) -> Result<Option<InboxRow>, DbError> {
        self.0.ask("unmark_inbox_item", async |connection| inbox::unmark(connection, id).await).await
    }
}

impl AlertLog {
    /// The urgent items of the inbox since then, each with whether somebody has marked it as done.
    pub async fn urgent_since(&self, since: DateTime<Utc>) -> Result<Vec<(Urgent, bool)>, DbError> {
        self.accounts()
            .ask("urgent_items", async |connection| inbox::urgent_since(connection, since).await)
            .await
    }
}
