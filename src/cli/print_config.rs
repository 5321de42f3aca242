//! `switchboard print-config`: every setting, its value, and where it comes from.

use clap::Args;

use super::accounts::print_json;
use super::{FINE, USAGE, environment as env_file};
use crate::settings::{Settings, catalog, environment, shown, table};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    /// Print a file for `--env-file` that names every setting, to be filled in
    #[arg(long, conflicts_with = "json")]
    template: bool,
}

pub fn run(arguments: &Arguments) -> u8 {
    if arguments.template {
        print!("{}", catalog::example());
        return FINE;
    }
    let shown = shown(&environment, &env_file::origin);
    if arguments.json {
        print_json(&shown);
    } else {
        print!("{}", table(&shown));
    }
    match Settings::read(environment) {
        Ok(_) => FINE,
        Err(faults) => {
            eprintln!("\nswitchboard serve cannot start with these settings: {faults}");
            USAGE
        }
    }
}
