//! The OpenAI Realtime service: its events, ours, and the socket.

pub mod rendering;
pub mod socket;
pub mod trial;

pub use call_control::realtime::{events, holes, prices, requests, transcription, usage};
