//! Table `users`: the people who may log in. A name is found whatever its capitals.

use call_control::policy::access::Role;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::schema::{sessions, users};
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::connect::statement::Statement;

/// More users are not listed.
const LISTED: i64 = 1_000;

diesel::define_sql_function! {
    /// Without capitals.
    fn lower(text: Text) -> Text;
}

/// A user, for the comparison of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    /// As it was entered when the user was added.
    pub name: String,
    pub role: Role,
    /// In the PHC format.
    pub password_hash: String,
    pub password_changed_at: DateTime<Utc>,
    pub is_disabled: bool,
}

/// A user as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedUser {
    pub name: String,
    pub role: Role,
    pub disabled_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub password_changed_at: DateTime<Utc>,
}

/// A word of the database that this program does not know: a newer program wrote it.
pub(super) fn role(word: &str) -> Result<Role, DbError> {
    word.parse().map_err(|error| DbError::Refused(format!("a user has an unknown role: {error}")))
}

pub(in crate::db) async fn find(connection: &mut Connection, name: &str) -> Result<Option<User>, DbError> {
    type Found = (i64, String, String, String, DateTime<Utc>, Option<DateTime<Utc>>);
    let found: Option<Found> = users::table
        .filter(lower(users::name).eq(lower(text(name))))
        .select((
            users::id,
            users::name,
            users::role,
            users::password_hash,
            users::password_changed_at,
            users::disabled_at,
        ))
        .first(connection)
        .await
        .optional()?;
    let Some((id, name, word, password_hash, password_changed_at, disabled_at)) = found else {
        return Ok(None);
    };
    let (role, is_disabled) = (role(&word)?, disabled_at.is_some());
    Ok(Some(User { id, name, role, password_hash, password_changed_at, is_disabled }))
}

pub(in crate::db) async fn list(connection: &mut Connection) -> Result<Vec<ListedUser>, DbError> {
    type Found = (String, String, Option<DateTime<Utc>>, DateTime<Utc>, DateTime<Utc>);
    let found: Vec<Found> = users::table
        .order(lower(users::name))
        .limit(LISTED)
        .select((users::name, users::role, users::disabled_at, users::created_at, users::password_changed_at))
        .load(connection)
        .await?;
    found
        .into_iter()
        .map(|(name, word, disabled_at, created_at, password_changed_at)| {
            Ok(ListedUser { name, role: role(&word)?, disabled_at, created_at, password_changed_at })
        })
        .collect()
}

/// How many users could log in.
pub(in crate::db) async fn count(connection: &mut Connection) -> Result<i64, DbError> {
    Ok(users::table.filter(users::disabled_at.is_null()).count().get_result(connection).await?)
}

pub(in crate::db) async fn add(
    connection: &mut Connection,
    name: &str,
    password_hash: &str,
    role: Role,
) -> Result<(), DbError> {
    let row =
        (users::name.eq(text(name)), users::password_hash.eq(password_hash), users::role.eq(role.as_str()));
    diesel::insert_into(users::table).values(row).execute(connection).await?;
    Ok(())
}

/// False: nobody has the name.
pub(in crate::db) async fn set_role(
    connection: &mut Connection,
    name: &str,
    role: Role,
) -> Result<bool, DbError> {
    let user = users::table.filter(lower(users::name).eq(lower(text(name))));
    Ok(diesel::update(user).set(users::role.eq(role.as_str())).execute(connection).await? > 0)
}

/// Gives the user another password and ends the sessions, in one transaction. False: nobody has the name.
pub(in crate::db) async fn set_password(
    connection: &mut Connection,
    name: &str,
    password_hash: &str,
) -> Result<bool, DbError> {
    let Some(id) = id_of(connection, name).await? else { return Ok(false) };
    let change = (users::password_hash.eq(password_hash), users::password_changed_at.eq(diesel::dsl::now));
    let changed = diesel::update(users::table.filter(users::id.eq(id))).set(change);
    connection.execute_together(&[Statement::of(&changed)?, end_sessions(id)?]).await?;
    Ok(true)
}

/// Disables the user and ends the sessions, in one transaction, or enables the user. False: nobody has the
/// name.
pub(in crate::db) async fn set_disabled(
    connection: &mut Connection,
    name: &str,
    is_disabled: bool,
) -> Result<bool, DbError> {
    let Some(id) = id_of(connection, name).await? else { return Ok(false) };
    let at =
        "UPDATE users SET disabled_at = CASE WHEN $1 THEN coalesce(disabled_at, now()) END WHERE id = $2";
    let change = diesel::sql_query(at).bind::<Bool, _>(is_disabled).bind::<BigInt, _>(id);
    let mut statements = vec![Statement::of(&change)?];
    if is_disabled {
        statements.push(end_sessions(id)?);
    }
    connection.execute_together(&statements).await?;
    Ok(true)
}

/// A user is never deleted, so the number stays true.
async fn id_of(connection: &mut Connection, name: &str) -> QueryResult<Option<i64>> {
    let user = users::table.filter(lower(users::name).eq(lower(text(name))));
    user.select(users::id).first(connection).await.optional()
}

/// After the change of the user's row: a session that is being opened waits for that row, and one that was
/// opened before is seen.
fn end_sessions(id: i64) -> QueryResult<Statement> {
    let living = sessions::table.filter(sessions::user_id.eq(id).and(sessions::revoked_at.is_null()));
    Statement::of(&diesel::update(living).set(sessions::revoked_at.eq(diesel::dsl::now)))
}
