//! The call log as the API answers it.

use std::sync::Arc;

use diesel::QueryResult;
use diesel_async::{AnsiTransactionManager, TransactionManager as _};
use serde::Serialize;
use serde_json::Value;

use super::calls::{self, CallDetail, CallSummary};
use super::conferences::{self, LoggedConference};
use super::connection::Connection;
use super::error::DbError;
use super::events::{self, LoggedEvent};
use super::record::Record;
use super::recordings::{self, LoggedRecording};
use super::turns::{self, LoggedTurn};
use super::writer;
use crate::wire::twilio::sid::CallSid;

/// A page has so many calls at most.
const LONGEST_PAGE: u32 = 200;
/// A call shows so many turns, and events, at most: its first.
const LONGEST_LOG: i64 = 10_000;

/// `GET /api/call-logs`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallLogPage {
    pub calls: Vec<CallSummary>,
    /// From 1.
    pub page: u32,
    pub page_size: u32,
    pub total: i64,
    pub total_is_exact: bool,
    pub next_cursor: Option<String>,
}

/// `GET /api/call-logs/{callSid}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallLog {
    pub call: CallDetail,
    pub turns: Vec<LoggedTurn>,
    pub events: Vec<LoggedEvent>,
    pub tools: Vec<Value>,
    pub conference: Option<LoggedConference>,
    pub recordings: Vec<LoggedRecording>,
    pub usage: Value,
}

pub(super) async fn page(connection: &mut Connection, page: u32, page_size: u32) -> QueryResult<CallLogPage> {
    let page = page.max(1);
    let page_size = page_size.clamp(1, LONGEST_PAGE);
    let offset = i64::from(page - 1) * i64::from(page_size);
    let calls = calls::newest(connection, offset, i64::from(page_size)).await?;
    let total = calls::count(connection).await?;
    Ok(CallLogPage { calls, page, page_size, total, total_is_exact: true, next_cursor: None })
}

/// The same as if the records that wait were written: they are, in a transaction that is then taken back.
pub(super) async fn call_ahead(
    connection: &mut Connection,
    call_sid: &CallSid,
    waiting: &[Arc<Record>],
) -> Result<Option<CallLog>, DbError> {
    let statements = writer::statements_of_all(waiting)?;
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
    Ok(Some(CallLog {
        call: row.detail(),
        turns,
        events,
        tools: Vec::new(),
        conference: conferences::of_call(connection, call_sid).await?,
        recordings: recordings::of_call(connection, call_sid, LONGEST_LOG).await?,
        usage,
    }))
}
