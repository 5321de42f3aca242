//! Panics on purpose, for tests. A default build does not have this module: it is behind the feature
//! `fault-injection`, which only the test build turns on.
//!
//! A test orders a panic by putting a file into the folder that `SWITCHBOARD_FAULTS` names, called by the
//! place in the program that is to panic: `db-watch`, `registry-ClaimStream`, or `call-<CallSid>-<input>`,
//! where the input has its name in [`Input`]. One file is one panic: it is removed first.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::call::conversation::Input;
use crate::wire::twilio::sid::CallSid;

static FOLDER: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| env::var_os("SWITCHBOARD_FAULTS").map(PathBuf::from));

/// Panics if a test has ordered it.
pub(crate) fn strike(place: &str) {
    if FOLDER.as_ref().is_some_and(|folder| fs::remove_file(folder.join(place)).is_ok()) {
        panic!("on purpose: {place}");
    }
}

/// As [`strike`], at this input of this call.
pub(crate) fn strike_call(call_sid: CallSid, input: &Input<'_>) {
    if FOLDER.is_some() {
        strike(&format!("call-{call_sid}-{}", name(input)));
    }
}

/// `Tick`, `Service-SpeechStarted`.
fn name(input: &Input<'_>) -> String {
    let debug = match input {
        Input::Service(event) => format!("Service-{event:?}"),
        other => format!("{other:?}"),
    };
    debug.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::realtime::events::ServerEvent;

    #[test]
    fn an_input_is_called_by_its_variant() {
        assert_eq!(name(&Input::Tick), "Tick");
        assert_eq!(name(&Input::Digit('5')), "Digit");
        assert_eq!(name(&Input::ServiceLost { fatal: false, cause: "x", wait: None }), "ServiceLost");
        assert_eq!(name(&Input::Service(ServerEvent::SpeechStarted)), "Service-SpeechStarted");
    }
}
