//! What Twilio charges for a call: columns of table `calls`, asked for after its end.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use tracing::Instrument as _;
use utoipa::ToSchema;

use super::schema::calls;
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::handles::Operations;
use crate::db::spans;
use crate::wire::twilio::sid::CallSid;

/// A job that waits longer than this asks again at its next run.
const DEADLINE: Duration = Duration::from_secs(5);

/// What Twilio says of a call that is over; what it does not know yet is null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Queryable, Selectable, AsChangeset, ToSchema)]
#[diesel(table_name = calls, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct TwilioBill {
    #[serde(rename = "durationSeconds")]
    pub twilio_duration_seconds: Option<i32>,
    /// In whole units of the currency; a charge is negative.
    #[serde(rename = "price")]
    pub twilio_price: Option<f64>,
    /// ISO 4217, such as `USD`.
    #[serde(rename = "priceUnit")]
    pub twilio_price_unit: Option<String>,
}

impl Operations {
    /// Calls whose price is to be asked for, the earliest ended first, within 5 s: ended 3 minutes to 24
    /// hours ago, and not asked for since half of that time. So one is asked for after 3, 6, 12, … minutes,
    /// ten times in all.
    pub async fn unpriced_calls(&self, most: u32) -> Result<Vec<CallSid>, DbError> {
        self.0
            .shared
            .ask("unpriced_calls", DEADLINE, async |connection| Ok(unpriced(connection, most).await?))
            .await
    }

    /// Writes what Twilio says of a call, or only that it was asked; within 5 s. What is not known changes
    /// nothing.
    pub async fn bill(&self, call_sid: CallSid, bill: Option<&TwilioBill>) -> Result<(), DbError> {
        self.0
            .shared
            .ask("bill", DEADLINE, async |connection| Ok(write(connection, call_sid, bill).await?))
            .instrument(spans::query("bill", call_sid))
            .await
    }
}

async fn unpriced(connection: &mut Connection, most: u32) -> QueryResult<Vec<CallSid>> {
    #[derive(QueryableByName)]
    #[diesel(check_for_backend(diesel::pg::Pg))]
    struct Unpriced {
        #[diesel(sql_type = Text)]
        call_sid: String,
    }

    let due = "SELECT call_sid FROM calls
        WHERE twilio_price IS NULL AND ended_at > now() - interval '24 h' AND ended_at <= now() - interval '3 min'
            AND (twilio_asked_at IS NULL OR now() - ended_at >= 2 * (twilio_asked_at - ended_at))
        ORDER BY ended_at LIMIT $1";
    let found: Vec<Unpriced> =
        diesel::sql_query(due).bind::<BigInt, _>(i64::from(most)).load(connection).await?;
    // What is not a SID is not in the table: its CHECK sees to that.
    Ok(found.into_iter().filter_map(|call| call.call_sid.parse().ok()).collect())
}

async fn write(connection: &mut Connection, call_sid: CallSid, bill: Option<&TwilioBill>) -> QueryResult<()> {
    let asked = calls::twilio_asked_at.eq(diesel::dsl::now);
    let bill = bill.map(|bill| TwilioBill {
        twilio_price_unit: bill.twilio_price_unit.as_deref().map(|unit| text(unit).into_owned()),
        ..bill.clone()
    });
    diesel::update(calls::table.find(call_sid.as_str())).set((asked, bill)).execute(connection).await?;
    Ok(())
}
