//! `switchboard serve`: answers calls until it is told to stop.

use crate::app::StartError;
use crate::logging;
use crate::serve;
use crate::settings::{Environment, Settings};
use crate::traces::Traces;

pub fn run() -> u8 {
    let environment = Environment::default();
    let settings = match Settings::read(|name| environment.get(name)) {
        Ok(settings) => settings,
        Err(faults) => {
            logging::say(format_args!("switchboard serve cannot start: {faults}"));
            for remark in environment.remarks() {
                logging::say(format_args!("  {remark}"));
            }
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
    for remark in environment.remarks().into_iter().chain(settings.dangers()) {
        tracing::warn!(setting = remark.name, "{remark}");
    }
    match actix_rt::System::new().block_on(serve::run(settings)) {
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
