//! `POST /api/auth/login`, `POST /api/auth/logout`, `GET /api/auth/me`.
//!
//! An attempt counts before the password is compared, for its address and for the account. Whoever is not
//! there or must not log in gets the same answer, after the same work, as whoever has the wrong password.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use actors::access::AccountName;
use actors::db::{NewSession, User};
use actors::secret::Secret;
use chrono::Utc;
use serde::Deserialize;
use utoipa::ToSchema;

use super::audit::{self, Deed};
use super::cookie::LIVES;
use super::identity as of_request;
use super::identity::{Identity, Kind};
use super::seen::Now;
use crate::app::App;
use crate::http::call_logs::query;
use crate::http::problem::ApiError;
use crate::rate_limit::{Class, Client};

/// A name and a password are shorter.
const BODY_LIMIT: usize = 4 << 10;
const LOGIN: &str = "login";

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Login)]
pub(crate) struct Attempt {
    name: String,
    password: String,
}

/// The name, and the password as a secret. What is wrong is told without either.
fn read(body: &[u8]) -> Result<(String, Secret), ApiError> {
    let wrong =
        ApiError::BadRequest { field: "body", wrong: "must be JSON with the texts `name` and `password`" };
    // A list of the two texts would be read as an attempt, too.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let attempt = Some(body).filter(|body| is_object && body.len() <= BODY_LIMIT);
    let attempt = attempt.and_then(|body| serde_json::from_slice::<Attempt>(body).ok());
    attempt.map(|Attempt { name, password }| (name, Secret::new(password))).ok_or(wrong)
}

/// Opens a session. One that the browser had before ends: a cookie that somebody has planted is worth
/// nothing after it.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    operation_id = "logIn",
    tag = "accounts",
    summary = "Begins a session",
    description = "Ends the session that the browser had. Attempts are counted for the address and for the account.",
    request_body(content = Attempt, description = "At most 4 KiB", example = json!({"name": "anna", "password": "correct horse battery staple"})),
    responses(
        (status = 200, description = "Who is logged in", body = Identity, headers(("Set-Cookie" = String, description = "The session, for 12 hours"))),
        (status = 401, description = "The name or the password is wrong, or the user is disabled"),
    ),
)]
pub async fn login(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let (name, password) = read(&body)?;
    count(&app, &request, &name).await?;
    let auth = &app.auth;
    // The database may take other letters for those of an account.
    let user = match name.parse::<AccountName>() {
        Ok(_) => auth.accounts.user(&name).await.map_err(ApiError::unavailable)?,
        Err(_) => None,
    };
    let account = user.as_ref().map(|user| user.name.clone());
    let attempt = |outcome| Deed { action: LOGIN, object: account.as_deref(), outcome };
    let user = user.filter(|user| !user.is_disabled);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let busy = |_| ApiError::NotReady("too many logins at once: try again");
    let is_right = auth.passwords.is_right(hash, password).await.map_err(busy)?;
    let Some(user) = user.filter(|_| is_right) else {
        audit::note(&app, &request, attempt("failed")).await;
        return Err(ApiError::WrongLogin);
    };
    if let Some(before) = auth.cookies.shown(&request) {
        end(&app, &before).await?;
    }
    let Some((session, cookie)) = open(&app, &request, &user).await? else {
        audit::note(&app, &request, attempt("failed")).await;
        return Err(ApiError::WrongLogin); // the password was changed meanwhile
    };
    if let Err(refusal) = audit::must(&app, &request, attempt("ok")).await {
        end(&app, &session).await?;
        return Err(refusal);
    }
    let me = me_of(user);
    let now = Now::read();
    auth.seen.is_valid(session, me.clone(), now.wall + LIVES, now);
    Ok(HttpResponse::Ok().cookie(cookie).json(me))
}

/// Ends the session, and says so to the browser. The browser forgets it also if the database is away.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    operation_id = "logOut",
    tag = "accounts",
    summary = "Ends the session",
    responses(
        (status = 204, description = "The session has ended, or there was none", headers(("Set-Cookie" = String, description = "Ends the cookie"))),
        (status = 503, description = "The session could not be ended in the database; the browser forgets it", headers(("Set-Cookie" = String, description = "Ends the cookie"))),
    ),
)]
pub async fn logout(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let ended = match app.auth.cookies.shown(&request) {
        Some(session) => end(&app, &session).await,
        None => Ok(false),
    };
    let mut response = match ended {
        Ok(true) => {
            audit::note(&app, &request, Deed { action: "logout", object: None, outcome: "ok" }).await;
            HttpResponse::NoContent().finish()
        }
        Ok(false) => HttpResponse::NoContent().finish(),
        Err(error) => error.error_response(),
    };
    response.add_cookie(&app.auth.cookies.clear()).map_err(ApiError::unavailable)?;
    Ok(response)
}

/// Who asks, and what that one may do.
#[utoipa::path(
    get,
    path = "/api/auth/me",
    operation_id = "me",
    tag = "accounts",
    summary = "Who asks, and which scopes that one has",
    responses(
        (status = 200, description = "Who asks", body = Identity),
    ),
)]
pub async fn me(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    Ok(HttpResponse::Ok().json(of_request(&request).ok_or(ApiError::Unauthorized)?))
}

/// Both the address and the account must have room for one more attempt.
async fn count(app: &App, request: &HttpRequest, name: &str) -> Result<(), ApiError> {
    let address = app.limits.client(request);
    let counted = async {
        app.limits.count(Class::Auth, address).await?;
        app.limits.count(Class::Auth, Client::name(name)).await
    };
    let Err(refusal) = counted.await else { return Ok(()) };
    if app.auth.refusals.is_new(address, Instant::now()) {
        audit::note(app, request, Deed { action: LOGIN, object: None, outcome: "limited" }).await;
    }
    Err(refusal)
}

type Opened = ([u8; 32], actix_web::cookie::Cookie<'static>);

async fn open(app: &App, request: &HttpRequest, user: &User) -> Result<Option<Opened>, ApiError> {
    let (key_hash, cookie) = app.auth.cookies.begin();
    let session = NewSession {
        key_hash,
        user_id: user.id,
        password_changed_at: user.password_changed_at,
        expires_at: Utc::now() + LIVES,
        client: app.limits.address(request).to_string(),
    };
    let opened = app.auth.accounts.open_session(&session).await.map_err(ApiError::unavailable)?;
    Ok(opened.then_some((key_hash, cookie)))
}

/// Whether there was a session to end.
async fn end(app: &App, session: &[u8; 32]) -> Result<bool, ApiError> {
    app.auth.seen.is_over(session); // whatever becomes of the row
    let ended = app.auth.accounts.end_session(session).await;
    app.auth.seen.is_over(session); // somebody may have asked meanwhile
    ended.map_err(ApiError::unavailable)
}

fn me_of(User { id, name, role, .. }: User) -> Identity {
    Identity { name, kind: Kind::User { id, role }, scopes: role.scopes() }
}

/// Addresses whose refused attempts are in the audit: one entry of each in a quarter of an hour, so that a
/// storm of attempts does not fill the table.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<Client, Instant>>);

impl Refusals {
    const ONCE_IN: Duration = Duration::from_secs(15 * 60);
    /// Of one more address there is no entry.
    const MOST: usize = 1_000;

    /// Whether an entry is due.
    fn is_new(&self, client: Client, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < Self::ONCE_IN);
        let is_new = told.len() < Self::MOST && !told.contains_key(&client);
        if is_new {
            told.insert(client, now);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_json_with_a_name_and_a_password_and_is_never_said_back() {
        let (name, password) = read(br#"{"name": "anna", "password": "correct horse"}"#).unwrap();
        assert_eq!((name.as_str(), password.expose()), ("anna", "correct horse"));
        let long = format!(r#"{{"name": "anna", "password": "{}"}}"#, "a".repeat(4 << 10));
        for wrong in [
            "",
            "{}",
            "[]",
            r#"["anna", "hunter2"]"#,
            r#"{"name": "anna"}"#,
            r#"{"name": 1, "password": "hunter2"}"#,
            r#"{"name": "anna", "password": "hunter2", "role": "admin"}"#,
            "name=anna&password=hunter2",
            &long,
        ] {
            let told = read(wrong.as_bytes()).unwrap_err().to_string();
            assert_eq!(told, "body must be JSON with the texts `name` and `password`", "{wrong}");
        }
    }

    #[test]
    fn a_storm_of_refused_attempts_is_one_entry_for_each_address() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let client = |number: u32| Client::address(std::net::Ipv4Addr::from_bits(number).into());
        assert!(refusals.is_new(client(1), now));
        assert!(!refusals.is_new(client(1), now + Duration::from_secs(899)));
        assert!(refusals.is_new(client(1), now + Duration::from_secs(900)));
        let entries =
            (0..2_000).filter(|number| refusals.is_new(client(*number), now + Duration::from_secs(900)));
        assert_eq!(entries.count(), 999, "a thousand with the first one");
    }
}
