//! Opens connections for bb8, on the database's own runtime, and says which of them may be used again.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connection::Connection;
use super::error::DbError;
use super::health::Seen;
use super::url::Target;

/// A connection that was silent for longer is asked for a sign of life before it is handed out.
const SILENT_FOR: Duration = Duration::from_secs(1);
/// How long that may take.
const PING_DEADLINE: Duration = Duration::from_secs(2);

pub(super) struct Manager {
    target: Target,
    runtime: Handle,
    deadline: Duration,
    seen: Arc<Seen>,
}

impl Manager {
    pub(super) fn new(target: Target, runtime: Handle, deadline: Duration, seen: Arc<Seen>) -> Self {
        Self { target, runtime, deadline, seen }
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = DbError;

    async fn connect(&self) -> Result<Connection, DbError> {
        let (target, deadline) = (self.target.clone(), self.deadline);
        self.seen.tries_to_connect();
        let attempt = self.runtime.spawn(async move { timeout(deadline, Connection::open(&target)).await });
        let connection = match attempt.await {
            Ok(Ok(Ok(connection))) => Ok(connection),
            Ok(Ok(Err(cause))) => Err(cause),
            Ok(Err(_)) => Err(format!("no answer to connecting within {deadline:?}")),
            Err(_) => Err("connecting was cut short".to_owned()),
        };
        self.seen.tried_to_connect(connection.as_ref().err().map(String::as_str));
        connection.map_err(DbError::Unavailable)
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), DbError> {
        if connection.is_spent() || self.seen.was_lost_since(connection.last_answer()) {
            return Err(DbError::Unavailable("the connection was lost".to_owned()));
        }
        if connection.last_answer().elapsed() > SILENT_FOR {
            timeout(PING_DEADLINE, connection.ping())
                .await
                .map_err(|_| DbError::unanswered(PING_DEADLINE))??;
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_spent()
    }
}
