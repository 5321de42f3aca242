//! What the commands that ask the database have in common: their settings, their system, their exit status.

use actors::db::{BadUrl, DbError};

use crate::logging;
use crate::settings::{OpsSettings, environment};

/// SQLSTATE of a table that is not there.
const NO_TABLE: &str = "42P01 ";

/// Runs `work` with the URL of the database; the exit status.
pub fn run(name: &str, work: impl AsyncFnOnce(&str) -> Result<Result<u8, DbError>, BadUrl>) -> u8 {
    let settings = match OpsSettings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard {name} cannot start: {faults}");
            return super::USAGE;
        }
    };
    logging::start(&settings.log);
    match actix_rt::System::new().block_on(work(settings.url.expose())) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            eprintln!("switchboard {name} failed: {error}{}", remedy(&error));
            super::FAILED
        }
        Err(error) => {
            eprintln!("switchboard {name} cannot start: {error}");
            super::USAGE
        }
    }
}

/// What to do about it, if that is known.
fn remedy(error: &DbError) -> &'static str {
    match error {
        DbError::Refused(said) if said.starts_with(NO_TABLE) => "; run `switchboard migrate`",
        _ => "",
    }
}
