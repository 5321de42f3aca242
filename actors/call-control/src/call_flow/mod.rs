//! The life of a call around its conversation: who may come in, who has the caller, and what comes next.
//!
//! ```text
//! a call rings -+- a slot is free -> reserved -> live <-> reconnecting -> a NextStep
//!               +- no slot is free -> refused
//!               +- the instance drains -> handed over
//!
//! NextStep: human -> with a person -> voicemail -> over
//!           voicemail -> over
//!           hang-up -> over
//!           handed-over -> another instance
//! ```
//!
//! - [`flows`] is the state machine of all calls of one instance, up to the point where the agent's part is
//!   over.
//! - [`person`] decides about the caller after that. It needs no memory: Twilio's requests say all there is
//!   to know, so any instance can answer them, and without a database.
//! - [`resume`] decides how a call goes on that another process began.
//! - [`documents`] writes what was decided as TwiML.

pub mod documents;
pub mod flows;
mod next_step;
pub mod person;
pub mod resume;

pub use next_step::{NextStep, TransferTo};
