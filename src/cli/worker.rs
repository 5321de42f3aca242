//! `switchboard worker`: does the background jobs until it is told to stop.

use crate::settings::{Environment, WorkerSettings};
use crate::traces::Traces;
use crate::{background, logging};

pub fn run() -> u8 {
    let environment = Environment::default();
    let settings = match WorkerSettings::read(|name| environment.get(name)) {
        Ok(settings) => settings,
        Err(faults) => {
            logging::say(format_args!("switchboard worker cannot start: {faults}"));
            return super::USAGE;
        }
    };
    let traces = match Traces::start(&settings.traces, &settings.instance_id) {
        Ok(traces) => traces,
        Err(error) => {
            logging::say(format_args!("switchboard worker cannot start: no traces: {error}"));
            return super::USAGE;
        }
    };
    logging::start_with(&settings.log, traces.as_ref());
    for remark in environment.remarks() {
        tracing::warn!(setting = remark.name, "{remark}");
    }
    match actix_rt::System::new().block_on(background::run(settings)) {
        Ok(()) => super::FINE,
        Err(error) => {
            logging::say(format_args!("switchboard worker cannot start: {error:#}"));
            super::status_of(&error)
        }
    }
}
