//! Users, sessions, tokens and the audit.
//!
//! Each question is answered or refused within 2 s, or 10 s for a command. Nothing here waits in the spool:
//! who is let in, and what is written of it, is known when the method returns.

use std::sync::Arc;
use std::time::Duration;

use call_control::policy::access::{Role, Scopes};
use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Db;
use super::connect::connection::Connection;
use super::connect::error::DbError;
use super::connect::url::{BadUrl, Target};
pub use super::tables::audit::{AuditEntry, AuditFilter, AuditRow};
pub use super::tables::sessions::{NewSession, SessionUser};
pub use super::tables::tokens::{ListedToken, Token};
pub use super::tables::users::{ListedUser, User};
use super::tables::{audit, sessions, tokens, users};

/// A request waits no longer for an answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// A person at a terminal waits no longer, nor for the connection.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// The handle of users, sessions, tokens and the audit. A cheap clone.
#[derive(Clone)]
pub struct Accounts(Way);

/// How the database is reached.
#[derive(Clone)]
enum Way {
    /// By the pool of a process that serves.
    Pool(Db),
    /// By a command's own connection.
    One(Arc<Mutex<Connection>>),
}

/// Why nothing was added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// Capitals make no difference.
    #[error("the name is taken")]
    NameTaken,
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Db {
    /// The handle of logins.
    pub fn accounts(&self) -> Accounts {
        Accounts(Way::Pool(self.clone()))
    }
}

impl Accounts {
    /// A connection of a command's own, beside the program that serves. `url` may lead through a transaction
    /// pooler. The connection belongs to the runtime it was opened on.
    ///
    /// # Errors
    /// The URL is none; or the database cannot be reached within 10 s.
    pub async fn connect(url: &str) -> Result<Result<Self, DbError>, BadUrl> {
        let target = Target::parse(url)?;
        let opened = timeout(COMMAND_DEADLINE, Connection::open(&target)).await;
        let connection = match opened {
            Ok(connection) => connection.map_err(DbError::Unavailable),
            Err(_) => Err(DbError::unanswered(COMMAND_DEADLINE)),
        };
        Ok(connection.map(|mut connection| {
            connection.limit(Some(COMMAND_DEADLINE));
            Self(Way::One(Arc::new(Mutex::new(connection))))
        }))
    }

    /// The user of this name, whatever its capitals.
    pub async fn user(&self, name: &str) -> Result<Option<User>, DbError> {
        self.ask("user", async |connection| users::find(connection, name).await).await
    }

    /// The first 1,000 users, by name.
    pub async fn users(&self) -> Result<Vec<ListedUser>, DbError> {
        self.ask("users", users::list).await
    }

    /// How many users there are that are not disabled.
    pub async fn user_count(&self) -> Result<i64, DbError> {
        self.ask("user_count", users::count).await
    }

    /// Adds a user who can log in at once.
    pub async fn add_user(&self, name: &str, password_hash: &str, role: Role) -> Result<(), AddError> {
        let added =
            self.ask("add_user", async |connection| users::add(connection, name, password_hash, role).await);
        added.await.map_err(AddError::of)
    }

    /// Gives a user another password, and ends the user's sessions. False: nobody has the name.
    pub async fn set_password(&self, name: &str, password_hash: &str) -> Result<bool, DbError> {
        self.ask("set_password", async |connection| {
            users::set_password(connection, name, password_hash).await
        })
        .await
    }

    /// Gives a user another role, which holds for the next request. False: nobody has the name.
    pub async fn set_role(&self, name: &str, role: Role) -> Result<bool, DbError> {
        self.ask("set_role", async |connection| users::set_role(connection, name, role).await).await
    }

    /// Disables a user and ends the user's sessions, or enables a user. False: nobody has the name.
    pub async fn set_disabled(&self, name: &str, is_disabled: bool) -> Result<bool, DbError> {
        self.ask("set_disabled", async |connection| users::set_disabled(connection, name, is_disabled).await)
            .await
    }

    /// Opens a session. False: the user was disabled, or got another password, since the user was
    /// [read](Self::user).
    pub async fn open_session(&self, session: &NewSession) -> Result<bool, DbError> {
        self.ask("open_session", async |connection| sessions::open(connection, session).await).await
    }

    /// Who a session is. None: it is unknown, expired or ended, or the user is disabled.
    pub async fn session(&self, key_hash: &[u8; 32]) -> Result<Option<SessionUser>, DbError> {
        self.ask("session", async |connection| sessions::find(connection, key_hash).await).await
    }

    /// Ends a session. False: there was none, or it had ended.
    pub async fn end_session(&self, key_hash: &[u8; 32]) -> Result<bool, DbError> {
        self.ask("end_session", async |connection| sessions::end(connection, key_hash).await).await
    }

    /// Adds a token, which is known by the SHA-256 of its text.
    pub async fn add_token(
        &self,
        name: &str,
        hash: &[u8; 32],
        scopes: Scopes,
        expires_at: DateTime<Utc>,
    ) -> Result<(), AddError> {
        let added = self.ask("add_token", async |connection| {
            tokens::add(connection, name, hash, scopes, expires_at).await
        });
        added.await.map_err(AddError::of)
    }

    /// The token with this hash. None: it is unknown, expired or revoked. Notes the use of a token at most
    /// once a minute; a database that cannot write the note does not lock anybody out.
    pub async fn token(&self, hash: &[u8; 32]) -> Result<Option<Token>, DbError> {
        let found = self.ask("token", async |connection| tokens::find(connection, hash).await).await?;
        let Some((token, is_due)) = found else { return Ok(None) };
        if is_due {
            let noted =
                self.ask("token_used", async |connection| tokens::note_use(connection, token.id).await);
            if let Err(error) = noted.await {
                tracing::debug!(%error, "the use of a token is not noted");
            }
        }
        Ok(Some(token))
    }

    /// The newest 1,000 tokens, also those that are revoked or expired.
    pub async fn tokens(&self) -> Result<Vec<ListedToken>, DbError> {
        self.ask("tokens", tokens::list).await
    }

    /// Revokes a token. False: no living token has the name.
    pub async fn revoke_token(&self, name: &str) -> Result<bool, DbError> {
        self.ask("revoke_token", async |connection| tokens::revoke(connection, name).await).await
    }

    /// Writes an entry of the audit. It is in the database when this returns `Ok`.
    pub async fn audit(&self, entry: &AuditEntry) -> Result<(), DbError> {
        self.ask("audit", async |connection| audit::write(connection, entry).await).await
    }

    /// The newest entries that pass the filter, of those older than `before`, the [id](AuditRow::id) of an
    /// entry; 1 to 1,000 of them.
    pub async fn audit_page(
        &self,
        before: Option<i64>,
        limit: u32,
        filter: &AuditFilter,
    ) -> Result<Vec<AuditRow>, DbError> {
        self.ask("audit_page", async |connection| audit::page(connection, before, limit, filter).await).await
    }

    pub(super) async fn ask<T>(
        &self,
        query: &str,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.ask_within(DEADLINE, query, question).await
    }

    /// The same, with another deadline for a process that serves.
    pub(super) async fn ask_within<T>(
        &self,
        deadline: Duration,
        query: &str,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        match &self.0 {
            Way::Pool(db) => db.shared.ask(query, deadline, question).await,
            Way::One(connection) => {
                let answer = async { question(&mut *connection.lock().await).await };
                let answer = timeout(COMMAND_DEADLINE, answer).await;
                answer.unwrap_or_else(|_| Err(DbError::unanswered(COMMAND_DEADLINE)))
            }
        }
    }
}

impl AddError {
    /// The one value of an account that must be unique and that a person chooses is its name.
    fn of(error: DbError) -> Self {
        let is_taken = matches!(&error, DbError::Refused(said)
            if said.starts_with("23505 ") && said.ends_with("_by_name"));
        if is_taken { Self::NameTaken } else { Self::Db(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_exists_already_is_called_taken() {
        let refused = |said: &str| DbError::Refused(said.to_owned());
        assert_eq!(AddError::of(refused("23505 users_by_name")), AddError::NameTaken);
        assert_eq!(AddError::of(refused("23505 api_tokens_by_name")), AddError::NameTaken);
        for said in ["23505 api_tokens_hash_key", "23514 users_name_check", "42501 permission denied"] {
            assert_eq!(AddError::of(refused(said)), AddError::Db(refused(said)));
        }
    }
}
