//! Who did what, and who opened what: entries of the audit, and `GET /api/audit`.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use actors::db::{AuditEntry, AuditFilter, AuditRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::identity;
use crate::app::App;
use crate::http::call_logs::query::{Parameters, digits, moment};
use crate::http::openapi::parameters::AuditParameters;
use crate::http::pieces::Pieces;
use crate::http::problem::ApiError;
use crate::http::worker::Kind;

/// Entries of one answer.
const DEFAULT_PAGE: u32 = 100;
pub(in crate::http) const LARGEST_PAGE: u32 = 1_000;
pub(in crate::http) const PARAMETERS: [&str; 7] =
    ["who", "action", "object", "since", "until", "cursor", "pageSize"];
/// In characters; no entry has a longer text.
pub(in crate::http) const LONGEST: usize = 200;

/// Something that is done over the API. What it was done to is a call or an account, never a secret.
pub struct Deed<'a> {
    pub action: &'static str,
    pub object: Option<&'a str>,
    pub outcome: &'static str,
}

/// Writes an entry; what it is about is not done without it.
///
/// # Errors
/// 503: it cannot be written.
pub async fn must(app: &App, request: &HttpRequest, deed: Deed<'_>) -> Result<(), ApiError> {
    let entry = entry(app, request, &deed);
    app.auth.accounts.audit(&entry).await.map_err(ApiError::unavailable)
}

/// Writes an entry about what is done already; one that cannot be written is in the log instead.
pub async fn note(app: &App, request: &HttpRequest, deed: Deed<'_>) {
    keep(app, entry(app, request, &deed)).await;
}

/// The same for an entry that was made before, where the request may be gone.
pub async fn keep(app: &App, entry: AuditEntry) {
    if let Err(error) = app.auth.accounts.audit(&entry).await {
        let AuditEntry { who, action, object, outcome, .. } = entry;
        let object = object.as_deref().unwrap_or_default();
        tracing::warn!(%error, who, action, object, outcome, "the audit has no entry of this");
    }
}

/// What is written of a deed.
pub fn entry(app: &App, request: &HttpRequest, deed: &Deed<'_>) -> AuditEntry {
    AuditEntry {
        who: identity(request).map_or_else(|| "nobody".to_owned(), |identity| identity.who()),
        client: Some(app.limits.address(request).to_string()),
        action: deed.action.to_owned(),
        object: deed.object.map(str::to_owned),
        outcome: deed.outcome.to_owned(),
    }
}

/// What `GET /api/audit` answers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditPage)]
pub(crate) struct Page {
    entries: Vec<AuditRow>,
    next_cursor: Option<String>,
}

/// What `GET /api/audit` asks.
#[derive(Debug, PartialEq)]
struct Asked {
    filter: AuditFilter,
    before: Option<i64>,
    limit: u32,
}

impl Asked {
    fn of(query_string: &str) -> Result<Self, ApiError> {
        let given = Parameters::of(query_string, &PARAMETERS)?;
        let text = |name| {
            given.parsed(name, "must have at most 200 characters", |text| {
                (text.chars().count() <= LONGEST).then(|| text.to_owned())
            })
        };
        let time = "must be a date or an RFC 3339 time";
        let filter = AuditFilter {
            who: text("who")?,
            action: text("action")?,
            object: text("object")?,
            since: given.parsed("since", time, |text| moment(text, 0))?,
            until: given.parsed("until", time, |text| moment(text, 1))?,
        };
        let before = given.parsed("cursor", "must be a `nextCursor` of this API", digits)?;
        let limit = given.parsed("pageSize", "must be a whole number from 1 to 1000", |text| {
            digits(text).filter(|limit| (1..=LARGEST_PAGE).contains(limit))
        })?;
        Ok(Self { filter, before, limit: limit.unwrap_or(DEFAULT_PAGE) })
    }
}

/// `GET /api/audit`: the newest entries first.
#[utoipa::path(
    get,
    path = "/api/audit",
    operation_id = "audit",
    tag = "accounts",
    summary = "Who did what, newest first",
    params(AuditParameters),
    responses(
        (status = 200, description = "A page of the audit", body = Page),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn list(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (accounts, asked) = (app.auth.accounts.clone(), request.query_string().to_owned());
    let page = app.api.run(Kind::Query, async move || {
        let Asked { filter, before, limit } = Asked::of(&asked)?;
        let entries = accounts.audit_page(before, limit, &filter).await.map_err(ApiError::unavailable)?;
        let is_full = entries.len() as u64 == u64::from(limit);
        let next_cursor = entries.last().filter(|_| is_full).map(|last| last.id.to_string());
        Pieces::of_json(&Page { entries, next_cursor }).map_err(ApiError::unavailable)
    });
    Ok(page.await??.into_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_is_asked_by_who_what_and_when_in_pages() {
        let all = Asked { filter: AuditFilter::default(), before: None, limit: 100 };
        assert_eq!(Asked::of("").ok(), Some(all));
        let asked =
            Asked::of("who=user%3Aanna&action=login&since=2026-11-29&cursor=17&pageSize=5").ok().unwrap();
        assert_eq!((asked.before, asked.limit), (Some(17), 5));
        assert_eq!(asked.filter.who.as_deref(), Some("user:anna"));
        assert_eq!(asked.filter.since.unwrap().to_rfc3339(), "2026-11-29T00:00:00+00:00");
        for wrong in
            ["pageSize=0", "pageSize=1001", "cursor=x", "cursor=-1", "cursor=%2B1", "since=then", "whom=anna"]
        {
            assert!(Asked::of(wrong).is_err(), "{wrong}");
        }
        assert!(Asked::of(&format!("who={}", "a".repeat(201))).is_err());
    }
}
