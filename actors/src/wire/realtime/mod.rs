//! The OpenAI Realtime service: its events, ours, and the socket.

mod acknowledged;
pub mod events;
pub mod holes;
mod lenient;
pub mod rendering;
pub mod requests;
pub mod socket;
pub mod transcription;
pub mod trial;
pub mod usage;
