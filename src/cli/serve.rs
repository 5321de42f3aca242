//! `switchboard serve`: answers calls until it is told to stop.

use crate::app::{self, StartError};
use crate::logging;
use crate::settings::{Settings, environment};

pub fn run() -> u8 {
    let settings = match Settings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard serve cannot start: {faults}");
            return super::USAGE;
        }
    };
    logging::start(&settings.log);
    match actix_rt::System::new().block_on(app::run(settings)) {
        Ok(()) => super::FINE,
        Err(error @ StartError::WornOut(_)) => {
            eprintln!("switchboard serve ends: {error}");
            super::INTERNAL
        }
        Err(error) => {
            eprintln!("switchboard serve cannot start: {error:#}");
            super::status_of(&error)
        }
    }
}
