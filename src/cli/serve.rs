//! `switchboard serve`: answers calls until it is told to stop.

use crate::app::{self, StartError};
use crate::settings::{Settings, environment};
use crate::{logging, traces};

pub fn run() -> u8 {
    let settings = match Settings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard serve cannot start: {faults}");
            return super::USAGE;
        }
    };
    let endpoint = settings.traces.endpoint.as_ref();
    let traces = endpoint.map(|endpoint| traces::start(endpoint, &settings.instance_id)).transpose();
    let (spans, exporter) = match traces {
        Ok(traces) => traces.unzip(),
        Err(error) => {
            eprintln!("switchboard serve cannot start: no thread for the traces: {error}");
            return super::INTERNAL;
        }
    };
    logging::start_with(&settings.log, spans);
    let status = match actix_rt::System::new().block_on(app::run(settings)) {
        Ok(()) => super::FINE,
        Err(error @ StartError::WornOut(_)) => {
            eprintln!("switchboard serve ends: {error}");
            super::INTERNAL
        }
        Err(error) => {
            eprintln!("switchboard serve cannot start: {error:#}");
            super::status_of(&error)
        }
    };
    if let Some(exporter) = exporter {
        exporter.finish();
    }
    status
}
