//! Table `call_search`: calls by what was said in them.
//!
//! A call has a document from when it is over; a turn that is corrected or comes late makes it anew. While a
//! call is on the line its turns cost a look at its row and no more.

use chrono::{DateTime, Utc};
use diesel::dsl::{sql, sql_query};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Double, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use super::list::matching;
use super::query::{CallFilter, CallQuery, Sort, Start};
use super::total::{self, Total};
use super::words;
use crate::db::connect::connection::Connection;
use crate::db::connect::statement::Statement;
use crate::db::tables::schema::{call_search, calls};
use crate::db::tables::text::text;
use crate::wire::twilio::sid::CallSid;

/// A search finds so many calls at most: the newest.
const MOST: usize = 1_000;
/// As many as are ever found, and one more, so that it shows whether there are others.
pub(super) const ALL: usize = MOST + 1;
/// Of a word that is expected more often no more is found than a page needs: it has the most in any case.
const FREQUENT: i64 = 4 * MOST as i64;
/// So many times what is wanted is looked through, and so many matches more, to find it.
const AMPLE: f64 = 1.5;
const SPARE: f64 = 100.0;
/// More than this share of all calls is not looked through before all of them are.
const LARGEST_SHARE: f64 = 0.1;

/// The calls that a search found.
pub(in crate::db) struct Found {
    /// Newest first; of a frequent word only as many as were wanted.
    pub(super) call_sids: Vec<String>,
    /// There are no others.
    pub(super) is_complete: bool,
}

impl Found {
    /// All there are, or the newest.
    fn of(mut call_sids: Vec<String>) -> Self {
        let is_complete = call_sids.len() <= MOST;
        call_sids.truncate(MOST);
        Self { call_sids, is_complete }
    }

    /// The newest of many.
    fn newest(mut call_sids: Vec<String>) -> Self {
        call_sids.truncate(MOST);
        Self { call_sids, is_complete: false }
    }

    /// The page that is asked for and one call more, if the calls are in its order and it begins among them.
    pub(super) fn of_page(&self, query: &CallQuery) -> Option<&[String]> {
        if query.start.sort() != Sort::NEWEST_FIRST {
            return None;
        }
        let size = query.page_size as usize;
        let first = match query.start {
            Start::Page(page, _) => (page.max(1) as usize - 1) * size,
            Start::After(cursor) => {
                let last = cursor.after.call_sid;
                self.call_sids.iter().position(|call_sid| call_sid == last.as_str())? + 1
            }
        };
        let rest = self.call_sids.get(first..).unwrap_or_default();
        Some(&rest[..rest.len().min(size + 1)])
    }

    pub(super) fn total(&self) -> Total {
        let calls = if self.is_complete { self.call_sids.len() } else { MOST };
        Total { calls: calls as i64, is_exact: self.is_complete }
    }
}

/// Writes the call's document, if the call is over and something was said in it.
pub(in crate::db) fn document(call_sid: &CallSid) -> QueryResult<Statement> {
    let words = words::separated("left(string_agg(text, E'\\n' ORDER BY ordinal), 100000)");
    let insert = format!(
        "INSERT INTO call_search (call_sid, started_at, document) \
        SELECT calls.call_sid, calls.started_at, to_tsvector('simple', {words}) \
        FROM calls JOIN turns USING (call_sid) \
        WHERE calls.ended_at IS NOT NULL AND calls.call_sid = $1 \
        GROUP BY calls.call_sid \
        ON CONFLICT (call_sid) DO UPDATE \
        SET started_at = excluded.started_at, document = excluded.document \
        WHERE (call_search.started_at, call_search.document) \
            IS DISTINCT FROM (excluded.started_at, excluded.document)"
    );
    Statement::of(&sql_query(insert).bind::<Text, _>(call_sid.as_str()))
}

/// How many of the newest calls that a search finds are to be known for this page; one more, so that it shows
/// whether there are others.
pub(super) fn wanted(query: &CallQuery) -> usize {
    match query.start {
        Start::Page(page, Sort::NEWEST_FIRST) => {
            (page.max(1) as usize).saturating_mul(query.page_size as usize).min(MOST) + 1
        }
        _ => ALL,
    }
}

/// The newest calls that pass the filter and in which its words were said; of a frequent word as many as are
/// `wanted`.
///
/// Those are looked for first among so few of the newest calls as probably suffice: to sort all matches takes
/// long.
pub(super) async fn find(
    connection: &mut Connection,
    filter: &CallFilter,
    words: &str,
    wanted: usize,
) -> QueryResult<Found> {
    let expected = total::expected(connection, said(filter, words, None)).await?;
    let wanted = if expected > FREQUENT { wanted } else { ALL };
    let share = (AMPLE * wanted as f64 + SPARE) / expected.max(1) as f64;
    if share <= LARGEST_SHARE
        && let Some(since) = newest_share(connection, share).await?
    {
        let call_sids: Vec<String> = newest(filter, words, Some(since), wanted).load(connection).await?;
        if call_sids.len() == wanted {
            return Ok(Found::newest(call_sids));
        }
    }
    newest(filter, words, None, ALL).load(connection).await.map(Found::of)
}

/// When the newest of this share of all calls began, as of the table's last ANALYZE; none before the first.
async fn newest_share(connection: &mut Connection, share: f64) -> QueryResult<Option<DateTime<Utc>>> {
    let bounds = "(histogram_bounds::text::timestamptz[])";
    let began = sql::<Nullable<Timestamptz>>(&format!("{bounds}[1 + floor((1 - "))
        .bind::<Double, _>(share)
        .sql(&format!(") * (array_length({bounds}, 1) - 1))]"));
    let statistics = pg_stats::table
        .filter(pg_stats::schemaname.eq(current_schema()))
        .filter(pg_stats::tablename.eq("call_search").and(pg_stats::attname.eq("started_at")));
    let began = statistics.select(began).first::<Option<DateTime<Utc>>>(connection).await;
    Ok(began.optional()?.flatten())
}

diesel::define_sql_function! {
    fn current_schema() -> Text;
}

diesel::table! {
    pg_stats (schemaname, tablename, attname) {
        schemaname -> Text,
        tablename -> Text,
        attname -> Text,
    }
}

type Sids<'a> = call_search::BoxedQuery<'a, Pg, Text>;

fn newest<'a>(filter: &'a CallFilter, words: &'a str, since: Option<DateTime<Utc>>, most: usize) -> Sids<'a> {
    let newest_first = (call_search::started_at.desc(), call_search::call_sid.desc());
    said(filter, words, since).order(newest_first).limit(most as i64)
}

fn said<'a>(filter: &'a CallFilter, words: &'a str, since: Option<DateTime<Utc>>) -> Sids<'a> {
    let has_words = sql::<Bool>("call_search.document @@ websearch_to_tsquery('simple', ")
        .bind::<Text, _>(words::question(&text(words)))
        .sql(")");
    let mut query = call_search::table.into_boxed().filter(has_words).select(call_search::call_sid);
    if let Some(since) = filter.since.max(since) {
        query = query.filter(call_search::started_at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(call_search::started_at.lt(until));
    }
    if filter.is_of_the_call() {
        query = query.filter(call_search::call_sid.eq_any(matching(filter, None).select(calls::call_sid)));
    }
    query
}
