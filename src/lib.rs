//! Switchboard answers the telephone with an AI. This crate holds the doors; the crate [`actors`] carries the
//! calls.

mod agent;
mod alerts;
pub mod app;
pub mod auth;
mod background;
mod child;
mod claim;
pub mod cli;
pub mod connections;
pub mod descriptors;
#[cfg(test)]
mod docs;
pub mod exit_status;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod http;
mod left_behind;
pub mod loadtest;
pub mod logging;
mod memory_limit;
mod nearest;
pub mod preflight;
pub mod private_postgres;
pub mod process_metrics;
pub mod rate_limit;
mod resume;
pub mod serve;
pub mod settings;
pub mod setup;
mod signals;
pub mod sim;
mod sockets;
mod tasks;
mod terminal;
pub mod tls;
pub mod traces;
