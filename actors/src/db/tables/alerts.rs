//! Tables `alerts` and `alert_notices`: what was wrong and when, who takes care of it, and what was told of
//! it.

use std::time::Duration;

use call_control::alerts::is_local;
use chrono::{DateTime, Utc};
use diesel::dsl::{exists, now};
use diesel::prelude::*;
use diesel::sql_types::{Double, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use super::instances::gone_after;
use super::schema::{alerts, instances};
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;

/// A page has no more alerts.
const LARGEST_PAGE: u32 = 1_000;
/// An instance whose last heartbeat is older than this is gone. Its open alerts are cleared by others.
const GONE_AFTER: &str = "INTERVAL '1 hour'";

/// Something that is wrong, or was.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = alerts, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct AlertRow {
    /// Those of later alerts are greater.
    pub id: String,
    pub rule: String,
    pub instance: String,
    /// `warning` or `critical`.
    pub severity: String,
    pub raised_at: DateTime<Utc>,
    pub cleared_at: Option<DateTime<Utc>>,
    /// The value that decided it last.
    pub value: Option<f64>,
    pub text: String,
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// `user:NAME`, `token:NAME` or `cli:UNIX-USER`.
    pub acknowledged_by: Option<String>,
    /// When a person was told last.
    pub notified_at: Option<DateTime<Utc>>,
    /// How often.
    pub notifications: i32,
}

/// That somebody takes care of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Acknowledged {
    pub id: String,
    pub at: Option<DateTime<Utc>>,
    pub by: Option<String>,
}

/// Writes an alert as it is now. An acknowledgement is taken back only when a warning became critical.
pub(in crate::db) async fn store(connection: &mut Connection, row: &AlertRow) -> Result<(), DbError> {
    let upsert = "INSERT INTO alerts (id, rule, instance, severity, raised_at, cleared_at, value, text,
            acknowledged_at, acknowledged_by, notified_at, notifications)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, cleared_at = excluded.cleared_at,
            value = excluded.value, text = excluded.text, notified_at = excluded.notified_at,
            notifications = excluded.notifications,
            acknowledged_at = CASE WHEN alerts.severity = 'warning' AND excluded.severity = 'critical'
                THEN excluded.acknowledged_at
                ELSE coalesce(alerts.acknowledged_at, excluded.acknowledged_at) END,
            acknowledged_by = CASE WHEN alerts.severity = 'warning' AND excluded.severity = 'critical'
                THEN excluded.acknowledged_by
                ELSE coalesce(alerts.acknowledged_by, excluded.acknowledged_by) END";
    diesel::sql_query(upsert)
        .bind::<Text, _>(text(&row.id))
        .bind::<Text, _>(text(&row.rule))
        .bind::<Text, _>(text(&row.instance))
        .bind::<Text, _>(text(&row.severity))
        .bind::<Timestamptz, _>(row.raised_at)
        .bind::<Nullable<Timestamptz>, _>(row.cleared_at)
        .bind::<Nullable<Double>, _>(row.value)
        .bind::<Text, _>(text(&row.text))
        .bind::<Nullable<Timestamptz>, _>(row.acknowledged_at)
        .bind::<Nullable<Text>, _>(row.acknowledged_by.as_deref().map(text))
        .bind::<Nullable<Timestamptz>, _>(row.notified_at)
        .bind::<Integer, _>(row.notifications)
        .execute(connection)
        .await?;
    Ok(())
}

/// The open alerts of an instance.
pub(in crate::db) async fn open_of(
    connection: &mut Connection,
    instance: &str,
) -> Result<Vec<AlertRow>, DbError> {
    let open = alerts::table.filter(alerts::cleared_at.is_null().and(alerts::instance.eq(text(instance))));
    let newest = open.order(alerts::id.desc()).limit(LARGEST_PAGE.into());
    Ok(newest.select(AlertRow::as_select()).load(connection).await?)
}

/// The newest alerts, of those older than `before`, an identifier.
pub(in crate::db) async fn page(
    connection: &mut Connection,
    before: Option<&str>,
    limit: u32,
    is_open: Option<bool>,
) -> Result<Vec<AlertRow>, DbError> {
    let mut query = alerts::table.into_boxed::<diesel::pg::Pg>();
    if let Some(before) = before {
        query = query.filter(alerts::id.lt(text(before).into_owned()));
    }
    match is_open {
        Some(true) => query = query.filter(alerts::cleared_at.is_null()),
        Some(false) => query = query.filter(alerts::cleared_at.is_not_null()),
        None => {}
    }
    let newest = query.order(alerts::id.desc()).limit(limit.clamp(1, LARGEST_PAGE).into());
    Ok(newest.select(AlertRow::as_select()).load(connection).await?)
}

/// Acknowledges this open alert. If it is about what instances share, every open alert of its rule is
/// acknowledged: each instance has its own. None: there is no such alert, or it is over.
pub(in crate::db) async fn acknowledge(
    connection: &mut Connection,
    id: &str,
    who: &str,
) -> Result<Option<AlertRow>, DbError> {
    let found = alerts::table.find(text(id)).select(AlertRow::as_select());
    let found: Option<AlertRow> = found.first(connection).await.optional()?;
    let Some(row) = found.filter(|row| row.cleared_at.is_none()) else { return Ok(None) };
    let is_open = alerts::cleared_at.is_null().and(alerts::acknowledged_at.is_null());
    let acknowledged = (alerts::acknowledged_at.eq(now), alerts::acknowledged_by.eq(text(who)));
    if is_local(&row.rule) {
        let only = alerts::table.filter(alerts::id.eq(text(id)).and(is_open));
        diesel::update(only).set(acknowledged).execute(connection).await?;
    } else {
        let all = alerts::table.filter(alerts::rule.eq(text(&row.rule)).and(is_open));
        diesel::update(all).set(acknowledged).execute(connection).await?;
    }
    Ok(alerts::table.find(text(id)).select(AlertRow::as_select()).first(connection).await.optional()?)
}

/// Those of the alerts that somebody has acknowledged.
pub(in crate::db) async fn acknowledged(
    connection: &mut Connection,
    ids: &[String],
) -> Result<Vec<Acknowledged>, DbError> {
    let found = alerts::table.filter(alerts::id.eq_any(ids)).filter(alerts::acknowledged_at.is_not_null());
    let columns = (alerts::id, alerts::acknowledged_at, alerts::acknowledged_by);
    Ok(found.select(columns).load(connection).await?)
}

/// Whether this notice is ours to tell: no other instance has told it within `window`, nor this one within
/// `own_window`. A claim of the future is none: the database's clock was put back.
pub(in crate::db) async fn claim(
    connection: &mut Connection,
    rule: &str,
    kind: &str,
    instance: &str,
    window: Duration,
    own_window: Duration,
) -> Result<bool, DbError> {
    let claim = "INSERT INTO alert_notices (rule, kind, instance, told_at) VALUES ($1, $2, $3, now())
        ON CONFLICT (rule, kind) DO UPDATE SET told_at = now(), instance = excluded.instance
        WHERE alert_notices.told_at <= now() - make_interval(secs => $4)
            OR alert_notices.told_at > clock_timestamp()
            OR (alert_notices.instance = excluded.instance
                AND alert_notices.told_at <= now() - make_interval(secs => $5))";
    let claimed = diesel::sql_query(claim)
        .bind::<Text, _>(text(rule))
        .bind::<Text, _>(text(kind))
        .bind::<Text, _>(text(instance))
        .bind::<Double, _>(window.as_secs_f64())
        .bind::<Double, _>(own_window.as_secs_f64())
        .execute(connection)
        .await?;
    Ok(claimed > 0)
}

/// Gives a claim of this instance back: the notice reached nobody.
pub(in crate::db) async fn unclaim(
    connection: &mut Connection,
    rule: &str,
    kind: &str,
    instance: &str,
) -> Result<(), DbError> {
    let unclaim = "DELETE FROM alert_notices WHERE rule = $1 AND kind = $2 AND instance = $3";
    diesel::sql_query(unclaim)
        .bind::<Text, _>(text(rule))
        .bind::<Text, _>(text(kind))
        .bind::<Text, _>(text(instance))
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes the claim on a notice, whichever instance made it: a person was told that the alert is over.
pub(in crate::db) async fn release(
    connection: &mut Connection,
    rule: &str,
    kind: &str,
) -> Result<(), DbError> {
    diesel::sql_query("DELETE FROM alert_notices WHERE rule = $1 AND kind = $2")
        .bind::<Text, _>(text(rule))
        .bind::<Text, _>(text(kind))
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether an alert of this rule goes on at another instance that is alive. One that is gone ends nothing.
pub(in crate::db) async fn is_open_elsewhere(
    connection: &mut Connection,
    rule: &str,
    instance: &str,
) -> Result<bool, DbError> {
    let alive = instances::table
        .filter(instances::instance_id.eq(alerts::instance))
        .filter((instances::heartbeat_at + gone_after()).ge(now));
    let open = alerts::table
        .filter(alerts::rule.eq(text(rule)))
        .filter(exists(alive))
        .filter(alerts::instance.ne(text(instance)).and(alerts::cleared_at.is_null()));
    let count: i64 = open.count().get_result(connection).await?;
    Ok(count > 0)
}

/// Clears the alerts of instances that are gone, and forgets claims that are long over.
pub(in crate::db) async fn clear_of_gone(connection: &mut Connection) -> Result<usize, DbError> {
    let clear = format!(
        "UPDATE alerts SET cleared_at = now() WHERE cleared_at IS NULL AND raised_at < now() - {GONE_AFTER}
         AND NOT EXISTS (SELECT FROM instances WHERE instance_id = alerts.instance
             AND heartbeat_at > now() - {GONE_AFTER})"
    );
    let cleared = diesel::sql_query(clear).execute(connection).await?;
    let forget = "DELETE FROM alert_notices WHERE told_at < now() - INTERVAL '1 day'";
    diesel::sql_query(forget).execute(connection).await?;
    Ok(cleared)
}
