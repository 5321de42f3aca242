//! Table `audit`: who did what, and who opened what.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema::audit;
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;

/// A page has no more entries.
const LARGEST_PAGE: u32 = 1_000;
/// A text is kept up to so many characters.
const LONGEST: usize = 200;

/// What is to be written. Each text is cut at 200 characters; none may be a secret or a caller's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// `user:NAME`, `token:NAME`, `cli:UNIX-USER`, or `nobody` for one who is not known.
    pub who: String,
    /// The address that the request came from.
    pub client: Option<String>,
    /// Such as `login`, `transcript-opened`, `user-added`.
    pub action: String,
    /// Whom or what it was done to, such as a call's SID or the name of a user.
    pub object: Option<String>,
    /// `ok`, `failed`, `refused`, `limited` or another short word.
    pub outcome: String,
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = audit, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct AuditRow {
    /// Larger than those of earlier entries.
    pub id: i64,
    pub at: DateTime<Utc>,
    pub who: String,
    pub client: Option<String>,
    pub action: String,
    pub object: Option<String>,
    pub outcome: String,
}

/// Which entries are wanted: those that are equal to each text that is given, of the given time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    pub who: Option<String>,
    pub action: Option<String>,
    pub object: Option<String>,
    /// From this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// As much of a text as is kept.
pub(super) fn cut(whole: &str) -> Cow<'_, str> {
    let end = whole.char_indices().nth(LONGEST).map_or(whole.len(), |(end, _)| end);
    text(&whole[..end])
}

pub(in crate::db) async fn write(connection: &mut Connection, entry: &AuditEntry) -> Result<(), DbError> {
    let row = (
        audit::who.eq(cut(&entry.who)),
        audit::client.eq(entry.client.as_deref().map(cut)),
        audit::action.eq(cut(&entry.action)),
        audit::object.eq(entry.object.as_deref().map(cut)),
        audit::outcome.eq(cut(&entry.outcome)),
    );
    diesel::insert_into(audit::table).values(row).execute(connection).await?;
    Ok(())
}

/// The newest entries that pass the filter, of those older than `before`, an [id](AuditRow::id).
pub(in crate::db) async fn page(
    connection: &mut Connection,
    before: Option<i64>,
    limit: u32,
    filter: &AuditFilter,
) -> Result<Vec<AuditRow>, DbError> {
    let mut query = audit::table.into_boxed::<diesel::pg::Pg>();
    if let Some(before) = before {
        query = query.filter(audit::id.lt(before));
    }
    if let Some(who) = &filter.who {
        query = query.filter(audit::who.eq(text(who).into_owned()));
    }
    if let Some(action) = &filter.action {
        query = query.filter(audit::action.eq(text(action).into_owned()));
    }
    if let Some(object) = &filter.object {
        query = query.filter(audit::object.eq(text(object).into_owned()));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit::at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit::at.lt(until));
    }
    let newest = query.order(audit::id.desc()).limit(limit.clamp(1, LARGEST_PAGE).into());
    Ok(newest.select(AuditRow::as_select()).load(connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_characters_and_has_no_nul() {
        assert_eq!(cut("anna\0"), "anna\u{FFFD}");
        assert_eq!(cut(&"é".repeat(201)), "é".repeat(200));
        assert_eq!(cut(&"é".repeat(200)), "é".repeat(200));
    }
}
