//! Who may use the API and the dashboard.
//!
//! People log in and have a session's cookie; programs show a bearer token. With API_AUTH=off whoever sits at
//! this machine is let in as well. [`identify`] finds out who asks, the limits count that, and [`admit`] lets
//! in by the [table of needs](access). Each request asks the database, so an ended session is out at once;
//! [`Seen`] helps out while the database is away. An operator is known even while the pool is used up: by a
//! connection [past it](past_pool).

mod access;
pub mod audit;
mod cookie;
mod csrf;
mod identity;
mod local;
pub mod login;
mod seen;

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, ResponseError as _, web};
use actors::access::Scope;
use actors::db::{Accounts, Db, DbError};
use actors::secret::Secret;
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio::time::timeout;

#[cfg(test)]
pub(crate) use self::access::NEEDS;
pub(crate) use self::access::{Need, need};
use self::cookie::Cookies;
pub use self::identity::{Identity, Kind};
use self::login::Refusals;
use self::seen::{Now, Seen};
use super::problem::ApiError;
use super::settings::MetricsAuth;
use super::{limits, past_pool, worker};
use crate::app::App;
use crate::auth::password::Passwords;
use crate::auth::token;
use crate::rate_limit::Client;
use crate::settings::Settings;

/// So many tokens that were not let in lately are looked up at once, and never more than a quarter of the
/// pool has connections. A storm of guesses leaves the others to the calls, and whoever is known does not
/// notice. A session cannot be guessed: our signature is checked before.
const STRANGERS: usize = 8;
/// So many are looked up past the pool at once.
const PAST_THE_POOL: usize = 2;
/// A connection past the pool that has not told by then who asks is no help.
const TOLD_WITHIN: Duration = Duration::from_secs(4);
/// The routes for an emergency are below this.
const FOR_OPERATORS: &str = "/api/ops/";

/// What the doors need to know who asks.
pub struct Auth {
    strangers: Semaphore,
    past_the_pool: Semaphore,
    accounts: Accounts,
    cookies: Cookies,
    seen: Seen,
    passwords: Passwords,
    refusals: Refusals,
}

impl Auth {
    pub fn new(settings: &Settings, db: &Db) -> Self {
        Self {
            strangers: Semaphore::new(STRANGERS.min(settings.db.pool_max as usize / 4).max(1)),
            past_the_pool: Semaphore::new(PAST_THE_POOL),
            accounts: db.accounts(),
            cookies: Cookies::new(&settings.secret_key, settings.http.is_https() || settings.tls.is_some()),
            seen: Seen::default(),
            passwords: Passwords::default(),
            refusals: Refusals::default(),
        }
    }
}

/// What is known of who asks; in the request's extensions.
#[derive(Debug, Clone)]
enum Asker {
    /// Shows nothing that we ever gave out, or a session that is over.
    Nobody,
    /// Shows a token that is none.
    Wrong,
    Known(Identity),
    /// Shows a session or a token while the database is away.
    CannotBeTold,
    /// Shows a token that would be [one too many](STRANGERS) to look up.
    OneTooMany,
}

/// Who shows something valid, and until when it is.
type Known = (DateTime<Utc>, Identity);

/// What a request shows.
#[derive(Debug, Clone, Copy)]
enum Credential {
    Session([u8; 32]),
    Token([u8; 32]),
    Wrong,
}

/// Stands before the limits: who is it?
pub async fn identify<B: MessageBody + 'static>(
    app: web::Data<App>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let asker = asker(&app, request.request()).await;
    request.extensions_mut().insert(asker);
    next.call(request).await
}

/// Stands behind the limits, before every route of the API: may it?
pub async fn admit(
    app: web::Data<App>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    // By the path as the router reads it, with its escapes resolved.
    let pattern = request.resource_map().match_pattern(request.match_info().as_str());
    match check(&app, request.request(), access::need(pattern.as_deref())).await {
        // A path without a need of its own reaches no handler, whatever the router makes of it.
        Ok(()) if pattern.is_none() => Ok(request.into_response(ApiError::NotFound.error_response())),
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
    }
}

/// Whether a request may read the metrics.
///
/// # Errors
/// It may not.
pub async fn may_read_metrics(app: &App, request: &HttpRequest) -> Result<(), ApiError> {
    if app.settings.http.metrics_auth == MetricsAuth::Open {
        return Ok(());
    }
    let asker = asker(app, request).await;
    request.extensions_mut().insert(asker);
    check(app, request, Need::Scope(Scope::Metrics)).await
}

/// Whether this request may see what the API tells, without asking the database: by what it said last.
pub fn lets_in(app: &App, request: &HttpRequest) -> bool {
    local::lets_in(app, request)
        || match credential(app, request) {
            Some(Credential::Session(hash) | Credential::Token(hash)) => {
                let known = app.auth.seen.lately(&hash, Now::read());
                known.is_some_and(|identity| identity.scopes.allow(Scope::Monitor))
            }
            Some(Credential::Wrong) | None => false,
        }
}

/// As whom a request is counted that shows who it is.
pub fn client(request: &HttpRequest) -> Option<Client> {
    identity(request)?.client()
}

/// Who a request that was [identified](identify) is from.
pub fn identity(request: &HttpRequest) -> Option<Identity> {
    match request.extensions().get()? {
        Asker::Known(identity) => Some(identity.clone()),
        Asker::Nobody | Asker::Wrong | Asker::CannotBeTold | Asker::OneTooMany => None,
    }
}

async fn asker(app: &App, request: &HttpRequest) -> Asker {
    if local::lets_in(app, request) {
        return Asker::Known(Identity::local());
    }
    let now = Now::read();
    let (credential, hash) = match credential(app, request) {
        None => return Asker::Nobody,
        Some(Credential::Wrong) => return Asker::Wrong,
        Some(credential @ (Credential::Session(hash) | Credential::Token(hash))) => (credential, hash),
    };
    let is_stranger =
        matches!(credential, Credential::Token(_)) && app.auth.seen.lately(&hash, now).is_none();
    let turn = is_stranger.then(|| app.auth.strangers.try_acquire());
    if let Some(Err(_)) = turn {
        return Asker::OneTooMany;
    }
    let mut found = look_up(&app.auth.accounts, credential, hash).await;
    drop(turn);
    if found.is_err()
        && request.path().starts_with(FOR_OPERATORS)
        && app.auth.seen.lately(&hash, now).is_none()
        && let Some(told) = past_the_pool(app, credential, hash).await
    {
        found = Ok(told);
    }
    match found {
        Ok(Some((expires_at, identity))) => {
            app.auth.seen.is_valid(hash, identity.clone(), expires_at, now);
            Asker::Known(identity)
        }
        Ok(None) => {
            app.auth.seen.is_over(&hash);
            if let Credential::Token(_) = credential { Asker::Wrong } else { Asker::Nobody }
        }
        Err(error) => lately(app, &hash, now, &error),
    }
}

/// Who it is, and until when; as the database says.
async fn look_up(
    accounts: &Accounts,
    credential: Credential,
    hash: [u8; 32],
) -> Result<Option<Known>, DbError> {
    if let Credential::Session(_) = credential {
        let user = accounts.session(&hash).await?;
        return Ok(user.map(|user| (user.expires_at, user.into())));
    }
    let token = accounts.token(&hash).await?;
    Ok(token.map(|token| (token.expires_at, token.into())))
}

/// The same over a connection of its own. None: there is no answer, or too many ask.
async fn past_the_pool(app: &App, credential: Credential, hash: [u8; 32]) -> Option<Option<Known>> {
    let _turn = app.auth.past_the_pool.try_acquire().ok()?;
    let url = past_pool::url(&app.settings);
    let asks = async move || {
        let told = timeout(TOLD_WITHIN, async {
            let accounts = past_pool::open(&url).await?;
            look_up(&accounts, credential, hash).await.map_err(|error| error.to_string())
        });
        told.await.unwrap_or_else(|_| Err(format!("no answer within {TOLD_WITHIN:?}")))
    };
    let told = app.api.run(worker::Kind::Query, asks).await.ok()?;
    told.inspect_err(|cause| tracing::debug!(cause, "nor past the pool")).ok()
}

/// Whoever was let in lately still is, while the database is away.
fn lately(app: &App, hash: &[u8; 32], now: Now, error: &DbError) -> Asker {
    let known = app.auth.seen.lately(hash, now);
    tracing::debug!(%error, is_known = known.is_some(), "a session or token cannot be looked up");
    known.map_or(Asker::CannotBeTold, Asker::Known)
}

/// A token goes before a cookie: no browser adds one by itself. Of another scheme, as a browser repeats the
/// password of a proxy, the cookie counts if there is one.
fn credential(app: &App, request: &HttpRequest) -> Option<Credential> {
    if let Some(shown) = bearer(request.headers()) {
        let hash = |text: &str| Credential::Token(token::hash(&Secret::new(text.to_owned())));
        return Some(Some(shown).filter(|text| token::is_token(text)).map_or(Credential::Wrong, hash));
    }
    let session = app.auth.cookies.shown(request).map(Credential::Session);
    session.or_else(|| request.headers().contains_key(header::AUTHORIZATION).then_some(Credential::Wrong))
}

/// What a request shows as a token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn check(app: &App, request: &HttpRequest, need: Need) -> Result<(), ApiError> {
    let asked = csrf::Asked::of(request.method(), request.headers());
    if csrf::is_from_elsewhere(&asked, &local::own_origin(app, request)) {
        return Err(ApiError::CrossSite);
    }
    let asker = request.extensions().get().cloned().unwrap_or(Asker::Nobody);
    match (need, asker) {
        (Need::Nothing, _) | (Need::Login, Asker::Known(_)) => Ok(()),
        (Need::Scope(scope), Asker::Known(identity)) if identity.scopes.allow(scope) => Ok(()),
        (Need::Scope(scope), Asker::Known(_)) => Err(ApiError::NotAllowed(scope.as_str())),
        (_, Asker::Nobody) => Err(ApiError::Unauthorized),
        (_, Asker::Wrong) => {
            limits::wrong_credential(app, request).await?;
            Err(ApiError::Unauthorized)
        }
        (_, Asker::OneTooMany) => {
            Err(ApiError::NotReady("too many ask at once who are not known: try again"))
        }
        (_, Asker::CannotBeTold) => Err(ApiError::unavailable("it cannot be looked up who asks")),
    }
}

#[cfg(test)]
impl Auth {
    /// As many strangers are looked up as can be, until this is dropped.
    pub(crate) fn is_stormed(&self) -> tokio::sync::SemaphorePermit<'_> {
        let all = self.strangers.available_permits() as u32;
        self.strangers.try_acquire_many(all).expect("nobody else is looked up")
    }

    /// The header by which somebody shows a session or a token that the database has just called valid.
    pub(crate) fn has_let_in(&self, identity: Identity) -> (&'static str, String) {
        let (hash, header) = match identity.kind {
            Kind::User { .. } => {
                let (hash, cookie) = self.cookies.begin();
                (hash, ("Cookie", cookie.stripped().to_string()))
            }
            Kind::Token { .. } | Kind::Local => {
                let token = token::draw();
                (token::hash(&token), ("Authorization", format!("Bearer {}", token.expose())))
            }
        };
        let expires_at = Utc::now() + Duration::from_secs(3_600);
        self.seen.is_valid(hash, identity, expires_at, Now::read());
        header
    }
}
