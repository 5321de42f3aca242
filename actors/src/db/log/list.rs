//! Lists of calls: filtered, sorted, page after page.
//!
//! There is one way on: the calls after a place. A page by number is the one after the last call of the page
//! before; that call is found by skipping through an index alone, and if it is far in, remembered for a
//! while.

use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;

use super::places::{Known, Places};
use super::query::{CallFilter, CallQuery, Cursor, Place, Sort, SortKey, Start, Value};
use super::search::Found;
use crate::db::connect::connection::Connection;
use crate::db::tables::calls::{CallRow, CallSummary};
use crate::db::tables::schema::calls;
use crate::db::tables::text::text;

/// A query for calls, to be narrowed.
pub(super) type Calls<'a> = calls::BoxedQuery<'a, Pg>;

/// As the indexes have them.
const STARTED_AT: &str = "calls.started_at";
const DURATION: &str = "coalesce(calls.duration_seconds, -1)";
const COST: &str = "coalesce(calls.cost_usd, -1)";

/// The calls that pass the filter; those in which its words were said are `found`.
pub(super) fn matching<'a>(filter: &'a CallFilter, found: Option<&'a [String]>) -> Calls<'a> {
    let mut query = calls::table.into_boxed();
    if let Some(number) = &filter.from {
        query = match last_digits(number) {
            Some(pattern) => query.filter(calls::from_number.like(pattern)),
            None => query.filter(calls::from_number.eq(text(number))),
        };
    }
    if let Some(number) = &filter.to {
        query = match last_digits(number) {
            Some(pattern) => query.filter(calls::to_number.like(pattern)),
            None => query.filter(calls::to_number.eq(text(number))),
        };
    }
    if let Some(since) = filter.since {
        query = query.filter(calls::started_at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(calls::started_at.lt(until));
    }
    if let Some(outcome) = filter.outcome {
        query = query.filter(calls::outcome.eq(outcome.as_str()));
    }
    match filter.urgent {
        Some(true) => query = query.filter(calls::urgent), // as the index has it
        Some(false) => query = query.filter(diesel::dsl::not(calls::urgent)),
        None => {}
    }
    match filter.has_recording {
        Some(true) => query = query.filter(sql::<Bool>("calls.recordings > 0")), // the same
        Some(false) => query = query.filter(calls::recordings.eq(0)),
        None => {}
    }
    if let Some(found) = found {
        query = query.filter(calls::call_sid.eq_any(found));
    }
    query
}

/// The pattern of a number's last digits; none for a number that is whole, as it begins with a plus, or is no
/// number.
fn last_digits(number: &str) -> Option<String> {
    let is_part = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_part.then(|| format!("%{number}"))
}

/// Sorted, and from the place on.
fn sorted<'a>(query: Calls<'a>, sort: Sort, after: Option<Place>) -> Calls<'a> {
    macro_rules! by {
        ($key:expr, $of_type:ty, $kind:ident) => {{
            let key = || sql::<$of_type>($key);
            let query = match after {
                // Rows are compared as such, so that the index is entered at the very place, however many
                // calls have the value in common. Diesel has no such comparison.
                Some(Place { value: Value::$kind(value), call_sid }) => query.filter(
                    sql::<Bool>(&format!(
                        "({}, calls.call_sid) {} (",
                        $key,
                        if sort.descending { "<" } else { ">" }
                    ))
                    .bind::<$of_type, _>(value)
                    .sql(", ")
                    .bind::<Text, _>(call_sid.as_str().to_owned())
                    .sql(")"),
                ),
                _ => query,
            };
            if sort.descending {
                query.order((key().desc(), calls::call_sid.desc()))
            } else {
                query.order((key().asc(), calls::call_sid.asc()))
            }
        }};
    }
    match sort.key {
        SortKey::StartedAt => by!(STARTED_AT, Timestamptz, Time),
        SortKey::DurationSeconds => by!(DURATION, BigInt, Seconds),
        SortKey::CostUsd => by!(COST, Double, Usd),
    }
}

/// Some calls, and where the next begin, if there are any.
pub(super) struct Page {
    pub(super) calls: Vec<CallSummary>,
    pub(super) next: Option<Cursor>,
}

/// The page of `query` among the calls that were `found`.
pub(super) async fn page(
    connection: &mut Connection,
    query: &CallQuery,
    found: Option<&Found>,
    places: &Places,
) -> QueryResult<Page> {
    let (sort, number) = (query.start.sort(), query.start.page());
    let of_page = found.and_then(|found| found.of_page(query));
    let found = of_page.or(found.map(|found| &*found.call_sids));
    let after = match query.start {
        _ if of_page.is_some() => None,
        Start::After(cursor) => Some(cursor.after),
        Start::Page(0 | 1, _) => None,
        Start::Page(..) => match last_before(connection, query, found, places).await? {
            Some(place) => Some(place),
            None => return Ok(Page { calls: Vec::new(), next: None }),
        },
    };
    let size = query.page_size as usize;
    let one_more = i64::from(query.page_size) + 1;
    let rows: Vec<CallRow> = sorted(matching(&query.filter, found), sort, after)
        .limit(one_more)
        .select(CallRow::as_select())
        .load(connection)
        .await?;
    let goes_on = rows.len() > size;
    let calls: Vec<CallSummary> = rows.into_iter().take(size).map(CallRow::summary).collect();
    let last = calls.last().filter(|_| goes_on).and_then(|call| Place::of(call, sort.key));
    let next = last.map(|after| Cursor { sort, page: number.saturating_add(1), after });
    Ok(Page { calls, next })
}

/// The place of the last call before the page; none if the log does not go so far.
async fn last_before(
    connection: &mut Connection,
    query: &CallQuery,
    found: Option<&[String]>,
    places: &Places,
) -> QueryResult<Option<Place>> {
    let skipped = i64::from(query.start.page() - 1) * i64::from(query.page_size) - 1;
    let known = places.recall(query, skipped);
    if let Some(known) = known.filter(|known| known.skipped == skipped) {
        return Ok(Some(known.place));
    }
    let (after, rest) =
        known.map_or((None, skipped), |known| (Some(known.place), skipped - known.skipped - 1));
    let at = known.map_or_else(Instant::now, |known| known.at);
    let sort = query.start.sort();
    let behind = sorted(matching(&query.filter, found), sort, after).offset(rest).limit(1);
    let place = place_at(connection, behind, sort.key).await?;
    if let Some(place) = place {
        places.remember(query, Known { skipped, place, at });
    }
    Ok(place)
}

async fn place_at(connection: &mut Connection, query: Calls<'_>, key: SortKey) -> QueryResult<Option<Place>> {
    let place: Option<(Value, String)> = match key {
        SortKey::StartedAt => {
            let row = query.select((calls::started_at, calls::call_sid)).first(connection).await;
            row.optional()?.map(|(time, sid)| (Value::Time(time), sid))
        }
        SortKey::DurationSeconds => {
            let row = query.select((sql::<BigInt>(DURATION), calls::call_sid)).first(connection).await;
            row.optional()?.map(|(seconds, sid)| (Value::Seconds(seconds), sid))
        }
        SortKey::CostUsd => {
            let row = query.select((sql::<Double>(COST), calls::call_sid)).first(connection).await;
            row.optional()?.map(|(cost, sid)| (Value::Usd(cost), sid))
        }
    };
    Ok(place.and_then(|(value, sid)| Some(Place { value, call_sid: sid.parse().ok()? })))
}

#[cfg(test)]
mod tests {
    use diesel::debug_query;

    use super::*;

    #[test]
    fn a_number_without_a_plus_is_found_by_its_last_digits() {
        let sql = |from: &str| {
            let filter = CallFilter { from: Some(from.to_owned()), ..CallFilter::default() };
            debug_query::<Pg, _>(&matching(&filter, None).select(calls::call_sid)).to_string()
        };
        for (number, expected) in [
            ("4155550003", "LIKE $1) -- binds: [\"%4155550003\"]"),
            ("+14155550003", "= $1) -- binds: [\"+14155550003\"]"),
            ("sip:4155550003@pbx.example.com", "= $1) -- binds: [\"sip:4155550003@pbx.example.com\"]"),
            ("anonymous", "= $1) -- binds: [\"anonymous\"]"),
        ] {
            assert!(sql(number).ends_with(expected), "{}", sql(number));
        }
    }
}
