//! What can go wrong between a caller of the [`Db`](super::Db) and PostgreSQL.

use std::error::Error;
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as QueryError};

/// Why a question to the database has no answer. Texts name the cause, never a password or a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// The database cannot be reached, or went away meanwhile. Trying again later makes sense.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Too many others ask it. Trying again later makes sense.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// The database answered, and refused. Trying again does not help.
    #[error("the database refused the query: {0}")]
    Refused(String),
}

impl DbError {
    /// No answer in time.
    pub(super) fn unanswered(within: Duration) -> Self {
        Self::Unavailable(format!("no answer within {within:?}"))
    }

    /// The server takes no writes: SQLSTATE 25006.
    pub(super) fn says_read_only(&self) -> bool {
        let (Self::Unavailable(said) | Self::Busy(said) | Self::Refused(said)) = self;
        said.starts_with("25006 ")
    }
}

impl From<QueryError> for DbError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection,
                said,
            ) => Self::Unavailable(said.message().to_owned()),
            QueryError::BrokenTransactionManager => Self::Unavailable("the transaction was lost".to_owned()),
            error => Self::Refused(chain(&error)),
        }
    }
}

/// The error and everything that caused it, in one line: tokio-postgres alone says only "error connecting to server".
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::connection::Failure;

    fn failure(code: &str, said: &str) -> Failure {
        Failure { code: Some(code.to_owned()), said: format!("{code} {said}") }
    }

    #[test]
    fn a_read_only_server_is_told_from_all_others_by_its_code() {
        let read_only = failure("25006", "cannot execute INSERT in a read-only transaction");
        assert!(DbError::from(read_only.clone()).says_read_only());
        assert!(DbError::from(QueryError::from(read_only)).says_read_only());
        let aborted = failure("25P02", "current transaction is aborted after 25006 ");
        assert!(!DbError::from(QueryError::from(aborted)).says_read_only());
        assert!(!DbError::unanswered(Duration::from_secs(2)).says_read_only());
    }
}
