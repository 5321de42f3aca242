//! What can be chosen about an agent, and who may do what.

pub mod access;
pub mod persona;
