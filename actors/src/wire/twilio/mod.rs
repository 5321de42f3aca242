//! Twilio: identifiers, forms and their signatures, TwiML, the media stream with its frames and token, the
//! REST API, and what is to be known of the account.

#[cfg(test)]
mod frames_tests;
pub mod rest;
pub mod settings;
pub mod stream;

pub use call_control::twilio::{form, frames, number, sid, signature, time, token, twiml};
