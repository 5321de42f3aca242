//! Table `recordings`: recordings of calls and conferences, as Twilio's status callbacks tell (reference:
//! twilio.md section 6.5). Each statement merges, so that order and repetition do not matter.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Integer, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema::{conference_participants, recordings};
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::db::connect::statement::Statement;
use crate::db::webhooks::Webhook;
use crate::wire::twilio::sid::CallSid;
use crate::wire::twilio::time::timestamp;

/// The words of a status (reference: "Participants create knows more events"), those further on later. One
/// that we do not know is before all of them.
const STATUSES: [&[&str]; 5] = [
    &["started", "in-progress"],
    &["paused", "resumed"],
    &["stopped"],
    &["absent", "failed"],
    &["completed"],
];
/// These are not to be heard.
const UNHEARD: &str = "('absent', 'failed')";

/// A recording as a call's log shows it. What is not known is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable, ToSchema)]
#[diesel(table_name = recordings, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct LoggedRecording {
    pub recording_sid: String,
    /// Twilio's word.
    pub status: String,
    /// Without its extension.
    pub url: Option<String>,
    pub duration_seconds: Option<i32>,
    pub channels: Option<i32>,
    pub source: Option<String>,
    pub track: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    /// Not null if it is of a conference.
    pub conference_sid: Option<String>,
    /// Not null if it is deleted, here and at Twilio.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// What the callback says of the recording.
pub(in crate::db) fn write(webhook: &Webhook, recording_sid: &str) -> QueryResult<Statement> {
    let status = webhook.parameter("RecordingStatus").unwrap_or("unknown");
    let number = |name| webhook.parameter(name).and_then(|number| number.parse::<i32>().ok());
    let word = |name| webhook.parameter(name).map(text);
    Statement::of(
        &sql_query(
            "INSERT INTO recordings AS known
                 (recording_sid, call_sid, conference_sid, status, progress, url, duration_seconds, channels, source,
                  track, started_at, first_event_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (recording_sid) DO UPDATE SET
                 call_sid = GREATEST(known.call_sid, excluded.call_sid),
                 conference_sid = GREATEST(known.conference_sid, excluded.conference_sid),
                 status = CASE WHEN (excluded.progress, excluded.status) > (known.progress, known.status)
                     THEN excluded.status ELSE known.status END,
                 progress = GREATEST(known.progress, excluded.progress),
                 url = GREATEST(known.url, excluded.url),
                 duration_seconds = GREATEST(known.duration_seconds, excluded.duration_seconds),
                 channels = GREATEST(known.channels, excluded.channels),
                 source = GREATEST(known.source, excluded.source),
                 track = GREATEST(known.track, excluded.track),
                 started_at = LEAST(known.started_at, excluded.started_at),
                 first_event_at = LEAST(known.first_event_at, excluded.first_event_at)",
        )
        .bind::<Text, _>(text(recording_sid))
        .bind::<Nullable<Text>, _>(word("CallSid"))
        .bind::<Nullable<Text>, _>(word("ConferenceSid"))
        .bind::<Text, _>(text(status))
        .bind::<SmallInt, _>(progress(status))
        .bind::<Nullable<Text>, _>(word("RecordingUrl"))
        .bind::<Nullable<Integer>, _>(number("RecordingDuration").filter(|seconds| *seconds >= 0))
        .bind::<Nullable<Integer>, _>(number("RecordingChannels"))
        .bind::<Nullable<Text>, _>(word("RecordingSource"))
        .bind::<Nullable<Text>, _>(word("RecordingTrack"))
        .bind::<Nullable<Timestamptz>, _>(webhook.parameter("RecordingStartTime").and_then(timestamp))
        .bind::<Timestamptz, _>(webhook.at()),
    )
}

/// Lets others who are about to count the call's recordings wait, and us for them: a count sees what was
/// written before its own statement only.
pub(in crate::db) fn lock_call(call_sid: &str) -> QueryResult<Statement> {
    let lock = "SELECT FROM calls WHERE call_sid = $1 FOR NO KEY UPDATE";
    Statement::of(&sql_query(lock).bind::<Text, _>(text(call_sid)))
}

/// Lets the call's row, which is [locked](lock_call), say how many there are to be heard.
pub(in crate::db) fn count(call_sid: &str) -> QueryResult<Statement> {
    Statement::of(
        &sql_query(format!(
            "UPDATE calls SET recordings =
                 (SELECT count(*) FROM recordings
                  WHERE call_sid = $1 AND status NOT IN {UNHEARD} AND deleted_at IS NULL)
             WHERE call_sid = $1"
        ))
        .bind::<Text, _>(text(call_sid)),
    )
}

fn progress(status: &str) -> i16 {
    let at = STATUSES.iter().position(|words| words.contains(&status));
    at.map_or(0, |at| at as i16 + 1)
}

/// The call's recordings and those of the conferences that it was in, in order; `limit` at most.
pub(in crate::db) async fn of_call(
    connection: &mut Connection,
    call_sid: &CallSid,
    limit: i64,
) -> QueryResult<Vec<LoggedRecording>> {
    let its_conferences = conference_participants::table
        .filter(conference_participants::call_sid.eq(call_sid.as_str()))
        .select(conference_participants::conference_sid.nullable());
    recordings::table
        .filter(
            recordings::call_sid.eq(call_sid.as_str()).or(recordings::conference_sid.eq_any(its_conferences)),
        )
        .order((recordings::first_event_at, recordings::recording_sid))
        .limit(limit)
        .select(LoggedRecording::as_select())
        .load(connection)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_further_on_has_a_higher_number() {
        let words = ["never-heard-of", "in-progress", "paused", "stopped", "absent", "completed"];
        assert!(words.map(progress).is_sorted_by(|a, b| a < b));
    }
}
