//! `switchboard ops audit`: who did what, and who opened what.

use actors::db::{AuditFilter, AuditRow, BadUrl, DbError};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::Args;

use crate::cli::accounts::{Deed, Done, act, print_json, time};
use crate::cli::shell::print_line;
use crate::cli::span;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only what this one did: `user:NAME`, `token:NAME`, `cli:UNIX-USER` or `nobody`
    #[arg(long)]
    who: Option<String>,
    /// Only this action, such as `login`
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this, such as a call's SID or the name of a user
    #[arg(long)]
    object: Option<String>,
    /// Only what happened since: `12h` or `90d` ago, a day such as `2026-11-29` (UTC), or a time such as
    /// `2026-11-29T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<DateTime<Utc>>,
    /// How many entries at most, 1 to 1000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

fn since(text: &str) -> Result<DateTime<Utc>, String> {
    since_at(text, Utc::now())
}

fn since_at(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if let Ok(span) = span::parse(text) {
        return Ok(now - TimeDelta::from(span));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let day = text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    let wanted = "expected `12h`, `90d`, a day such as `2026-11-29` or a time such as `2026-11-29T08:00:00Z`";
    day.map(|day| day.and_utc()).ok_or_else(|| wanted.to_owned())
}

/// Prints the entries; the exit status.
pub async fn run(url: &str, arguments: Arguments) -> Result<Result<u8, DbError>, BadUrl> {
    let Arguments { who, action, object, since, limit, json } = arguments;
    let filter = AuditFilter { who, action, object, since, until: None };
    act(url, Deed { action: "audit-read", object: None }, async |accounts| {
        let rows = accounts.audit_page(None, limit, &filter).await?;
        if json {
            print_json(&rows)
        } else {
            rows.iter().for_each(|row| print_line(line(row)))
        }
        Ok(Done::Fine)
    })
    .await
}

/// One line. Some of it was sent by strangers: it must not steer the terminal.
fn line(row: &AuditRow) -> String {
    let AuditRow { id, at, who, client, action, object, outcome } = row;
    let [client, object] = [client, object].map(|text| text.as_deref().unwrap_or("-"));
    let line = format!("{id}  {}  {who}  {client}  {action}  {object}  {outcome}", time(*at));
    line.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_span_a_day_or_a_time() {
        let now = DateTime::parse_from_rfc3339("2026-11-29T12:00:00Z").unwrap().to_utc();
        let read = |text| since_at(text, now).map(time);
        for (text, expected) in [
            ("12h", "2026-11-29T00:00:00Z"),
            ("1d", "2026-11-28T12:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:00:00+02:00", "2026-11-01T06:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "2026-11-01T08:00:00", "1w"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_stranger_sent_does_not_steer_the_terminal() {
        let row = AuditRow {
            id: 7,
            at: DateTime::from_timestamp(0, 0).unwrap(),
            who: "nobody".to_owned(),
            client: None,
            action: "login".to_owned(),
            object: Some("an\u{1b}[2Jna\n8".to_owned()),
            outcome: "failed".to_owned(),
        };
        let expected = "7  1970-01-01T00:00:00Z  nobody  -  login  an\u{FFFD}[2Jna\u{FFFD}8  failed";
        assert_eq!(line(&row), expected);
    }
}
