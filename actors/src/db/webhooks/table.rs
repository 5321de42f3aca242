//! Table `webhooks`: stored, leased, done or dead.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Double, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde_json::Value;

use super::{Route, Webhook, parameter};
use crate::db::connect::connection::Connection;
use crate::db::connect::statement::Statement;
use crate::db::tables::schema::webhooks;
use crate::db::tables::text::{json, text};

/// Stores those whose key is not there yet, all in one statement.
pub(in crate::db) fn insert<'a>(
    letters: impl Iterator<Item = &'a Webhook> + Clone,
) -> QueryResult<Statement> {
    let optional = |value: &Option<String>| value.as_deref().map(|value| text(value).into_owned());
    Statement::of(
        &sql_query(
            "INSERT INTO webhooks (route, dedupe_key, call_sid, conference_sid, body, twilio_at, received_at)
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (dedupe_key) DO NOTHING",
        )
        .bind::<Array<Text>, _>(letters.clone().map(|letter| letter.route.as_str()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(letters.clone().map(|letter| text(&letter.dedupe_key)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(letters.clone().map(|l| optional(&l.call_sid)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(
            letters.clone().map(|l| optional(&l.conference_sid)).collect::<Vec<_>>(),
        )
        .bind::<Array<Jsonb>, _>(letters.clone().map(|letter| json(&letter.body)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Timestamptz>>, _>(letters.clone().map(|l| l.twilio_at).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(letters.map(|letter| letter.received_at).collect::<Vec<_>>()),
    )
}

/// A webhook that is ours to process for a while.
pub(super) struct Leased {
    pub(super) id: i64,
    /// This one included.
    pub(super) attempts: u32,
    pub(super) webhook: Webhook,
}

#[derive(QueryableByName)]
#[diesel(table_name = webhooks, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: i64,
    route: String,
    dedupe_key: String,
    call_sid: Option<String>,
    conference_sid: Option<String>,
    body: Value,
    twilio_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
    attempts: i32,
}

/// Takes at most `limit` that are due, the longest due first, for so long; nobody else gets them meanwhile.
pub(super) async fn lease(
    connection: &mut Connection,
    limit: i64,
    term: Duration,
) -> QueryResult<Vec<Leased>> {
    let rows: Vec<Row> = sql_query(
        "WITH due AS MATERIALIZED (
             SELECT id FROM webhooks WHERE state IN ('waiting', 'leased') AND due_at <= now()
             ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
         )
         UPDATE webhooks SET state = 'leased', attempts = attempts + 1, due_at = now() + make_interval(secs => $2)
         FROM due WHERE webhooks.id = due.id
         RETURNING webhooks.id, route, dedupe_key, call_sid, conference_sid, body, twilio_at, received_at, attempts",
    )
    .bind::<BigInt, _>(limit)
    .bind::<Double, _>(term.as_secs_f64())
    .load(connection)
    .await?;
    let leased = |row: Row| {
        let Row { id, attempts, dedupe_key, call_sid, conference_sid, body, twilio_at, received_at, .. } =
            row;
        let route = Route::of_word(&row.route)?; // the table's CHECK leaves no other
        let webhook = Webhook { route, dedupe_key, call_sid, conference_sid, body, twilio_at, received_at };
        Some(Leased { id, attempts: attempts.try_into().unwrap_or(0), webhook })
    };
    Ok(rows.into_iter().filter_map(leased).collect())
}

/// What comes after in the transaction need not be on the disk when it commits: should the server die, it is
/// done again.
pub(super) fn in_no_hurry() -> QueryResult<Statement> {
    Statement::of(&sql_query("SET LOCAL synchronous_commit TO off"))
}

/// They are processed.
pub(super) fn done(ids: &[i64]) -> QueryResult<Statement> {
    Statement::of(
        &sql_query(
            "UPDATE webhooks SET state = 'done', processed_at = now(), last_error = NULL WHERE id = ANY($1)",
        )
        .bind::<Array<BigInt>, _>(ids),
    )
}

/// It could not be processed: it waits for so long, or is dead after so many attempts.
pub(super) fn failed(id: i64, cause: &str, most_attempts: u32, pause: Duration) -> QueryResult<Statement> {
    Statement::of(
        &sql_query(
            "UPDATE webhooks SET state = CASE WHEN attempts >= $2 THEN 'dead' ELSE 'waiting' END,
                 due_at = now() + make_interval(secs => $3), last_error = $4
             WHERE id = $1 AND state = 'leased'",
        )
        .bind::<BigInt, _>(id)
        .bind::<Integer, _>(i32::try_from(most_attempts).unwrap_or(i32::MAX))
        .bind::<Double, _>(pause.as_secs_f64())
        .bind::<Text, _>(text(cause)),
    )
}

/// They could not be processed, which does not count as an attempt: they wait for so long.
pub(super) fn postponed(ids: &[i64], cause: &str, pause: Duration) -> QueryResult<Statement> {
    Statement::of(
        &sql_query(
            "UPDATE webhooks SET state = 'waiting', attempts = GREATEST(attempts - 1, 0),
                 due_at = now() + make_interval(secs => $2), last_error = $3
             WHERE id = ANY($1) AND state = 'leased'",
        )
        .bind::<Array<BigInt>, _>(ids)
        .bind::<Double, _>(pause.as_secs_f64())
        .bind::<Text, _>(text(cause)),
    )
}

/// The last `limit` of a conference, in the order in which they happened.
pub(in crate::db) async fn of_conference(
    connection: &mut Connection,
    conference_sid: &str,
    limit: i64,
) -> QueryResult<Vec<(DateTime<Utc>, Value)>> {
    type Row = (Option<DateTime<Utc>>, DateTime<Utc>, Value);

    let rows: Vec<Row> = webhooks::table
        .filter(webhooks::conference_sid.eq(conference_sid))
        .filter(webhooks::route.eq(Route::ConferenceEvents.as_str()))
        .order(webhooks::id.desc())
        .limit(limit)
        .select((webhooks::twilio_at, webhooks::received_at, webhooks::body))
        .load(connection)
        .await?;
    let sequence =
        |body: &Value| parameter(body, "SequenceNumber").and_then(|number| number.parse::<i64>().ok());
    let mut events: Vec<_> = rows
        .into_iter()
        .map(|(twilio_at, received_at, body)| (twilio_at.unwrap_or(received_at), body))
        .collect();
    events.sort_by_key(|(at, body)| (sequence(body), *at));
    Ok(events)
}
