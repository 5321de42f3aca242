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
