//! Twilio: identifiers, forms and their signatures, TwiML, the media stream with its frames and token, and
//! the REST API.

#[cfg(test)]
mod frames_tests;
pub mod rest;
pub mod stream;

pub use call_control::twilio::{form, frames, number, sid, signature, time, token, twiml};
