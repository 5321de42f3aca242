//! `switchboard ops …`: what an operator does beside the program that serves.

use actors::db::webhooks::{DeadLetter, DeadLetters};
use actors::db::{BadUrl, DbError};
use chrono::SecondsFormat;
use clap::{Args, Subcommand};

mod alerts;
mod audit;
mod health;
mod jobs;

use super::database;
use super::shell::print_line;

/// So many are listed: the newest.
const LISTED: i64 = 100;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the status callbacks that could not be processed, or let them be processed again
    DeadLetters(DeadLettersArguments),
    /// List the background jobs, pause or resume one, or let it run now
    Jobs(jobs::Arguments),
    /// Ask the process on this machine whether it serves; the exit status is 1 if it does not
    Health(health::Arguments),
    /// List who did what, and who opened which transcript or recording; the newest first
    Audit(audit::Arguments),
    /// List the alerts of all instances, the newest first
    Alerts(alerts::Arguments),
    /// Say that somebody takes care of an alert, so that it is not told again while it goes on
    Acknowledge(alerts::AcknowledgeArguments),
    /// Send a test notice by every way that the settings name, and say what each answered
    TestAlert,
}

#[derive(Debug, Args)]
pub struct DeadLettersArguments {
    /// Let this one be processed again, or `all` of them
    #[arg(long, value_name = "ID|all", value_parser = which)]
    retry: Option<Which>,
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

pub fn run(command: Command) -> u8 {
    // These need no database.
    match &command {
        Command::Health(arguments) => return health::run(arguments),
        Command::TestAlert => return alerts::test(),
        _ => {}
    }
    database::run("ops", async |url| match command {
        Command::DeadLetters(arguments) => dead_letters(url, arguments.retry).await,
        Command::Jobs(arguments) => jobs::run(url, arguments).await,
        Command::Audit(arguments) => audit::run(url, arguments).await,
        Command::Alerts(arguments) => alerts::run(url, arguments).await,
        Command::Acknowledge(arguments) => alerts::acknowledge(url, arguments).await,
        Command::Health(_) | Command::TestAlert => Ok(Ok(super::FINE)), // above
    })
}

async fn dead_letters(url: &str, retry: Option<Which>) -> Result<Result<u8, DbError>, BadUrl> {
    let connected = DeadLetters::connect(url).await?;
    Ok(async {
        let mut letters = connected?;
        match retry {
            Some(which) => {
                let id = if let Which::One(id) = which { Some(id) } else { None };
                let count = letters.retry(id).await?;
                print_line(format_args!("{count} to be processed again"));
            }
            None => letters.list(None, LISTED).await?.iter().for_each(print),
        }
        Ok(super::FINE)
    }
    .await)
}

/// One line: no parameter of it, since they have callers' numbers in them.
fn print(letter: &DeadLetter) {
    let DeadLetter { id, route, attempts, .. } = letter;
    let at = letter.received_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let sid = letter.call_sid.as_deref().or(letter.conference_sid.as_deref()).unwrap_or("-");
    let cause = letter.last_error.as_deref().unwrap_or("-");
    print_line(format_args!("{id}  {at}  {route}  {sid}  {attempts} attempts  {cause}"));
}
