//! `switchboard sim phone | realtime`: the simulators as programs.

use clap::Subcommand;

use crate::sim::{phone, realtime};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The simulated telephone network: callers that ring a number, talk, interrupt and hang up
    Phone(Box<phone::Options>),
    /// The simulated Realtime service
    Realtime(realtime::Options),
}

pub fn run(command: Command) -> u8 {
    match command {
        Command::Phone(options) => phone::run(*options),
        Command::Realtime(options) => realtime::run(options),
    }
}
