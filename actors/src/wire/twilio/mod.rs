//! Twilio: identifiers, forms and their signatures, TwiML, the media stream with its frames and token, and the REST API.

pub mod form;
pub mod frames;
pub mod number;
pub mod rest;
pub mod sid;
pub mod signature;
pub mod stream;
pub mod time;
pub mod token;
pub mod twiml;
