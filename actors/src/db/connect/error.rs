//! What can go wrong between a caller of the [`Db`](crate::db::Db) and PostgreSQL.

use std::error::Error;
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as QueryError};

/// How the text of an answer that did not come in time begins.
const UNANSWERED: &str = "no answer within ";

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

/// Whose fault it is that a record was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) enum Fault {
    /// The record's: bad data, a violated constraint, a value too large. No database takes it.
    Record,
    /// The server's: it is read-only, out of something, at odds with our schema or rights, or broken. It may
    /// take the record later.
    Server,
    /// A rule of the database that this program does not know, such as a trigger's: perhaps the record's.
    Unknown,
}

impl Fault {
    /// By the class of an SQLSTATE, its first two characters.
    fn of_class(class: &str) -> Self {
        match class {
            "22" | "23" | "54" => Self::Record,
            "09" | "0A" | "21" | "27" | "2F" | "38" | "39" | "44" | "P0" => Self::Unknown,
            _ => Self::Server,
        }
    }
}

/// The SQLSTATE that a refusal of the server begins with.
fn sqlstate(said: &str) -> Option<&str> {
    let (code, _) = said.split_once(' ')?;
    let is_code = code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    is_code.then_some(code)
}

impl DbError {
    /// No answer in time.
    pub(in crate::db) fn unanswered(within: Duration) -> Self {
        Self::Unavailable(format!("{UNANSWERED}{within:?}"))
    }

    /// What was asked takes too long: we gave it up, or the server did (SQLSTATE 57014).
    pub(in crate::db) fn says_too_slow(&self) -> bool {
        matches!(self, Self::Unavailable(said) if said.starts_with(UNANSWERED) || said.starts_with("57014 "))
    }

    /// Whose fault it is. A refusal without an SQLSTATE is ours: the value cannot be put into a statement.
    pub(in crate::db) fn fault(&self) -> Fault {
        match self {
            Self::Unavailable(_) | Self::Busy(_) => Fault::Server,
            Self::Refused(said) => sqlstate(said).map_or(Fault::Record, |code| Fault::of_class(&code[..2])),
        }
    }

    /// The server takes no writes: SQLSTATE 25006.
    pub(in crate::db) fn says_read_only(&self) -> bool {
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

/// The error and everything that caused it, in one line: tokio-postgres alone says only "error connecting to
/// server".
pub(in crate::db) fn chain(error: &dyn Error) -> String {
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
    use crate::db::connect::connection::Failure;

    fn failure(code: &str, said: &str) -> Failure {
        Failure { code: Some(code.to_owned()), is_fatal: false, said: format!("{code} {said}") }
    }

    #[test]
    fn only_what_no_database_would_take_is_the_records_own_fault() {
        let fault = |code| DbError::from(failure(code, "said")).fault();
        for code in ["22001", "22P02", "23514", "23505", "54000"] {
            assert_eq!(fault(code), Fault::Record, "{code}");
        }
        for code in [
            "08006", "0B000", "25006", "25P02", "28000", "3D000", "3F000", "40001", "40P01", "42501",
            "42P01", "53100", "53300", "55006", "55P03", "57014", "57P01", "57P03", "58030", "F0000",
            "XX000", "XX002",
        ] {
            assert_eq!(fault(code), Fault::Server, "{code}");
        }
        assert_eq!(fault("P0001"), Fault::Unknown);
        assert_eq!(DbError::unanswered(Duration::from_secs(1)).fault(), Fault::Server);
        assert_eq!(DbError::Busy("all in use".to_owned()).fault(), Fault::Server);
        assert_eq!(DbError::Refused("CallSid is missing".to_owned()).fault(), Fault::Record);
    }

    #[test]
    fn what_ends_the_connection_is_an_outage_whatever_its_code() {
        let full = Failure { is_fatal: true, ..failure("XX000", "no free server connection") };
        assert!(matches!(DbError::from(full.clone()), DbError::Unavailable(_)));
        assert!(matches!(DbError::from(QueryError::from(full)), DbError::Unavailable(_)));
    }

    #[test]
    fn an_answer_too_late_is_told_from_a_lost_connection() {
        assert!(DbError::unanswered(Duration::from_secs(10)).says_too_slow());
        assert!(
            DbError::from(failure("57014", "canceling statement due to statement timeout")).says_too_slow()
        );
        assert!(!DbError::from(failure("57P01", "terminating connection")).says_too_slow());
        assert!(!DbError::Unavailable("connection closed".to_owned()).says_too_slow());
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
