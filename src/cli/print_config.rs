//! `switchboard print-config`: every setting, its value, and where it comes from.

use clap::Args;

use super::accounts::print_json;
use super::shell::print;
use super::{FINE, USAGE, environment as env_file};
use crate::settings::{Environment, Settings, catalog, environment, shown, table};

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
        return print(catalog::example().as_bytes());
    }
    let shown = shown(&environment, &env_file::origin);
    if arguments.json {
        print_json(&shown);
    } else {
        print(table(&shown).as_bytes());
    }
    let environment = Environment::default();
    match Settings::read(|name| environment.get(name)) {
        Ok(settings) => {
            for remark in environment.remarks().into_iter().chain(settings.dangers()) {
                eprintln!("{remark}");
            }
            FINE
        }
        Err(faults) => {
            eprintln!("\nswitchboard serve cannot start with these settings: {faults}");
            for remark in environment.remarks() {
                eprintln!("  {remark}");
            }
            USAGE
        }
    }
}
