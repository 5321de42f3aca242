//! What a fault costs those on the line: the longest silence, calls, turns. Each test of a fault prints one
//! line of the table, `fault | silence heard max ms | calls lost | turns lost`; each test of faults in
//! combination one of `faults | calls | calls lost | records lost | longest silence in s`.

use std::time::Duration;

use serde_json::Value;
use switchboard::sim::phone::{Caller, End, Event, Heard};
use switchboard::sim::speech::Clip;

/// The longest silence that a caller bears, whatever fails together.
const LONGEST_SILENCE: Duration = Duration::from_secs(40);

/// The toll of one fault; see the module.
pub struct Toll {
    fault: String,
    silence_ms: u64,
    calls: usize,
    calls_lost: usize,
    turns_lost: usize,
}

impl Toll {
    pub fn of(fault: impl Into<String>) -> Self {
        Self { fault: fault.into(), silence_ms: 0, calls: 0, calls_lost: 0, turns_lost: 0 }
    }

    /// Counts in a call that is over: `said` is what the caller said, `log` what `/api/call-logs/{callSid}`
    /// has of it.
    pub fn count(&mut self, caller: &Caller, said: &[&Clip], log: &Value) {
        self.silence_ms = self.silence_ms.max(caller.silence_ms());
        self.calls += 1;
        self.calls_lost += usize::from(!is_carried_to_its_end(caller));
        self.turns_lost += turns_lost(caller, said, log);
    }

    /// Prints the line; fails the test if anything was lost or a caller heard nothing for longer than that.
    pub fn stays_within(self, silence_ms: u64) {
        let Self { fault, silence_ms: heard_ms, calls_lost, turns_lost, .. } = self;
        println!("{fault} | {heard_ms} | {calls_lost} | {turns_lost}");
        assert_eq!((calls_lost, turns_lost), (0, 0), "{fault}: calls and turns lost");
        assert!(heard_ms <= silence_ms, "{fault}: {heard_ms} ms of silence, at most {silence_ms} expected");
    }

    /// Prints the line of faults in combination; `records_lost` are those that are no turns of these calls.
    /// Fails the test if anything was lost or a caller heard nothing for 40 s.
    pub fn must_be_nothing_lost(self, records_lost: usize) {
        let Self { fault, silence_ms, calls, calls_lost, turns_lost } = self;
        let (records_lost, silence) = (turns_lost + records_lost, Duration::from_millis(silence_ms));
        println!("{fault} | {calls} | {calls_lost} | {records_lost} | {:.1}", silence.as_secs_f64());
        assert_eq!((calls_lost, records_lost), (0, 0), "{fault}: calls and records lost");
        assert!(silence < LONGEST_SILENCE, "{fault}: {silence:?} of silence");
    }
}

/// The caller hung up when they wanted to, or was given to a person, and never met the number's fallback.
fn is_carried_to_its_end(caller: &Caller) -> bool {
    let fell_back = caller.events().iter().any(|(_, event)| matches!(event, Event::Fallback(_)));
    matches!(caller.end(), Some(End::ByCaller | End::Dialled)) && !fell_back
}

/// The caller's sentences and the agent's turns that were spoken and are not in the log.
fn turns_lost(caller: &Caller, said: &[&Clip], log: &Value) -> usize {
    let turns = log["turns"].as_array().map(Vec::as_slice).unwrap_or_default();
    let by = |speaker: &str| -> Vec<&str> {
        let spoken = turns.iter().filter(|turn| turn["speaker"] == speaker);
        spoken.filter_map(|turn| turn["text"].as_str()).collect()
    };
    let mut written = by("caller");
    let unwritten = said.iter().filter(|clip| match written.iter().position(|text| *text == clip.text) {
        Some(at) => {
            written.remove(at);
            false
        }
        None => true,
    });
    let unwritten = unwritten.count();
    let heard = caller.heard().into_iter().filter(|heard| matches!(heard, Heard::Agent { .. })).count();
    unwritten + heard.saturating_sub(by("agent").len())
}
