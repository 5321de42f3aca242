//! `switchboard worker`: does the background jobs until it is told to stop.

use crate::settings::{WorkerSettings, environment};
use crate::{background, logging};

pub fn run() -> u8 {
    let settings = match WorkerSettings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard worker cannot start: {faults}");
            return super::USAGE;
        }
    };
    logging::start(&settings.log);
    match actix_rt::System::new().block_on(background::run(settings)) {
        Ok(()) => super::FINE,
        Err(error) => {
            eprintln!("switchboard worker cannot start: {error:#}");
            super::status_of(&error)
        }
    }
}
