//! Table `inbox`: what callers left for the staff, and who has dealt with it.

use std::fmt;
use std::str::FromStr;

use call_control::alerts::urgent::Urgent;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema::inbox;
use super::text::{int, text};
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::connect::statement::Statement;
use crate::db::write::record::InboxItem;
use crate::schemas;

/// More characters of a text are not kept.
const LONGEST_TEXT: usize = 4_000;
/// Nor of a name.
const LONGEST_NAME: usize = 200;
/// A page has no more items.
const LARGEST_PAGE: u32 = 200;
/// No more open items are counted.
const MOST_COUNTED: i64 = 1_000;
/// No more urgent items are read.
const MOST_URGENT: i64 = 200;

/// What each item is read from; the caller's number may stand in the call alone.
const ITEM: &str = "inbox.id, inbox.kind, inbox.call_sid, inbox.at,
    coalesce(inbox.from_number, calls.from_number) AS from_number, inbox.name, inbox.text, inbox.language,
    inbox.kind = 'urgent' OR coalesce(calls.urgent, FALSE) AS urgent, calls.outcome,
    CASE WHEN recordings.deleted_at IS NULL THEN inbox.recording_sid END AS recording_sid,
    inbox.duration_seconds, inbox.done_at, inbox.done_by";
const JOINS: &str = "LEFT JOIN calls ON calls.call_sid = inbox.call_sid
    LEFT JOIN recordings ON recordings.recording_sid = inbox.recording_sid";

/// Something that a caller left for the staff. What is not known is null.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize, ToSchema)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct InboxRow {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// `message`, `voicemail`, `urgent` or `call-back`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Text)]
    pub call_sid: String,
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// The caller's number.
    #[diesel(sql_type = Nullable<Text>, column_name = from_number)]
    pub from: Option<String>,
    /// The caller's name, as the caller told it.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    /// What the caller asks for. Empty of a voicemail, and once it was kept for long enough.
    #[diesel(sql_type = Text)]
    pub text: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub language: Option<String>,
    /// The call is urgent, by this item or another one.
    #[diesel(sql_type = Bool)]
    pub urgent: bool,
    /// How the call ended.
    #[diesel(sql_type = Nullable<Text>)]
    #[schema(schema_with = schemas::outcome)]
    pub outcome: Option<String>,
    /// Null also once the recording is deleted.
    #[diesel(sql_type = Nullable<Text>)]
    pub recording_sid: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub duration_seconds: Option<i32>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub done_at: Option<DateTime<Utc>>,
    /// `user:NAME`, `token:NAME` or `local`.
    #[diesel(sql_type = Nullable<Text>)]
    pub done_by: Option<String>,
}

/// How many items nobody has marked as done; 1,000 stands for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName, Serialize, ToSchema)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct InboxCounts {
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    /// Those of kind `urgent` among them.
    #[diesel(sql_type = BigInt)]
    pub open_urgent: i64,
}

/// A place in the list: the item before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxCursor {
    at: DateTime<Utc>,
    id: i64,
}

impl InboxCursor {
    /// The place behind an item.
    pub fn after(row: &InboxRow) -> Self {
        Self { at: row.at, id: row.id }
    }
}

impl fmt::Display for InboxCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.timestamp_micros(), self.id)
    }
}

/// The text is no place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of the inbox")]
pub struct BadInboxCursor;

impl FromStr for InboxCursor {
    type Err = BadInboxCursor;

    fn from_str(text: &str) -> Result<Self, BadInboxCursor> {
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_plain { text.parse::<i64>().ok() } else { None }
        };
        let (at, id) = text.split_once('-').ok_or(BadInboxCursor)?;
        let at = number(at).and_then(DateTime::from_timestamp_micros).ok_or(BadInboxCursor)?;
        Ok(Self { at, id: number(id).ok_or(BadInboxCursor)? })
    }
}

/// An urgent item, and whether somebody has marked it as done.
#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct UrgentRow {
    #[diesel(sql_type = Text)]
    call_sid: String,
    #[diesel(sql_type = Text)]
    dedupe_key: String,
    #[diesel(sql_type = Nullable<Text>)]
    from_number: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
    #[diesel(sql_type = Bool)]
    is_done: bool,
}

/// Writes an item. Of one that is there what is not known yet is added, whatever the order; a mark that it is
/// done stays.
pub(in crate::db) fn write(item: &InboxItem) -> QueryResult<Statement> {
    let optional = |value: &Option<String>| value.as_deref().map(|value| text(value).into_owned());
    Statement::of(
        &sql_query(
            "INSERT INTO inbox AS known
                 (call_sid, dedupe_key, kind, at, from_number, name, text, language, recording_sid, duration_seconds)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (call_sid, dedupe_key) DO UPDATE SET
                 at = LEAST(known.at, excluded.at),
                 from_number = GREATEST(known.from_number, excluded.from_number),
                 name = GREATEST(known.name, excluded.name),
                 text = CASE WHEN (length(excluded.text), excluded.text) > (length(known.text), known.text)
                     THEN excluded.text ELSE known.text END,
                 language = GREATEST(known.language, excluded.language),
                 recording_sid = GREATEST(known.recording_sid, excluded.recording_sid),
                 duration_seconds = GREATEST(known.duration_seconds, excluded.duration_seconds)",
        )
        .bind::<Text, _>(item.call_sid.as_str())
        .bind::<Text, _>(text(&item.dedupe_key))
        .bind::<Text, _>(item.kind.as_str())
        .bind::<Timestamptz, _>(item.at)
        .bind::<Nullable<Text>, _>(optional(&item.from))
        .bind::<Nullable<Text>, _>(item.name.as_deref().map(|name| text(shortened(name, LONGEST_NAME))))
        .bind::<Text, _>(text(shortened(&item.text, LONGEST_TEXT)))
        .bind::<Nullable<Text>, _>(optional(&item.language))
        .bind::<Nullable<Text>, _>(optional(&item.recording_sid))
        .bind::<Nullable<Integer>, _>(item.duration_seconds.map(int)),
    )
}

/// The first characters, so many at most.
fn shortened(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// The newest items, of those behind `after`; with `is_done` only those that are done, or are not.
pub(in crate::db) async fn page(
    connection: &mut Connection,
    after: Option<InboxCursor>,
    limit: u32,
    is_done: Option<bool>,
) -> Result<Vec<InboxRow>, DbError> {
    let status = match is_done {
        Some(true) => "done_at IS NOT NULL",
        Some(false) => "done_at IS NULL",
        None => "TRUE",
    };
    let behind = if after.is_some() { "(at, id) < ($2, $3)" } else { "$2 IS NULL AND $3 IS NULL" };
    let list = format!(
        "SELECT {ITEM} FROM (
             SELECT * FROM inbox WHERE {status} AND {behind} ORDER BY at DESC, id DESC LIMIT $1
         ) AS inbox {JOINS} ORDER BY inbox.at DESC, inbox.id DESC"
    );
    let rows = sql_query(list)
        .bind::<BigInt, _>(i64::from(limit.clamp(1, LARGEST_PAGE)))
        .bind::<Nullable<Timestamptz>, _>(after.map(|after| after.at))
        .bind::<Nullable<BigInt>, _>(after.map(|after| after.id));
    Ok(rows.load(connection).await?)
}

/// How many are open.
pub(in crate::db) async fn counts(connection: &mut Connection) -> Result<InboxCounts, DbError> {
    let count = "SELECT count(*) AS open, count(*) FILTER (WHERE kind = 'urgent') AS open_urgent
        FROM (SELECT kind FROM inbox WHERE done_at IS NULL ORDER BY at DESC, id DESC LIMIT $1) AS open";
    Ok(sql_query(count).bind::<BigInt, _>(MOST_COUNTED).get_result(connection).await?)
}

/// Marks an item as done, unless somebody has. None: there is no such item.
pub(in crate::db) async fn mark(
    connection: &mut Connection,
    id: i64,
    who: &str,
) -> Result<Option<InboxRow>, DbError> {
    let mark = "UPDATE inbox SET done_at = now(), done_by = $2 WHERE id = $1 AND done_at IS NULL";
    sql_query(mark).bind::<BigInt, _>(id).bind::<Text, _>(text(who)).execute(connection).await?;
    find(connection, id).await
}

/// Takes the mark back. None: there is no such item.
pub(in crate::db) async fn unmark(connection: &mut Connection, id: i64) -> Result<Option<InboxRow>, DbError> {
    let unmark = "UPDATE inbox SET done_at = NULL, done_by = NULL WHERE id = $1 AND done_at IS NOT NULL";
    sql_query(unmark).bind::<BigInt, _>(id).execute(connection).await?;
    find(connection, id).await
}

/// One item.
pub(in crate::db) async fn find(connection: &mut Connection, id: i64) -> Result<Option<InboxRow>, DbError> {
    let one = format!("SELECT {ITEM} FROM inbox {JOINS} WHERE inbox.id = $1");
    Ok(sql_query(one).bind::<BigInt, _>(id).get_result(connection).await.optional()?)
}

/// Which kinds of items there are of these calls.
pub(in crate::db) async fn kinds_of(
    connection: &mut Connection,
    calls: &[String],
) -> QueryResult<Vec<(String, String)>> {
    let kinds = inbox::table.filter(inbox::call_sid.eq_any(calls)).select((inbox::call_sid, inbox::kind));
    kinds.distinct().order((inbox::call_sid, inbox::kind)).load(connection).await
}

/// The urgent items since then, the newest first; each with whether it is done.
pub(in crate::db) async fn urgent_since(
    connection: &mut Connection,
    since: DateTime<Utc>,
) -> Result<Vec<(Urgent, bool)>, DbError> {
    let urgent = "SELECT inbox.call_sid, dedupe_key, at, done_at IS NOT NULL AS is_done,
            coalesce(inbox.from_number, calls.from_number) AS from_number
        FROM inbox LEFT JOIN calls ON calls.call_sid = inbox.call_sid
        WHERE kind = 'urgent' AND at > $1 ORDER BY at DESC, id DESC LIMIT $2";
    let rows = sql_query(urgent).bind::<Timestamptz, _>(since).bind::<BigInt, _>(MOST_URGENT);
    let rows: Vec<UrgentRow> = rows.load(connection).await?;
    let urgent = |row: UrgentRow| {
        let UrgentRow { call_sid, dedupe_key, from_number: from, at, is_done } = row;
        let call_sid = call_sid.parse().ok()?; // the table's CHECK leaves no other
        Some((Urgent { call_sid, dedupe_key, from, at }, is_done))
    };
    Ok(rows.into_iter().filter_map(urgent).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shortened("äöü", 2), "äö");
        assert_eq!(shortened("äöü", 3), "äöü");
    }

    #[test]
    fn a_cursor_is_read_back_from_its_text_and_nothing_else_is_one() {
        let cursor = InboxCursor { at: DateTime::from_timestamp(1_800_000_000, 5_000).unwrap(), id: 17 };
        assert_eq!(cursor.to_string(), "1800000000000005-17");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "17", "x-17", "1800000000000005-", "1-+7", "1--7", "99999999999999999999-1"] {
            assert_eq!(text.parse::<InboxCursor>(), Err(BadInboxCursor), "{text}");
        }
    }
}
