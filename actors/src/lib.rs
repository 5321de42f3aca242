//! Everything in Switchboard that lives as long as a call does.

pub mod call;
pub mod db;
#[cfg(feature = "fault-injection")]
mod fault;
pub mod jobs;
pub mod metrics;
pub mod registry;
pub mod secret;
pub mod supervise;
pub mod wire;
