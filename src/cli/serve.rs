//! `switchboard serve`: answers calls until it is told to stop.

use crate::app::{self, StartError};
use crate::logging;
use crate::settings::{Settings, environment};
use crate::traces::Traces;

pub fn run() -> u8 {
    let settings = match Settings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            logging::say(format_args!("switchboard serve cannot start: {faults}"));
            return super::USAGE;
        }
    };
    let traces = match Traces::start(&settings.traces, &settings.instance_id) {
        Ok(traces) => traces,
        Err(error) => {
            logging::say(format_args!("switchboard serve cannot start: no traces: {error}"));
            return super::USAGE;
        }
    };
    logging::start_with(&settings.log, traces.as_ref());
    match actix_rt::System::new().block_on(app::run(settings)) {
        Ok(()) => super::FINE,
        Err(error @ StartError::WornOut(_)) => {
            logging::say(format_args!("switchboard serve ends: {error}"));
            super::INTERNAL
        }
        Err(error) => {
            logging::say(format_args!("switchboard serve cannot start: {error:#}"));
            super::status_of(&error)
        }
    }
}
