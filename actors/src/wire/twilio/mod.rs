//! Twilio: identifiers, signatures, TwiML, media frames and the media stream.

pub mod frames;
pub mod sid;
pub mod stream;
pub mod token;
