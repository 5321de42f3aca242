//! What is logged, for some minutes.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{audited, read, whole};
use crate::app::App;
use crate::http::auth::audit::Deed;
use crate::http::call_logs::query;
use crate::http::problem::ApiError;
use crate::logging::level::{self, Logged, NotChanged};

const MINUTES: u32 = 15;
const MOST_MINUTES: u32 = 24 * 60;

/// What is logged now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLevel {
    /// As `RUST_LOG` would have it.
    filter: String,
    /// When the filter of the start holds again; null if it does.
    until: Option<DateTime<Utc>>,
}

impl LogLevel {
    pub(super) fn now() -> Option<Self> {
        level::logged().map(Into::into)
    }
}

impl From<Logged> for LogLevel {
    fn from(Logged { filter, until, .. }: Logged) -> Self {
        Self { filter, until }
    }
}

/// What `POST /api/ops/log-level` is sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WantedLogLevel)]
pub(crate) struct Wanted {
    /// `error`, `warn`, `info`, `debug`, or a filter as `RUST_LOG` has it.
    #[schema(min_length = 1, max_length = 500)]
    level: String,
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(minimum = 1, maximum = 1440)]
    minutes: Option<u32>,
}

/// `POST /api/ops/log-level`: another level, for some minutes.
#[utoipa::path(
    post,
    path = "/api/ops/log-level",
    operation_id = "setLogLevel",
    tag = "ops",
    summary = "Logs more or less, for some minutes",
    description = "`debug` is for the program itself, and a filter for whatever it names; none logs the values of queries.",
    request_body(content = Wanted, description = "For 15 minutes, or so many as it says, up to 1,440", example = json!({"level": "debug", "minutes": 5})),
    responses(
        (status = 200, description = "What is logged now", body = LogLevel),
        (status = 409, description = "This process does not log by a filter"),
    ),
)]
pub async fn set(app: Data<App>, request: HttpRequest, body: Bytes) -> Result<Json<LogLevel>, ApiError> {
    query::only(request.query_string(), &[])?;
    let Wanted { level, minutes } = read(&body, "must be JSON with the text `level`")?;
    let minutes = minutes.unwrap_or(MINUTES);
    if !(1..=MOST_MINUTES).contains(&minutes) {
        let wrong = "must be a whole number from 1 to 1440";
        return Err(ApiError::BadRequest { field: "minutes", wrong });
    }
    let lasts = Duration::from_secs(u64::from(minutes) * 60);
    let deed = Deed { action: "log-level-set", object: Some(&level), outcome: "ok" };
    let wanted = level.clone();
    let logged = audited(&app, &request, &deed, async move { change(&wanted, lasts) }).await?;
    tracing::info!(filter = logged.filter, minutes, "an operator has changed what is logged");
    Ok(Json(logged.into()))
}

/// The timer that ends the change starts with the change. A client that leaves stops neither.
fn change(wanted: &str, lasts: Duration) -> Result<Logged, ApiError> {
    let logged = level::change(wanted, lasts).map_err(|error| match error {
        NotChanged::BadFilter => {
            let wrong = "must be `error`, `warn`, `info`, `debug`, or a filter such as `info,actors=debug`";
            ApiError::BadRequest { field: "level", wrong }
        }
        NotChanged::NoLog => ApiError::Conflict("this process does not log by a filter"),
    })?;
    let number = logged.number;
    actix_rt::spawn(async move {
        actix_rt::time::sleep(lasts).await;
        level::back(number);
    });
    Ok(logged)
}
