//! The commands, one file each, and their exit status.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::app::StartError;
use crate::exit_status::{FAILED, FINE, INTERNAL, USAGE};
use crate::logging::LastLines;
use crate::settings::catalog;

mod accounts;
mod database;
mod demo;
mod environment;
mod loadtest;
mod migrate;
mod ops;
mod preflight;
mod print_config;
mod replay;
mod serve;
mod setup;
mod shell;
mod sim;
mod span;
mod token;
mod user;
mod worker;

/// Answers telephone calls with an AI.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, arg_required_else_help = true)]
struct Arguments {
    /// Take variables that the environment does not set from this file, one NAME=value a line
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<String>,
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
    /// Run a load test against a server and grade the result
    #[command(subcommand)]
    Loadtest(Box<loadtest::Command>),
    /// Bring the database's schema up to date
    Migrate,
    /// Check a deployment before its first call: what is wrong, and how to mend it
    ///
    /// The check takes less than 5 s. The exit status is 0 if all lines pass, 1 for a warning, 2 for a
    /// failure, and 64 if the settings cannot be read.
    Preflight(preflight::Arguments),
    /// Ask for the settings of a deployment, check each answer, and write the files
    ///
    /// Writes a file of settings for --env-file, which only its owner can read, and an agent file to begin
    /// with. Nothing that exists is replaced without asking. At the end it enters the number's URLs at
    /// Twilio and runs `preflight`, whose exit status it has.
    Setup(Box<setup::Arguments>),
    /// What an operator does beside the program that serves
    #[command(subcommand)]
    Ops(ops::Command),
    /// Add, list and change the people who may log in
    #[command(subcommand)]
    User(user::Command),
    /// Add, list and revoke the tokens that programs show instead of a password
    #[command(subcommand)]
    Token(token::Command),
    /// Replay a recorded call: print what was done, or the first difference to what was recorded
    ///
    /// The setting FLIGHT_RECORDER records every call to a file. The replay takes its inputs again at
    /// their times and compares what comes of them with what was recorded. The exit status is 0 if it is
    /// the same, 1 if it is different, and 64 if the file is no recording.
    Replay(replay::Arguments),
    /// The simulated telephone network and the simulated Realtime service
    #[command(subcommand)]
    Sim(sim::Command),
    /// Print every setting, its value and where it comes from; no secret is shown
    ///
    /// The exit status is 64 if `serve` would not start with these settings.
    PrintConfig(print_config::Arguments),
    /// Print a script that completes commands and flags in a shell
    Completions(shell::CompletionsArguments),
    /// Print the manual page, or write a page for each command
    Man(shell::ManArguments),
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
        | StartError::Recorder { .. }
        | StartError::DatabaseUrl(_) => USAGE,
        StartError::WornOut(_) | StartError::Internal(_) => INTERNAL,
    }
}

/// The commands and flags. The help of `serve` names the settings.
pub(crate) fn command() -> clap::Command {
    Arguments::command().mut_subcommand("serve", |serve| serve.after_long_help(catalog::help()))
}

fn parse() -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches(&command().try_get_matches()?)
}

/// Parses the arguments, runs the command and says how it went.
pub fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(Arguments { env_file: Some(path), .. }) => {
            if let Err(faults) = environment::take(&path) {
                eprintln!("switchboard: {faults}");
                return ExitCode::from(USAGE);
            }
            parse() // some flags have their defaults from variables
        }
        parsed => parsed,
    };
    let arguments = match arguments {
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
        Command::Preflight(arguments) => preflight::run(&arguments),
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Ops(command) => ops::run(command),
        Command::User(command) => user::run(command),
        Command::Token(command) => token::run(command),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Sim(command) => sim::run(command),
        Command::PrintConfig(arguments) => print_config::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments, command()),
        Command::Man(arguments) => shell::man(&arguments, command()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_and_flags_are_in_order() {
        command().debug_assert();
    }

    #[test]
    fn every_command_takes_a_file_of_variables_before_or_behind_its_name() {
        for arguments in [["--env-file", "a.env", "serve"], ["migrate", "--env-file", "a.env"]] {
            let arguments = Arguments::try_parse_from([&["switchboard"][..], &arguments].concat()).unwrap();
            assert_eq!(arguments.env_file.as_deref(), Some("a.env"));
        }
    }

    #[test]
    fn the_help_of_serve_names_every_setting() {
        let mut command = command();
        let help = command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        for entry in catalog::entries() {
            assert!(help.contains(entry.name), "{}", entry.name);
        }
    }

    #[test]
    fn completions_and_manual_pages_know_the_commands() {
        let mut script = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut command(), "switchboard", &mut script);
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("dead-letters") && script.contains("print-config"));
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man1");
        assert_eq!(shell::man(&shell::ManArguments { dir: Some(pages.clone()) }, command()), FINE);
        for page in ["switchboard.1", "switchboard-serve.1", "switchboard-ops-jobs.1"] {
            assert!(pages.join(page).is_file(), "{page}");
        }
    }
}
