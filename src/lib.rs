//! Switchboard answers the telephone with an AI. This crate holds the doors; the crate [`actors`] carries the calls.

pub mod cli;
pub mod logging;
pub mod private_postgres;
pub mod settings;
pub mod sim;
