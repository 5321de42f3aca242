//! `switchboard ops …`: what an operator does, in an emergency and otherwise. What acts on a process that
//! serves asks that process by HTTP; what acts on the database goes to the database, and needs no process.

use actors::db::{BadUrl, DbError};
use clap::Subcommand;

mod alerts;
mod audit;
mod health;
mod jobs;
mod orders;
mod server;
mod sessions;
mod status;
mod webhooks;

use self::server::Server;
use super::USAGE;
use super::database::{self, Door};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how a process that serves is, with what helps
    Status(status::Arguments),
    /// Take no new calls until it resumes or restarts; calls on the line go on
    ///
    /// Another instance takes the new calls. Without one, new callers hear that all lines are busy, and a
    /// call that comes back after its stream was lost elsewhere goes to a person.
    Drain(Server),
    /// Take new calls again
    Resume(Server),
    /// Show the pool of database connections, or give it another size until the next start
    Pool(orders::PoolArguments),
    /// Log more or less, for some minutes
    LogLevel(orders::LogLevelArguments),
    /// End a live call
    HangUp(orders::CallArguments),
    /// Give a live call to a person
    Transfer(orders::CallArguments),
    /// List sessions of the database that are idle within a transaction, or end them
    IdleTransactions(sessions::IdleArguments),
    /// List what the database works at: the statements that cost most, and what runs for long now
    SlowQueries(sessions::SlowArguments),
    /// Show how many status callbacks wait to be processed, and how many were given up
    Webhooks(webhooks::Arguments),
    /// List the status callbacks that could not be processed, or let them be processed again
    DeadLetters(webhooks::DeadLettersArguments),
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

/// Carries it out; the exit status.
pub fn run(command: Command) -> u8 {
    match command {
        Command::Status(arguments) => status::run(&arguments),
        Command::Drain(server) => orders::drain(&server),
        Command::Resume(server) => orders::resume(&server),
        Command::Pool(arguments) => orders::pool(&arguments),
        Command::LogLevel(arguments) => orders::log_level(&arguments),
        Command::HangUp(arguments) => orders::hang_up(&arguments),
        Command::Transfer(arguments) => orders::transfer(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::TestAlert => alerts::test(),
        Command::IdleTransactions(arguments) => {
            if let Err(wrong) = arguments.seconds() {
                eprintln!("switchboard ops idle-transactions: {wrong}");
                return USAGE;
            }
            at_the_database("idle-transactions", async |url| sessions::idle(url, arguments).await)
        }
        Command::SlowQueries(arguments) => {
            at_the_database("slow-queries", async |url| sessions::slow(url, arguments).await)
        }
        Command::Webhooks(arguments) => {
            at_the_database("webhooks", async |url| webhooks::run(url, arguments).await)
        }
        Command::DeadLetters(arguments) => {
            at_the_database("dead-letters", async |url| webhooks::dead_letters(url, arguments).await)
        }
        Command::Jobs(arguments) => at_the_database("jobs", async |url| jobs::run(url, arguments).await),
        Command::Audit(arguments) => at_the_database("audit", async |url| audit::run(url, arguments).await),
        Command::Alerts(arguments) => {
            at_the_database("alerts", async |url| alerts::run(url, arguments).await)
        }
        Command::Acknowledge(arguments) => {
            at_the_database("acknowledge", async |url| alerts::acknowledge(url, arguments).await)
        }
    }
}

/// Past a pooler, whose connections may be used up; the exit status.
fn at_the_database(name: &str, work: impl AsyncFnOnce(&str) -> Result<Result<u8, DbError>, BadUrl>) -> u8 {
    database::run_by(Door::Direct, &format!("ops {name}"), work)
}
