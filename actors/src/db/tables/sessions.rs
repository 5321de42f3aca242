//! Table `sessions`: who is logged in. All times are the database's own.

use call_control::policy::access::Role;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use super::audit::cut;
use super::schema::{sessions, users};
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;

/// A session to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// SHA-256 of the key that the browser gets.
    pub key_hash: [u8; 32],
    pub user_id: i64,
    /// Of the [`User`](super::users::User) whose password was compared.
    pub password_changed_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// Where the user logged in from; cut at 200 characters.
    pub client: String,
}

/// Who a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUser {
    pub user_id: i64,
    pub name: String,
    /// The role that the user has now.
    pub role: Role,
    pub expires_at: DateTime<Utc>,
}

/// The row of the user is locked until the session is there: who changes the password or disables the user
/// either sees the session, or is seen.
const OPEN: &str = "
    INSERT INTO sessions (key_hash, user_id, expires_at, client)
    SELECT $1, id, $4, $5 FROM users
    WHERE id = $2 AND password_changed_at = $3 AND disabled_at IS NULL FOR SHARE";

/// False: the user was disabled, or got another password, meanwhile.
pub(in crate::db) async fn open(connection: &mut Connection, session: &NewSession) -> Result<bool, DbError> {
    let rows = diesel::sql_query(OPEN)
        .bind::<Binary, _>(&session.key_hash[..])
        .bind::<BigInt, _>(session.user_id)
        .bind::<Timestamptz, _>(session.password_changed_at)
        .bind::<Timestamptz, _>(session.expires_at)
        .bind::<Nullable<Text>, _>(Some(cut(&session.client)))
        .execute(connection)
        .await?;
    Ok(rows == 1)
}

pub(in crate::db) async fn find(
    connection: &mut Connection,
    key_hash: &[u8; 32],
) -> Result<Option<SessionUser>, DbError> {
    let found: Option<(i64, String, String, DateTime<Utc>)> = sessions::table
        .inner_join(users::table)
        .filter(sessions::key_hash.eq(&key_hash[..]))
        .filter(sessions::revoked_at.is_null().and(sessions::expires_at.gt(diesel::dsl::now)))
        .filter(users::disabled_at.is_null())
        .select((users::id, users::name, users::role, sessions::expires_at))
        .first(connection)
        .await
        .optional()?;
    let Some((user_id, name, word, expires_at)) = found else { return Ok(None) };
    Ok(Some(SessionUser { user_id, name, role: super::users::role(&word)?, expires_at }))
}

pub(in crate::db) async fn end(connection: &mut Connection, key_hash: &[u8; 32]) -> Result<bool, DbError> {
    let living =
        sessions::table.filter(sessions::key_hash.eq(&key_hash[..]).and(sessions::revoked_at.is_null()));
    let ended = diesel::update(living).set(sessions::revoked_at.eq(diesel::dsl::now));
    Ok(ended.execute(connection).await? > 0)
}
