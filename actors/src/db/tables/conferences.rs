//! Tables `conferences` and `conference_participants`: a person and a caller together, as Twilio's events
//! tell (reference: twilio.md section 6.3).
//!
//! Each statement merges: the least, or the greatest, of what is there and what comes. So order does not
//! matter, nor does it matter how often an event is written.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Jsonb, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::schema::{conference_participants, conferences};
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::db::connect::statement::Statement;
use crate::db::webhooks::{self, Webhook};
use crate::wire::twilio::sid::CallSid;

/// A conference shows so many events at most: its last.
const MOST_EVENTS: i64 = 1_000;

/// A conference as a call's log shows it. A time not known is null.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedConference {
    pub conference_sid: String,
    pub friendly_name: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Twilio's word.
    pub end_reason: Option<String>,
    pub ended_by_call_sid: Option<String>,
    pub participants: Vec<LoggedParticipant>,
    pub events: Vec<ConferenceEvent>,
}

/// A leg that is, or was, in the conference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedParticipant {
    pub call_sid: String,
    pub label: Option<String>,
    /// For the first time.
    pub joined_at: Option<DateTime<Utc>>,
    /// For the last time; null while it is there.
    pub left_at: Option<DateTime<Utc>>,
    /// Twilio's word.
    pub leave_reason: Option<String>,
    pub muted: bool,
    pub on_hold: bool,
    pub coaching: bool,
}

/// Something that happened in the conference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConferenceEvent {
    pub at: DateTime<Utc>,
    /// Twilio's word, known to us or not.
    pub event: String,
    pub call_sid: Option<String>,
}

/// What the event says of the conference.
pub(in crate::db) fn write(webhook: &Webhook, conference_sid: &str) -> QueryResult<Statement> {
    let event = webhook.parameter("StatusCallbackEvent");
    let when = |name| (event == Some(name)).then(|| webhook.at());
    let ended_at = when("conference-end");
    let of_the_end = |name| ended_at.and_then(|_| webhook.parameter(name)).map(text);
    Statement::of(
        &sql_query(
            "INSERT INTO conferences AS known
                 (conference_sid, friendly_name, first_event_at, started_at, ended_at, end_reason, ended_by_call_sid)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (conference_sid) DO UPDATE SET
                 friendly_name = GREATEST(known.friendly_name, excluded.friendly_name),
                 first_event_at = LEAST(known.first_event_at, excluded.first_event_at),
                 started_at = LEAST(known.started_at, excluded.started_at),
                 ended_at = LEAST(known.ended_at, excluded.ended_at),
                 end_reason = GREATEST(known.end_reason, excluded.end_reason),
                 ended_by_call_sid = GREATEST(known.ended_by_call_sid, excluded.ended_by_call_sid)",
        )
        .bind::<Text, _>(text(conference_sid))
        .bind::<Nullable<Text>, _>(webhook.parameter("FriendlyName").map(text))
        .bind::<Timestamptz, _>(webhook.at())
        .bind::<Nullable<Timestamptz>, _>(when("conference-start"))
        .bind::<Nullable<Timestamptz>, _>(ended_at)
        .bind::<Nullable<Text>, _>(of_the_end("ReasonConferenceEnded"))
        .bind::<Nullable<Text>, _>(of_the_end("CallSidEndingConference")),
    )
}

/// What the event says of one of its participants.
pub(in crate::db) fn write_participant(
    webhook: &Webhook,
    conference_sid: &str,
    call_sid: &str,
) -> QueryResult<Statement> {
    let event = webhook.parameter("StatusCallbackEvent").unwrap_or_default();
    let sequence = webhook.parameter("SequenceNumber").and_then(|number| number.parse::<i64>().ok());
    let stamp = (sequence.unwrap_or(0), webhook.at().timestamp_millis());
    let is_set = |name| webhook.parameter(name) == Some("true");
    let joined_at = (event == "participant-join").then(|| webhook.at());
    let presence = match event {
        "participant-join" => Some(json!([stamp.0, stamp.1, true, null])),
        "participant-leave" => {
            Some(json!([stamp.0, stamp.1, false, webhook.parameter("ReasonParticipantLeft").map(text)]))
        }
        _ => None,
    };
    let are_told = webhook.parameter("Muted").is_some();
    let flags =
        are_told.then(|| json!([stamp.0, stamp.1, is_set("Muted"), is_set("Hold"), is_set("Coaching")]));
    Statement::of(
        &sql_query(
            "INSERT INTO conference_participants AS known
                 (conference_sid, call_sid, label, joined_at, presence, flags)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (conference_sid, call_sid) DO UPDATE SET
                 label = GREATEST(known.label, excluded.label),
                 joined_at = LEAST(known.joined_at, excluded.joined_at),
                 presence = GREATEST(known.presence, excluded.presence),
                 flags = GREATEST(known.flags, excluded.flags)",
        )
        .bind::<Text, _>(text(conference_sid))
        .bind::<Text, _>(text(call_sid))
        .bind::<Nullable<Text>, _>(webhook.parameter("ParticipantLabel").map(text))
        .bind::<Nullable<Timestamptz>, _>(joined_at)
        .bind::<Nullable<Jsonb>, _>(presence)
        .bind::<Nullable<Jsonb>, _>(flags),
    )
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = conference_participants, check_for_backend(diesel::pg::Pg))]
struct ParticipantRow {
    call_sid: String,
    label: Option<String>,
    joined_at: Option<DateTime<Utc>>,
    presence: Option<Value>,
    flags: Option<Value>,
}

impl From<ParticipantRow> for LoggedParticipant {
    fn from(row: ParticipantRow) -> Self {
        let (presence, flags) = (row.presence.unwrap_or_default(), row.flags.unwrap_or_default());
        let is_gone = presence[2] == false;
        let at = presence[1].as_i64().and_then(DateTime::from_timestamp_millis);
        let is_set = |index: usize| flags[index] == true;
        Self {
            call_sid: row.call_sid,
            label: row.label,
            joined_at: row.joined_at,
            left_at: at.filter(|_| is_gone),
            leave_reason: presence[3].as_str().map(str::to_owned),
            muted: is_set(2),
            on_hold: is_set(3),
            coaching: is_set(4),
        }
    }
}

/// The last conference that the call was in.
pub(in crate::db) async fn of_call(
    connection: &mut Connection,
    call_sid: &CallSid,
) -> QueryResult<Option<LoggedConference>> {
    type Row = (
        String,
        Option<String>,
        Option<DateTime<Utc>>,
        Option<DateTime<Utc>>,
        Option<String>,
        Option<String>,
    );

    let its = conference_participants::table
        .filter(conference_participants::call_sid.eq(call_sid.as_str()))
        .select(conference_participants::conference_sid);
    let row: Option<Row> = conferences::table
        .filter(conferences::conference_sid.eq_any(its))
        .order(conferences::first_event_at.desc())
        .select((
            conferences::conference_sid,
            conferences::friendly_name,
            conferences::started_at,
            conferences::ended_at,
            conferences::end_reason,
            conferences::ended_by_call_sid,
        ))
        .first(connection)
        .await
        .optional()?;
    let Some((conference_sid, friendly_name, started_at, ended_at, end_reason, ended_by_call_sid)) = row
    else {
        return Ok(None);
    };
    let participants: Vec<ParticipantRow> = conference_participants::table
        .filter(conference_participants::conference_sid.eq(&conference_sid))
        .order((conference_participants::joined_at, conference_participants::call_sid))
        .select(ParticipantRow::as_select())
        .load(connection)
        .await?;
    let events = webhooks::of_conference(connection, &conference_sid, MOST_EVENTS).await?;
    let event = |(at, body): (DateTime<Utc>, Value)| {
        let word = |name| webhooks::parameter(&body, name).map(str::to_owned);
        ConferenceEvent {
            at,
            event: word("StatusCallbackEvent").unwrap_or_default(),
            call_sid: word("CallSid"),
        }
    };
    Ok(Some(LoggedConference {
        conference_sid,
        friendly_name,
        started_at,
        ended_at,
        end_reason,
        ended_by_call_sid,
        participants: participants.into_iter().map(LoggedParticipant::from).collect(),
        events: events.into_iter().map(event).collect(),
    }))
}
