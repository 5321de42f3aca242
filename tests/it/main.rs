//! The integration tests: the real program, against real servers.

mod database;
mod private_postgres;
mod support;
