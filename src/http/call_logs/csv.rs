//! Calls as CSV (RFC 4180), a batch at a time.

use std::borrow::Cow;

use actix_web::web::Bytes;
use actors::db::{CallSummary, DbError};
use chrono::{DateTime, SecondsFormat, Utc};
use csv::{Terminator, WriterBuilder};
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

const HEADING: &str =
    "callSid,from,to,startedAt,endedAt,durationSeconds,outcome,reason,urgent,turns,recordings,costUsd\r\n";
/// Where a spreadsheet may begin another cell.
const CELL_ENDS: [char; 4] = [';', '\t', '\r', '\n'];

/// One line. The names of the fields are the heading.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    call_sid: &'a str,
    from: Cow<'a, str>,
    to: Cow<'a, str>,
    started_at: String,
    ended_at: Option<String>,
    duration_seconds: Option<i64>,
    outcome: Cow<'a, str>,
    reason: Cow<'a, str>,
    urgent: bool,
    turns: i32,
    recordings: i32,
    cost_usd: Option<f64>,
}

impl<'a> From<&'a CallSummary> for Line<'a> {
    fn from(call: &'a CallSummary) -> Self {
        Self {
            call_sid: &call.call_sid,
            from: guarded(call.from.as_deref()),
            to: guarded(call.to.as_deref()),
            started_at: time(call.started_at),
            ended_at: call.ended_at.map(time),
            duration_seconds: call.duration_seconds,
            outcome: guarded(call.outcome.as_deref()),
            reason: guarded(call.reason.as_deref()),
            urgent: call.urgent,
            turns: call.turns,
            recordings: call.recordings,
            cost_usd: call.cost_usd,
        }
    }
}

/// The file in pieces. The first batch is there when this returns, so that a database that is away is known
/// by then.
pub(super) async fn begin(
    batches: impl Stream<Item = Result<Vec<CallSummary>, DbError>> + 'static,
) -> Result<impl Stream<Item = Result<Bytes, DbError>> + 'static, DbError> {
    let mut batches = Box::pin(batches);
    let first = batches.try_next().await?.unwrap_or_default();
    let beginning = [HEADING.as_bytes(), &lines(&first)].concat();
    let rest = batches.map_ok(|batch| Bytes::from(lines(&batch)));
    Ok(stream::iter([Ok(beginning.into())]).chain(rest))
}

fn lines(calls: &[CallSummary]) -> Vec<u8> {
    let room = Vec::with_capacity(calls.len() * 192);
    let mut writer = WriterBuilder::new().has_headers(false).terminator(Terminator::CRLF).from_writer(room);
    for call in calls {
        writer.serialize(Line::from(call)).expect("a line is flat, and memory takes it");
    }
    writer.into_inner().expect("memory takes every line")
}

/// A text that comes from outside. Each part that a spreadsheet would take for a formula gets an apostrophe
/// in front; a spreadsheet may begin a cell at a semicolon, a tab or a line break. A telephone number does no
/// harm and stays.
fn guarded(text: Option<&str>) -> Cow<'_, str> {
    let text = text.unwrap_or_default();
    let is_harmless = |part: &str| !is_formula(part.trim_end_matches(CELL_ENDS));
    if !text.starts_with(&CELL_ENDS[1..]) && text.split_inclusive(CELL_ENDS).all(is_harmless) {
        return text.into();
    }
    let mut guarded = String::from(if text.starts_with(&CELL_ENDS[1..]) { "'" } else { "" });
    for part in text.split_inclusive(CELL_ENDS) {
        if !is_harmless(part) {
            guarded.push('\'');
        }
        guarded.push_str(part);
    }
    guarded.into()
}

/// Spreadsheets read full-width signs like the ASCII ones. A plus and digits are a telephone number.
fn is_formula(text: &str) -> bool {
    let is_number = text.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    text.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']) && !is_number
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> CallSummary {
        CallSummary {
            call_sid: "CA1".to_owned(),
            from: None,
            to: Some("+15550199".to_owned()),
            started_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            ended_at: None,
            duration_seconds: None,
            outcome: None,
            reason: None,
            urgent: false,
            turns: 3,
            recordings: 0,
            cost_usd: Some(0.5),
            agent_unavailable: false,
            inbox: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_known_is_an_empty_cell() {
        let call = call();
        let line = "CA1,,+15550199,2027-01-15T08:00:00Z,,,,,false,3,0,0.5\r\n";
        assert_eq!(lines(&[call.clone(), call.clone()]), line.repeat(2).into_bytes());
        let mut headed = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(vec![]);
        headed.serialize(Line::from(&call)).unwrap();
        assert_eq!(headed.into_inner().unwrap(), (HEADING.to_owned() + line).into_bytes());
    }

    #[test]
    fn a_text_that_holds_a_comma_or_a_line_break_is_one_cell() {
        let call = CallSummary { from: Some("\"a\", b\r\n=c".to_owned()), ..call() };
        let written = lines(&[call]);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&written[..]);
        let records: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!((records.len(), &records[0][1]), (1, "\"a\", b\r\n'=c"));
    }

    #[test]
    fn a_callers_name_for_himself_is_no_formula() {
        let cells = [
            ("+15550100", "+15550100"),
            ("anonymous", "anonymous"),
            ("=1+1", "'=1+1"),
            ("+1+cmd", "'+1+cmd"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t'=1"),
            ("\u{ff1d}1+1", "'\u{ff1d}1+1"),
            ("\u{ff0b}1", "'\u{ff0b}1"),
            ("\u{ff0d}1", "'\u{ff0d}1"),
            ("\u{ff20}A1", "'\u{ff20}A1"),
            (";=1", ";'=1"),
            ("a;=1;+15550100", "a;'=1;+15550100"),
            ("a\t@A1", "a\t'@A1"),
            ("a\r\n-1", "a\r\n'-1"),
            ("=HYPERLINK(\"x\",\"y\")", "'=HYPERLINK(\"x\",\"y\")"),
            ("a,b", "a,b"),
            ("a\nb", "a\nb"),
        ];
        for (text, written) in cells {
            assert_eq!(guarded(Some(text)), written, "{text:?}");
        }
    }
}
