//! Table `api_tokens`: what programs show instead of a session. All times are the database's own.

use call_control::policy::access::Scopes;
use chrono::{DateTime, Utc};
use diesel::dsl::{now, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::schema::api_tokens as tokens;
use super::text::text;
use super::users::lower;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::connect::statement::Statement;

/// More tokens are not listed; the newest are.
const LISTED: i64 = 1_000;
/// The use of a token is noted at most once a minute.
const NOTE_IS_DUE: &str = "coalesce(last_used_at < now() - INTERVAL '1 minute', TRUE)";

/// A token that is valid now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: i64,
    pub name: String,
    pub scopes: Scopes,
    pub expires_at: DateTime<Utc>,
}

/// A token as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedToken {
    pub name: String,
    pub scopes: Scopes,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A word of the database that this program does not know: a newer program wrote it.
fn scopes(list: &str) -> Result<Scopes, DbError> {
    list.parse().map_err(|error| DbError::Refused(format!("a token has an unknown scope: {error}")))
}

/// A token of this name that has expired makes room for the new one.
pub(in crate::db) async fn add(
    connection: &mut Connection,
    name: &str,
    hash: &[u8; 32],
    scopes: Scopes,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let expired = tokens::table
        .filter(lower(tokens::name).eq(lower(text(name))))
        .filter(tokens::revoked_at.is_null().and(tokens::expires_at.le(now)));
    let expired = diesel::update(expired).set(tokens::revoked_at.eq(now));
    let row = (
        tokens::name.eq(text(name)),
        tokens::hash.eq(&hash[..]),
        tokens::scopes.eq(scopes.to_string()),
        tokens::expires_at.eq(expires_at),
    );
    let added = diesel::insert_into(tokens::table).values(row);
    Ok(connection.execute_together(&[Statement::of(&expired)?, Statement::of(&added)?]).await?)
}

/// The token, and whether its use is to be [noted](note_use).
pub(in crate::db) async fn find(
    connection: &mut Connection,
    hash: &[u8; 32],
) -> Result<Option<(Token, bool)>, DbError> {
    let found: Option<(i64, String, String, DateTime<Utc>, bool)> = tokens::table
        .filter(tokens::hash.eq(&hash[..]))
        .filter(tokens::revoked_at.is_null().and(tokens::expires_at.gt(now)))
        .select((tokens::id, tokens::name, tokens::scopes, tokens::expires_at, sql::<Bool>(NOTE_IS_DUE)))
        .first(connection)
        .await
        .optional()?;
    let Some((id, name, list, expires_at, is_due)) = found else { return Ok(None) };
    Ok(Some((Token { id, name, scopes: scopes(&list)?, expires_at }, is_due)))
}

/// The token was used just now. Several processes may say so at once: one of them writes it.
pub(in crate::db) async fn note_use(connection: &mut Connection, id: i64) -> Result<(), DbError> {
    let due = tokens::table.filter(tokens::id.eq(id)).filter(sql::<Bool>(NOTE_IS_DUE));
    diesel::update(due).set(tokens::last_used_at.eq(now)).execute(connection).await?;
    Ok(())
}

pub(in crate::db) async fn list(connection: &mut Connection) -> Result<Vec<ListedToken>, DbError> {
    type Found = (String, String, DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
    let found: Vec<Found> = tokens::table
        .order(tokens::id.desc())
        .limit(LISTED)
        .select((
            tokens::name,
            tokens::scopes,
            tokens::created_at,
            tokens::expires_at,
            tokens::revoked_at,
            tokens::last_used_at,
        ))
        .load(connection)
        .await?;
    found
        .into_iter()
        .map(|(name, list, created_at, expires_at, revoked_at, last_used_at)| {
            Ok(ListedToken { name, scopes: scopes(&list)?, created_at, expires_at, revoked_at, last_used_at })
        })
        .collect()
}

/// False: no living token has the name.
pub(in crate::db) async fn revoke(connection: &mut Connection, name: &str) -> Result<bool, DbError> {
    let living =
        tokens::table.filter(lower(tokens::name).eq(lower(text(name)))).filter(tokens::revoked_at.is_null());
    Ok(diesel::update(living).set(tokens::revoked_at.eq(now)).execute(connection).await? > 0)
}
