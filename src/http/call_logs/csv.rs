//! Calls as CSV (RFC 4180), a batch at a time.

use std::borrow::Cow;

use actix_web::web::Bytes;
use actors::db::{CallSummary, DbError};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};

const HEADER: &str =
    "callSid,from,to,startedAt,endedAt,durationSeconds,outcome,reason,urgent,turns,recordings,costUsd\r\n";

/// The file in pieces. The first batch is there when this returns, so that a database that is away is known by then.
pub(super) async fn begin(
    batches: impl Stream<Item = Result<Vec<CallSummary>, DbError>> + 'static,
) -> Result<impl Stream<Item = Result<Bytes, DbError>> + 'static, DbError> {
    let mut batches = Box::pin(batches);
    let first = batches.try_next().await?.unwrap_or_default();
    let beginning = Bytes::from(HEADER.to_owned() + &lines(&first));
    let rest = batches.map_ok(|batch| Bytes::from(lines(&batch)));
    Ok(stream::iter([Ok(beginning)]).chain(rest))
}

fn lines(calls: &[CallSummary]) -> String {
    let mut lines = String::with_capacity(calls.len() * 192);
    for call in calls {
        let values = [
            Cow::Borrowed(call.call_sid.as_str()),
            cell(call.from.as_deref()),
            cell(call.to.as_deref()),
            time(Some(call.started_at)),
            time(call.ended_at),
            number(call.duration_seconds),
            cell(call.outcome.as_deref()),
            cell(call.reason.as_deref()),
            number(Some(call.urgent)),
            number(Some(call.turns)),
            number(Some(call.recordings)),
            number(call.cost_usd),
        ];
        lines.push_str(&values.join(","));
        lines.push_str("\r\n");
    }
    lines
}

/// A text that comes from outside. What a spreadsheet would take for a formula gets an apostrophe in front, also where
/// the spreadsheet begins a cell at a semicolon, a tab or a line break. A telephone number does no harm and stays.
fn cell(text: Option<&str>) -> Cow<'_, str> {
    let text = text.unwrap_or_default();
    let needs_quotes = text.contains([',', ';', '"', '\t', '\r', '\n']);
    match (needs_quotes, is_formula(text)) {
        (false, false) => text.into(),
        (false, true) => format!("'{text}").into(),
        (true, _) => format!("\"{}\"", guarded(text).replace('"', "\"\"")).into(),
    }
}

/// The text with an apostrophe in front of each part that would be a formula.
fn guarded(text: &str) -> String {
    let apostrophe = if text.starts_with(['\t', '\r', '\n']) { "'" } else { "" };
    let mut guarded = String::from(apostrophe);
    for part in text.split_inclusive([';', '\t', '\r', '\n']) {
        if is_formula(part.trim_end_matches([';', '\t', '\r', '\n'])) {
            guarded.push('\'');
        }
        guarded.push_str(part);
    }
    guarded
}

/// Spreadsheets read full-width signs like the ASCII ones. A plus and digits are a telephone number.
fn is_formula(text: &str) -> bool {
    let is_number = text.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    text.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']) && !is_number
}

fn time(time: Option<DateTime<Utc>>) -> Cow<'static, str> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default().into()
}

fn number(value: Option<impl ToString>) -> Cow<'static, str> {
    value.map(|value| value.to_string()).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_an_empty_cell() {
        let call = CallSummary {
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
        };
        let line = "CA1,,+15550199,2027-01-15T08:00:00Z,,,,,false,3,0,0.5\r\n";
        assert_eq!(lines(&[call.clone(), call]), line.repeat(2));
        assert_eq!(HEADER.matches(',').count(), line.matches(',').count());
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
            ("\t=1", "\"'\t'=1\""),
            ("\u{ff1d}1+1", "'\u{ff1d}1+1"),
            ("\u{ff0b}1", "'\u{ff0b}1"),
            ("\u{ff0d}1", "'\u{ff0d}1"),
            ("\u{ff20}A1", "'\u{ff20}A1"),
            ("a;=1;+15550100", "\"a;'=1;+15550100\""),
            ("a\t@A1", "\"a\t'@A1\""),
            ("a\r\n-1", "\"a\r\n'-1\""),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("a,b", "\"a,b\""),
            ("a\nb", "\"a\nb\""),
        ];
        for (text, written) in cells {
            assert_eq!(cell(Some(text)), written, "{text:?}");
        }
    }
}
