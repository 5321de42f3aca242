//! The commands, one file each, and their exit status.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::StartError;
use crate::exit_status::{FAILED, FINE, INTERNAL, USAGE};
use crate::logging::LastLines;

mod accounts;
mod database;
mod demo;
mod loadtest;
mod migrate;
mod ops;
mod serve;
mod sim;
mod span;
mod token;
mod user;
mod worker;

/// Answers telephone calls with an AI.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer calls: webhooks, media streams, the API and the dashboard
    ///
    /// SIGTERM drains, and a second one hands the calls over. SIGHUP reads the agent file again and tries the
    /// agent at the Realtime service. A changed agent file is noticed without it, too.
    Serve,
    /// Do the background jobs, and answer no calls; `serve` does them as well
    Worker,
    /// Twenty simulated callers, a simulated Realtime service and a private database, all on this machine
    Demo(demo::Arguments),
    /// Put a program under load, and judge how it bears it
    #[command(subcommand)]
    Loadtest(Box<loadtest::Command>),
    /// Bring the database's schema up to date
    Migrate,
    /// What an operator does beside the program that serves
    #[command(subcommand)]
    Ops(ops::Command),
    /// Add, list and change the people who may log in
    #[command(subcommand)]
    User(user::Command),
    /// Add, list and revoke the tokens that programs show instead of a password
    #[command(subcommand)]
    Token(token::Command),
    /// The simulated telephone network and the simulated Realtime service
    #[command(subcommand)]
    Sim(sim::Command),
}

/// The exit status of a process that could not start.
fn status_of(error: &StartError) -> u8 {
    match error {
        StartError::Bind { .. }
        | StartError::BindMetrics { .. }
        | StartError::Inherited(_)
        | StartError::Exposed { .. }
        | StartError::Descriptors { .. }
        | StartError::SchemaOlder { .. }
        | StartError::NotTheOwner { .. }
        | StartError::InstanceTaken(_)
        | StartError::Spool(_)
        | StartError::DatabaseUrl(_) => USAGE,
        StartError::WornOut(_) | StartError::Internal(_) => INTERNAL,
    }
}

/// Parses the arguments, runs the command and says how it went.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { FINE });
        }
    };
    let _last_lines = LastLines;
    ExitCode::from(match arguments.command {
        Command::Serve => serve::run(),
        Command::Worker => worker::run(),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Loadtest(command) => loadtest::run(*command),
        Command::Migrate => migrate::run(),
        Command::Ops(command) => ops::run(command),
        Command::User(command) => user::run(command),
        Command::Token(command) => token::run(command),
        Command::Sim(command) => sim::run(command),
    })
}
