//! What one call meets, and what became of it.

use super::Called;
use crate::Millis;

/// What one call meets.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub barge_in_min_ms: Millis,
    /// The agent has recorded phrases.
    pub phrases: bool,
    /// One way, between us and the service.
    pub service_ms: Millis,
    /// One way, between us and Twilio.
    pub ear_ms: Millis,
    /// When, within 20 ms, Twilio takes its next frame.
    pub frame_phase: Millis,
    /// How much later than asked for a tick comes.
    pub tick_late_ms: Millis,
    pub connects: Vec<Connection>,
    pub responses: Vec<Plan>,
    pub utterances: Vec<Utterance>,
    /// Whether the service says so when it cannot answer an utterance because a response is active.
    pub tells_of_unanswered: bool,
    /// Whether a cancelled response still has its transcript in `response.done`.
    pub cancelled_has_transcript: bool,
    /// What happens, and how long after what happened before.
    pub acts: Vec<(Millis, Act)>,
}

impl Scenario {
    /// How long all that the agent is to say takes.
    pub fn speech_ms(&self) -> Millis {
        let pieces = |part: &Part| match part {
            Part::Speech { pieces, .. } => {
                pieces.iter().map(|(after, bytes)| after + u64::from(bytes / 8)).sum()
            }
            Part::Call { .. } => 0,
        };
        self.responses.iter().flat_map(|plan| &plan.parts).map(pieces).sum()
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Connection {
    Opens,
    /// `session.updated` takes so long.
    Slow(Millis),
    Fails,
    Refused,
}

/// One response of the service; past the last one all are short answers.
#[derive(Debug, Clone)]
pub struct Plan {
    pub parts: Vec<Part>,
    pub outcome: Ending,
}

#[derive(Debug, Clone)]
pub enum Part {
    /// Pieces of audio, as `(after ms, bytes)`, and whether the words come before their audio.
    Speech { pieces: Vec<(Millis, u32)>, words_first: bool },
    /// A function call, told of before `response.done` or only there.
    Call { early: bool, called: Called },
}

#[derive(Debug, Clone, Copy)]
pub enum Ending {
    Completed,
    Incomplete,
    /// `response.done` with this message.
    Failed(&'static str),
    /// `insufficient_quota`.
    Fatal,
    /// An `error` instead of a response, if we asked for it.
    NotBegun,
}

#[derive(Debug, Clone, Copy)]
pub struct Utterance {
    /// When its transcript comes, and whether there is one.
    pub transcript: Option<(Millis, bool)>,
    /// Whether the service answers it by itself.
    pub answered: bool,
    /// Whether the caller's words are urgent.
    pub urgent: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Act {
    OpenStream,
    LoseStream,
    /// The caller speaks for this many milliseconds.
    Speak(Millis),
    Digit,
    Tick,
    BenignError(&'static str),
    HangUp,
    CallOver,
    Unclaimed,
    Shutdown,
    LoseService,
    /// The process is killed, and so much later another one has the caller's stream. It knows what was
    /// written, or (`blind`) nothing of it.
    Restart {
        back_after: Millis,
        blind: bool,
    },
}

/// What a conversation must never break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    OneResponse,
    CallsAnswered,
    Truncation,
    Turns,
    End,
    Playing,
    Fillers,
    Liveness,
    Determinism,
    /// A recording, taken again, has the effects of the call.
    Recorded,
    Checkpoint,
    Urgency,
}

/// What became of a scenario.
#[derive(Debug, Default)]
pub struct Report {
    pub faults: Vec<(Property, String)>,
    /// Of each truncation: milliseconds between what the service was told and what the ear had heard.
    pub truncation_errors_ms: Vec<u32>,
    pub barge_ins: u32,
    pub refusals: u32,
    pub held_then_played: u32,
    pub fillers: u32,
    pub goodbyes: u32,
    pub restarts: u32,
    pub tools_run: u32,
    pub messages: u32,
    pub urgent: u32,
    pub farewells: u32,
    pub transfers: u32,
}
