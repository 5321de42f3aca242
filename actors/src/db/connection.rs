//! One connection to PostgreSQL, for diesel, that works behind a transaction pooler.
//!
//! Each query is one flight with an unnamed statement (Parse, Bind, Describe, Execute, Sync), so nothing of it stays
//! on a server connection that the next query may not get. diesel-async's own connection names its statements and
//! fails there; this one is also faster, having one round trip a query.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

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
use futures_util::future::{BoxFuture, maybe_done};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;

use super::error::{DbError, chain};
use super::row::Row;
use super::statement::Statement;
use super::url::Target;

/// A connection. It belongs to the runtime it was opened on: its driver task lives there.
pub struct Connection {
    client: tokio_postgres::Client,
    driver: JoinHandle<()>,
    /// Why the driver ended, once it has.
    lost: Arc<OnceLock<String>>,
    /// A query was sent whose answer nobody waited for: the next one would wait behind it.
    unanswered: bool,
    last_answer: Instant,
    transactions: AnsiTransactionManager,
    instrumentation: DynInstrumentation,
}

impl Connection {
    /// Connects and sets what every query relies on. Fails with the whole chain of causes.
    pub(super) async fn open(target: &Target) -> Result<Self, String> {
        let (client, connection) =
            target.config.connect(target.tls.clone()).await.map_err(|error| chain(&error))?;
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
            last_answer: Instant::now(),
            transactions: AnsiTransactionManager::default(),
            instrumentation: DynInstrumentation::default_instrumentation(),
        };
        // Poolers follow exactly these two from client to client.
        let settings = "SET TIME ZONE 'UTC'; SET CLIENT_ENCODING TO 'UTF8'";
        connection.client.batch_execute(settings).await.map_err(|error| chain(&error))?;
        Ok(connection)
    }

    /// Closed, inside a lost transaction, or owing an answer: not to be used again.
    pub(super) fn is_spent(&mut self) -> bool {
        self.unanswered
            || self.client.is_closed()
            || AnsiTransactionManager::is_broken_transaction_manager(self)
    }

    /// For how long the server has not been heard.
    pub(super) fn silent_for(&self) -> Duration {
        self.last_answer.elapsed()
    }

    /// One round trip.
    pub(super) async fn ping(&mut self) -> QueryResult<()> {
        self.batch_execute("SELECT 1").await
    }

    /// Executes the statements in order as one transaction in one flight: all of them, or the first error.
    pub(super) async fn execute_together(&mut self, statements: &[Statement]) -> Result<(), Failure> {
        self.unanswered = true;
        let error = fly(&self.client, statements).await;
        self.answered();
        error.map_or(Ok(()), |error| Err(Failure::of(&error, &self.lost)))
    }

    /// Executes the statements in order in the transaction that is open.
    pub(super) async fn execute_within(&mut self, statements: &[Statement]) -> Result<(), Failure> {
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

/// BEGIN, the statements and COMMIT, all sent before the first answer is awaited. Returns the first error.
async fn fly(client: &tokio_postgres::Client, statements: &[Statement]) -> Option<tokio_postgres::Error> {
    let mut flight: Vec<BoxFuture<'_, Result<(), tokio_postgres::Error>>> = Vec::new();
    flight.push(client.batch_execute("BEGIN").boxed());
    for statement in statements {
        let execute =
            async move { client.execute_typed(&statement.sql, &statement.parameters()).await.map(drop) };
        flight.push(execute.boxed());
    }
    flight.push(client.batch_execute("COMMIT").boxed());

    let mut flight: Vec<_> = flight.into_iter().map(maybe_done).collect();
    poll_fn(|context| {
        // A statement is sent when it is first polled: front to back, they leave in order.
        let pending =
            flight.iter_mut().filter_map(|sent| sent.poll_unpin(context).is_pending().then_some(()));
        if pending.count() == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    flight.iter_mut().find_map(|answer| Pin::new(answer).take_output().and_then(Result::err))
}

/// Why statements were not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// SQLSTATE, if it was the server that said so.
    pub(super) code: Option<String>,
    /// One line, without any value of the statement.
    pub(super) said: String,
}

impl Failure {
    fn of(error: &tokio_postgres::Error, lost: &OnceLock<String>) -> Self {
        let Some(server) = error.as_db_error() else {
            let reason = lost.get().filter(|_| error.is_closed());
            return Self { code: None, said: reason.cloned().unwrap_or_else(|| chain(error)) };
        };
        let code = server.code().code();
        // Messages of these classes quote the value; the constraint's name says as much.
        let said = match &code[..2] {
            "22" | "23" => format!("{code} {}", server.constraint().unwrap_or("bad value")),
            _ => format!("{code} {}", server.message()),
        };
        Self { code: Some(code.to_owned()), said }
    }

    /// The statement itself is at fault: bad data, a violated constraint, a value too large. Trying again is useless.
    pub(super) fn is_the_statements_own(&self) -> bool {
        matches!(self.class(), Some("22" | "23" | "54"))
    }

    /// The server may well refuse everything: it is read-only, or its schema or our rights are not what they should be.
    pub(super) fn is_the_servers_own(&self) -> bool {
        matches!(self.class(), Some("25" | "28" | "3D" | "42" | "55" | "58"))
    }

    /// The server is gone, going, or has no connection to spare.
    fn is_a_lost_connection(&self) -> bool {
        matches!(self.class(), None | Some("08" | "53" | "57"))
    }

    fn class(&self) -> Option<&str> {
        self.code.as_deref().map(|code| &code[..2])
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
            self.unanswered = true;
            let rows = self.client.query_typed_raw(&sql, binds).await;
            self.answered();
            let lost = Arc::clone(&self.lost);
            let failed = move |error| Error::from(Failure::of(&error, &lost));
            Ok(rows.map_err(&failed)?.map_err(failed).map_ok(Row::from).boxed())
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
            self.unanswered = true;
            let rows = self.client.execute_typed(&statement.sql, &statement.parameters()).await;
            self.answered();
            let rows = rows.map_err(|error| Failure::of(&error, &self.lost))?;
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
