//! `switchboard migrate`: brings the database's schema up to date and says what was applied.

use actors::db::migrate::{MigrateError, migrate};

use super::shell::print_line;
use crate::logging;
use crate::settings::{MigrateSettings, environment};

pub fn run() -> u8 {
    let settings = match MigrateSettings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard migrate cannot start: {faults}");
            return super::USAGE;
        }
    };
    logging::start(&settings.log);
    match actix_rt::System::new().block_on(migrate(settings.url.expose())) {
        Ok(applied) if applied.is_empty() => {
            print_line("the schema is up to date");
            super::FINE
        }
        Ok(applied) => {
            for name in applied {
                print_line(format_args!("applied {name}"));
            }
            super::FINE
        }
        Err(error) => {
            eprintln!("switchboard migrate failed: {error}");
            match error {
                MigrateError::Url(_) | MigrateError::TransactionPooler | MigrateError::NotTheOwner { .. } => {
                    super::USAGE
                }
                MigrateError::Unavailable(_)
                | MigrateError::Locked(_)
                | MigrateError::TableLocked(..)
                | MigrateError::Failed(_) => super::FAILED,
            }
        }
    }
}
