//! The questions of the log's readers.

use std::sync::Arc;
use std::time::Duration;

use call_control::twilio::sid::CallSid;
use futures_util::stream::{self, Stream};
use tokio::time::Instant;

use super::{CallFilter, CallLog, CallLogPage, CallQuery, Sort, Start};
use crate::db::handles::LogReader;
use crate::db::{CallSummary, DbError};

/// A reader of the log gives up after this.
const READ_DEADLINE: Duration = Duration::from_secs(5);

impl LogReader {
    /// A page of the whole call log, newest first, within 5 s. Pages count from 1; a page has 1 to 200 calls.
    pub async fn call_logs(&self, page: u32, page_size: u32) -> Result<CallLogPage, DbError> {
        let start = Start::Page(page, Sort::NEWEST_FIRST);
        self.find_calls(CallQuery { filter: CallFilter::default(), start, page_size }).await
    }

    /// A page of the calls that a query asks for, within 5 s.
    pub async fn find_calls(&self, query: CallQuery) -> Result<CallLogPage, DbError> {
        self.0
            .shared
            .ask("call_logs", READ_DEADLINE, async |connection| {
                Ok(super::page(connection, query, &self.0.shared.places).await?)
            })
            .await
    }

    /// All calls that pass the filter, some at a time, each batch within 5 s; of a search the newest 1,000.
    /// Nothing is read before it is asked for, and no connection is held meanwhile. The first error is the
    /// last item.
    pub fn export_calls(
        &self,
        filter: CallFilter,
        sort: Sort,
    ) -> impl Stream<Item = Result<Vec<CallSummary>, DbError>> + use<> {
        let shared = Arc::clone(&self.0.shared);
        stream::try_unfold(Some(super::Export::of(filter, sort)), move |export| {
            let shared = Arc::clone(&shared);
            async move {
                let Some(export) = export else { return Ok(None) };
                let batch = shared.ask("export_calls", READ_DEADLINE, async |connection| {
                    Ok(export.next_batch(connection).await?)
                });
                batch.await.map(Some)
            }
        })
    }

    /// One call with all that is known of it, within 5 s; what waits to be written counts. None if it is not
    /// known.
    pub async fn call_log(&self, call_sid: CallSid) -> Result<Option<CallLog>, DbError> {
        let until = Instant::now() + READ_DEADLINE;
        // Before the rows: what is written meanwhile is then written twice, and not missing.
        let waiting = self.0.shared.waiting_of(call_sid, until, READ_DEADLINE).await?;
        let rest = || until.saturating_duration_since(Instant::now());
        if !waiting.is_empty() {
            let ahead = self.0.shared.ask("call_log", rest(), async |connection| {
                super::call_ahead(connection, &call_sid, &waiting).await
            });
            match ahead.await {
                Err(DbError::Refused(cause)) => {
                    tracing::warn!(call.sid = %call_sid, cause, "a call is shown without what waits to be written");
                }
                log => return log,
            }
        }
        self.0
            .shared
            .ask("call_log", rest(), async |connection| Ok(super::call(connection, &call_sid).await?))
            .await
    }
}
