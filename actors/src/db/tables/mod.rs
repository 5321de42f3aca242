//! One file a table, or a purpose: what is written to it and read from it.

pub(super) mod alerts;
pub(super) mod audit;
pub(super) mod bills;
pub(super) mod calls;
pub(super) mod conferences;
pub(super) mod events;
pub(super) mod history;
pub(super) mod inbox;
pub(super) mod instances;
pub(super) mod jobs;
pub(super) mod left_behind;
pub(super) mod lost_calls;
pub(super) mod prune;
pub(super) mod recordings;
pub(super) mod retention;
pub(super) mod schema;
pub(super) mod sessions;
pub(super) mod text;
pub(super) mod tokens;
pub(super) mod turns;
pub(super) mod users;
