//! The integration tests: the real program, against real servers.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod calls;
mod ceiling;
mod database;
mod doors;
mod drain;
mod jobs;
mod kill;
mod private_postgres;
mod support;
mod survival;
