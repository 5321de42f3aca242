//! Table `calls`: one row a call.

use chrono::{DateTime, Utc};
use diesel::dsl::{case_when, max};
use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Timestamptz};
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::bills::TwilioBill;
use super::schema::{calls, turns};
use super::text::{int, json, text};
use crate::call::end::{CallEnd, Outcome};
use crate::db::connect::connection::Connection;
use crate::db::connect::statement::Statement;
use crate::db::write::record::{Aftermath, CallClosed, CallOpened, Decision, InboxItem};
use crate::schemas;
use crate::wire::twilio::sid::CallSid;

diesel::define_sql_function! {
    fn least(a: Timestamptz, b: Timestamptz) -> Timestamptz;
}
diesel::define_sql_function! {
    fn coalesce(a: Nullable<Integer>, b: Integer) -> Integer;
}
diesel::define_sql_function! {
    #[sql_name = "coalesce"]
    fn first_known(a: Nullable<Timestamptz>, b: Nullable<Timestamptz>) -> Nullable<Timestamptz>;
}

/// A call as the log lists it. A time, outcome or number not known is null.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallSummary {
    pub call_sid: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<i64>,
    #[schema(schema_with = schemas::outcome)]
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub urgent: bool,
    pub turns: i32,
    pub recordings: i32,
    pub cost_usd: Option<f64>,
    /// The service was down or refused us, so that the caller was given to a person or a voicemail box.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub agent_unavailable: bool,
    /// What the caller left in the inbox: `message`, `voicemail`, `urgent`, `call-back`. Absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inbox: Vec<String>,
}

/// A call as its own log shows it: the summary and what is known beyond it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallDetail {
    #[serde(flatten)]
    pub summary: CallSummary,
    pub instance: Option<String>,
    pub barge_ins: i32,
    pub first_audio_ms: Option<i32>,
    /// What Twilio charges, once it has said so.
    pub twilio: TwilioBill,
}

/// A row, without what only the database needs.
#[derive(Queryable, Selectable)]
#[diesel(table_name = calls, check_for_backend(diesel::pg::Pg))]
pub(in crate::db) struct CallRow {
    call_sid: String,
    from_number: Option<String>,
    to_number: Option<String>,
    instance: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    reason: Option<String>,
    urgent: bool,
    turns: i32,
    barge_ins: i32,
    recordings: i32,
    first_audio_ms: Option<i32>,
    pub(in crate::db) usage: Value,
    cost_usd: Option<f64>,
    #[diesel(embed)]
    twilio: TwilioBill,
}

/// Whether the reason, as it is written, is that the agent could not be had.
fn is_of_the_agent(reason: &str) -> bool {
    let reasons = CallEnd::ALL.iter().map(|end| end.reason);
    reasons.filter(|known| known.is_of_the_agent()).any(|known| known.as_str() == reason)
}

impl CallRow {
    pub(in crate::db) fn summary(self) -> CallSummary {
        CallSummary {
            call_sid: self.call_sid,
            from: self.from_number,
            to: self.to_number,
            started_at: self.started_at,
            ended_at: self.ended_at,
            duration_seconds: self.ended_at.map(|ended_at| (ended_at - self.started_at).num_seconds()),
            outcome: self.outcome,
            agent_unavailable: self.reason.as_deref().is_some_and(is_of_the_agent),
            reason: self.reason,
            urgent: self.urgent,
            turns: self.turns,
            recordings: self.recordings,
            cost_usd: self.cost_usd,
            inbox: Vec::new(),
        }
    }

    pub(in crate::db) fn detail(self) -> CallDetail {
        CallDetail {
            instance: self.instance.clone(),
            twilio: self.twilio.clone(),
            barge_ins: self.barge_ins,
            first_audio_ms: self.first_audio_ms,
            summary: self.summary(),
        }
    }
}

/// Opens a call, or takes it up again: only a later epoch opens one that is closed, an earlier one changes
/// nothing.
pub(in crate::db) fn open(opened: &CallOpened) -> QueryResult<Statement> {
    use diesel::query_dsl::methods::FilterDsl; // the WHERE of an upsert

    let same_epoch = || calls::epoch.eq(excluded(calls::epoch));
    let keeps_outcome = same_epoch().nullable().or(is_resolved());
    Statement::of(
        &diesel::insert_into(calls::table)
            .values((
                calls::call_sid.eq(opened.call_sid.as_str()),
                calls::epoch.eq(int(opened.epoch)),
                calls::from_number.eq(text(&opened.from)),
                calls::to_number.eq(text(&opened.to)),
                calls::instance.eq(text(&opened.instance)),
                calls::started_at.eq(opened.started_at),
            ))
            .on_conflict(calls::call_sid)
            .do_update()
            .set((
                calls::epoch.eq(excluded(calls::epoch)),
                calls::from_number.eq(excluded(calls::from_number)),
                calls::to_number.eq(excluded(calls::to_number)),
                calls::instance.eq(excluded(calls::instance)),
                calls::started_at.eq(least(calls::started_at, excluded(calls::started_at))),
                calls::ended_at.eq(case_when(same_epoch(), calls::ended_at)),
                calls::outcome.eq(case_when(keeps_outcome, calls::outcome)),
                calls::reason.eq(case_when(same_epoch(), calls::reason)),
                calls::next_step.eq(case_when(same_epoch(), calls::next_step)),
            ))
            .filter(calls::epoch.le(excluded(calls::epoch))),
    )
}

/// Closes a call; one that was never opened is inserted with what is known. An earlier epoch changes nothing.
pub(in crate::db) fn close(closed: &CallClosed) -> QueryResult<Statement> {
    use diesel::query_dsl::methods::FilterDsl; // the WHERE of an upsert

    let sid = closed.call_sid.as_str();
    let turns_of_call = QueryDsl::filter(turns::table, turns::call_sid.eq(sid));
    let last_turn = turns_of_call.select(max(turns::ordinal)).single_value();
    Statement::of(
        &diesel::insert_into(calls::table)
            .values((
                calls::call_sid.eq(sid),
                calls::epoch.eq(int(closed.epoch)),
                calls::started_at.eq(closed.ended_at),
                calls::ended_at.eq(closed.ended_at),
                calls::outcome.eq(closed.end.outcome.as_str()),
                calls::reason.eq(closed.end.reason.as_str()),
                calls::turns.eq(coalesce(last_turn, 0)),
                calls::barge_ins.eq(int(closed.barge_ins)),
                calls::first_audio_ms.eq(closed.first_audio_ms.map(int)),
                calls::usage.eq(json(&closed.usage)),
                calls::cost_usd.eq(closed.cost_usd),
            ))
            .on_conflict(calls::call_sid)
            .do_update()
            .set((
                calls::epoch.eq(excluded(calls::epoch)),
                calls::ended_at.eq(excluded(calls::ended_at)),
                calls::outcome
                    .eq(case_when(is_resolved(), calls::outcome).otherwise(excluded(calls::outcome))),
                calls::reason.eq(excluded(calls::reason)),
                calls::next_step.eq(case_when(calls::epoch.eq(excluded(calls::epoch)), calls::next_step)),
                calls::turns.eq(excluded(calls::turns)),
                calls::barge_ins.eq(excluded(calls::barge_ins)),
                calls::first_audio_ms.eq(excluded(calls::first_audio_ms)),
                calls::usage.eq(excluded(calls::usage)),
                calls::cost_usd.eq(excluded(calls::cost_usd)),
            ))
            .filter(calls::epoch.le(excluded(calls::epoch))),
    )
}

/// Writes what came after the agent's part; a call that is not written yet is inserted with what is known. A
/// voicemail stands over a transfer.
pub(in crate::db) fn resolve(aftermath: &Aftermath) -> QueryResult<Statement> {
    use diesel::query_dsl::methods::FilterDsl; // the WHERE of an upsert

    let Aftermath { event, outcome, from: _ } = aftermath;
    Statement::of(
        &diesel::insert_into(calls::table)
            .values((
                calls::call_sid.eq(event.call_sid.as_str()),
                calls::epoch.eq(1),
                calls::started_at.eq(event.at),
                calls::ended_at.eq(event.at),
                calls::outcome.eq(outcome.as_str()),
            ))
            .on_conflict(calls::call_sid)
            .do_update()
            .set((
                calls::ended_at.eq(first_known(calls::ended_at, excluded(calls::ended_at))),
                calls::outcome.eq(excluded(calls::outcome)),
            ))
            .filter(calls::outcome.is_distinct_from(Outcome::Voicemail.as_str())),
    )
}

/// Marks the call as urgent; one that is not written yet is inserted with what is known.
pub(in crate::db) fn flag_urgent(item: &InboxItem) -> QueryResult<Statement> {
    use diesel::query_dsl::methods::FilterDsl; // the WHERE of an upsert

    Statement::of(
        &diesel::insert_into(calls::table)
            .values((
                calls::call_sid.eq(item.call_sid.as_str()),
                calls::epoch.eq(1),
                calls::started_at.eq(item.at),
                calls::urgent.eq(true),
            ))
            .on_conflict(calls::call_sid)
            .do_update()
            .set(calls::urgent.eq(true))
            .filter(diesel::dsl::not(calls::urgent)),
    )
}

/// What came after the agent's part has decided the outcome, which that part's end does not undo.
#[diesel::dsl::auto_type]
fn is_resolved() -> _ {
    let (voicemail, transferred): (&'static str, &'static str) = ("voicemail", "transferred");
    calls::outcome.eq(voicemail).or(calls::outcome.eq(transferred))
}

/// Decides what comes next; a call that is not written yet is inserted with what is known. A later epoch
/// opens the call, since a decision can overtake its epoch's [`open`]. An earlier epoch changes nothing.
pub(in crate::db) fn decide(decision: &Decision) -> QueryResult<Statement> {
    use diesel::query_dsl::methods::FilterDsl; // the WHERE of an upsert

    let same_epoch = || calls::epoch.eq(excluded(calls::epoch));
    let keeps_outcome = same_epoch().nullable().or(is_resolved());
    Statement::of(
        &diesel::insert_into(calls::table)
            .values((
                calls::call_sid.eq(decision.call_sid.as_str()),
                calls::epoch.eq(int(decision.epoch)),
                calls::started_at.eq(decision.decided_at),
                calls::next_step.eq(decision.next_step.as_str()),
            ))
            .on_conflict(calls::call_sid)
            .do_update()
            .set((
                calls::epoch.eq(excluded(calls::epoch)),
                calls::ended_at.eq(case_when(same_epoch(), calls::ended_at)),
                calls::outcome.eq(case_when(keeps_outcome, calls::outcome)),
                calls::reason.eq(case_when(same_epoch(), calls::reason)),
                calls::next_step.eq(excluded(calls::next_step)),
            ))
            .filter(calls::epoch.le(excluded(calls::epoch))),
    )
}

/// Lets the call's count of turns reach `ordinal`; ordinals are dense, so the highest is the count.
pub(in crate::db) fn count_turn(call_sid: &CallSid, ordinal: u32) -> QueryResult<Statement> {
    let ordinal = int(ordinal);
    Statement::of(
        &diesel::update(calls::table)
            .filter(calls::call_sid.eq(call_sid.as_str()).and(calls::turns.lt(ordinal)))
            .set(calls::turns.eq(ordinal)),
    )
}

/// The call's epoch and the word for what comes next, if it is written.
pub(in crate::db) async fn next_step(
    connection: &mut Connection,
    call_sid: &CallSid,
) -> QueryResult<Option<(i32, Option<String>)>> {
    let row = calls::table.find(call_sid.as_str()).select((calls::epoch, calls::next_step));
    row.first(connection).await.optional()
}

/// One call, if it is written.
pub(in crate::db) async fn find(
    connection: &mut Connection,
    call_sid: &CallSid,
) -> QueryResult<Option<CallRow>> {
    calls::table.find(call_sid.as_str()).select(CallRow::as_select()).first(connection).await.optional()
}
