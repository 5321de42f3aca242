//! `GET /api/alerts`: what is wrong, here and on other instances. `POST /api/alerts/{id}/acknowledge`:
//! somebody takes care of it.
//!
//! The open alerts of this process are known while the database is away, and can be acknowledged then.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::alerts::{Board, is_local};
use actors::db::{AlertLog, AlertRow, DbError};
use chrono::Utc;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::audit::{self, Deed};
use super::call_logs::query::{self, Parameters, digits};
use super::openapi::parameters::{AlertParameters, AlertPath};
use super::pieces::Pieces;
use super::problem::ApiError;
use super::worker::Kind;
use crate::app::App;

/// Alerts of one answer.
const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1_000;
const PARAMETERS: [&str; 3] = ["status", "cursor", "pageSize"];
/// What an answer without the database lacks.
const MISSING: &str =
    "the database is unavailable: alerts of other instances, and those that are over, are missing";

/// What whoever acknowledges an alert is told while the database is away.
const KEPT: &str = "The acknowledgement is kept in memory, and holds for this process now. \
                    It is stored when the database is back.";

/// What an acknowledgement is answered with that is not stored yet.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AcknowledgementKept)]
pub(crate) struct KeptInMemory {
    /// Where it is, for a person.
    note: &'static str,
}

/// Where an acknowledgement is.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// In the database, or on its way there.
    Stored,
    /// In the memory of this process.
    InMemory,
    /// There is no such alert.
    Nowhere,
}

/// What `GET /api/alerts` answers.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlertPage)]
pub(crate) struct Page {
    alerts: Vec<AlertRow>,
    next_cursor: Option<String>,
    /// What is not in the list, and why; null where all is.
    missing: Option<&'static str>,
}

/// What `GET /api/alerts` asks.
#[derive(Debug, PartialEq)]
struct Asked {
    is_open: Option<bool>,
    before: Option<String>,
    limit: u32,
}

impl Asked {
    fn of(query_string: &str) -> Result<Self, ApiError> {
        let given = Parameters::of(query_string, &PARAMETERS)?;
        let is_open = given.parsed("status", "must be `open` or `cleared`", |text| match text {
            "open" => Some(true),
            "cleared" => Some(false),
            _ => None,
        })?;
        let before = given.parsed("cursor", "must be a `nextCursor` of this API", |text| {
            is_id(text).then(|| text.to_owned())
        })?;
        let limit = given.parsed("pageSize", "must be a whole number from 1 to 1000", |text| {
            digits(text).filter(|limit| (1..=LARGEST_PAGE).contains(limit))
        })?;
        Ok(Self { is_open, before, limit: limit.unwrap_or(DEFAULT_PAGE) })
    }
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The answer: what the database has, with what is open here as it is now.
fn page(
    asked: &Asked,
    found: Result<Vec<AlertRow>, DbError>,
    mut here: Vec<AlertRow>,
) -> Result<Page, ApiError> {
    let (is_first, wants_open) = (asked.before.is_none(), asked.is_open != Some(false));
    let limit = asked.limit as usize;
    let mut alerts = match found {
        Ok(alerts) => alerts,
        Err(_) if is_first && wants_open => {
            here.truncate(limit);
            return Ok(Page { alerts: here, next_cursor: None, missing: Some(MISSING) });
        }
        Err(error) => return Err(ApiError::unavailable(error)),
    };
    let is_full = alerts.len() >= limit;
    for row in here {
        match alerts.iter_mut().find(|alert| alert.id == row.id) {
            Some(alert) => *alert = row,
            None if is_first && wants_open => alerts.push(row),
            None => {}
        }
    }
    alerts.sort_by(|one, other| other.id.cmp(&one.id));
    alerts.truncate(limit);
    let next_cursor = alerts.last().filter(|_| is_full).map(|last| last.id.clone());
    Ok(Page { alerts, next_cursor, missing: None })
}

/// The newest alerts first.
#[utoipa::path(
    get,
    path = "/api/alerts",
    operation_id = "alerts",
    tag = "alerts",
    summary = "What is wrong, newest first",
    description = "While the database is away, the open alerts of this process; `missing` says so.",
    params(AlertParameters),
    responses(
        (status = 200, description = "A page of alerts", body = Page),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn list(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (log, board) = (app.db.accounts().alerts(), app.alerts.clone());
    let asked = request.query_string().to_owned();
    let page = app.api.run(Kind::Query, async move || {
        let asked = Asked::of(&asked)?;
        let found = log.page(asked.before.as_deref(), asked.limit, asked.is_open).await;
        Pieces::of_json(&page(&asked, found, board.open())?).map_err(ApiError::unavailable)
    });
    Ok(page.await??.into_json())
}

/// Every open alert of the same rule is acknowledged with it, unless the rule is about one process.
#[utoipa::path(
    post,
    path = "/api/alerts/{id}/acknowledge",
    operation_id = "acknowledgeAlert",
    tag = "alerts",
    summary = "Somebody takes care of an alert",
    description = "The alert is not told again, nor are alerts of other instances about the same shared thing. \
                   The audit names who did it.",
    params(AlertPath),
    responses(
        (status = 202, description = "The database is away: it is kept in memory", body = KeptInMemory,
            example = json!({"note": KEPT})),
        (status = 204, description = "It is acknowledged"),
        (status = 404, description = "There is no such alert"),
    ),
)]
pub async fn acknowledge(
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    if !is_id(&id) {
        return Err(ApiError::NotFound);
    }
    let deed = Deed { action: "alert-acknowledged", object: Some(&id), outcome: "ok" };
    let entry = audit::entry(&app, &request, &deed);
    let taken = take(&app.db.accounts().alerts(), &app.alerts, &id, &entry.who).await?;
    if taken == Taken::Nowhere {
        return Err(ApiError::NotFound);
    }
    audit::keep(&app, entry).await;
    Ok(match taken {
        Taken::InMemory => HttpResponse::Accepted().json(KeptInMemory { note: KEPT }),
        _ => HttpResponse::NoContent().finish(),
    })
}

/// Here at once, and in the database if it answers; what is open here is stored later otherwise.
async fn take(log: &AlertLog, board: &Board, id: &str, who: &str) -> Result<Taken, ApiError> {
    let is_here = board.acknowledge(id, who, Utc::now()).is_some();
    match log.acknowledge(id, who).await {
        Ok(Some(row)) => {
            if !is_local(&row.rule) {
                board.acknowledge_rule(&row.rule, who, Utc::now());
            }
            Ok(Taken::Stored)
        }
        Ok(None) if is_here => {
            board.share_later(id); // its row is stored within an interval
            Ok(Taken::Stored)
        }
        Ok(None) => Ok(Taken::Nowhere),
        Err(_) if is_here => {
            board.share_later(id);
            Ok(Taken::InMemory)
        }
        Err(error) => Err(ApiError::unavailable(error)),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn row(id: &str, value: f64) -> AlertRow {
        AlertRow {
            id: id.to_owned(),
            rule: "memory".to_owned(),
            instance: "a".to_owned(),
            severity: "warning".to_owned(),
            raised_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            cleared_at: None,
            value: Some(value),
            text: String::new(),
            acknowledged_at: None,
            acknowledged_by: None,
            notified_at: None,
            notifications: 0,
        }
    }

    fn shown(asked: &str, found: Result<Vec<AlertRow>, DbError>) -> Result<(Vec<String>, bool), ApiError> {
        let page = page(&Asked::of(asked)?, found, vec![row("c", 3.0), row("a", 1.0)])?;
        let told = |row: &AlertRow| format!("{}={}", row.id, row.value.unwrap_or_default());
        Ok((page.alerts.iter().map(told).collect(), page.missing.is_some()))
    }

    #[test]
    fn alerts_are_asked_by_status_in_pages() {
        let all = Asked { is_open: None, before: None, limit: 100 };
        assert_eq!(Asked::of("").ok(), Some(all));
        let asked = Asked { is_open: Some(true), before: Some("0a".to_owned()), limit: 5 };
        assert_eq!(Asked::of("status=open&cursor=0a&pageSize=5").ok(), Some(asked));
        for wrong in ["status=all", "cursor=x", "pageSize=0", "pageSize=1001", "page=1"] {
            assert!(Asked::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_open_here_is_shown_as_it_is_now() {
        let found = || Ok(vec![row("b", 2.0), row("a", 0.0)]);
        let told = |asked| shown(asked, found()).ok().unwrap().0;
        assert_eq!(told(""), ["c=3", "b=2", "a=1"]);
        assert_eq!(told("status=open&pageSize=2"), ["c=3", "b=2"]);
        assert_eq!(told("status=cleared"), ["b=2", "a=1"], "nothing open is added");
        assert_eq!(told("cursor=c"), ["b=2", "a=1"], "nothing new is added to a later page");
    }

    #[test]
    fn without_the_database_the_open_alerts_of_this_process_are_shown_and_what_is_missing_is_said() {
        let away = || Err(DbError::Unavailable("away".to_owned()));
        assert_eq!(shown("status=open", away()).ok(), Some((vec!["c=3".to_owned(), "a=1".to_owned()], true)));
        assert!(shown("status=cleared", away()).is_err());
        assert!(shown("cursor=c", away()).is_err());
    }
}
