//! The integration tests: the real program, against real servers.

#![allow(clippy::unwrap_used)]

mod database;
mod private_postgres;
mod support;
