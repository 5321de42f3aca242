//! One live call.

pub mod conversation;
pub mod end;
pub mod persona;
pub mod playback;
pub mod responses;
pub mod turns;

/// Milliseconds since the Unix epoch, by a clock that only goes forward during a call.
pub type Millis = u64;
