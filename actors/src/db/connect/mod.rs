//! Connecting: where the database is, how it is reached, the pool of connections, and the schema that it has.

pub(super) mod checkout;
pub(super) mod connection;
pub(super) mod error;
pub(super) mod health;
mod manager;
pub mod migrate;
pub(super) mod pool;
mod reach;
mod row;
pub(super) mod slow;
pub(super) mod statement;
mod tls;
pub(super) mod url;
