//! Writing: the queue of records, the one writer that empties it, and the spool on disk for what the database
//! does not take.

pub(super) mod actor;
mod pace;
pub(super) mod queue;
pub mod record;
pub(super) mod refused;
pub(super) mod spool;
mod weight;
pub(super) mod writer;
