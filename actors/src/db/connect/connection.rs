//! One connection to PostgreSQL, for diesel, that works behind a transaction pooler.
//!
//! Each query is one flight with an unnamed statement (Parse, Bind, Describe, Execute, Sync), so nothing of
//! it stays on a server connection that the next query may not get. diesel-async's own connection names its
//! statements and fails there; this one is also faster, having one round trip a query.
//!
//! A time limit is told to the server in the same flight, with `SET LOCAL` in a transaction around the
//! statement: a setting of the session would stay behind on the server connection, for whoever gets it next.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use diesel::ConnectionResult;
use diesel::connection::{
    CacheSize, DynInstrumentation, Instrumentation, InstrumentationEvent, StrQueryHelper,
};
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::{ConnectionError, DatabaseErrorInformation, DatabaseErrorKind, Error, QueryResult};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncConnectionCore, SimpleAsyncConnection, TransactionManager,
};
use futures_util::future::{BoxFuture, join3, maybe_done};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::{Severity, SqlState};

use super::error::{DbError, chain};
use super::reach::by_the_best_address;
use super::row::Row;
use super::statement::Statement;
use super::url::Target;

/// An answer nobody waits for any more is waited for so long, so that the connection can be used again.
const SETTLE_DEADLINE: Duration = Duration::from_millis(500);

/// A connection. It belongs to the runtime it was opened on: its driver task lives there.
pub struct Connection {
    client: tokio_postgres::Client,
    driver: JoinHandle<()>,
    /// Why the driver ended, once it has.
    lost: Arc<OnceLock<String>>,
    /// A query was sent whose answer nobody waited for: the next one would wait behind it.
    unanswered: bool,
    /// There is one connection too many.
    retired: bool,
    /// Something was written since this was last asked.
    has_written: bool,
    last_answer: Instant,
    /// What the server gives up after, if anything.
    limit: Option<Duration>,
    /// Rows read or written since they were last asked for; shared with the answers that are still being
    /// read.
    rows: Arc<AtomicU64>,
    transactions: AnsiTransactionManager,
    instrumentation: DynInstrumentation,
}

impl Connection {
    /// Connects and sets what every query relies on. Fails with the whole chain of causes.
    pub(in crate::db) async fn open(target: &Target) -> Result<Self, String> {
        let config = by_the_best_address(&target.config).await;
        let (client, connection) =
            config.connect(target.tls.clone()).await.map_err(|error| target.explain(&error))?;
        let lost = Arc::new(OnceLock::new());
        let driver = tokio::spawn({
            let lost = Arc::clone(&lost);
            async move {
                if let Err(error) = connection.await {
                    let _ = lost.set(chain(&error));
                }
            }
        });
        let connection = Self {
            client,
            driver,
            lost,
            unanswered: false,
            retired: false,
            has_written: false,
            last_answer: Instant::now(),
            limit: None,
            rows: Arc::default(),
            transactions: AnsiTransactionManager::default(),
            instrumentation: DynInstrumentation::default_instrumentation(),
        };
        // Poolers follow exactly these two from client to client.
        let settings = "SET TIME ZONE 'UTC'; SET CLIENT_ENCODING TO 'UTF8'";
        connection.client.batch_execute(settings).await.map_err(|error| chain(&error))?;
        Ok(connection)
    }

    /// Closed, retired, inside a lost transaction, or owing an answer: not to be used again.
    pub(in crate::db) fn is_spent(&mut self) -> bool {
        self.unanswered
            || self.retired
            || self.client.is_closed()
            || AnsiTransactionManager::is_broken_transaction_manager(self)
    }

    /// A query was sent whose answer nobody waited for.
    pub(in crate::db) fn owes_an_answer(&self) -> bool {
        self.unanswered && !self.client.is_closed()
    }

    /// Not to be used again.
    pub(in crate::db) fn retire(&mut self) {
        self.retired = true;
    }

    /// When the server was last heard.
    pub(in crate::db) fn last_answer(&self) -> Instant {
        self.last_answer
    }

    /// From now on the server gives up each statement, and each transaction left idle, after this long; none:
    /// never. Does not reach into a transaction that is under way.
    pub fn limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// How many rows were read or written since this was last asked.
    pub(in crate::db) fn take_rows(&self) -> u64 {
        self.rows.swap(0, Ordering::Relaxed)
    }

    /// Whether statements were executed and committed since this was last asked.
    pub(in crate::db) fn take_written(&mut self) -> bool {
        std::mem::take(&mut self.has_written)
    }

    /// Waits for what nobody waits for any more, for at most 500 ms. If it came, the connection is as it was
    /// before the question; otherwise it is not to be used again, and the server ends the query by its limit.
    ///
    /// The server is not asked to cancel: behind a pooler that may hit a stranger's query, and PgBouncer 1.18
    /// crashes over it.
    pub(in crate::db) async fn settle(&mut self) {
        if let Ok(Ok(())) = timeout(SETTLE_DEADLINE, self.client.batch_execute("")).await {
            self.answered();
        }
    }

    /// One round trip.
    pub(in crate::db) async fn ping(&mut self) -> QueryResult<()> {
        self.batch_execute("SELECT 1").await
    }

    /// Executes the statements in order as one transaction in one flight: all of them, or the first error.
    pub(in crate::db) async fn execute_together(&mut self, statements: &[Statement]) -> Result<(), Failure> {
        self.unanswered = true;
        let flown = fly(&self.client, &self.begin(), statements).await;
        self.answered();
        self.rows.fetch_add(flown.map_err(|error| Failure::of(&error, &self.lost))?, Ordering::Relaxed);
        self.has_written = true;
        Ok(())
    }

    /// What begins a transaction within the limit.
    fn begin(&self) -> String {
        let Some(limit) = self.limit else { return "BEGIN".to_owned() };
        let limit = limit.as_millis();
        format!(
            "BEGIN; SET LOCAL statement_timeout = {limit}; SET LOCAL idle_in_transaction_session_timeout = {limit}"
        )
    }

    /// What goes before a single statement: nothing without a limit, nor within a transaction of the
    /// caller's.
    fn begin_of_one(&mut self) -> Option<String> {
        let idle = matches!(
            AnsiTransactionManager::transaction_manager_status_mut(self).transaction_depth(),
            Ok(None)
        );
        (idle && self.limit.is_some()).then(|| self.begin())
    }

    /// Executes the statements in order in the transaction that is open.
    pub(in crate::db) async fn execute_within(&mut self, statements: &[Statement]) -> Result<(), Failure> {
        for statement in statements {
            self.unanswered = true;
            let result = self.client.execute_typed(&statement.sql, &statement.parameters()).await;
            self.answered();
            result.map_err(|error| Failure::of(&error, &self.lost))?;
        }
        Ok(())
    }

    fn answered(&mut self) {
        self.unanswered = false;
        self.last_answer = Instant::now();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The beginning, the statements and COMMIT, all sent before the first answer is awaited. Returns the number
/// of rows, or the first error.
async fn fly(
    client: &tokio_postgres::Client,
    begin: &str,
    statements: &[Statement],
) -> Result<u64, tokio_postgres::Error> {
    let mut flight: Vec<BoxFuture<'_, Result<u64, tokio_postgres::Error>>> = Vec::new();
    flight.push(client.batch_execute(begin).map(|begun| begun.map(|()| 0)).boxed());
    for statement in statements {
        let execute = async move { client.execute_typed(&statement.sql, &statement.parameters()).await };
        flight.push(execute.boxed());
    }
    flight.push(client.batch_execute("COMMIT").map(|committed| committed.map(|()| 0)).boxed());

    let mut flight: Vec<_> = flight.into_iter().map(maybe_done).collect();
    poll_fn(|context| {
        // A statement is sent when it is first polled: front to back, they leave in order.
        for sent in &mut flight {
            let _ = sent.poll_unpin(context);
        }
        Poll::Ready(())
    })
    .await;
    let mut rows = Ok(0);
    for sent in &mut flight {
        (&mut *sent).await;
        let answer = Pin::new(sent).take_output().unwrap_or(Ok(0));
        rows = rows.and_then(|rows| Ok(rows + answer?));
    }
    rows
}

/// One statement between the beginning of a transaction and its end, in one flight.
async fn fly_one<T>(
    client: &tokio_postgres::Client,
    begin: &str,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    let (begun, answer, committed) =
        join3(client.batch_execute(begin), statement, client.batch_execute("COMMIT")).await;
    begun?;
    let answer = answer?;
    committed?;
    Ok(answer)
}

/// Why statements were not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::db) struct Failure {
    /// SQLSTATE, if it was the server that said so.
    pub(in crate::db) code: Option<String>,
    /// The server has ended the connection over it.
    pub(in crate::db) is_fatal: bool,
    /// One line, without any value of the statement.
    pub(in crate::db) said: String,
}

impl Failure {
    fn of(error: &tokio_postgres::Error, lost: &OnceLock<String>) -> Self {
        let Some(server) = error.as_db_error() else {
            let reason = lost.get().filter(|_| error.is_closed());
            let said = reason.cloned().unwrap_or_else(|| chain(error));
            return Self { code: None, is_fatal: true, said };
        };
        let code = server.code().code();
        // Messages of these classes quote the value; the constraint's name says as much.
        let said = match &code[..2] {
            "22" | "23" => format!("{code} {}", server.constraint().unwrap_or("bad value")),
            _ => format!("{code} {}", server.message()),
        };
        // Poolers may leave out the field that is never translated.
        let is_fatal = matches!(server.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
            || matches!(server.severity(), "FATAL" | "PANIC");
        Self { code: Some(code.to_owned()), is_fatal, said }
    }

    /// The server, or a pooler before it, is gone, going, or has no connection to spare.
    fn is_a_lost_connection(&self) -> bool {
        let class = self.code.as_deref().map(|code| &code[..2]);
        self.is_fatal || matches!(class, None | Some("08" | "53" | "57"))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let state = failure.code.as_deref().map(SqlState::from_code);
        let kind = match state {
            _ if failure.is_a_lost_connection() => DatabaseErrorKind::ClosedConnection,
            Some(SqlState::UNIQUE_VIOLATION) => DatabaseErrorKind::UniqueViolation,
            Some(SqlState::FOREIGN_KEY_VIOLATION) => DatabaseErrorKind::ForeignKeyViolation,
            Some(SqlState::NOT_NULL_VIOLATION) => DatabaseErrorKind::NotNullViolation,
            Some(SqlState::CHECK_VIOLATION) => DatabaseErrorKind::CheckViolation,
            Some(SqlState::T_R_SERIALIZATION_FAILURE) => DatabaseErrorKind::SerializationFailure,
            Some(SqlState::READ_ONLY_SQL_TRANSACTION) => DatabaseErrorKind::ReadOnlyTransaction,
            _ => DatabaseErrorKind::Unknown,
        };
        let said: Box<dyn DatabaseErrorInformation + Send + Sync> = Box::new(failure.said);
        Self::DatabaseError(kind, said)
    }
}

impl From<Failure> for DbError {
    fn from(failure: Failure) -> Self {
        if failure.is_a_lost_connection() {
            Self::Unavailable(failure.said)
        } else {
            Self::Refused(failure.said)
        }
    }
}

impl SimpleAsyncConnection for Connection {
    async fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        let limited = (sql == "BEGIN").then(|| self.begin());
        let sql = limited.as_deref().unwrap_or(sql);
        self.instrumentation
            .on_connection_event(InstrumentationEvent::start_query(&StrQueryHelper::new(sql)));
        self.unanswered = true;
        let result = self.client.batch_execute(sql).await;
        self.answered();
        let result = result.map_err(|error| Failure::of(&error, &self.lost).into());
        self.instrumentation.on_connection_event(InstrumentationEvent::finish_query(
            &StrQueryHelper::new(sql),
            result.as_ref().err(),
        ));
        result
    }
}

impl AsyncConnectionCore for Connection {
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>;
    type Stream<'conn, 'query> = BoxStream<'static, QueryResult<Row>>;
    type Row<'conn, 'query> = Row;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        let statement = Statement::of(&source.as_query());
        async move {
            let Statement { sql, binds } = statement?;
            let begin = self.begin_of_one();
            self.unanswered = true;
            let rows = self.client.query_typed_raw(&sql, binds);
            let lost = Arc::clone(&self.lost);
            let failed = move |error| Error::from(Failure::of(&error, &lost));
            let counted = Arc::clone(&self.rows);
            let mut read = Row::of_an_answer();
            let row = move |row| {
                counted.fetch_add(1, Ordering::Relaxed);
                read(row)
            };
            // In a transaction, what was read counts only once that has ended.
            let rows = match &begin {
                Some(begin) => {
                    fly_one(&self.client, begin, async { rows.await?.try_collect::<Vec<_>>().await })
                        .await
                        .map(|rows| stream::iter(rows).map(Ok).left_stream())
                }
                None => rows.await.map(StreamExt::right_stream),
            };
            self.answered();
            Ok(rows.map_err(&failed)?.map_err(failed).map_ok(row).boxed())
        }
        .boxed()
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        let statement = Statement::of(&source);
        async move {
            let statement = statement?;
            let begin = self.begin_of_one();
            let parameters = statement.parameters();
            self.unanswered = true;
            let execute = self.client.execute_typed(&statement.sql, &parameters);
            let rows = match &begin {
                Some(begin) => fly_one(&self.client, begin, execute).await,
                None => execute.await,
            };
            self.answered();
            let rows = rows.map_err(|error| Failure::of(&error, &self.lost))?;
            self.rows.fetch_add(rows, Ordering::Relaxed);
            usize::try_from(rows).map_err(|error| Error::DeserializationError(Box::new(error)))
        }
        .boxed()
    }
}

impl AsyncConnection for Connection {
    type TransactionManager = AnsiTransactionManager;

    async fn establish(url: &str) -> ConnectionResult<Self> {
        let target =
            Target::parse(url).map_err(|error| ConnectionError::InvalidConnectionUrl(error.to_string()))?;
        Self::open(&target).await.map_err(ConnectionError::BadConnection)
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        &mut self.transactions
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        &mut *self.instrumentation
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.instrumentation = instrumentation.into();
    }

    /// Nothing is prepared, so nothing is cached.
    fn set_prepared_statement_cache_size(&mut self, _size: CacheSize) {}
}
