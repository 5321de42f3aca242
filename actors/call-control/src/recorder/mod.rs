//! The flight recorder: what a conversation was told and what it did about it, written down as text, and how
//! the text is taken again.
//!
//! A recording is lines of text. The first line is the [`Header`] in JSON. Every other line is one input: the
//! milliseconds since the line before, the input, and the effects, separated by tabs.
//!
//! ```text
//! {"switchboard_recording":1,"version":"0.1.0","mode":"full","call_sid":"CA…","began_at":…,"rules":{…}}
//! 0     begin                               connect {"after":0}
//! 212   service "session-created"           ask "configure"
//! 1380  sound 1600 ["resp_1","item_1",0]    play 1600            mark g0:1:200
//! 20    sound 800                           play 800
//! 2004  tick
//! 15    end complete
//! ```
//!
//! Two inputs are frequent and have a form of their own: a piece of the agent's voice is its length in
//! bytes of μ-law, and a mark is its name. Their response, item and part follow where they are not those
//! of the line before. No sound is written down, neither the caller's, which never comes to a
//! conversation, nor the agent's: the conversation decides by its length alone.
//!
//! An input that begins with `!` was lost in a panic: the call went on from its checkpoint, without the
//! input. The last line says that the recording is complete, or why it is not. A recording without it was
//! cut off; the lines that are whole can be taken again all the same.
//!
//! **Redacted.** In [`Mode::Redacted`] every text is replaced by a stand-in of the same length with which the
//! conversation does the same: see [`redact`]. The effects are written with the same stand-ins, and
//! [`Player`] compares them so.

use serde::{Deserialize, Serialize};

pub use self::player::{Played, Player, Step};
pub use self::writer::Writer;
use crate::Millis;
use crate::conversation::history::Past;
use crate::conversation::kept::Kept;
use crate::conversation::{Effect, Rules};
use crate::twilio::frames::{Mark, payload_bytes};

mod lines;
mod player;
pub mod redact;
mod writer;

/// The version of the format; a program reads those up to its own.
pub const FORMAT: u32 = 1;

/// What a recording keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Also what was said.
    Full,
    /// Stand-ins for it.
    Redacted,
}

/// What a recording begins with: all that the conversation is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    #[serde(rename = "switchboard_recording")]
    pub format: u32,
    /// Of the program.
    pub version: String,
    pub mode: Mode,
    pub call_sid: String,
    pub began_at: Millis,
    pub rules: Rules,
    /// Of a call that another process began.
    #[serde(default)]
    pub past: Option<Past>,
}

/// What is written down, in order: an input, then its effects.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// The conversation begins.
    Begun,
    Taken {
        at: Millis,
        input: Kept,
    },
    /// The actor panicked while it took this input or carried its effects out.
    Lost {
        at: Millis,
        input: Kept,
    },
    /// Of the input before.
    Played {
        bytes: u32,
    },
    Marked(Mark),
    Done(Box<Effect>),
}

impl Note {
    /// The note of an effect. It does not hold the sound.
    pub fn of(effect: &Effect) -> Self {
        match effect {
            Effect::Play(payload) => Self::Played { bytes: length(payload) },
            Effect::Mark(mark) => Self::Marked(*mark),
            other => Self::Done(Box::new(other.clone())),
        }
    }
}

/// How a recording ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With the call's actor.
    Complete,
    /// Before the call did, for this reason.
    Incomplete(String),
}

/// Why a text is not a recording that this program can take again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecording {
    #[error("this is no recording of a call: its first line is no header ({0})")]
    Foreign(String),
    #[error(
        "the recording has format {found}, and this program reads formats up to {FORMAT}: use a newer one"
    )]
    Newer { found: u32 },
    /// Counted from 1, the header included.
    #[error("line {number}: {what}")]
    Line { number: u64, what: String },
}

fn length(payload: &[u8]) -> u32 {
    u32::try_from(payload_bytes(payload)).unwrap_or(u32::MAX) // messages are smaller
}

#[cfg(test)]
pub(crate) mod tests;
