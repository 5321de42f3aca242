//! Twilio: identifiers, forms and their signatures, TwiML, and the media stream's frames and token.

pub mod form;
pub mod frames;
pub mod number;
pub mod sid;
pub mod signature;
pub mod time;
pub mod token;
pub mod twiml;
