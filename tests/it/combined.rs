//! Faults in combination: a fault while another one is being dealt with. The calls go on, and what was said
//! in them is in the database afterwards.

mod claim;
mod drain;
mod kills;
mod postgres;
mod rollback;
