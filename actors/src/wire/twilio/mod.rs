//! Twilio: identifiers, forms and their signatures, TwiML, and the media stream with its frames and token.

pub mod form;
pub mod frames;
pub mod sid;
pub mod signature;
pub mod stream;
pub mod token;
pub mod twiml;
