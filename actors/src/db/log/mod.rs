//! The call log as the API answers it.

mod handle;
mod list;
mod places;
mod query;
pub(super) mod search;
mod total;
mod words;

use std::sync::Arc;

use diesel::QueryResult;
use diesel_async::{AnsiTransactionManager, TransactionManager as _};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::tables::calls::{self, CallDetail, CallSummary};
use crate::db::tables::conferences::{self, LoggedConference};
use crate::db::tables::events::{self, LoggedEvent, LoggedTool};
use crate::db::tables::inbox;
use crate::db::tables::recordings::{self, LoggedRecording};
use crate::db::tables::turns::{self, LoggedTurn};
use crate::db::write::record::Record;
use crate::db::write::writer;
use crate::wire::twilio::sid::CallSid;
pub(super) use places::Places;
pub use query::{BadCursor, BadSort, CallFilter, CallQuery, Cursor, Sort, SortKey, Start};
use search::Found;

/// A page has so many calls at most.
const LONGEST_PAGE: u32 = 200;
/// An export reads so many calls at a time.
const EXPORTED_AT_ONCE: u32 = 1_000;
/// A call shows so many turns, and events, at most: its first.
const LONGEST_LOG: i64 = 10_000;

/// A page of the call log.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallLogPage {
    pub calls: Vec<CallSummary>,
    /// From 1.
    pub page: u32,
    pub page_size: u32,
    pub total: i64,
    /// Otherwise it is an estimate; for a search that found more than it answers, how many it answers.
    pub total_is_exact: bool,
    /// Null on the last page.
    pub next_cursor: Option<String>,
    /// Of a search: false if more than 1,000 calls match: then only the newest 1,000 are searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub search_is_complete: Option<bool>,
}

/// One call, turn by turn.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallLog {
    pub call: CallDetail,
    pub turns: Vec<LoggedTurn>,
    pub events: Vec<LoggedEvent>,
    pub tools: Vec<LoggedTool>,
    pub conference: Option<LoggedConference>,
    pub recordings: Vec<LoggedRecording>,
    pub usage: Value,
}

/// The page that is asked for; of its size at most 200 calls.
pub(super) async fn page(
    connection: &mut Connection,
    mut query: CallQuery,
    places: &Places,
) -> QueryResult<CallLogPage> {
    query.page_size = query.page_size.clamp(1, LONGEST_PAGE);
    let found = search(connection, &query.filter, search::wanted(&query)).await?;
    let list::Page { mut calls, next } = list::page(connection, &query, found.as_ref(), places).await?;
    add_inbox(connection, &mut calls).await?;
    let total = match &found {
        Some(found) => found.total(),
        None => total::of(connection, || list::matching(&query.filter, None)).await?,
    };
    Ok(CallLogPage {
        calls,
        page: query.start.page(),
        page_size: query.page_size,
        total: total.calls,
        total_is_exact: total.is_exact,
        next_cursor: next.map(|cursor| cursor.to_string()),
        search_is_complete: found.map(|found| found.is_complete),
    })
}

/// Says of each call what its caller left in the inbox.
async fn add_inbox(connection: &mut Connection, calls: &mut [CallSummary]) -> QueryResult<()> {
    if calls.is_empty() {
        return Ok(());
    }
    let sids: Vec<_> = calls.iter().map(|call| call.call_sid.clone()).collect();
    for (call_sid, kind) in inbox::kinds_of(connection, &sids).await? {
        let of_call = calls.iter_mut().filter(|call| call.call_sid == call_sid);
        of_call.for_each(|call| call.inbox.push(kind.clone()));
    }
    Ok(())
}

/// An export, before a batch of calls.
pub(super) struct Export {
    query: CallQuery,
    /// Before the first batch and without a search: none.
    found: Option<Found>,
}

impl Export {
    /// Of all calls that pass the filter.
    pub(super) fn of(filter: CallFilter, sort: Sort) -> Self {
        let start = Start::Page(1, sort);
        Self { query: CallQuery { filter, start, page_size: EXPORTED_AT_ONCE }, found: None }
    }

    /// The next calls, and the rest of the export if there is one.
    pub(super) async fn next_batch(
        mut self,
        connection: &mut Connection,
    ) -> QueryResult<(Vec<CallSummary>, Option<Self>)> {
        if self.found.is_none() {
            self.found = search(connection, &self.query.filter, search::ALL).await?;
        }
        let page = list::page(connection, &self.query, self.found.as_ref(), &Places::default()).await?;
        let rest = page.next.map(|cursor| {
            self.query.start = Start::After(cursor);
            self
        });
        Ok((page.calls, rest))
    }
}

async fn search(
    connection: &mut Connection,
    filter: &CallFilter,
    wanted: usize,
) -> QueryResult<Option<Found>> {
    match &filter.words {
        Some(words) => search::find(connection, filter, words, wanted).await.map(Some),
        None => Ok(None),
    }
}

/// The same as if the records that wait were written: they are, in a transaction that is then taken back.
pub(super) async fn call_ahead(
    connection: &mut Connection,
    call_sid: &CallSid,
    waiting: &[Arc<Record>],
) -> Result<Option<CallLog>, DbError> {
    let statements = writer::rows_and_count_of(waiting)?;
    // Dropped halfway, the connection is not used again.
    AnsiTransactionManager::begin_transaction(connection).await?;
    let log = match connection.execute_within(&statements).await {
        Ok(()) => call(connection, call_sid).await.map_err(DbError::from),
        Err(failure) => Err(failure.into()),
    };
    AnsiTransactionManager::rollback_transaction(connection).await?;
    log
}

pub(super) async fn call(connection: &mut Connection, call_sid: &CallSid) -> QueryResult<Option<CallLog>> {
    let Some(mut row) = calls::find(connection, call_sid).await? else { return Ok(None) };
    let turns = turns::of_call(connection, call_sid, LONGEST_LOG).await?;
    let events = events::of_call(connection, call_sid, LONGEST_LOG).await?;
    let usage = row.usage.take();
    let mut call = row.detail();
    add_inbox(connection, std::slice::from_mut(&mut call.summary)).await?;
    Ok(Some(CallLog {
        call,
        turns,
        tools: LoggedTool::among(&events),
        events,
        conference: conferences::of_call(connection, call_sid).await?,
        recordings: recordings::of_call(connection, call_sid, LONGEST_LOG).await?,
        usage,
    }))
}
