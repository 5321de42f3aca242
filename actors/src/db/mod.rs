//! The DbActor: the one door to PostgreSQL.

pub mod record;
