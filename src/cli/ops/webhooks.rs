//! `switchboard ops webhooks` and `dead-letters`: the status callbacks that wait, and those that were given
//! up.

use std::net::SocketAddr;
use std::time::Duration;

use actors::db::webhooks::{DeadLetter, WebhookState};
use actors::db::{BadUrl, DbError};
use chrono::SecondsFormat;
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::health::Target;
use super::server::clean;
use crate::cli::accounts::{Deed, Done, act, look, print_json};
use crate::cli::shell::print_line;
use crate::settings::environment;

/// The process on this machine answers at once, or is not waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// So many are listed: the newest.
const LISTED: i64 = 100;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct DeadLettersArguments {
    /// Let this one be processed again, or `all` of them
    #[arg(long, value_name = "ID|all", value_parser = which)]
    retry: Option<Which>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    One(i64),
    All,
}

fn which(text: &str) -> Result<Which, String> {
    match text {
        "all" => Ok(Which::All),
        id => id.parse().map(Which::One).map_err(|_| "an ID of the list, or `all`".to_owned()),
    }
}

/// What waits, as it is printed.
#[derive(Debug, Serialize)]
struct Waiting {
    #[serde(flatten)]
    state: WebhookState,
    /// Of the process on this machine; null if none answers.
    spool: Option<Spooled>,
}

/// Records that wait on disk for the database. How many of them are callbacks is not known.
#[derive(Debug, Serialize)]
struct Spooled {
    address: SocketAddr,
    records: u64,
}

/// Prints how many wait; the exit status.
pub async fn run(url: &str, Arguments { json }: Arguments) -> Result<Result<u8, DbError>, BadUrl> {
    look(url, async |accounts| {
        let operator = accounts.operator();
        let (state, spool) = tokio::join!(operator.webhooks(), spooled());
        let waiting = Waiting { state: state?, spool };
        if json {
            print_json(&waiting)
        } else {
            print_line(text(&waiting))
        }
        Ok(Done::Fine)
    })
    .await
}

/// What the process on this machine says of its spool. None: it does not answer, or none is there.
async fn spooled() -> Option<Spooled> {
    let target = Target::of(None, environment).ok()?;
    let (_, body) = timeout(ANSWERS_WITHIN, target.ask("/healthz")).await.ok()?.ok()?;
    Some(Spooled { address: target.address, records: pending(&body)? })
}

/// Of an answer of `/healthz`.
fn pending(body: &str) -> Option<u64> {
    serde_json::from_str::<Value>(body).ok()?["spool"]["pending"].as_u64()
}

pub async fn dead_letters(
    url: &str,
    DeadLettersArguments { retry, json }: DeadLettersArguments,
) -> Result<Result<u8, DbError>, BadUrl> {
    let Some(which) = retry else {
        return look(url, async |accounts| {
            let letters = accounts.operator().dead_letters(None, LISTED).await?;
            if json {
                print_json(&letters)
            } else {
                letters.iter().for_each(|letter| print_line(clean(&line(letter))))
            }
            Ok(Done::Fine)
        })
        .await;
    };
    let id = if let Which::One(id) = which { Some(id) } else { None };
    let object = id.map_or_else(|| "all".to_owned(), |id| id.to_string());
    act(url, Deed { action: "dead-letters-retried", object: Some(&object) }, async |accounts| {
        let count = accounts.operator().retry_dead_letters(id).await?;
        if json {
            print_json(&serde_json::json!({"retried": count}))
        } else {
            print_line(format_args!("{count} to be processed again"))
        }
        Ok(Done::Fine)
    })
    .await
}

fn text(Waiting { state: WebhookState { pending, dead, oldest_seconds }, spool }: &Waiting) -> String {
    let oldest = oldest_seconds.map_or_else(String::new, |oldest| format!(", the oldest for {oldest} s"));
    let mut lines = vec![format!("{pending} wait{oldest}"), format!("{dead} were given up")];
    if let Some(Spooled { address, records: records @ 1.. }) = spool {
        lines[0] = format!("{pending} wait in the database{oldest}");
        lines.push(format!(
            "{records} records wait in the spool of {address}, callbacks among them\n\
             next: `switchboard ops idle-transactions`: a lock, or a database that is away, holds up all of them"
        ));
    }
    if *dead > 0 {
        lines.push(
            "next: `switchboard ops dead-letters` has the causes, and `--retry all` tries again".to_owned(),
        );
    }
    if *pending > 0 {
        lines.push(
            "next: `switchboard ops slow-queries`; a `switchboard worker` helps to process them".to_owned(),
        );
    }
    lines.join("\n")
}

/// One line: no parameter of it, since they have callers' numbers in them.
fn line(letter: &DeadLetter) -> String {
    let DeadLetter { id, route, attempts, .. } = letter;
    let at = letter.received_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let sid = letter.call_sid.as_deref().or(letter.conference_sid.as_deref()).unwrap_or("-");
    let cause = letter.last_error.as_deref().unwrap_or("-");
    format!("{id}  {at}  {route}  {sid}  {attempts} attempts  {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_in_the_spool_is_told_beside_what_waits_in_the_database() {
        let waiting = |spool| {
            text(&Waiting { state: WebhookState { pending: 0, dead: 0, oldest_seconds: None }, spool })
        };
        let records = pending(r#"{"spool":{"pending":602}}"#).unwrap();
        let spooled = |records| Some(Spooled { address: ([127, 0, 0, 1], 8080).into(), records });
        let told = waiting(spooled(records));
        assert!(
            told.starts_with("0 wait in the database\n0 were given up\n602 records wait in the spool"),
            "{told}"
        );
        assert!(told.contains("idle-transactions"), "{told}");
        assert_eq!(waiting(spooled(0)), "0 wait\n0 were given up");
        assert_eq!((pending("{}"), pending("no JSON")), (None, None));
    }

    #[test]
    fn a_backlog_says_how_old_it_is_and_what_helps() {
        let state = |pending, dead, oldest_seconds| {
            text(&Waiting { state: WebhookState { pending, dead, oldest_seconds }, spool: None })
        };
        assert_eq!(state(0, 0, None), "0 wait\n0 were given up");
        let told = state(3, 1, Some(70));
        assert!(told.starts_with("3 wait, the oldest for 70 s\n1 were given up\n"), "{told}");
        assert!(told.contains("--retry all") && told.contains("switchboard worker"), "{told}");
    }
}
