//! Every error as `application/problem+json` (RFC 9457), whoever found it: our handlers, an extractor or the
//! router.

use std::fmt::Display;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, ResponseError};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::limits::{RATE_LIMIT, RATE_LIMIT_POLICY, Standing};
use super::security::Posture;

const CONTENT_TYPE: &str = "application/problem+json";
/// Type and title of the problem (draft-ietf-httpapi-ratelimit-headers-11 sections 5.1 and 10.2.1).
const QUOTA_EXCEEDED: (&str, &str) =
    ("https://iana.org/assignments/http-problem-types#quota-exceeded", "Quota Exceeded");
/// A request whose body does not come, or whose answer cannot be found, does not hold on to us longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// How long a client waits before it asks a door again that is closed for the moment.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Why a request got no answer of its own. A 5xx body is fixed; its cause is in the log.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: a parameter is missing or wrong.
    #[error("{field} {wrong}")]
    BadRequest { field: &'static str, wrong: &'static str },
    /// 400: the route has no parameter of this name.
    #[error("`{name}` is no parameter of this route: {hint}")]
    UnknownParameter { name: String, hint: String },
    /// 401: there is no way in without logging in.
    #[error("log in to use this")]
    Unauthorized,
    /// 401: the name and the password do not belong together.
    #[error("name or password is wrong")]
    WrongLogin,
    /// 403: a scope is missing.
    #[error("this needs the scope `{0}`")]
    NotAllowed(&'static str),
    /// 403: a browser sent it for a page elsewhere.
    #[error("the request does not come from a page of this program")]
    CrossSite,
    /// 403: the request is not from whom it says.
    #[error("the request is not signed by Twilio")]
    Forbidden,
    /// 404.
    #[error("there is nothing here")]
    NotFound,
    /// 405; the methods that are allowed.
    #[error("use {0}")]
    MethodNotAllowed(&'static str),
    /// 409: not as things stand, for a reason that may be told.
    #[error("{0}")]
    Conflict(&'static str),
    /// 429: the client has asked too often.
    #[error("too many requests: try again in {} s", .0.more_in_seconds())]
    TooManyRequests(Standing),
    /// 503: not now, for a reason that is no failure and may be told.
    #[error("{0}")]
    NotReady(&'static str),
    /// 503: something that we need is [away](Self::unavailable).
    #[error("temporarily unavailable")]
    Unavailable,
    /// Any other status, as the framework gave it.
    #[error("{}", reason(*.0))]
    Other(StatusCode),
}

/// The body (RFC 9457 section 3). `field` names the parameter that is wrong, `scope` what the client may not
/// do, `violated-policies` the quota that is used up.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scope: Option<&'static str>,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<String>>)]
    violated_policies: Option<[&'static str; 1]>,
}

impl ApiError {
    /// 503 after something that we need failed.
    pub fn unavailable(cause: impl Display) -> Self {
        tracing::warn!(%cause, "request answered with 503");
        Self::Unavailable
    }

    fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            other => Self::Other(other),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } | Self::UnknownParameter { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::WrongLogin => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::NotAllowed(_) | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotReady(_) | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Other(status) => *status,
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        response.content_type(CONTENT_TYPE);
        match self {
            Self::Unauthorized | Self::WrongLogin => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((header::ALLOW, *allowed));
            }
            Self::TooManyRequests(standing) => {
                response.insert_header((header::RETRY_AFTER, standing.more_in_seconds()));
            }
            Self::NotReady(_) | Self::Unavailable => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
            }
            _ => {}
        }
        let field = match self {
            Self::BadRequest { field, .. } => Some((*field).to_owned()),
            Self::UnknownParameter { name, .. } => Some(name.clone()),
            _ => None,
        };
        let scope = match self {
            Self::NotAllowed(scope) => Some(*scope),
            _ => None,
        };
        let exceeded = match self {
            Self::TooManyRequests(standing) => Some(standing),
            _ => None,
        };
        let (r#type, title) = exceeded.map_or(("about:blank", reason(status)), |_| QUOTA_EXCEEDED);
        let mut response = response.json(Problem {
            r#type,
            title,
            status: status.as_u16(),
            detail: self.to_string(),
            field,
            scope,
            violated_policies: exceeded.map(|standing| [standing.policy()]),
        });
        if let Some(standing) = exceeded {
            standing.tell(response.headers_mut());
        }
        response
    }
}

/// Wraps all routes: an error that is not yet a problem becomes one, and a browser is told [what it must not
/// do](Posture). Whoever would wait too long is told to try again.
pub async fn envelope(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    answered_within(ANSWERED_WITHIN, request, next).await
}

/// The same with another deadline.
pub(super) async fn answered_within(
    patience: Duration,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let posture = Posture::of(request.request());
    let too_late = |_| Err(ApiError::unavailable("no answer in time").into());
    match timeout(patience, next.call(request)).await.unwrap_or_else(too_late) {
        Ok(answer) => {
            let (request, response) = answer.map_into_boxed_body().into_parts();
            Ok(ServiceResponse::new(request, enclosed(response, posture)))
        }
        // The request is gone, so the answer goes up with the error.
        Err(error) => {
            let response = enclosed(error.error_response(), posture);
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// What every answer is made to be.
fn enclosed(mut response: HttpResponse, posture: Posture) -> HttpResponse {
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == CONTENT_TYPE);
    if (status.is_client_error() || status.is_server_error()) && !is_problem {
        if let Some(cause) = response.error().filter(|_| status.is_server_error()) {
            tracing::error!(%cause, "request failed");
        }
        // A 426 says what is needed, and a body that is too large was counted.
        let kept = [header::UPGRADE, header::SEC_WEBSOCKET_VERSION, RATE_LIMIT, RATE_LIMIT_POLICY]
            .map(|name| response.headers().get(&name).cloned().map(|value| (name, value)));
        response = ApiError::from_status(status).error_response();
        for (name, value) in kept.into_iter().flatten() {
            response.headers_mut().insert(name, value);
        }
    }
    posture.tell(response.headers_mut());
    response
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}
