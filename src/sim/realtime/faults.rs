//! What the simulated service can be told to do wrong, for tests: `--fault NAME[=VALUE]`.

use std::str::FromStr;
use std::time::Duration;

/// One fault. Those that count responses count each session's from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `accept-delay=MS`: the upgrade is answered that late.
    AcceptDelay(Duration),
    /// `session-delay=MS`: a `session.update` is applied and answered that late.
    SessionDelay(Duration),
    /// `refuse[=STATUS]`: the upgrade is answered with this status, such as 401 or 429; 503 without a value.
    Refuse(u16),
    /// `quota`: responses fail with `insufficient_quota`.
    Quota,
    /// `rate-limit=N`: the Nth response fails with `rate_limit_exceeded`.
    RateLimit(u32),
    /// `errors=N`: N of a hundred responses, over all sessions and evenly, fail with `server_error`; none
    /// that renders a phrase or tries the service.
    Errors(u32),
    /// `token-limit=N`: the account may use so many tokens in a minute. Nothing enforces it.
    TokenLimit(u32),
    /// `function-call=N`: the Nth response also calls `lookup_order`.
    FunctionCall(u32),
    /// `unknown-events`: every event has a field, and many are followed by an event, that nobody knows.
    UnknownEvents,
    /// `benign-errors`: every tenth client event is followed by an `error` that means nothing, and every
    /// second transcription fails.
    BenignErrors,
    /// `burst`: all the audio of a response comes at once.
    Burst,
    /// `close=MS`: the socket is closed with 1001, that long after the first `session.updated`.
    Close(Duration),
    /// `stall=MS`: nothing is read or sent any more, that long after the first `session.updated`.
    Stall(Duration),
    /// `drop=MS`: the connection is reset, that long after the first `session.updated`.
    Drop(Duration),
    /// `deaf=MS`: no speech is heard any more, that long after the first `session.updated`.
    Deaf(Duration),
    /// `slow-first-sound=MS`: a response begins at once, and its first sound comes that much later than
    /// usual.
    SlowFirstSound(Duration),
    /// `done-delay=MS`: `response.done` is told that much later than the response ends.
    DoneDelay(Duration),
    /// `never-done[=PERCENT]`: so many of a hundred responses have no `response.done`.
    NeverDone(u32),
    /// `no-sound[=PERCENT]`: so many of a hundred responses are completed without any output.
    NoSound(u32),
    /// `already-active[=PERCENT]`: so many of a hundred `response.create` are refused as if a response were
    /// active.
    AlreadyActive(u32),
    /// `ignores-cancel[=PERCENT]`: so many of a hundred responses cannot be cancelled, and nothing says so.
    IgnoresCancel(u32),
    /// `other-format`: the session speaks 24 kHz PCM whatever it was asked for, and says so in
    /// `session.updated`.
    OtherFormat,
    /// `omit=EVENT`: no event of this type is sent.
    Omit(&'static str),
    /// `repeat=EVENT`: every event of this type is sent twice.
    Repeat(&'static str),
}

/// The types of events that can be omitted or repeated.
const EVENTS: &[&str] = &[
    "session.created",
    "session.updated",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.input_audio_transcription.completed",
    "response.created",
    "response.output_audio.done",
    "response.output_item.done",
    "response.done",
];

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let number = || {
            value
                .and_then(|value| value.parse().ok())
                .ok_or_else(|| format!("{name} needs a number: {name}=…"))
        };
        let millis = || number().map(|ms: u32| Duration::from_millis(ms.into()));
        let percent = || value.map_or(Ok(100), |_| number());
        let event = || {
            EVENTS
                .iter()
                .copied()
                .find(|event| Some(*event) == value)
                .ok_or_else(|| format!("{name} needs the type of an event, one of {}", EVENTS.join(", ")))
        };
        let status = || match value.map(str::parse) {
            None => Ok(503),
            Some(Ok(status @ 400..=599)) => Ok(status),
            Some(_) => Err(format!("{name} needs the status of an error, from 400 to 599: {name}=401")),
        };
        let fault = match name {
            "refuse" => Self::Refuse(status()?),
            "accept-delay" => Self::AcceptDelay(millis()?),
            "session-delay" => Self::SessionDelay(millis()?),
            "rate-limit" => Self::RateLimit(number()?),
            "errors" => Self::Errors(number()?),
            "token-limit" => Self::TokenLimit(number()?),
            "function-call" => Self::FunctionCall(number()?),
            "close" => Self::Close(millis()?),
            "stall" => Self::Stall(millis()?),
            "drop" => Self::Drop(millis()?),
            "deaf" => Self::Deaf(millis()?),
            "slow-first-sound" => Self::SlowFirstSound(millis()?),
            "done-delay" => Self::DoneDelay(millis()?),
            "never-done" => Self::NeverDone(percent()?),
            "no-sound" => Self::NoSound(percent()?),
            "already-active" => Self::AlreadyActive(percent()?),
            "ignores-cancel" => Self::IgnoresCancel(percent()?),
            "omit" => Self::Omit(event()?),
            "repeat" => Self::Repeat(event()?),
            _ if value.is_some() => return Err(format!("no fault of the name {name} takes a value")),
            "quota" => Self::Quota,
            "unknown-events" => Self::UnknownEvents,
            "benign-errors" => Self::BenignErrors,
            "burst" => Self::Burst,
            "other-format" => Self::OtherFormat,
            _ => return Err(format!("there is no fault {name}")),
        };
        Ok(fault)
    }
}

/// How a session is ended by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Close,
    Stall,
    Reset,
}

/// The faults of a run together.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub accept_delay: Duration,
    pub session_delay: Duration,
    pub refuse: Option<u16>,
    pub quota: bool,
    pub rate_limit: Option<u32>,
    pub errors_percent: u32,
    pub token_limit: Option<u32>,
    pub function_call: Option<u32>,
    pub unknown_events: bool,
    pub benign_errors: bool,
    pub burst: bool,
    /// What happens how long after the first `session.updated`.
    pub ending: Option<(Duration, Ending)>,
    /// How long after the first `session.updated` nothing is heard any more.
    pub deaf: Option<Duration>,
    pub slow_first_sound: Duration,
    pub done_delay: Duration,
    pub never_done_percent: u32,
    pub no_sound_percent: u32,
    pub already_active_percent: u32,
    pub ignores_cancel_percent: u32,
    pub other_format: bool,
    pub omitted: Vec<&'static str>,
    pub repeated: Vec<&'static str>,
}

/// Whether a fault of so many of a hundred strikes the response of this number: evenly, and the first one for
/// sure.
pub fn strikes(percent: u32, number: u32) -> bool {
    percent > 0 && u64::from(number.saturating_sub(1)) * u64::from(percent) % 100 < u64::from(percent)
}

impl From<&[Fault]> for Faults {
    fn from(faults: &[Fault]) -> Self {
        let mut all = Self::default();
        for fault in faults {
            match *fault {
                Fault::AcceptDelay(delay) => all.accept_delay = delay,
                Fault::SessionDelay(delay) => all.session_delay = delay,
                Fault::Refuse(status) => all.refuse = Some(status),
                Fault::Quota => all.quota = true,
                Fault::RateLimit(nth) => all.rate_limit = Some(nth),
                Fault::Errors(percent) => all.errors_percent = percent,
                Fault::TokenLimit(limit) => all.token_limit = Some(limit),
                Fault::FunctionCall(nth) => all.function_call = Some(nth),
                Fault::UnknownEvents => all.unknown_events = true,
                Fault::BenignErrors => all.benign_errors = true,
                Fault::Burst => all.burst = true,
                Fault::Close(after) => all.ending = Some((after, Ending::Close)),
                Fault::Stall(after) => all.ending = Some((after, Ending::Stall)),
                Fault::Deaf(after) => all.deaf = Some(after),
                Fault::SlowFirstSound(delay) => all.slow_first_sound = delay,
                Fault::DoneDelay(delay) => all.done_delay = delay,
                Fault::NeverDone(percent) => all.never_done_percent = percent,
                Fault::NoSound(percent) => all.no_sound_percent = percent,
                Fault::AlreadyActive(percent) => all.already_active_percent = percent,
                Fault::IgnoresCancel(percent) => all.ignores_cancel_percent = percent,
                Fault::OtherFormat => all.other_format = true,
                Fault::Omit(event) => all.omitted.push(event),
                Fault::Repeat(event) => all.repeated.push(event),
                Fault::Drop(after) => all.ending = Some((after, Ending::Reset)),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_by_name_and_value_and_nothing_else_is() {
        assert_eq!("stall=250".parse(), Ok(Fault::Stall(Duration::from_millis(250))));
        assert_eq!("rate-limit=2".parse(), Ok(Fault::RateLimit(2)));
        assert_eq!("token-limit=9000".parse(), Ok(Fault::TokenLimit(9_000)));
        assert_eq!("quota".parse(), Ok(Fault::Quota));
        assert_eq!("refuse".parse(), Ok(Fault::Refuse(503)));
        assert_eq!("refuse=401".parse(), Ok(Fault::Refuse(401)));
        assert_eq!("done-delay=400".parse(), Ok(Fault::DoneDelay(Duration::from_millis(400))));
        assert_eq!("never-done".parse(), Ok(Fault::NeverDone(100)));
        assert_eq!("no-sound=30".parse(), Ok(Fault::NoSound(30)));
        assert_eq!("omit=response.done".parse(), Ok(Fault::Omit("response.done")));
        for wrong in [
            "",
            "omit",
            "omit=nothing",
            "repeat=",
            "no-sound=often",
            "deaf",
            "stall",
            "stall=soon",
            "quota=1",
            "refuse=200",
            "refuse=no",
            "earthquake",
            "earthquake=7",
            "drop=-1",
        ] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
