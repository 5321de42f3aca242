//! Who may ask what: a handle for each asker. Each is a cheap clone of [`Db`], which lives as long as one of
//! them does; its methods are where the work is.

use super::Db;

/// What calls write: never waited for, but for the decision what comes next. It is their
/// [`Ledger`](crate::call::Ledger).
#[derive(Clone)]
pub struct Records(pub(in crate::db) Db);

/// What the webhooks ask and tell: what was said and decided in a call that another process began, and what
/// is durable before Twilio is answered.
#[derive(Clone)]
pub struct Doors(pub(in crate::db) Db);

/// The reader of the log.
#[derive(Clone)]
pub struct LogReader(pub(in crate::db) Db);

/// How the database is.
#[derive(Clone)]
pub struct Status(pub(in crate::db) Db);

/// What the jobs, operators and the process itself do: names and heartbeats, calls that were left behind, the
/// rows of jobs, what is deleted after its time.
#[derive(Clone)]
pub struct Operations(pub(in crate::db) Db);

impl Db {
    /// The handle of the calls.
    pub fn records(&self) -> Records {
        Records(self.clone())
    }

    /// The handle of the webhooks.
    pub fn doors(&self) -> Doors {
        Doors(self.clone())
    }

    /// The handle of the log's readers.
    pub fn log(&self) -> LogReader {
        LogReader(self.clone())
    }

    /// The handle of health and metrics.
    pub fn status(&self) -> Status {
        Status(self.clone())
    }

    /// The handle of jobs and operators.
    pub fn operations(&self) -> Operations {
        Operations(self.clone())
    }
}
