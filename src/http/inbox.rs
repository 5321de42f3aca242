//! `GET /api/inbox`: what callers left for the staff, newest first. `POST /api/inbox/{id}/done`: somebody has
//! dealt with it. `POST /api/inbox/{id}/reopen`: that was a mistake. `GET /api/inbox/{id}/recording`: what a
//! caller said.

use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::db::{Inbox, InboxCounts, InboxCursor, InboxRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::audit::{self, Deed};
use super::call_logs::query::{self, Parameters, digits};
use super::openapi::parameters::{InboxParameters, InboxPath};
use super::pieces::Pieces;
use super::problem::ApiError;
use super::worker::Kind;
use crate::app::App;

/// Items of one answer.
const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 200;
pub(super) const PARAMETERS: [&str; 3] = ["status", "cursor", "pageSize"];

const NO_TWILIO: ApiError = ApiError::Conflict(
    "recordings are at Twilio, and this process has no way to it: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
);

/// What `GET /api/inbox` answers.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InboxPage)]
pub(crate) struct Page {
    items: Vec<InboxRow>,
    /// Over all pages, whatever is asked for.
    #[serde(flatten)]
    counts: InboxCounts,
    /// Null on the last page.
    next_cursor: Option<String>,
}

/// What `GET /api/inbox` asks.
#[derive(Debug, PartialEq)]
struct Asked {
    is_done: Option<bool>,
    after: Option<InboxCursor>,
    limit: u32,
}

impl Asked {
    fn of(query_string: &str) -> Result<Self, ApiError> {
        let given = Parameters::of(query_string, &PARAMETERS)?;
        let is_done = given.parsed("status", "must be `open`, `done` or `all`", |text| match text {
            "open" => Some(Some(false)),
            "done" => Some(Some(true)),
            "all" => Some(None),
            _ => None,
        })?;
        let after = given.parsed("cursor", "must be a `nextCursor` of this API", |text| text.parse().ok())?;
        let limit = given.parsed("pageSize", "must be a whole number from 1 to 200", |text| {
            digits(text).filter(|limit| (1..=LARGEST_PAGE).contains(limit))
        })?;
        Ok(Self { is_done: is_done.unwrap_or(Some(false)), after, limit: limit.unwrap_or(DEFAULT_PAGE) })
    }

    async fn read(&self, inbox: &Inbox) -> Result<Page, ApiError> {
        // One more says whether there is a next page.
        let found = inbox.page(self.after, (self.limit + 1).min(LARGEST_PAGE), self.is_done).await;
        let counts = inbox.counts().await.map_err(ApiError::unavailable)?;
        Ok(self.page(found.map_err(ApiError::unavailable)?, counts))
    }

    fn page(&self, mut items: Vec<InboxRow>, counts: InboxCounts) -> Page {
        // The largest page is asked without one more: its next page may be empty.
        let has_more = items.len() > self.limit as usize || items.len() == LARGEST_PAGE as usize;
        items.truncate(self.limit as usize);
        let last = items.last().filter(|_| has_more);
        let next_cursor = last.map(|last| InboxCursor::after(last).to_string());
        Page { items, counts, next_cursor }
    }
}

/// The newest items first.
#[utoipa::path(
    get,
    path = "/api/inbox",
    operation_id = "inbox",
    tag = "inbox",
    summary = "What callers left for the staff, newest first",
    description = "Messages, voicemails, urgent flags and call-backs; by default those that are open.",
    params(InboxParameters),
    responses(
        (status = 200, description = "A page of the inbox", body = Page),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn list(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (inbox, asked) = (app.db.accounts().inbox(), request.query_string().to_owned());
    let page = app.api.run(Kind::Query, async move || {
        let page = Asked::of(&asked)?.read(&inbox).await?;
        Pieces::of_json(&page).map_err(ApiError::unavailable)
    });
    Ok(page.await??.into_json())
}

/// Whoever marks first is named; a later mark changes nothing.
#[utoipa::path(
    post,
    path = "/api/inbox/{id}/done",
    operation_id = "inboxDone",
    tag = "inbox",
    summary = "Somebody has dealt with an item",
    description = "An item that is done stays as it is, with whoever marked it first. An urgent item is no \
                   longer told to the person on duty. The audit names who did it.",
    params(InboxPath),
    responses(
        (status = 200, description = "The item as it is now", body = InboxRow),
        (status = 404, description = "There is no such item"),
    ),
)]
pub async fn done(app: Data<App>, id: Path<String>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    mark(&app, &id, &request, "inbox-done", async |inbox, id, who| inbox.mark(id, who).await).await
}

/// The mark is taken back, whoever made it.
#[utoipa::path(
    post,
    path = "/api/inbox/{id}/reopen",
    operation_id = "inboxReopen",
    tag = "inbox",
    summary = "An item is not done after all",
    description = "The mark is taken back, whoever made it. The audit names who did it.",
    params(InboxPath),
    responses(
        (status = 200, description = "The item as it is now", body = InboxRow),
        (status = 404, description = "There is no such item"),
    ),
)]
pub async fn reopen(
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    mark(&app, &id, &request, "inbox-reopened", async |inbox, id, _| inbox.unmark(id).await).await
}

/// Nobody hears it of whom the audit does not know. Twilio is asked with our credentials, which the browser
/// does not have.
#[utoipa::path(
    get,
    path = "/api/inbox/{id}/recording",
    operation_id = "inboxRecording",
    tag = "inbox",
    summary = "The recording of a voicemail, as WAV",
    description = "Fetched from Twilio, at most 8 MiB. The audit names who opened it.",
    params(InboxPath),
    responses(
        (status = 200, description = "The audio", content_type = "audio/wav", body = Vec<u8>),
        (status = 404, description = "There is no such item, or it has no recording, or that is deleted"),
        (status = 409, description = "The process has no way to Twilio's REST API: `TWILIO_ACCOUNT_SID` is not set"),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn recording(
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let (number, inbox) = (id_of(&id)?, app.db.accounts().inbox());
    let twilio = app.settings.twilio.api().map_err(ApiError::unavailable)?.ok_or(NO_TWILIO)?;
    let audio = app.api.run(Kind::Export, async move || {
        let item = inbox.item(number).await.map_err(ApiError::unavailable)?.ok_or(ApiError::NotFound)?;
        let sid = item.recording_sid.and_then(|sid| sid.parse().ok()).ok_or(ApiError::NotFound)?;
        let audio = twilio.recording_audio(sid).await.map_err(ApiError::unavailable)?;
        Ok::<_, ApiError>(Pieces::from(Bytes::from(audio.ok_or(ApiError::NotFound)?)))
    });
    let audio = audio.await??;
    let opened = Deed { action: "recording-opened", object: Some(&id), outcome: "ok" };
    audit::must(&app, &request, opened).await?;
    Ok(HttpResponse::Ok().content_type("audio/wav").body(audio))
}

async fn mark(
    app: &App,
    id: &str,
    request: &HttpRequest,
    action: &'static str,
    mark: impl AsyncFnOnce(&Inbox, i64, &str) -> Result<Option<InboxRow>, actors::db::DbError>,
) -> Result<HttpResponse, ApiError> {
    query::only(request.query_string(), &[])?;
    let number = id_of(id)?;
    let entry = audit::entry(app, request, &Deed { action, object: Some(id), outcome: "ok" });
    let item = mark(&app.db.accounts().inbox(), number, &entry.who).await.map_err(ApiError::unavailable)?;
    let item = item.ok_or(ApiError::NotFound)?;
    audit::keep(app, entry).await;
    Ok(HttpResponse::Ok().json(item))
}

fn id_of(text: &str) -> Result<i64, ApiError> {
    digits(text).ok_or(ApiError::NotFound)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn row(id: i64) -> InboxRow {
        InboxRow {
            id,
            kind: "message".to_owned(),
            call_sid: String::new(),
            at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            from: None,
            name: None,
            text: String::new(),
            language: None,
            urgent: false,
            outcome: None,
            recording_sid: None,
            duration_seconds: None,
            done_at: None,
            done_by: None,
        }
    }

    #[test]
    fn the_inbox_is_asked_by_status_in_pages_and_shows_what_is_open_by_default() {
        let usual = Asked { is_done: Some(false), after: None, limit: 50 };
        assert_eq!(Asked::of("").ok(), Some(usual));
        let after = "1800000000000000-7".parse().ok();
        let asked = Asked { is_done: None, after, limit: 200 };
        assert_eq!(Asked::of("status=all&cursor=1800000000000000-7&pageSize=200").ok(), Some(asked));
        assert_eq!(Asked::of("status=done").ok().unwrap().is_done, Some(true));
        for wrong in ["status=new", "cursor=7", "pageSize=0", "pageSize=201", "page=1"] {
            assert!(Asked::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_is_a_next_page_where_there_is_more() {
        let counts = InboxCounts { open: 3, open_urgent: 1 };
        let page = |limit, rows: i64| {
            let asked = Asked { is_done: None, after: None, limit };
            let page = asked.page((0..rows).map(row).collect(), counts);
            (page.items.len(), page.next_cursor)
        };
        assert_eq!(page(2, 3), (2, Some("1800000000000000-1".to_owned())));
        assert_eq!(page(2, 2), (2, None));
        assert_eq!(page(200, 199), (199, None));
        assert_eq!(page(200, 200), (200, Some("1800000000000000-199".to_owned())));
    }

    #[test]
    fn an_id_is_a_number() {
        assert_eq!(id_of("17").ok(), Some(17));
        for other in ["", "x", "-1", "+1", "99999999999999999999"] {
            assert!(id_of(other).is_err(), "{other}");
        }
    }
}
