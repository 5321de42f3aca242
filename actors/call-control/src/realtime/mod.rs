//! The OpenAI Realtime service: its events and our requests.

mod acknowledged;
mod audio;
pub mod events;
pub mod holes;
mod lenient;
pub mod prices;
pub mod rate_limits;
pub mod requests;
pub mod transcription;
pub mod usage;

/// Of the caller's audio that waits for a session; of more, the newest.
pub const RING_MS: u64 = 5_000;
