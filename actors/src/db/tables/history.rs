//! What a call's next stream has to know of those before: what was said, and what was decided.
//!
//! What is not written yet counts as if it were: the records that wait are laid over the rows. While the
//! database is away they are all there is, and enough for a call that began in that time.

use std::collections::BTreeMap;
use std::sync::Arc;

use call_control::call_flow::resume::Written;
use call_control::conversation::history::Said;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::schema::{calls, turns};
use crate::db::connect::connection::Connection;
use crate::db::write::record::{NextStep, Record, Speaker};
use crate::wire::twilio::sid::CallSid;

/// So many turns at most: the first.
const LONGEST: i64 = 10_000;

/// The rows: the call's epoch, and its turns with theirs and their versions.
#[derive(Default)]
pub(in crate::db) struct Rows {
    epoch: u32,
    turns: BTreeMap<u32, ((u32, u32), Said)>,
}

pub(in crate::db) async fn read(connection: &mut Connection, call_sid: &CallSid) -> QueryResult<Rows> {
    type TurnRow = (i32, i32, i32, String, String);

    let sid = call_sid.as_str();
    let epoch: Option<i32> =
        calls::table.find(sid).select(calls::epoch).first(connection).await.optional()?;
    let rows: Vec<TurnRow> = turns::table
        .filter(turns::call_sid.eq(sid))
        .order(turns::ordinal)
        .limit(LONGEST)
        .select((turns::epoch, turns::version, turns::ordinal, turns::speaker, turns::text))
        .load(connection)
        .await?;
    let turn = |(epoch, version, ordinal, speaker, text): TurnRow| {
        // The table's CHECKs leave no other word and no number below 1.
        let ordinal = ordinal.try_into().ok()?;
        let speaker = Speaker::of_word(&speaker)?;
        let written = (epoch.try_into().ok()?, version.try_into().ok()?);
        Some((ordinal, (written, Said { ordinal, speaker, text })))
    };
    Ok(Rows {
        epoch: epoch.and_then(|epoch| epoch.try_into().ok()).unwrap_or(0),
        turns: rows.into_iter().filter_map(turn).collect(),
    })
}

/// Lays the records that wait, in their order, over the rows; none: nobody can tell them.
pub(in crate::db) fn overlay(rows: Option<Rows>, waiting: &[Arc<Record>]) -> Written {
    // First in, first out: where a call's beginning waits, so does all that came after it.
    let begins = |record: &Arc<Record>| matches!(&**record, Record::Opened(opened) if opened.epoch == 1);
    let is_whole = rows.is_some() || waiting.iter().any(begins);
    let mut rows = rows.unwrap_or_default();
    for record in waiting {
        let epoch = match &**record {
            Record::Opened(opened) => opened.epoch,
            Record::Decided(decision) => decision.epoch,
            Record::Closed(closed) => closed.epoch,
            Record::Event(_) | Record::Aftermath(_) | Record::Inbox(_) | Record::Webhook(_) => continue,
            Record::Turn(turn) => {
                let written = rows.turns.get(&turn.ordinal).map_or((0, 0), |(written, _)| *written);
                let waits = (turn.epoch, turn.version);
                if waits >= written {
                    let said = Said { ordinal: turn.ordinal, speaker: turn.speaker, text: turn.text.clone() };
                    rows.turns.insert(turn.ordinal, (waits, said));
                }
                turn.epoch
            }
        };
        rows.epoch = rows.epoch.max(epoch);
    }
    let epoch = rows.turns.values().fold(rows.epoch, |highest, ((epoch, _), _)| highest.max(*epoch));
    Written { epoch, said: rows.turns.into_values().map(|(_, said)| said).collect(), is_whole }
}

/// What the records that wait say of what comes next: as of which epoch, and what. A later stream makes it
/// void.
pub(in crate::db) fn decision(waiting: &[Arc<Record>]) -> (u32, Option<NextStep>) {
    waiting.iter().fold((0, None), |(epoch, next_step), record| match &**record {
        Record::Opened(opened) if opened.epoch > epoch => (opened.epoch, None),
        Record::Decided(decision) if decision.epoch >= epoch => (decision.epoch, Some(decision.next_step)),
        _ => (epoch, next_step),
    })
}
