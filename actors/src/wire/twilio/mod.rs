//! Twilio: identifiers, signatures, TwiML, media frames and the media stream.

pub mod form;
pub mod frames;
pub mod sid;
pub mod signature;
pub mod twiml;
